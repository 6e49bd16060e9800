//! The engine over fake GPUs that check every call.

use std::sync::Arc;

use prometheus::Registry;
use prometheus::proto::MetricFamily;

use super::fake::{FakeGpu, FakePlan};
use super::{Gpu, Metrics, PlanShape, Setup, TensorRtEngine};
use crate::engine::check::Promise;
use crate::engine::tensorrt::preprocess::nvrtc::Image;
use crate::engine::{Engine, EngineError, Lane};

mod batches;
mod devices;
mod memory;
mod pixels;
mod posts;
mod sequences;
mod sticky;

const SHAPE: PlanShape = PlanShape { input: (4, 2), top_k: 2, values: 6, max_batch: 8, optimum: 4 };
const PROMISE: Promise = Promise { input: (4, 2), top_k: 2, classes: 2 };
/// More than any test needs.
const PLENTY: u64 = 1 << 30;

/// Finds in each picture one thing whose place tells the first and the last byte, and nothing else.
fn network(input: &[u8], output: &mut [f32]) {
    let (x, y) = (f32::from(input[0]), f32::from(input[input.len() - 1]));
    output.copy_from_slice(&[x, y, x + 1.0, y + 1.0, 0.5, 1.0, 0.0, 0.0, 0.0, 0.0, -1.0, 0.0]);
}

/// The preprocessing, as far as a fake GPU wants to know it.
fn kernel() -> Option<Arc<Image>> {
    Some(Arc::new(Image::fake(b"kernel")))
}

fn plan() -> FakePlan {
    FakePlan::new(SHAPE, network)
}

/// An engine over fake GPUs.
struct Bench {
    fakes: Vec<FakeGpu>,
    engine: TensorRtEngine,
    registry: Registry,
}

impl Bench {
    fn new(gpus: usize) -> Self {
        Self::with((0..gpus).map(|index| FakeGpu::new(index, PLENTY)).collect(), plan(), |_| {})
    }

    fn with(fakes: Vec<FakeGpu>, plan: FakePlan, change: impl FnOnce(&mut Setup)) -> Self {
        let registry = Registry::new();
        let metrics = Metrics::register(&registry).unwrap();
        let gpus: Vec<_> = fakes.iter().map(|fake| Gpu::new(fake.device(), metrics.clone())).collect();
        let mut setup = Setup::new("yard", "fake", PROMISE);
        change(&mut setup);
        let engine = TensorRtEngine::new(&gpus, plan.plan(), setup).unwrap();
        Self { fakes, engine, registry }
    }

    fn fake(&self) -> &FakeGpu {
        &self.fakes[0]
    }

    fn open(&self) -> Box<dyn Lane> {
        self.engine.open_lane().unwrap()
    }

    fn refusal(&self) -> String {
        self.engine.open_lane().err().unwrap().to_string()
    }

    /// Opens a lane three times, each after the one before has given everything back, and tells how often it did.
    fn openings(&self) -> usize {
        let open = |_: &usize| {
            let opened = self.engine.open_lane().is_ok();
            self.assert_given_back();
            opened
        };
        (0..3).filter(open).count()
    }

    fn family(&self, name: &str) -> MetricFamily {
        self.registry.gather().into_iter().find(|family| family.name() == name).unwrap()
    }

    fn errors(&self, kind: &str) -> f64 {
        let of_kind = |metric: &&prometheus::proto::Metric| metric.get_label()[0].value() == kind;
        let family = self.family("centerx_gpu_errors_total");
        family.get_metric().iter().find(of_kind).unwrap().get_counter().get_value()
    }

    /// All lanes are gone, and so is everything of theirs.
    fn assert_given_back(&self) {
        self.fakes.iter().for_each(FakeGpu::assert_given_back);
        assert_eq!(self.engine.lanes().iter().sum::<usize>(), 0);
    }
}

/// Runs pictures whose first and last bytes are these, and checks what comes back.
fn look(lane: &mut dyn Lane, marks: &[(u8, u8)]) -> Result<(), EngineError> {
    let size = SHAPE.input_bytes();
    for (picture, &(first, last)) in lane.input().chunks_exact_mut(size).zip(marks) {
        picture.fill(7);
        (picture[0], picture[size - 1]) = (first, last);
    }
    let rows = lane.infer(marks.len())?;
    for (index, &(x, y)) in marks.iter().enumerate() {
        let (x, y) = (f32::from(x), f32::from(y));
        let row = rows.picture(index).next().unwrap();
        assert_eq!(row, [x, y, x + 1.0, y + 1.0, 0.5, 1.0], "picture {index} of {}", marks.len());
    }
    assert_eq!(rows.data.len(), marks.len() * SHAPE.output_values());
    Ok(())
}

/// So many pictures, none like another, nor like those of another `seed`.
fn marks(batch: usize, seed: u8) -> Vec<(u8, u8)> {
    (0..batch as u8).map(|index| (seed.wrapping_mul(8).wrapping_add(index), seed ^ index)).collect()
}

/// An engine that is shared, as posts want it.
fn shared(bench: Bench) -> (Vec<FakeGpu>, Arc<dyn Engine>, Registry) {
    (bench.fakes, Arc::new(bench.engine), bench.registry)
}
