//! Preprocessing on the GPU: what the network gets, and what becomes of pictures for which it is not possible.

use super::super::ErrorKind;
use super::super::fake::{Call, FakeGpu, FakePlan};
use super::super::pixels::LIMIT;
use super::{Bench, PLENTY, PlanShape, Promise, Setup, kernel};
use crate::engine::tensorrt::preprocess::{MAX_SIDE, host};
use crate::engine::{Engine, EngineError, Lane};
use crate::frame::{ColorMatrix, Colorimetry, Picture, PixelFormat, PlaneData};
use crate::letterbox::{Letterbox, Preprocessor};

const SHAPE: PlanShape = PlanShape { input: (24, 16), top_k: 2, values: 6, max_batch: 8, optimum: 4 };
const FORMATS: [PixelFormat; 3] = [PixelFormat::I420, PixelFormat::Nv12, PixelFormat::Rgb];

/// Finds in each picture one thing whose place is a digest of all its bytes.
fn digest(input: &[u8], output: &mut [f32]) {
    let mix = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    let hash = input.iter().fold(0xcbf2_9ce4_8422_2325, mix);
    let [a, b, c, d] = [0, 16, 32, 48].map(|shift| f32::from((hash >> shift) as u16));
    output.copy_from_slice(&[a, b, c, d, 0.5, 1.0, 0.0, 0.0, 0.0, 0.0, -1.0, 0.0]);
}

fn bench_with(memory: u64, change: impl FnOnce(&mut Setup)) -> Bench {
    Bench::with(vec![FakeGpu::new(0, memory)], FakePlan::new(SHAPE, digest), |setup| {
        setup.promise = Promise { input: SHAPE.input, ..super::PROMISE };
        setup.kernel = kernel();
        change(setup);
    })
}

fn bench() -> Bench {
    bench_with(PLENTY, |_| {})
}

struct Planes(Vec<Vec<u8>>);

impl PlaneData for Planes {
    fn plane(&self, index: usize) -> &[u8] {
        &self.0[index]
    }
}

/// Noise, rows further apart than they need be.
pub(super) fn picture(format: PixelFormat, size: (u32, u32), seed: u64) -> Picture {
    let mut random = fastrand::Rng::with_seed(seed);
    let (mut strides, mut planes) = ([0; 3], Vec::new());
    for (stride, (row_bytes, rows)) in strides.iter_mut().zip(format.plane_sizes(size)) {
        *stride = row_bytes + random.usize(0..40);
        let mut plane = vec![0; *stride * rows];
        random.fill(&mut plane);
        planes.push(plane);
    }
    let matrix = [ColorMatrix::Bt601, ColorMatrix::Bt709, ColorMatrix::Bt2020][random.usize(0..3)];
    let colorimetry = Colorimetry { matrix, full_range: random.bool() };
    Picture::new(format, size, strides, colorimetry, Box::new(Planes(planes))).unwrap()
}

/// Longer than the kernel takes.
fn unreadable(seed: u64) -> Picture {
    picture(PixelFormat::Rgb, (MAX_SIDE + 1, 1), seed)
}

/// What the network has to get of a picture, by the kernel's source or from the CPU.
fn expected(picture: &Picture, shape: PlanShape, taken: bool) -> Vec<u8> {
    let mut target = vec![0; shape.input_bytes()];
    if taken {
        host::letterbox(&[picture], shape.input, &mut target).unwrap();
    } else {
        Preprocessor::default().letterbox(picture, shape.input, &mut target).unwrap();
    }
    target
}

/// Does with a lane what a worker does, and checks that the network gets of each picture the bytes it has to get. Tells
/// which pictures the lane took.
pub(super) fn look_at(
    lane: &mut dyn Lane,
    shape: PlanShape,
    network: fn(&[u8], &mut [f32]),
    pictures: &[Picture],
) -> Result<Vec<bool>, EngineError> {
    let mut fits = lane.take(&pictures.iter().collect::<Vec<_>>());
    fits.resize(pictures.len(), None);
    let targets = lane.input().chunks_exact_mut(shape.input_bytes());
    for ((picture, fit), target) in pictures.iter().zip(&fits).zip(targets) {
        let right = Letterbox::fit((picture.width, picture.height), shape.input);
        assert!(fit.is_none_or(|fit| fit == right), "{picture:?}");
        match fit {
            // It must not matter.
            Some(_) => target.fill(0xEE),
            None => target.copy_from_slice(&expected(picture, shape, false)),
        }
    }
    let rows = lane.infer(pictures.len())?;
    let taken: Vec<_> = fits.iter().map(Option::is_some).collect();
    for (index, (picture, &taken)) in pictures.iter().zip(&taken).enumerate() {
        let mut right = vec![0.0; shape.output_values()];
        network(&expected(picture, shape, taken), &mut right);
        let got = rows.picture(index).flatten().copied().collect::<Vec<_>>();
        assert_eq!(got, right, "{picture:?}, {index} of {taken:?}");
    }
    Ok(taken)
}

