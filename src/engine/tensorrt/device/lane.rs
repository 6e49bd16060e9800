//! One lane on a GPU: a stream, a TensorRT context, and memory for its batches on both sides.
//!
//! Host memory has room for the plan's largest batch, which is what the scheduler was promised. Device memory may
//! have less ([`Room`]): then a batch is run in pieces, and nobody else needs to know.
//!
//! With the preprocessing on the GPU a lane takes decoded pictures as well ([`Pixels`]). Before the network, and outside
//! of its graph, the kernel letterboxes them into the input, between those that the CPU has letterboxed.

#![allow(unsafe_code)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::engine::{EngineError, Lane, Rows};
use crate::frame::Picture;
use crate::letterbox::Letterbox;

use super::api::{DeviceAddress, Execution, PlanShape};
use super::error::{DeviceError, ErrorKind};
use super::loaded::Loaded;
use super::metrics::RunStep;
use super::owned::{DeviceMemory, Event, Graph, Pinned, Stream};
use super::pixels::{Pixels, runs};

/// Pictures that a device has memory to run at once. Only ever lowered. Clones are the same.
#[derive(Clone, Debug)]
pub struct Room(Arc<AtomicUsize>);

impl Room {
    /// Room for so many.
    pub fn new(pictures: usize) -> Self {
        Self(Arc::new(AtomicUsize::new(pictures.max(1))))
    }

    /// How many.
    pub fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// A run of so many did not fit: from now on half of it, 1 at least. What there is room for then.
    pub fn halve(&self, did_not_fit: usize) -> usize {
        let half = (did_not_fit / 2).max(1);
        self.0.fetch_min(half, Ordering::Relaxed).min(half)
    }
}

/// The captured runs of a lane, by batch.
struct Graphs {
    /// No more are captured once one could not be.
    wanted: bool,
    /// At `batch - 1`.
    captured: Vec<Option<Graph>>,
}

impl Graphs {
    fn of(&self, batch: usize) -> Option<&Graph> {
        self.captured.get(batch - 1)?.as_ref()
    }
}

/// The moments of a run, between which its steps lie.
struct Moments([Event; 4]);

/// One lane on a GPU.
pub struct GpuLane {
    // Dropped in this order: what is used after what uses it.
    graphs: Graphs,
    execution: Box<dyn Execution>,
    device_input: DeviceMemory,
    device_output: DeviceMemory,
    /// Where the GPU preprocesses.
    pixels: Option<Pixels>,
    moments: Moments,
    stream: Stream,
    input: Pinned<u8>,
    output: Pinned<f32>,
    loaded: Arc<Loaded>,
    shape: PlanShape,
    /// Pictures there is memory for in this lane.
    opened_for: usize,
    /// Pictures that fit lately, on the whole device.
    room: Room,
    /// Let go when all of the above is.
    _seat: Box<dyn Send>,
}

/// What a lane is opened with, besides the plan.
pub struct LaneSetup {
    /// What the plan promises.
    pub shape: PlanShape,
    /// What the device has room for; also how large this lane's device memory is.
    pub room: Room,
    /// Whether runs are captured as CUDA graphs.
    pub graphs: bool,
    /// Let go when the lane is gone.
    pub seat: Box<dyn Send>,
}

impl GpuLane {
    /// Takes all the memory it will ever need.
    ///
    /// # Errors
    /// Too little memory, or a spoiled context.
    pub fn open(loaded: Arc<Loaded>, setup: LaneSetup) -> Result<Self, DeviceError> {
        let LaneSetup { shape, room, graphs, seat } = setup;
        let opened_for = room.get().min(shape.max_batch);
        let context = loaded.context();
        context.enter()?;
        let output_values = shape.output_values();
        let event = || Event::new(context);
        let stream = Stream::new(context)?;
        let moments = Moments([event()?, event()?, event()?, event()?]);
        let input = Pinned::new(context, shape.input_bytes() * shape.max_batch)?;
        let output = Pinned::new(context, output_values * shape.max_batch)?;
        let device_input = DeviceMemory::new(context, shape.input_bytes() * opened_for)?;
        let device_output = DeviceMemory::new(context, output_values * size_of::<f32>() * opened_for)?;
        let pixels = loaded.kernel().map(|_| Pixels::new(context, &shape)).transpose()?;
        let mut execution = loaded.open(opened_for)?;
        // SAFETY: both are of this device, as large as the execution was opened for, and dropped after it.
        context.check(unsafe { execution.bind(device_input.address(), device_output.address()) })?;
        let graphs = Graphs { wanted: graphs, captured: (0..opened_for).map(|_| None).collect() };
        Ok(Self {
            graphs,
            execution,
            device_input,
            device_output,
            pixels,
            moments,
            stream,
            input,
            output,
            loaded,
            shape,
            opened_for,
            room,
            _seat: seat,
        })
    }

