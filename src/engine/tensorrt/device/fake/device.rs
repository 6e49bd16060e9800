//! The fake at the level of CUDA's driver.

#![allow(unsafe_code)]

use std::ptr::NonNull;

use super::super::super::preprocess::Batch;
use super::super::super::preprocess::nvrtc::Image;
use super::super::api::{
    Device, DeviceAddress, DeviceInfo, EventHandle, GraphHandle, KernelHandle, MemoryInfo, StreamHandle,
};
use super::super::error::{DeviceError, ErrorKind};
use super::checks::set_current;
use super::{Call, FakeGpu, FakeStream, HostBlock, Op, State, error};

type Result<T> = std::result::Result<T, DeviceError>;

/// What fresh device memory holds.
const GARBAGE: u8 = 0xA5;
/// Blocks lie so far apart that none runs into the next.
const APART: u64 = 1 << 32;

impl State {
    /// The context ends with all that is in it.
    fn end(&mut self) {
        self.generation += 1;
        self.sticky = None;
        self.streams.clear();
        self.events.clear();
        self.graphs.clear();
        self.kernels.clear();
        self.device.clear();
        self.host.clear();
        self.used = 0;
    }

    /// Does what was put off.
    fn perform(&mut self, op: Op) {
        match op {
            Op::CopyIn { to, from, bytes } => {
                // SAFETY: host blocks stay while the state knows them, which was checked when this was enqueued.
                let from = unsafe { std::slice::from_raw_parts(from as *const u8, bytes) };
                if let Some(to) = self.block(to, bytes) {
                    to.copy_from_slice(from);
                }
            }
            Op::CopyOut { to, from, bytes } => {
                // SAFETY: as above.
                let to = unsafe { std::slice::from_raw_parts_mut(to as *mut u8, bytes) };
                if let Some(from) = self.block(from, bytes) {
                    to.copy_from_slice(from);
                }
            }
            Op::Run { batch, input, output, picture, network, .. } => {
                let input = self.device.get(&input).cloned().unwrap_or_default();
                let Some(output) = self.device.get_mut(&output) else { return };
                let mut values = vec![0.0; picture.1];
                let pictures = input.chunks_exact(picture.0).zip(output.chunks_exact_mut(picture.1 * 4));
                for (input, output) in pictures.take(batch) {
                    network(input, &mut values);
                    output
                        .as_chunks_mut()
                        .0
                        .iter_mut()
                        .zip(&values)
                        .for_each(|(to, v)| *to = v.to_ne_bytes());
                }
            }
            Op::Letterbox { batch, count, .. } => self.letterbox(&batch, count),
            Op::Graph { ops, .. } => ops.into_iter().for_each(|op| self.perform(op)),
            Op::Record { event, at } => drop(self.events.insert(event, Some(at))),
        }
    }

    /// Does all that was put off on a stream.
    fn perform_all(&mut self, stream: usize) {
        let pending = self.streams.get_mut(&stream).map(|stream| std::mem::take(&mut stream.pending));
        pending.unwrap_or_default().into_iter().for_each(|op| self.perform(op));
    }

    /// Most calls are not allowed to a thread that captures.
    fn insist_no_capture(&mut self, call: Call) {
        let thread = std::thread::current().id();
        let captures = |stream: &FakeStream| stream.capture.as_ref().is_some_and(|(by, _)| *by == thread);
        let captures = self.streams.values().any(captures);
        self.insist(!captures, || format!("{call:?} while a stream is captured"));
    }
}

impl Device for FakeGpu {
    fn info(&self) -> &DeviceInfo {
        &self.info
    }

    fn retain(&self) -> Result<()> {
        self.called(Call::Retain)?.retained += 1;
        Ok(())
    }

    unsafe fn release(&self) -> Result<()> {
        let mut state = self.called(Call::Release)?;
        let retained = state.retained;
        state.insist(retained > 0, || "a context is released that was not retained".into());
        state.retained = retained.saturating_sub(1);
        if retained == 1 {
            let left = state.leftovers();
            state.insist(left.is_empty(), || format!("a context is released with {left}"));
            state.end();
        }
        Ok(())
    }

    unsafe fn reset(&self) -> Result<()> {
        let mut state = self.called(Call::Reset)?;
        let objects = state.sources.len() + state.executions.len();
        state.insist(objects == 0, || format!("a context is reset under {objects} objects of TensorRT's"));
        state.end();
        Ok(())
    }

    fn make_current(&self) -> Result<()> {
        let mut state = self.called(Call::MakeCurrent)?;
        let retained = state.retained;
        state.insist(retained > 0, || "a context is entered that was not retained".into());
        set_current(Some((self.info.index, state.generation)));
        super::plan::set_current_gpu(self);
        Ok(())
    }

