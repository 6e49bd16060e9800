//! Several GPUs, and what is shown of them.

use std::sync::Arc;

use prometheus::Registry;

use super::super::fake::{Call, FakeGpu};
use super::super::watch::{self, Watcher};
use super::super::{ErrorKind, Gpu, Metrics};
use super::{Bench, PLENTY, look, marks, plan};
use crate::engine::Engine;

#[test]
fn lanes_are_spread_evenly_and_come_back_to_where_they_left() {
    let bench = Bench::new(3);
    assert_eq!(bench.engine.limits().lanes, 6);
    let mut lanes: Vec<_> = (0..6).map(|_| bench.open()).collect();
    assert_eq!(bench.engine.lanes(), [2, 2, 2]);
    assert!(bench.fakes.iter().all(|fake| fake.calls(Call::Load) == 1));
    for (index, lane) in lanes.iter_mut().enumerate() {
        look(&mut **lane, &marks(5, index as u8)).unwrap();
    }
    // The second lane of all was opened on the second device.
    drop(lanes.remove(1));
    assert_eq!(bench.engine.lanes(), [2, 1, 2]);
    lanes.push(bench.open());
    assert_eq!(bench.engine.lanes(), [2, 2, 2]);
    drop(lanes);
    bench.assert_given_back();
}

#[test]
fn one_gpu_that_breaks_down_leaves_the_others_alone() {
    let bench = Bench::new(2);
    let mut lanes: Vec<_> = (0..4).map(|_| bench.open()).collect();
    bench.fakes[1].fail(Call::Synchronize, 0, ErrorKind::Sticky);
    let failed: Vec<_> = lanes.iter_mut().map(|lane| look(&mut **lane, &marks(2, 1)).is_err()).collect();
    assert_eq!(failed, [false, true, false, true], "both lanes of the second device");
    (0..10).for_each(|round| look(&mut *lanes[0], &marks(8, round)).unwrap());
    drop(lanes);
    bench.assert_given_back();
}

#[test]
fn a_gpu_that_cannot_be_opened_is_named() {
    let bench = Bench::new(2);
    let _first = bench.open();
    bench.fakes[1].fail(Call::Retain, 0, ErrorKind::Other);
    let error = bench.refusal();
    assert!(error.contains("GPU 1 (Fake GPU): fake call failed: CUDA_ERROR_INVALID_VALUE"), "{error}");
    assert_eq!(bench.engine.lanes(), [1, 0]);
    bench.open();
    bench.fakes[1].assert_given_back();
}

#[test]
fn memory_and_utilisation_are_shown_while_someone_works_there() {
    let registry = Registry::new();
    let metrics = Metrics::register(&registry).unwrap();
    let fake = FakeGpu::new(3, 50_000);
    let gpu = Gpu::new(fake.device(), metrics.clone());
    let read = |name: &str| -> Vec<f64> {
        let families = registry.gather();
        let family = families.iter().find(|family| family.name() == name);
        let metrics = family.map(|family| family.get_metric()).unwrap_or_default();
        assert!(metrics.iter().all(|metric| metric.get_label()[0].value() == "3"));
        metrics.iter().map(|metric| metric.get_gauge().get_value()).collect()
    };
    watch::look(&gpu, &metrics);
    assert!(read("centerx_gpu_memory_bytes").is_empty(), "no context, no number, and none is made for it");
    assert_eq!(read("centerx_gpu_utilization_ratio"), [0.25]);
    let context = gpu.retain().unwrap();
    let memory = super::super::owned::DeviceMemory::new(&context, 20_000).unwrap();
    watch::look(&gpu, &metrics);
    assert_eq!(read("centerx_gpu_memory_bytes"), [30_000.0, 20_000.0], "free, used");
    drop((memory, context));
    watch::look(&gpu, &metrics);
    fake.assert_given_back();
}

#[test]
fn the_watcher_looks_at_once_and_ends_when_it_is_dropped() {
    let metrics = Metrics::register(&Registry::new()).unwrap();
    let fake = FakeGpu::new(0, PLENTY);
    let gpu = Gpu::new(fake.device(), metrics.clone());
    let context = gpu.retain().unwrap();
    let watcher =
        Watcher::start(vec![Arc::clone(&gpu)], metrics, std::time::Duration::from_secs(3600)).unwrap();
    while fake.calls(Call::Memory) == 0 {
        std::thread::yield_now();
    }
    drop(watcher);
    while Arc::strong_count(&gpu) > 1 {
        std::thread::yield_now();
    }
    drop(context);
    fake.assert_given_back();
}

#[test]
fn no_gpu_is_no_engine() {
    let setup = super::Setup::new("yard", "fake", super::PROMISE);
    let error = super::TensorRtEngine::new(&[], plan().plan(), setup).err().unwrap().to_string();
    assert!(error.contains("no GPU to run it on"), "{error}");
}
