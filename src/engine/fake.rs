//! An engine that does as it is told: find this, stand still, fail, panic. For tests that need it to.

use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicUsize, Ordering};
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
    time: Duration,
    faults: Vec<(RangeInclusive<usize>, Fault)>,
    stuck_opening: Option<(usize, Gate)>,
    runs: Arc<AtomicUsize>,
    opened: Arc<AtomicUsize>,
}

/// What goes wrong in a run.
#[derive(Clone, Debug)]
pub enum Fault {
    /// It panics.
    Panic,
    /// It stands still until the gate is opened, and then does as if nothing had been.
    Hang(Gate),
    /// It fails.
    Error,
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
        let (runs, opened, time) = Default::default();
        Self {
            input,
            limits,
            rows: Vec::new(),
            error: None,
            gate: None,
            time,
            faults: Vec::new(),
            stuck_opening: None,
            runs,
            opened,
        }
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

    /// Takes so long for every run, whatever the batch, and none of a core's time.
    pub fn takes(mut self, time: Duration) -> Self {
        self.time = time;
        self
    }

    /// Holds every run at `gate`.
    pub fn held_by(mut self, gate: Gate) -> Self {
        self.gate = Some(gate);
        self
    }

    /// Has a fault in these runs, counted from 1 over all lanes.
    pub fn faulty(mut self, runs: RangeInclusive<usize>, fault: Fault) -> Self {
        self.faults.push((runs, fault));
        self
    }

    /// Stands still over opening its lane of this number, counted from 1, until the gate is opened.
    pub fn stuck_opening(mut self, number: usize, gate: Gate) -> Self {
        self.stuck_opening = Some((number, gate));
        self
    }

    /// Runs begun so far, of all lanes and clones.
    pub fn runs(&self) -> usize {
        self.runs.load(Ordering::SeqCst)
    }

    /// Lanes opened so far, by all clones.
    pub fn opened(&self) -> usize {
        self.opened.load(Ordering::SeqCst)
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
        let number = self.opened.fetch_add(1, Ordering::SeqCst) + 1;
        if let Some((_, gate)) = self.stuck_opening.as_ref().filter(|(stuck, _)| *stuck == number) {
            gate.pass();
        }
        let size = self.input.0 as usize * self.input.1 as usize * 3 * self.limits.max_batch;
        Ok(Box::new(FakeLane { engine: self.clone(), input: vec![0; size], output: Vec::new() }))
    }
}

/// Nobody notifies, so this is the time itself.
fn wait(time: Duration) {
    let (never, asleep) = (Condvar::new(), Mutex::new(()));
    let guard = asleep.lock().unwrap_or_else(PoisonError::into_inner);
    if !time.is_zero() {
        drop(never.wait_timeout_while(guard, time, |()| true));
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
        let run = self.engine.runs.fetch_add(1, Ordering::SeqCst) + 1;
        match self.engine.faults.iter().find(|(runs, _)| runs.contains(&run)).map(|(_, fault)| fault) {
            Some(Fault::Panic) => panic!("run {run} is to panic"),
            Some(Fault::Hang(gate)) => gate.pass(),
            Some(Fault::Error) => return Err(EngineError::Run(format!("run {run} is to fail"))),
            None => {}
        }
        if let Some(gate) = &self.engine.gate {
            gate.pass();
        }
        wait(self.engine.time);
        if let Some(error) = &self.engine.error {
            return Err(EngineError::Run(error.clone()));
        }
        self.output = self.engine.rows.as_flattened().repeat(batch);
        Ok(Rows { data: &self.output, values: VALUES, top_k: self.engine.rows.len() })
    }
}