fn look(lane: &mut dyn Lane, pictures: &[Picture]) -> Result<Vec<bool>, EngineError> {
    look_at(lane, SHAPE, digest, pictures)
}

#[test]
fn the_network_gets_what_the_kernel_makes_of_every_format_batch_and_size() {
    for graphs in [true, false] {
        let bench = bench_with(PLENTY, |setup| setup.graphs = graphs);
        let mut lanes = [bench.open(), bench.open()];
        let mut seed = 0;
        for size in [(1, 1), (5, 3), (24, 16), (33, 47), (120, 50), (64, 64), (7, 90)] {
            for batch in 1..=8 {
                for (index, lane) in lanes.iter_mut().enumerate() {
                    let some = |place| {
                        seed += 1;
                        picture(FORMATS[(batch + place + index) % 3], size, seed)
                    };
                    let pictures: Vec<_> = (0..batch).map(some).collect();
                    assert_eq!(look(&mut **lane, &pictures).unwrap(), vec![true; batch]);
                }
            }
        }
        // A run for each capture, of the network alone: the fake complains about anything else in it.
        assert_eq!(bench.fake().calls(Call::BeginCapture), if graphs { 16 } else { 0 });
        drop(lanes);
        bench.assert_given_back();
    }
}

#[test]
fn pictures_the_kernel_cannot_read_come_from_the_cpu_to_their_places() {
    let bench = bench();
    let mut lane = bench.open();
    for mask in 0..16_u32 {
        let readable: Vec<_> = (0..4).map(|place| mask >> place & 1 == 1).collect();
        let some = |(place, readable): (usize, &bool)| {
            let seed = u64::from(mask) * 4 + place as u64;
            if *readable { picture(FORMATS[place % 3], (40, 30), seed) } else { unreadable(seed) }
        };
        let pictures: Vec<_> = readable.iter().enumerate().map(some).collect();
        let calls = [Call::Letterbox, Call::CopyIn].map(|call| bench.fake().calls(call));
        assert_eq!(look(&mut *lane, &pictures).unwrap(), readable);
        let now = [Call::Letterbox, Call::CopyIn].map(|call| bench.fake().calls(call));
        let runs = |taken| readable.chunk_by(|a, b| a == b).filter(|run| run[0] == taken).count() as u64;
        assert_eq!(now[0] - calls[0], runs(true), "{readable:?}");
        assert_eq!(now[1] - calls[1], runs(false) + u64::from(mask > 0), "planes are one copy, {readable:?}");
    }
    drop(lane);
    bench.assert_given_back();
}

#[test]
fn room_grows_with_the_pictures_and_stays() {
    let bench = bench();
    let mut lane = bench.open();
    let of =
        |size, batch: u64| (0..batch).map(|seed| picture(PixelFormat::Nv12, size, seed)).collect::<Vec<_>>();
    let (used, locked) = (bench.fake().used(), bench.fake().locked());
    look(&mut *lane, &of((200, 100), 8)).unwrap();
    let allocations = bench.fake().calls(Call::AllocDevice);
    assert!(bench.fake().used() > used + 8 * 200 * 150 && bench.fake().locked() > locked + 8 * 200 * 150);
    assert!(bench.fake().used() < used + 3 * 8 * 240 * 150);
    for batch in 1..=8 {
        look(&mut *lane, &of((200, 100), batch)).unwrap();
        look(&mut *lane, &of((10, 10), batch)).unwrap();
    }
    assert_eq!(bench.fake().calls(Call::AllocDevice), allocations);
    assert_eq!(bench.fake().calls(Call::FreeDevice), 1, "what it took to warm up");
    drop(lane);
    bench.assert_given_back();
}

#[test]
fn a_picture_too_large_is_left_to_the_cpu_and_the_others_are_not() {
    let bench = bench();
    let mut lane = bench.open();
    // As large as it says, but for its rows never touched.
    let stride = LIMIT / 2;
    let planes = Box::new(vec![0; stride * 2 + 12]);
    let strides = [stride, 0, 0];
    let large = Picture::new(PixelFormat::Rgb, (4, 3), strides, Colorimetry::default(), planes).unwrap();
    let small = |seed| picture(PixelFormat::I420, (30, 20), seed);
    let taken = look(&mut *lane, &[small(1), large, small(2)]).unwrap();
    assert_eq!(taken, [true, false, true]);
    assert!(bench.fake().used() < 1 << 20 && bench.fake().locked() < 1 << 20);
    drop(lane);
    bench.assert_given_back();
}