    fn memory(&self) -> Result<MemoryInfo> {
        let state = self.inside(Call::Memory)?;
        Ok(MemoryInfo { free: state.memory - state.used, total: state.memory })
    }

    fn utilization(&self) -> Option<f64> {
        Some(0.25)
    }

    fn create_stream(&self) -> Result<StreamHandle> {
        let mut state = self.inside(Call::CreateStream)?;
        let handle = state.handle();
        state.streams.insert(handle, FakeStream::default());
        Ok(StreamHandle(handle))
    }

    unsafe fn destroy_stream(&self, stream: StreamHandle) -> Result<()> {
        let mut state = self.inside(Call::DestroyStream)?;
        let idle =
            state.streams.remove(&stream.0).is_some_and(|s| s.pending.is_empty() && s.capture.is_none());
        state.insist(idle, || "a stream is destroyed that is at work or not there".into());
        Ok(())
    }

    unsafe fn synchronize(&self, stream: StreamHandle) -> Result<()> {
        let called = self.inside(Call::Synchronize).map(drop);
        let mut state = self.state();
        let there = state.streams.get(&stream.0).is_some_and(|stream| stream.capture.is_none());
        state.insist(there, || "a stream is synchronised that is captured or not there".into());
        called?;
        state.perform_all(stream.0);
        Ok(())
    }

    fn alloc_device(&self, bytes: usize) -> Result<DeviceAddress> {
        let mut state = self.inside(Call::AllocDevice)?;
        state.insist_no_capture(Call::AllocDevice);
        state.insist(bytes > 0, || "0 bytes are allocated".into());
        state.take(Call::AllocDevice, bytes as u64)?;
        let address = state.handle() as u64 * APART;
        state.device.insert(address, vec![GARBAGE; bytes]);
        Ok(DeviceAddress(address))
    }

    unsafe fn free_device(&self, memory: DeviceAddress) -> Result<()> {
        let mut state = self.inside(Call::FreeDevice)?;
        state.insist_no_capture(Call::FreeDevice);
        let Some(block) = state.device.get(&memory.0).map(Vec::len) else {
            state.wrong("device memory is freed that is not there".into());
            return Ok(());
        };
        let idle = !state.in_flight(true, memory.0, block);
        state.insist(idle, || "device memory is freed while it is in flight".into());
        state.device.remove(&memory.0);
        state.used -= block as u64;
        Ok(())
    }

    fn alloc_host(&self, bytes: usize) -> Result<NonNull<u8>> {
        let mut state = self.inside(Call::AllocHost)?;
        state.insist_no_capture(Call::AllocHost);
        let words = Box::into_raw(vec![0_u64; bytes.div_ceil(8)].into_boxed_slice());
        let start = words.cast::<u8>();
        state.host.insert(start.expose_provenance(), HostBlock { words, bytes });
        NonNull::new(start).ok_or_else(|| error(Call::AllocHost, ErrorKind::OutOfMemory))
    }

    unsafe fn free_host(&self, memory: NonNull<u8>) -> Result<()> {
        let mut state = self.inside(Call::FreeHost)?;
        let start = memory.as_ptr().expose_provenance();
        let Some(bytes) = state.host.get(&start).map(|block| block.bytes) else {
            state.wrong("host memory is freed that is not there".into());
            return Ok(());
        };
        let idle = !state.in_flight(false, start as u64, bytes);
        state.insist(idle, || "host memory is freed while it is in flight".into());
        state.host.remove(&start);
        Ok(())
    }

    unsafe fn copy_in(
        &self,
        to: DeviceAddress,
        from: *const u8,
        bytes: usize,
        stream: StreamHandle,
    ) -> Result<()> {
        let from = from.expose_provenance();
        let mut state = self.inside(Call::CopyIn)?;
        state.enqueue(Call::CopyIn, stream.0, Op::CopyIn { to: to.0, from, bytes });
        Ok(())
    }

    unsafe fn copy_out(
        &self,
        to: *mut u8,
        from: DeviceAddress,
        bytes: usize,
        stream: StreamHandle,
    ) -> Result<()> {
        let to = to.expose_provenance();
        let mut state = self.inside(Call::CopyOut)?;
        state.enqueue(Call::CopyOut, stream.0, Op::CopyOut { to, from: from.0, bytes });
        Ok(())
    }

    fn create_event(&self) -> Result<EventHandle> {
        let mut state = self.inside(Call::CreateEvent)?;
        let handle = state.handle();
        state.events.insert(handle, None);
        Ok(EventHandle(handle))
    }

    unsafe fn destroy_event(&self, event: EventHandle) -> Result<()> {
        let mut state = self.inside(Call::DestroyEvent)?;
        let pending = state.is_pending(|op| matches!(op, Op::Record { event: due, .. } if *due == event.0));
        let there = state.events.remove(&event.0).is_some();
        state.insist(there && !pending, || "an event is destroyed that is due or not there".into());
        Ok(())
    }

