//! Whatever happens in whatever order: no call is wrong and nothing is left behind.

use proptest::prelude::*;

use super::super::ErrorKind;
use super::super::fake::{Call, FakeGpu, FakePlan};
use super::pixels::{look_at, picture};
use super::{Bench, SHAPE, kernel, look, marks, network, plan};
use crate::engine::Engine;
use crate::engine::tensorrt::preprocess::MAX_SIDE;
use crate::frame::PixelFormat;

#[derive(Clone, Debug)]
enum Deed {
    Open,
    Run { lane: usize, batch: usize },
    Look { lane: usize, pictures: Vec<(PixelFormat, u32, u32)> },
    Close { lane: usize },
    Fail { gpu: usize, call: Call, after: u64, kind: ErrorKind },
}

fn deed() -> impl Strategy<Value = Deed> {
    let call = prop::sample::select(Call::FALLIBLE.to_vec());
    let kind = prop::sample::select(ErrorKind::ALL.to_vec());
    prop_oneof![
        3 => Just(Deed::Open),
        6 => (0..8_usize, 1..=8_usize).prop_map(|(lane, batch)| Deed::Run { lane, batch }),
        6 => (0..8_usize, prop::collection::vec(pictured(), 1..=8))
            .prop_map(|(lane, pictures)| Deed::Look { lane, pictures }),
        2 => (0..8_usize).prop_map(|lane| Deed::Close { lane }),
        2 => (0..2_usize, call, 0..12_u64, kind)
            .prop_map(|(gpu, call, after, kind)| Deed::Fail { gpu, call, after, kind }),
    ]
}

/// A picture, now and then one that the kernel cannot read.
fn pictured() -> impl Strategy<Value = (PixelFormat, u32, u32)> {
    let format = prop::sample::select(vec![PixelFormat::I420, PixelFormat::Nv12, PixelFormat::Rgb]);
    let sides = prop_oneof![12 => (1..24_u32, 1..24_u32), 1 => Just((MAX_SIDE + 1, 1))];
    (format, sides).prop_map(|(format, (width, height))| (format, width, height))
}

/// A plan of which about three lanes of full batches fit on a device.
fn hungry() -> FakePlan {
    let tensors = SHAPE.input_bytes() + SHAPE.output_values() * size_of::<f32>();
    plan().takes(5_000, 1_000 - tensors as u64)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn nothing_is_misused_and_nothing_left(
        deeds in prop::collection::vec(deed(), 1..60),
        graphs: bool,
        on_gpu: bool,
    ) {
        let fakes = (0..2).map(|index| FakeGpu::new(index, 30_000)).collect();
        let bench = Bench::with(fakes, hungry(), |setup| {
            (setup.graphs, setup.kernel) = (graphs, kernel().filter(|_| on_gpu));
        });
        let mut lanes = Vec::new();
        for (number, deed) in deeds.into_iter().enumerate() {
            match deed {
                Deed::Open => lanes.extend(bench.engine.open_lane().ok()),
                Deed::Run { lane, batch } => {
                    let count = lanes.len().max(1);
                    if let Some(lane) = lanes.get_mut(lane % count) {
                        // It may fail; what comes back without an error is right.
                        drop(look(&mut **lane, &marks(batch, number as u8)));
                    }
                }
                Deed::Look { lane, pictures } => {
                    let pictures: Vec<_> = pictures
                        .into_iter()
                        .map(|(format, width, height)| picture(format, (width, height), number as u64))
                        .collect();
                    let count = lanes.len().max(1);
                    if let Some(lane) = lanes.get_mut(lane % count) {
                        drop(look_at(&mut **lane, SHAPE, network, &pictures));
                    }
                }
                Deed::Close { lane } if !lanes.is_empty() => drop(lanes.swap_remove(lane % lanes.len())),
                Deed::Close { .. } => {}
                Deed::Fail { gpu, call, after, kind } => bench.fakes[gpu].fail(call, after, kind),
            }
            bench.fakes.iter().for_each(FakeGpu::assert_well_used);
        }
        drop(lanes);
        bench.assert_given_back();
    }
}
