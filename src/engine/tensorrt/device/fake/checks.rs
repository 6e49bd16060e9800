//! What the fake knows of right and wrong.

use std::cell::Cell;

use super::super::super::preprocess::Descriptor;
use super::{Call, Costs, DeviceError, ErrorKind, Op, State, error};

thread_local! {
    /// Device and generation of the thread's context.
    static CURRENT: Cell<Option<(usize, u64)>> = const { Cell::new(None) };
}

/// The calling thread's context.
pub(super) fn current() -> Option<(usize, u64)> {
    CURRENT.get()
}

pub(super) fn set_current(context: Option<(usize, u64)>) {
    CURRENT.set(context);
}

/// Bytes that an op reads and writes, on the device or the host.
struct Touch {
    device: bool,
    start: u64,
    bytes: usize,
    writes: bool,
}

impl Touch {
    fn collides(&self, other: &Self) -> bool {
        let ends = |touch: &Self| touch.start + touch.bytes as u64;
        let apart = ends(self) <= other.start || ends(other) <= self.start;
        self.device == other.device && !apart && (self.writes || other.writes)
    }
}

impl Op {
    fn touches(&self) -> Vec<Touch> {
        let device = |start: u64, bytes, writes| Touch { device: true, start, bytes, writes };
        let host = |start: usize, bytes, writes| Touch { device: false, start: start as u64, bytes, writes };
        match self {
            Self::CopyIn { to, from, bytes } => vec![host(*from, *bytes, false), device(*to, *bytes, true)],
            Self::CopyOut { to, from, bytes } => vec![device(*from, *bytes, false), host(*to, *bytes, true)],
            Self::Run { batch, input, output, picture, .. } => vec![
                device(*input, picture.0 * batch, false),
                device(*output, picture.1 * size_of::<f32>() * batch, true),
            ],
            // The planes are copied in one block with the descriptors, before it and on the same stream.
            Self::Letterbox { batch, count, .. } => vec![
                device(batch.pictures, count * size_of::<Descriptor>(), false),
                device(batch.target, count * batch.width as usize * batch.height as usize * 3, true),
            ],
            Self::Graph { ops, .. } => ops.iter().flat_map(Self::touches).collect(),
            Self::Record { .. } => Vec::new(),
        }
    }

    /// Whether it runs this execution.
    fn runs(&self, wanted: usize) -> bool {
        match self {
            Self::Run { execution, .. } => *execution == wanted,
            Self::Graph { ops, .. } => ops.iter().any(|op| op.runs(wanted)),
            _ => false,
        }
    }

    /// Which of the device's three engines it takes.
    fn engine(&self) -> Option<usize> {
        match self {
            Self::CopyIn { .. } => Some(0),
            Self::Letterbox { .. } | Self::Run { .. } | Self::Graph { .. } => Some(1),
            Self::CopyOut { .. } => Some(2),
            Self::Record { .. } => None,
        }
    }

    fn cost(&self, costs: Costs) -> u64 {
        match self {
            Self::CopyIn { .. } | Self::CopyOut { .. } => costs.copy,
            Self::Letterbox { .. } => costs.letterbox,
            Self::Run { .. } => costs.run,
            Self::Graph { ops, .. } => ops.iter().map(|op| op.cost(costs)).sum(),
            Self::Record { .. } => 0,
        }
    }
}

impl State {
    pub(super) fn wrong(&mut self, what: String) {
        self.misuse.push(what);
    }

    pub(super) fn insist(&mut self, right: bool, what: impl FnOnce() -> String) {
        if !right {
            self.misuse.push(what());
        }
    }

    /// Counts a call and fails it if it is to fail.
    pub(super) fn count(&mut self, call: Call) -> Result<(), DeviceError> {
        let number = self.calls.entry(call).or_insert(0);
        *number += 1;
        let number = *number;
        let survives = matches!(call, Call::Reset | Call::Release | Call::MakeCurrent | Call::Retain);
        if let Some(sticky) = self.sticky.clone().filter(|_| !survives) {
            return Err(sticky);
        }
        let told = self.failures.iter().find(|(what, when, _)| *what == call && *when == number);
        let Some(&(_, _, kind)) = told else { return Ok(()) };
        let error = error(call, kind);
        if kind == ErrorKind::Sticky && self.retained > 0 {
            self.sticky = Some(error.clone());
            // Nothing of it will ever be done.
            self.streams.values_mut().for_each(|stream| stream.pending.clear());
        }
        Err(error)
    }

