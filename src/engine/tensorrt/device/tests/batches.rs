//! What a lane does with its batches: rows, overlap, graphs, times.

use super::super::fake::{Call, FakeGpu};
use super::super::{ErrorKind, PlanShape, TensorRtEngine};
use super::{Bench, PLENTY, SHAPE, look, marks, plan};
use crate::engine::{Engine, EngineError};

#[test]
fn every_picture_of_every_batch_gets_its_own_rows_on_both_lanes() {
    let bench = Bench::new(1);
    let mut lanes = [bench.open(), bench.open()];
    for round in 0..3 {
        for batch in (1..=8).chain((1..=8).rev()) {
            for (index, lane) in lanes.iter_mut().enumerate() {
                look(&mut **lane, &marks(batch, round * 2 + index as u8)).unwrap();
            }
        }
    }
    drop(lanes);
    bench.assert_given_back();
}

#[test]
fn a_batch_the_plan_does_not_take_is_refused() {
    let bench = Bench::new(1);
    let mut lane = bench.open();
    for batch in [0, 9] {
        let error = lane.infer(batch).unwrap_err().to_string();
        assert!(error.contains("the plan takes 1 to 8"), "{error}");
    }
    bench.fake().assert_well_used();
}

#[test]
fn two_lanes_hide_their_copies_behind_the_others_compute() {
    let run = |lanes: usize| {
        let bench = Bench::new(1);
        let mut open: Vec<_> = (0..lanes).map(|_| bench.open()).collect();
        let (begun, busy) = (bench.fake().ends_at(), bench.fake().busy());
        for round in 0..40 / lanes {
            open.iter_mut().for_each(|lane| look(&mut **lane, &marks(4, round as u8)).unwrap());
        }
        (bench.fake().ends_at() - begun, bench.fake().busy() - busy)
    };
    // A copy takes 1 ms each way and a run 2: one lane does one after the other, two compute all the time.
    let (alone, work) = run(1);
    assert_eq!((alone, work), (160_000_000, 160_000_000));
    let (together, work) = run(2);
    assert_eq!(work, 160_000_000);
    assert!(together <= 90_000_000, "{together} ns for 80 ms of compute");
}

#[test]
fn a_graph_is_captured_once_a_batch_size_in_use() {
    let bench = Bench::new(1);
    let mut lane = bench.open();
    // Opening has run batches of 8 and 1.
    assert_eq!(bench.fake().calls(Call::EndCapture), 2);
    for round in 0..5 {
        for batch in [1, 3, 8, 3] {
            look(&mut *lane, &marks(batch, round)).unwrap();
        }
    }
    assert_eq!(bench.fake().calls(Call::EndCapture), 3, "the size of 3 came, and no size twice");
    let (plain, launched) = (3, 5 * 4 - 1 + 2);
    assert_eq!(bench.fake().calls(Call::SetBatch), plain);
    assert_eq!(bench.fake().calls(Call::Enqueue), plain * 2, "plain, and into the capture");
    assert_eq!(bench.fake().calls(Call::Launch), launched, "the check runs twice as well");
    drop(lane);
    bench.assert_given_back();
}

#[test]
fn without_graphs_nothing_is_captured() {
    let bench = Bench::with(vec![FakeGpu::new(0, PLENTY)], plan(), |setup| setup.graphs = false);
    let mut lane = bench.open();
    (1..=8).for_each(|batch| look(&mut *lane, &marks(batch, 1)).unwrap());
    assert_eq!((bench.fake().calls(Call::BeginCapture), bench.fake().calls(Call::Launch)), (0, 0));
    drop(lane);
    bench.assert_given_back();
}

#[test]
fn a_capture_that_fails_costs_the_graphs_and_no_picture() {
    // The first plain run is the first enqueue, its capture the second.
    for (call, after) in [(Call::BeginCapture, 0), (Call::Enqueue, 1), (Call::EndCapture, 0)] {
        for kind in [ErrorKind::Other, ErrorKind::OutOfMemory] {
            let bench = Bench::new(1);
            bench.fake().fail(call, after, kind);
            let mut lane = bench.open();
            (1..=8).for_each(|batch| look(&mut *lane, &marks(batch, 1)).unwrap());
            assert_eq!(bench.fake().calls(Call::BeginCapture), 1, "{call:?}: it is not tried again");
            assert_eq!(bench.fake().calls(Call::Launch), 0);
            assert_eq!(bench.engine.limits().max_batch, 8);
            drop(lane);
            bench.assert_given_back();
        }
    }
}

#[test]
fn a_failed_run_leaves_nothing_under_way() {
    for call in [Call::CopyIn, Call::Record, Call::SetBatch, Call::Enqueue, Call::CopyOut, Call::Elapsed] {
        let bench = Bench::with(vec![FakeGpu::new(0, PLENTY)], plan(), |setup| setup.graphs = false);
        let mut lane = bench.open();
        bench.fake().fail(call, 0, ErrorKind::Other);
        let error = look(&mut *lane, &marks(3, 1)).unwrap_err();
        assert!(matches!(error, EngineError::Run(_)), "{error}");
        assert!(
            error.to_string().contains("GPU 0 (Fake GPU): fake call failed: CUDA_ERROR_INVALID_VALUE"),
            "{error}"
        );
        // Memory that is still being copied would show by the wrong rows.
        look(&mut *lane, &marks(5, 2)).unwrap();
        drop(lane);
        bench.assert_given_back();
    }
}

#[test]
fn the_times_of_the_steps_are_the_gpus_own() {
    let bench = Bench::new(1);
    let mut lane = bench.open();
    let family = bench.family("centerx_gpu_step_seconds");
    let runs = family.get_metric()[0].get_histogram().get_sample_count();
    (0..10).for_each(|round| look(&mut *lane, &marks(2, round)).unwrap());
    let family = bench.family("centerx_gpu_step_seconds");
    assert_eq!(family.get_metric().len(), 4);
    for metric in family.get_metric() {
        let step = metric.get_label()[0].value();
        let histogram = metric.get_histogram();
        if step == "preprocess" {
            assert_eq!(histogram.get_sample_count(), 0, "the CPU does that");
            continue;
        }
        assert_eq!(histogram.get_sample_count(), runs + 10, "{step}");
        let mean = histogram.get_sample_sum() / histogram.get_sample_count() as f64;
        let expected = if step == "compute" { 0.002 } else { 0.001 };
        assert!((mean - expected).abs() < 1e-9, "{step} takes {mean} s");
    }
}

#[test]
fn a_plan_that_is_not_what_the_metadata_promise_is_refused() {
    let refusal = |change: fn(&mut PlanShape)| {
        let mut shape = SHAPE;
        change(&mut shape);
        let plan = super::FakePlan::new(shape, super::network).plan();
        let metrics = super::Metrics::register(&prometheus::Registry::new()).unwrap();
        let gpus = [super::Gpu::new(FakeGpu::new(0, PLENTY).device(), metrics)];
        let setup = super::Setup::new("yard", "fake", super::PROMISE);
        TensorRtEngine::new(&gpus, plan, setup).err().unwrap().to_string()
    };
    assert!(
        refusal(|shape| shape.input = (8, 2)).contains("takes pictures of 8x2, and its metadata tell of 4x2")
    );
    assert!(refusal(|shape| shape.top_k = 5).contains("gives 5 detections a picture"));
    assert!(refusal(|shape| shape.values = 5).contains("gives 5 numbers a detection"));
    assert!(refusal(|shape| shape.optimum = 9).contains("for 9 pictures of at most 8"));
}