    /// Runs the largest and the smallest batch once, so that what memory they need is known before work comes.
    ///
    /// # Errors
    /// A failed run.
    pub fn warm_up(&mut self) -> Result<(), DeviceError> {
        self.run(self.opened_for)?;
        self.run(1)?;
        self.warm_up_pixels()
    }

    /// The same for the preprocessing. If that does not work here, the CPU does it.
    fn warm_up_pixels(&mut self) -> Result<(), DeviceError> {
        let (width, height) = self.shape.input;
        let picture = Picture::rgb(width, height, vec![0; self.shape.input_bytes()]);
        let (Some(pixels), Ok(picture)) = (&mut self.pixels, picture) else { return Ok(()) };
        pixels.take(&[&picture]);
        let run = self.run(1);
        if self.pixels.as_ref().is_some_and(Pixels::is_broken) { Ok(()) } else { run }
    }

    /// Runs over the first `batch` pictures in the input and those that were taken.
    ///
    /// # Errors
    /// A failed run. Nothing of it is under way any more.
    pub fn run(&mut self, batch: usize) -> Result<(), DeviceError> {
        let run = self.run_all(batch);
        if let Some(pixels) = &mut self.pixels {
            pixels.forget();
        }
        run
    }

    fn run_all(&mut self, batch: usize) -> Result<(), DeviceError> {
        if batch == 0 || batch > self.shape.max_batch {
            let message =
                format!("a batch of {batch} pictures, and the plan takes 1 to {}", self.shape.max_batch);
            return Err(DeviceError { kind: ErrorKind::Other, call: "a run", message });
        }
        let mut first = 0;
        while first < batch {
            let count = (batch - first).min(self.opened_for).min(self.room.get());
            if let Err(error) = self.piece(first, count) {
                return Err(self.settle(error, count));
            }
            first += count;
        }
        Ok(())
    }

    /// Runs `count` pictures from number `first` on.
    fn piece(&mut self, first: usize, count: usize) -> Result<(), DeviceError> {
        let Moments([begun, copied_in, ..]) = &self.moments;
        begun.record(&self.stream)?;
        self.copy_in(first, count)?;
        copied_in.record(&self.stream)?;
        let letterboxed = self.letterbox(first, count)?;
        let captured = self.compute(count)?;
        let Moments([.., computed, copied_out]) = &self.moments;
        computed.record(&self.stream)?;
        let values = self.shape.output_values();
        let rows = &mut self.output.as_mut_slice()[first * values..(first + count) * values];
        // SAFETY: as for the input.
        unsafe { self.device_output.copy_out(rows, &self.stream)? };
        copied_out.record(&self.stream)?;
        self.stream.synchronize()?;
        self.observe(letterboxed)?;
        if !captured {
            self.capture(count);
        }
        Ok(())
    }

    /// Enqueues the copies of the pictures that the CPU has letterboxed, and once a run of all that were taken.
    fn copy_in(&self, first: usize, count: usize) -> Result<(), DeviceError> {
        let taken = |place| self.pixels.as_ref().is_some_and(|pixels| pixels.has(place));
        if let Some(pixels) = self.pixels.as_ref().filter(|_| first == 0) {
            // SAFETY: nothing is taken until this has synchronised, or `settle` has.
            unsafe { pixels.copy_in(&self.stream)? };
        }
        let picture = self.shape.input_bytes();
        for (places, _) in runs(first..first + count, taken).into_iter().filter(|(_, taken)| !taken) {
            let offset = (places.start - first) * picture;
            let pictures = &self.input.as_slice()[places.start * picture..places.end * picture];
            // SAFETY: the input is pinned, and is borrowed by nobody until this has synchronised, or `settle` has.
            unsafe { self.device_input.copy_in(offset, pictures, &self.stream)? };
        }
        Ok(())
    }

    /// Enqueues the letterboxing of the pictures that were taken, and tells whether there are any.
    fn letterbox(&mut self, first: usize, count: usize) -> Result<bool, DeviceError> {
        let Self { pixels: Some(pixels), loaded, stream, .. } = self else { return Ok(false) };
        let Some(kernel) = loaded.kernel() else { return Ok(false) };
        let mut taken = runs(first..first + count, |place| pixels.has(place));
        taken.retain(|(_, taken)| *taken);
        for (places, _) in &taken {
            let offset = (places.start - first) * self.shape.input_bytes();
            let target = DeviceAddress(self.device_input.address().0 + offset as u64);
            // SAFETY: the copy was enqueued with the first piece; the piece fits the input, which is this lane's.
            unsafe { pixels.letterbox(kernel, places.clone(), target, stream)? };
        }
        if !taken.is_empty() {
            pixels.letterboxed().record(stream)?;
        }
        Ok(!taken.is_empty())
    }