#[test]
fn without_memory_to_grow_a_batch_is_left_to_the_cpu_and_asked_for_again_later() {
    for call in [Call::AllocDevice, Call::AllocHost] {
        let bench = bench();
        let mut lane = bench.open();
        bench.fake().fail(call, 0, ErrorKind::OutOfMemory);
        let large = || [picture(PixelFormat::Nv12, (60, 40), 1), picture(PixelFormat::Rgb, (60, 40), 2)];
        assert_eq!(look(&mut *lane, &large()).unwrap(), [false, false], "{call:?}");
        let fits = [picture(PixelFormat::Nv12, (10, 10), 1), picture(PixelFormat::Rgb, (60, 40), 2)];
        assert_eq!(look(&mut *lane, &fits).unwrap(), [true, false], "what there is room for is taken");
        for batch in 0..255 {
            assert_eq!(look(&mut *lane, &large()).unwrap(), [false, false], "batch {batch}");
        }
        assert_eq!(bench.errors("out_of_memory"), 1.0);
        assert_eq!(look(&mut *lane, &large()).unwrap(), [true, true]);
        assert_eq!(bench.engine.limits().max_batch, 8, "batches are as large as before");
        drop(lane);
        bench.assert_given_back();
    }
}

#[test]
fn a_batch_in_pieces_has_every_picture_in_its_place() {
    let bench = bench();
    bench.fake().fail(Call::Enqueue, 0, ErrorKind::OutOfMemory);
    let mut lane = bench.open();
    for round in 0..20 {
        let readable: Vec<_> = (0..8).map(|place| (place * 7 + round) % 5 != 0).collect();
        let some = |(place, readable): (usize, &bool)| {
            let seed = (round * 8 + place) as u64;
            if *readable { picture(FORMATS[place % 3], (40, 30), seed) } else { unreadable(seed) }
        };
        let pictures: Vec<_> = readable.iter().enumerate().map(some).collect();
        let runs = bench.fake().calls(Call::CopyOut);
        assert_eq!(look(&mut *lane, &pictures).unwrap(), readable);
        assert_eq!(bench.fake().calls(Call::CopyOut) - runs, 2);
    }
    drop(lane);
    bench.assert_given_back();
}

#[test]
fn a_kernel_that_cannot_be_loaded_leaves_it_to_the_cpu() {
    for kind in [ErrorKind::Other, ErrorKind::OutOfMemory] {
        let bench = bench();
        bench.fake().fail(Call::LoadKernel, 0, kind);
        let mut lane = bench.open();
        assert_eq!(look(&mut *lane, &[picture(PixelFormat::Nv12, (40, 30), 1)]).unwrap(), [false]);
        assert_eq!((bench.fake().calls(Call::Letterbox), bench.engine.limits().max_batch), (0, 8));
        drop(lane);
        bench.assert_given_back();
    }
}

#[test]
fn a_kernel_that_cannot_be_launched_leaves_it_to_the_cpu() {
    for kind in [ErrorKind::Other, ErrorKind::OutOfMemory] {
        // While the lane is opened, and at work.
        for opened in [false, true] {
            let bench = bench();
            let lane = opened.then(|| bench.open());
            bench.fake().fail(Call::Letterbox, 0, kind);
            let mut lane = lane.unwrap_or_else(|| bench.open());
            let pictures = [picture(PixelFormat::Nv12, (40, 30), 1), unreadable(2)];
            if opened {
                let error = look(&mut *lane, &pictures).unwrap_err().to_string();
                assert!(error.contains("GPU 0 (Fake GPU)") && error.contains("at Letterbox"), "{error}");
            }
            assert_eq!(look(&mut *lane, &pictures).unwrap(), [false, false]);
            assert_eq!(bench.engine.limits().max_batch, 8, "its batches are not at fault");
            drop(lane);
            bench.assert_given_back();
        }
    }
}

