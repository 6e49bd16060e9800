//! An engine that does as it is told: find this, take that long, fail. For tests that need it to.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::{Engine, EngineError, Lane, Limits, Rows};

/// Values a row of output.
const VALUES: usize = 6;

/// A scripted engine.
#[derive(Clone, Debug)]
pub struct FakeEngine {
    input: (u32, u32),
    limits: Limits,
    rows: Vec<[f32; VALUES]>,
    error: Option<String>,
    gate: Option<Gate>,
}

/// Holds every run of an engine until it is opened.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    /// Lets all runs pass, now and later.
    pub fn open(&self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.1.notify_all();
    }

    fn pass(&self) {
        let mut open = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        while !*open {
            open = self.0.1.wait(open).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl FakeEngine {
    /// An engine with input of (width, height) pixels, one lane and batch 1, that finds nothing.
    pub fn new(input: (u32, u32)) -> Self {
        let limits = Limits { max_batch: 1, preferred_batch: 1, max_queue_delay: Duration::ZERO, lanes: 1 };
        Self { input, limits, rows: Vec::new(), error: None, gate: None }
    }

    /// Finds these in every picture: x1, y1, x2, y2 in input pixels, score, class.
    pub fn finds(mut self, rows: Vec<[f32; VALUES]>) -> Self {
        self.rows = rows;
        self
    }

    /// Wants to be fed like this.
    pub fn limited(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Fails every run.
    pub fn fails(mut self, error: &str) -> Self {
        self.error = Some(error.into());
        self
    }

    /// Holds every run at `gate`.
    pub fn held_by(mut self, gate: Gate) -> Self {
        self.gate = Some(gate);
        self
    }
}

impl Engine for FakeEngine {
    fn description(&self) -> String {
        "fake".into()
    }

    fn limits(&self) -> Limits {
        self.limits
    }

    fn open_lane(&self) -> Result<Box<dyn Lane>, EngineError> {
        let size = self.input.0 as usize * self.input.1 as usize * 3 * self.limits.max_batch;
        Ok(Box::new(FakeLane { engine: self.clone(), input: vec![0; size], output: Vec::new() }))
    }
}

struct FakeLane {
    engine: FakeEngine,
    input: Vec<u8>,
    output: Vec<f32>,
}

impl Lane for FakeLane {
    fn input(&mut self) -> &mut [u8] {
        &mut self.input
    }

    fn infer(&mut self, batch: usize) -> Result<Rows<'_>, EngineError> {
        if let Some(gate) = &self.engine.gate {
            gate.pass();
        }
        if let Some(error) = &self.engine.error {
            return Err(EngineError::Run(error.clone()));
        }
        self.output = self.engine.rows.as_flattened().repeat(batch);
        Ok(Rows { data: &self.output, values: VALUES, top_k: self.engine.rows.len() })
    }
}