    /// Enqueues the network, and tells whether by a graph.
    fn compute(&mut self, count: usize) -> Result<bool, DeviceError> {
        if let Some(graph) = self.graphs.of(count) {
            // SAFETY: execution and memory are this lane's, and live longer than the graph.
            unsafe { graph.launch(&self.stream)? };
            return Ok(true);
        }
        let context = self.loaded.context();
        context.enter()?;
        context.check(self.execution.set_batch(count))?;
        // SAFETY: bound when it was opened, the batch is set, all of it is this lane's.
        context.check(unsafe { self.execution.enqueue(self.stream.handle()) })?;
        Ok(false)
    }

    /// Captures what was just run, with nothing under way. TensorRT wants a plain run of a batch size first.
    /// Failing costs the graphs and nothing else.
    fn capture(&mut self, count: usize) {
        if !self.graphs.wanted {
            return;
        }
        let (execution, handle) = (&mut self.execution, self.stream.handle());
        // SAFETY: as in `compute`; nothing of it is done before it is launched.
        let enqueue = || unsafe { execution.enqueue(handle) };
        match Graph::capture(self.loaded.context(), &self.stream, enqueue) {
            Ok(graph) => self.graphs.captured[count - 1] = Some(graph),
            Err(error) => {
                self.graphs.wanted = false;
                let gpu = self.loaded.context().info().index;
                tracing::warn!(gpu, batch = count, "no CUDA graph, the lane goes on without: {error}");
            }
        }
    }

    fn observe(&self, letterboxed: bool) -> Result<(), DeviceError> {
        let Moments([begun, copied_in, computed, copied_out]) = &self.moments;
        let letterboxed = self.pixels.as_ref().filter(|_| letterboxed).map(Pixels::letterboxed);
        let mut steps = vec![(RunStep::CopyIn, begun, copied_in)];
        steps.extend(letterboxed.map(|letterboxed| (RunStep::Preprocess, copied_in, letterboxed)));
        steps.push((RunStep::Compute, letterboxed.unwrap_or(copied_in), computed));
        steps.push((RunStep::CopyOut, computed, copied_out));
        for (step, from, to) in steps {
            self.loaded.context().metrics().observe_step(step, to.since(from)?);
        }
        Ok(())
    }

    /// After a failed run of `count`: waits for what of it is under way, since the memory is about to be used
    /// again, and tells the worst of what happened.
    fn settle(&self, error: DeviceError, count: usize) -> DeviceError {
        let error = self.quieten(error);
        if error.kind == ErrorKind::OutOfMemory {
            self.room.halve(count);
        }
        error
    }

    fn quieten(&self, error: DeviceError) -> DeviceError {
        if self.loaded.context().is_lost() {
            return error;
        }
        let Err(worse) = self.stream.synchronize() else { return error };
        // Nobody knows what is still under way: the memory must not be used or freed before the context ends.
        self.loaded.context().lose(&worse);
        error.or_worse(worse)
    }

    /// An error as people want it: which GPU, what, and the cure.
    fn explain(&self, error: &DeviceError) -> EngineError {
        let info = self.loaded.context().info();
        let (gpu, room) = (format!("GPU {} ({})", info.index, info.name), self.room.get());
        EngineError::Run(match error.kind {
            ErrorKind::OutOfMemory => format!(
                "{gpu} has too little memory: {error}; the next batches run in pieces of {room}. Free memory \
                 there, give it fewer models or lanes, or compile the model for smaller batches"
            ),
            ErrorKind::Sticky => format!(
                "{gpu} broke down: {error}; its lanes are opened anew. If that goes on, look for Xid errors in \
                 the kernel's log and restart the server"
            ),
            ErrorKind::Other => format!("{gpu}: {error}"),
        })
    }
}

impl Lane for GpuLane {
    fn take(&mut self, pictures: &[&Picture]) -> Vec<Option<Letterbox>> {
        self.pixels.as_mut().map(|pixels| pixels.take(pictures)).unwrap_or_default()
    }

    fn input(&mut self) -> &mut [u8] {
        self.input.as_mut_slice()
    }

    fn infer(&mut self, batch: usize) -> Result<Rows<'_>, EngineError> {
        self.run(batch).map_err(|error| self.explain(&error))?;
        let data = &self.output.as_slice()[..batch * self.shape.output_values()];
        Ok(Rows { data, values: self.shape.values, top_k: self.shape.top_k })
    }
}

impl Drop for GpuLane {
    fn drop(&mut self) {
        // Runs end before `run` returns, but a panic may have come between, or the context may be lost.
        let context = self.loaded.context();
        if let Err(error) = self.stream.synchronize() {
            context.lose(&error);
            self.stream.wait_anyway();
        }
        context.enter_anyway();
    }
}