#[test]
fn a_launch_that_spoils_the_context_costs_the_lane_and_comes_back_with_a_new_one() {
    let bench = bench();
    let mut lane = bench.open();
    bench.fake().fail(Call::Letterbox, 0, ErrorKind::Sticky);
    let pictures = [picture(PixelFormat::Nv12, (40, 30), 1)];
    let error = look(&mut *lane, &pictures).unwrap_err().to_string();
    assert!(error.contains("broke down"), "{error}");
    look(&mut *lane, &[picture(PixelFormat::Rgb, (90, 90), 1)]).unwrap_err();
    drop(lane);
    assert_eq!(bench.fake().calls(Call::Reset), 1);
    bench.assert_given_back();
    let mut lane = bench.open();
    assert_eq!(look(&mut *lane, &pictures).unwrap(), [true]);
    drop(lane);
    bench.assert_given_back();
}

#[test]
fn a_failed_run_leaves_nothing_under_way() {
    for call in [Call::CopyIn, Call::Record, Call::Enqueue, Call::CopyOut, Call::Elapsed, Call::Synchronize] {
        for after in 0..3 {
            let bench = bench_with(PLENTY, |setup| setup.graphs = false);
            let mut lane = bench.open();
            bench.fake().fail(call, after, ErrorKind::Other);
            for seed in 0..5 {
                let pictures =
                    [picture(PixelFormat::Nv12, (40 + 9 * seed as u32, 30), seed), unreadable(seed)];
                // It fails or is right, and the memory may be used and made anew after it.
                drop(look(&mut *lane, &pictures));
            }
            look(&mut *lane, &[picture(PixelFormat::I420, (99, 99), 9)]).unwrap();
            drop(lane);
            bench.assert_given_back();
        }
    }
}

#[test]
fn what_was_taken_and_not_run_is_forgotten() {
    let bench = bench();
    let mut lane = bench.open();
    let stale: Vec<_> = (0..8).map(|seed| picture(PixelFormat::Rgb, (50, 50), seed)).collect();
    lane.take(&stale.iter().collect::<Vec<_>>());
    let pictures = [unreadable(1), picture(PixelFormat::Rgb, (20, 20), 2), unreadable(3)];
    assert_eq!(look(&mut *lane, &pictures).unwrap(), [false, true, false]);
    // The next run has not been asked to take anything.
    let only = expected(&stale[0], SHAPE, false);
    lane.input()[..only.len()].copy_from_slice(&only);
    let mut right = [0.0; 12];
    digest(&only, &mut right);
    assert_eq!(lane.infer(1).unwrap().data, right);
    drop(lane);
    bench.assert_given_back();
}

#[test]
fn a_thousand_openings_leave_nothing_behind() {
    let bench = bench();
    for round in 0..1000_u64 {
        let mut lane = bench.open();
        let side = 1 + (round % 40) as u32;
        let taken = look(&mut *lane, &[picture(FORMATS[round as usize % 3], (side, 41 - side), round)]);
        assert_eq!(taken.unwrap(), [true]);
        drop(lane);
        assert_eq!((bench.fake().used(), bench.fake().locked()), (0, 0), "round {round}");
    }
    bench.assert_given_back();
    let calls = [Call::LoadKernel, Call::UnloadKernel].map(|call| bench.fake().calls(call));
    assert_eq!(calls, [1000, 1000]);
}

#[test]
fn whatever_fails_while_a_lane_opens_everything_is_given_back() {
    for call in Call::FALLIBLE {
        for kind in ErrorKind::ALL {
            for after in 0..6 {
                let bench = bench();
                bench.fake().fail(call, after, kind);
                let opened = bench.openings();
                assert!(opened >= 2, "{opened} of 3 with {call:?} failing after {after} with {kind:?}");
            }
        }
    }
}

#[test]
fn the_time_of_the_preprocessing_is_the_gpus_own() {
    let bench = bench();
    let mut lane = bench.open();
    let step = |name: &str| {
        let family = bench.family("centerx_gpu_step_seconds");
        let of_step = |metric: &&prometheus::proto::Metric| metric.get_label()[0].value() == name;
        let histogram = family.get_metric().iter().find(of_step).unwrap().get_histogram().clone();
        (histogram.get_sample_count(), histogram.get_sample_sum())
    };
    let before = ["copy_in", "preprocess", "compute"].map(step);
    for seed in 0..10 {
        look(&mut *lane, &[picture(PixelFormat::Nv12, (40, 30), seed)]).unwrap();
    }
    let now = ["copy_in", "preprocess", "compute"].map(step);
    for ((before, now), expected) in before.into_iter().zip(now).zip([0.001, 0.0005, 0.002]) {
        assert_eq!(now.0 - before.0, 10);
        assert!((now.1 - before.1 - 10.0 * expected).abs() < 1e-9, "{before:?} {now:?}");
    }
    drop(lane);
    bench.assert_given_back();
}
