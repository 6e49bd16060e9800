//! A device and a plan for tests, which check every call.
//!
//! Work is put off until a stream is synchronised, as late as a real device may do it: memory that is touched too
//! early shows by wrong values. Every call is checked against what is there and under way; what a real device would
//! answer with garbage or a crash is written down as a misuse ([`FakeGpu::assert_well_used`]). Time is virtual: a
//! device copies in, computes and copies out side by side, one thing of each kind at a time.

#![allow(unsafe_code)]

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;

use super::super::preprocess::Batch;
use super::api::{Capability, Device, DeviceInfo};
use super::error::{DeviceError, ErrorKind};

mod checks;
mod device;
mod kernel;
mod plan;

pub use plan::FakePlan;

/// Codes that the fake fails with.
const OUT_OF_MEMORY: (u32, &str) = (2, "CUDA_ERROR_OUT_OF_MEMORY");
const ILLEGAL_ADDRESS: (u32, &str) = (700, "CUDA_ERROR_ILLEGAL_ADDRESS");
const INVALID_VALUE: (u32, &str) = (1, "CUDA_ERROR_INVALID_VALUE");

/// A call that is counted and can be told to fail, by the name of its method.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    Retain,
    Release,
    Reset,
    MakeCurrent,
    Memory,
    CreateStream,
    DestroyStream,
    Synchronize,
    AllocDevice,
    FreeDevice,
    AllocHost,
    FreeHost,
    CopyIn,
    CopyOut,
    CreateEvent,
    DestroyEvent,
    Record,
    Elapsed,
    BeginCapture,
    EndCapture,
    Launch,
    DestroyGraph,
    LoadKernel,
    UnloadKernel,
    Letterbox,
    Load,
    OpenExecution,
    Bind,
    SetBatch,
    Enqueue,
}

impl Call {
    /// Those that may fail on a healthy device, for tests that pick one.
    pub const FALLIBLE: [Self; 20] = [
        Self::Retain,
        Self::CreateStream,
        Self::Synchronize,
        Self::AllocDevice,
        Self::AllocHost,
        Self::CopyIn,
        Self::CopyOut,
        Self::CreateEvent,
        Self::Record,
        Self::Elapsed,
        Self::BeginCapture,
        Self::EndCapture,
        Self::Launch,
        Self::LoadKernel,
        Self::Letterbox,
        Self::Load,
        Self::OpenExecution,
        Self::Bind,
        Self::SetBatch,
        Self::Enqueue,
    ];
}

/// How long things take, in virtual nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct Costs {
    /// A copy, each.
    pub copy: u64,
    /// A run, whatever the batch.
    pub run: u64,
    /// A launch of the preprocessing, each.
    pub letterbox: u64,
}

/// A scripted GPU. Clones are the same.
#[derive(Clone)]
pub struct FakeGpu {
    info: DeviceInfo,
    state: Arc<Mutex<State>>,
}

/// What the fake knows.
struct State {
    /// Retains less releases.
    retained: usize,
    /// Of the present context; those of earlier ones are good for nothing.
    generation: u64,
    sticky: Option<DeviceError>,
    memory: u64,
    used: u64,
    next: usize,
    streams: HashMap<usize, FakeStream>,
    events: HashMap<usize, Option<u64>>,
    graphs: HashMap<usize, Vec<Op>>,
    kernels: HashSet<usize>,
    device: BTreeMap<u64, Vec<u8>>,
    host: BTreeMap<usize, HostBlock>,
    sources: HashMap<usize, u64>,
    executions: HashMap<usize, FakeExecution>,
    calls: HashMap<Call, u64>,
    failures: Vec<(Call, u64, ErrorKind)>,
    misuse: Vec<String>,
    costs: Costs,
    free_at: [u64; 3],
    busy: u64,
}

/// Page-locked memory: 8 bytes aligned, freed by hand.
struct HostBlock {
    words: *mut [u64],
    bytes: usize,
}

// SAFETY: it owns its memory.
unsafe impl Send for HostBlock {}

impl Drop for HostBlock {
    fn drop(&mut self) {
        // SAFETY: it came from a box, and goes once.
        drop(unsafe { Box::from_raw(self.words) });
    }
}

#[derive(Default)]
struct FakeStream {
    pending: Vec<Op>,
    /// By which thread, and what so far.
    capture: Option<(ThreadId, Vec<Op>)>,
    clock: u64,
}

/// A network: a picture's input, its output.
type Network = Arc<dyn Fn(&[u8], &mut [f32]) + Send + Sync>;

struct FakeExecution {
    source: usize,
    max_batch: usize,
    bound: Option<(u64, u64)>,
    batch: Option<usize>,
    bytes: u64,
    picture: (usize, usize),
    network: Network,
}