    unsafe fn record(&self, event: EventHandle, stream: StreamHandle) -> Result<()> {
        let mut state = self.inside(Call::Record)?;
        let there = state.events.contains_key(&event.0);
        state.insist(there, || "an event is recorded that is not there".into());
        let at = state.streams.get(&stream.0).map_or(0, |stream| stream.clock);
        state.enqueue(Call::Record, stream.0, Op::Record { event: event.0, at });
        Ok(())
    }

    unsafe fn elapsed(&self, from: EventHandle, to: EventHandle) -> Result<f64> {
        let mut state = self.inside(Call::Elapsed)?;
        let at = |event: EventHandle| state.events.get(&event.0).copied().flatten();
        let Some((from, to)) = at(from).zip(at(to)) else {
            state.wrong("the time of an event is read that has not happened".into());
            return Err(error(Call::Elapsed, ErrorKind::Other));
        };
        Ok(to.saturating_sub(from) as f64 / 1e9)
    }

    unsafe fn begin_capture(&self, stream: StreamHandle) -> Result<()> {
        let mut state = self.inside(Call::BeginCapture)?;
        let free = state.streams.get(&stream.0).is_some_and(|stream| stream.capture.is_none());
        state.insist(free, || "a capture begins in another, or on a stream that is not there".into());
        if let Some(stream) = state.streams.get_mut(&stream.0) {
            stream.capture = Some((std::thread::current().id(), Vec::new()));
        }
        Ok(())
    }

    unsafe fn end_capture(&self, stream: StreamHandle) -> Result<GraphHandle> {
        let called = self.inside(Call::EndCapture).map(drop);
        let mut state = self.state();
        // Ended even if it failed.
        let captured = state.streams.get_mut(&stream.0).and_then(|stream| stream.capture.take());
        state.insist(captured.is_some(), || "a capture ends that never began".into());
        called?;
        let handle = state.handle();
        state.graphs.insert(handle, captured.map(|(_, ops)| ops).unwrap_or_default());
        Ok(GraphHandle(handle))
    }

    unsafe fn launch(&self, graph: GraphHandle, stream: StreamHandle) -> Result<()> {
        let mut state = self.inside(Call::Launch)?;
        let Some(ops) = state.graphs.get(&graph.0).cloned() else {
            state.wrong("a graph is launched that is not there".into());
            return Ok(());
        };
        state.insist(!ops.is_empty(), || "a graph is launched in which nothing is".into());
        for op in &ops {
            let Op::Run { execution, .. } = op else { continue };
            let there = state.executions.contains_key(execution);
            state.insist(there, || "a graph is launched whose execution is gone".into());
        }
        state.enqueue(Call::Launch, stream.0, Op::Graph { graph: graph.0, ops });
        Ok(())
    }

    unsafe fn destroy_graph(&self, graph: GraphHandle) -> Result<()> {
        let mut state = self.inside(Call::DestroyGraph)?;
        let pending = state.is_pending(|op| matches!(op, Op::Graph { graph: due, .. } if *due == graph.0));
        let there = state.graphs.remove(&graph.0).is_some();
        state.insist(there && !pending, || "a graph is destroyed that is under way or not there".into());
        Ok(())
    }

    fn load_kernel(&self, image: &Image) -> Result<KernelHandle> {
        let mut state = self.inside(Call::LoadKernel)?;
        state.insist_no_capture(Call::LoadKernel);
        state.insist(!image.bytes().is_empty(), || "a kernel is loaded out of nothing".into());
        let handle = state.handle();
        state.kernels.insert(handle);
        Ok(KernelHandle { module: handle, function: handle })
    }

    unsafe fn unload_kernel(&self, kernel: KernelHandle) -> Result<()> {
        let mut state = self.inside(Call::UnloadKernel)?;
        let pending =
            state.is_pending(|op| matches!(op, Op::Letterbox { kernel: due, .. } if *due == kernel.module));
        let there = state.kernels.remove(&kernel.module);
        state.insist(there && !pending, || "a kernel is unloaded that is under way or not there".into());
        Ok(())
    }

    unsafe fn letterbox(
        &self,
        kernel: KernelHandle,
        batch: &Batch,
        count: usize,
        stream: StreamHandle,
    ) -> Result<()> {
        let mut state = self.inside(Call::Letterbox)?;
        state.insist_no_capture(Call::Letterbox);
        let there = state.kernels.contains(&kernel.function);
        state.insist(there, || "a kernel is launched that is not there".into());
        state.insist(count > 0, || "a kernel is launched for nothing".into());
        let op = Op::Letterbox { kernel: kernel.module, batch: *batch, count };
        state.enqueue(Call::Letterbox, stream.0, op);
        Ok(())
    }
}