    pub(super) fn handle(&mut self) -> usize {
        self.next += 1;
        self.next
    }

    /// Takes memory of the device, in account only.
    pub(super) fn take(&mut self, call: Call, bytes: u64) -> Result<(), DeviceError> {
        if self.used + bytes > self.memory {
            return Err(error(call, ErrorKind::OutOfMemory));
        }
        self.used += bytes;
        Ok(())
    }

    /// What was made and not given back; empty if there is nothing.
    pub(super) fn leftovers(&self) -> String {
        let counts = [
            ("streams", self.streams.len()),
            ("events", self.events.len()),
            ("graphs", self.graphs.len()),
            ("kernels", self.kernels.len()),
            ("device blocks", self.device.len()),
            ("host blocks", self.host.len()),
            ("weights", self.sources.len()),
            ("executions", self.executions.len()),
        ];
        let left =
            counts.iter().filter(|(_, count)| *count > 0).map(|(what, count)| format!("{count} {what}"));
        left.collect::<Vec<_>>().join(", ")
    }

    /// Whether anything under way touches these bytes.
    pub(super) fn in_flight(&self, device: bool, start: u64, bytes: usize) -> bool {
        let freed = Touch { device, start, bytes, writes: true };
        self.all_pending().any(|op| op.touches().iter().any(|touch| touch.collides(&freed)))
    }

    pub(super) fn runs(&self, execution: usize) -> bool {
        self.all_pending().any(|op| op.runs(execution))
    }

    pub(super) fn is_pending(&self, wanted: impl Fn(&Op) -> bool) -> bool {
        self.all_pending().any(wanted)
    }

    fn all_pending(&self) -> impl Iterator<Item = &Op> {
        self.streams.values().flat_map(|stream| &stream.pending)
    }

    /// Puts work on a stream, or writes it down if that is captured.
    pub(super) fn enqueue(&mut self, call: Call, stream: usize, op: Op) {
        if !self.streams.contains_key(&stream) {
            return self.wrong(format!("{call:?} on a stream that is not there"));
        }
        self.check_blocks(call, &op);
        self.check_others(call, stream, &op);
        let cost = op.cost(self.costs);
        let engine = op.engine();
        let Some(on) = self.streams.get_mut(&stream) else { return };
        if let Some((_, capture)) = &mut on.capture {
            return capture.push(op);
        }
        if let Some(engine) = engine {
            let begins = on.clock.max(self.free_at[engine]);
            on.clock = begins + cost;
            self.free_at[engine] = on.clock;
            self.busy += cost;
        }
        on.pending.push(op);
    }

    /// All memory an op touches must be there, in one block each.
    fn check_blocks(&mut self, call: Call, op: &Op) {
        for touch in op.touches() {
            let end = touch.start + touch.bytes as u64;
            let holds = |start: u64, bytes: usize| start <= touch.start && end <= start + bytes as u64;
            let there = if touch.device {
                self.device
                    .range(..=touch.start)
                    .next_back()
                    .is_some_and(|(start, block)| holds(*start, block.len()))
            } else {
                let block = self.host.range(..=touch.start as usize).next_back();
                block.is_some_and(|(start, block)| holds(*start as u64, block.bytes))
            };
            self.insist(there, || format!("{call:?} touches {} bytes that are not there", touch.bytes));
        }
    }

    /// Nothing under way on another stream may collide with it.
    fn check_others(&mut self, call: Call, stream: usize, op: &Op) {
        let touches = op.touches();
        let others = self.streams.iter().filter(|(other, _)| **other != stream);
        let mut pending = others.flat_map(|(_, other)| &other.pending).flat_map(Op::touches);
        let collides = pending.any(|other| touches.iter().any(|touch| touch.collides(&other)));
        self.insist(!collides, || format!("{call:?} touches memory in flight on another stream"));
    }
}