/// What is done when the stream is synchronised.
#[derive(Clone)]
enum Op {
    CopyIn { to: u64, from: usize, bytes: usize },
    CopyOut { to: usize, from: u64, bytes: usize },
    Run { execution: usize, batch: usize, input: u64, output: u64, picture: (usize, usize), network: Network },
    Letterbox { kernel: usize, batch: Batch, count: usize },
    Graph { graph: usize, ops: Vec<Op> },
    Record { event: usize, at: u64 },
}

impl FakeGpu {
    /// A device with so many bytes.
    pub fn new(index: usize, memory: u64) -> Self {
        let state = State {
            retained: 0,
            generation: 0,
            sticky: None,
            memory,
            used: 0,
            next: 1,
            streams: HashMap::new(),
            events: HashMap::new(),
            graphs: HashMap::new(),
            kernels: HashSet::new(),
            device: BTreeMap::new(),
            host: BTreeMap::new(),
            sources: HashMap::new(),
            executions: HashMap::new(),
            calls: HashMap::new(),
            failures: Vec::new(),
            misuse: Vec::new(),
            costs: Costs { copy: 1_000_000, run: 2_000_000, letterbox: 500_000 },
            free_at: [0; 3],
            busy: 0,
        };
        let info = DeviceInfo {
            index,
            name: "Fake GPU".into(),
            capability: Capability { major: 8, minor: 9 },
            memory,
            bus: format!("0000:0{index}:00.0"),
        };
        Self { info, state: Arc::new(Mutex::new(state)) }
    }

    /// As the engine takes it.
    pub fn device(&self) -> Arc<dyn Device> {
        Arc::new(self.clone())
    }

    /// Lets the call of this kind after `after` more fail. Sticky: and all after it, until the context is reset.
    pub fn fail(&self, call: Call, after: u64, kind: ErrorKind) {
        let mut state = self.state();
        let number = state.calls.get(&call).copied().unwrap_or(0) + after + 1;
        state.failures.push((call, number, kind));
    }

    /// How often something was called.
    pub fn calls(&self, call: Call) -> u64 {
        self.state().calls.get(&call).copied().unwrap_or(0)
    }

    /// Bytes in use on the device.
    pub fn used(&self) -> u64 {
        self.state().used
    }

    /// Bytes of the host that are locked.
    pub fn locked(&self) -> usize {
        self.state().host.values().map(|block| block.bytes).sum()
    }

    /// When all that was enqueued so far is done, in virtual nanoseconds.
    pub fn ends_at(&self) -> u64 {
        self.state().free_at.into_iter().max().unwrap_or(0)
    }

    /// What it would have taken one after the other.
    pub fn busy(&self) -> u64 {
        self.state().busy
    }

    /// What was done wrong so far.
    pub fn misuse(&self) -> Vec<String> {
        self.state().misuse.clone()
    }

    /// Whether a context is there.
    pub fn has_context(&self) -> bool {
        self.state().retained > 0
    }

    /// Nothing was done wrong.
    ///
    /// # Panics
    /// Something was.
    pub fn assert_well_used(&self) {
        let misuse = self.misuse();
        assert!(misuse.is_empty(), "misuse of GPU {}: {misuse:#?}", self.info.index);
    }

    /// Nothing was done wrong and everything was given back.
    ///
    /// # Panics
    /// Something was, or was not.
    pub fn assert_given_back(&self) {
        self.assert_well_used();
        assert_eq!((self.used(), self.locked(), self.has_context()), (0, 0, false));
        assert_eq!(self.state().leftovers(), "");
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a call and tells whether it fails. For those done in the context, see [`FakeGpu::inside`].
    fn called(&self, call: Call) -> Result<MutexGuard<'_, State>, DeviceError> {
        let mut state = self.state();
        state.count(call)?;
        Ok(state)
    }

    /// Counts a call that is only right in the device's context, and tells whether it fails.
    fn inside(&self, call: Call) -> Result<MutexGuard<'_, State>, DeviceError> {
        let mut state = self.state();
        let here = state.retained > 0 && checks::current() == Some((self.info.index, state.generation));
        state.insist(here, || format!("{call:?} outside the device's context"));
        state.count(call)?;
        Ok(state)
    }
}

/// An error of the fake's.
fn error(call: Call, kind: ErrorKind) -> DeviceError {
    let (code, name) = match kind {
        ErrorKind::OutOfMemory => OUT_OF_MEMORY,
        ErrorKind::Sticky => ILLEGAL_ADDRESS,
        ErrorKind::Other => INVALID_VALUE,
    };
    let error = DeviceError::cuda("", code, name);
    DeviceError { message: format!("{} at {call:?}", error.message), call: "fake call", ..error }
}
