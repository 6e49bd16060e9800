//! Too little memory, and memory given back.

use super::super::ErrorKind;
use super::super::fake::{Call, FakeGpu, FakePlan};
use super::{Bench, PLENTY, SHAPE, look, marks, plan};
use crate::engine::{Engine, EngineError};

/// Bytes of the plan's weights.
const WEIGHTS: u64 = 10_000;
/// Bytes it takes for each picture of a batch, with input and output.
const PICTURE: u64 = 1_000;

fn hungry() -> FakePlan {
    let tensors = SHAPE.input_bytes() + SHAPE.output_values() * size_of::<f32>();
    plan().takes(WEIGHTS, PICTURE - tensors as u64)
}

fn bench(memory: u64) -> Bench {
    Bench::with(vec![FakeGpu::new(0, memory)], hungry(), |_| {})
}

#[test]
fn a_lane_takes_what_it_needs_and_weights_are_there_once() {
    let bench = bench(PLENTY);
    let lanes = [bench.open(), bench.open()];
    assert_eq!(bench.fake().used(), WEIGHTS + 2 * 8 * PICTURE);
    let tensors = SHAPE.input_bytes() + SHAPE.output_values() * size_of::<f32>();
    assert_eq!(bench.fake().locked(), 2 * 8 * tensors);
    assert_eq!(bench.fake().calls(Call::Load), 1);
    drop(lanes);
    bench.assert_given_back();
}

#[test]
fn with_too_little_memory_batches_are_run_in_pieces() {
    // Two lanes of 8 pictures do not fit, two of 4 neither, one of 8 and one of 2 do.
    let bench = bench(WEIGHTS + 11 * PICTURE);
    let mut first = bench.open();
    assert_eq!(bench.engine.limits().max_batch, 8);
    let mut second = bench.open();
    let limits = bench.engine.limits();
    assert_eq!((limits.max_batch, limits.preferred_batch), (2, 2), "who asks now is told");
    assert_eq!(bench.fake().used(), WEIGHTS + 10 * PICTURE);
    assert!(bench.errors("out_of_memory") >= 2.0);
    for batch in 1..=8 {
        let before = bench.fake().calls(Call::CopyIn);
        look(&mut *second, &marks(batch, 3)).unwrap();
        assert_eq!(bench.fake().calls(Call::CopyIn) - before, batch.div_ceil(2) as u64);
        look(&mut *first, &marks(batch, 4)).unwrap();
    }
    drop((first, second));
    bench.assert_given_back();
}

#[test]
fn where_not_even_one_picture_fits_the_lane_is_refused_with_the_cure() {
    for memory in [WEIGHTS / 2, WEIGHTS + PICTURE / 2] {
        let bench = bench(memory);
        let error = bench.engine.open_lane().err().unwrap();
        assert!(matches!(error, EngineError::Load { .. }), "{error}");
        let error = error.to_string();
        assert!(error.contains("model yard") && error.contains("GPU 0 (Fake GPU)"), "{error}");
        assert!(
            error.contains("CUDA_ERROR_OUT_OF_MEMORY") && error.contains("fewer models or lanes"),
            "{error}"
        );
        bench.assert_given_back();
    }
}

#[test]
fn memory_that_runs_out_while_warming_up_lowers_the_batch_too() {
    let bench = bench(PLENTY);
    bench.fake().fail(Call::Enqueue, 0, ErrorKind::OutOfMemory);
    let mut lane = bench.open();
    assert_eq!(bench.engine.limits().max_batch, 4);
    look(&mut *lane, &marks(8, 1)).unwrap();
    drop(lane);
    bench.assert_given_back();
}

#[test]
fn memory_that_runs_out_in_a_run_costs_that_batch_and_lowers_the_next() {
    let bench = bench(PLENTY);
    let mut lane = bench.open();
    bench.fake().fail(Call::Launch, 0, ErrorKind::OutOfMemory);
    let error = look(&mut *lane, &marks(8, 1)).unwrap_err();
    assert!(matches!(error, EngineError::Run(_)), "{error}");
    let error = error.to_string();
    assert!(error.contains("too little memory") && error.contains("in pieces of 4"), "{error}");
    assert!(error.contains("fewer models or lanes"), "{error}");
    let before = bench.fake().calls(Call::CopyIn);
    look(&mut *lane, &marks(8, 2)).unwrap();
    assert_eq!(bench.fake().calls(Call::CopyIn) - before, 2);
    assert_eq!(bench.errors("out_of_memory"), 1.0);
    drop(lane);
    bench.assert_given_back();
}

#[test]
fn a_thousand_openings_leave_nothing_behind() {
    let bench = bench(PLENTY);
    for round in 0..1000 {
        let mut lanes = [bench.open(), bench.open()];
        look(&mut *lanes[round % 2], &marks(1 + round % 8, round as u8)).unwrap();
        drop(lanes);
        assert_eq!((bench.fake().used(), bench.fake().locked()), (0, 0), "round {round}");
    }
    bench.assert_given_back();
    assert_eq!(bench.fake().calls(Call::Load), 1000);
}

#[test]
fn whatever_fails_while_a_lane_opens_everything_is_given_back() {
    for call in Call::FALLIBLE {
        for after in 0..6 {
            let bench = bench(PLENTY);
            bench.fake().fail(call, after, ErrorKind::Other);
            let opened = bench.openings();
            assert!(opened >= 2, "{opened} of 3 with {call:?} failing after {after}");
        }
    }
}
