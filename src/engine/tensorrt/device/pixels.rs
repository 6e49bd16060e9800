//! Decoded pictures of a lane's next run, on their way to the kernel that letterboxes them on the device.
//!
//! They lie in one block of page-locked memory, copied as a whole to one of the device that is laid out alike: the
//! descriptors first, one for each place of the largest batch, then the planes, with the strides they came with. Both
//! blocks are made anew when pictures need more, twice as large, up to [`LIMIT`]. A picture that has no room or that
//! the kernel cannot read is not taken, and the CPU letterboxes it.
//!
//! What does not belong here: which pictures a piece of a run has ([`lane`](super::lane)).

#![allow(unsafe_code)]

use std::ops::Range;
use std::sync::Arc;

use super::super::preprocess::{Batch, Descriptor, DevicePicture};
use super::api::{DeviceAddress, PlanShape};
use super::context::Retained;
use super::error::{DeviceError, ErrorKind};
use super::owned::{DeviceMemory, Event, Kernel, Pinned, Stream};
use crate::frame::Picture;
use crate::letterbox::Letterbox;

type Result<T> = std::result::Result<T, DeviceError>;

/// Bytes that a lane has for pictures at most, on either side: 16 pictures of 3840x2160 in NV12 take 200 MB.
pub const LIMIT: usize = 256 << 20;

/// Where planes begin: at whole cache lines of a device.
const ALIGNMENT: usize = 256;

/// Batches that go without after memory was refused, before it is asked for again.
const REST: u32 = 256;

/// Room for the decoded pictures of one run.
pub struct Pixels {
    blocks: Option<Blocks>,
    letterboxed: Event,
    context: Arc<Retained>,
    input: (u32, u32),
    /// By place, which pictures of the next run are here.
    taken: Vec<bool>,
    /// Bytes of the blocks that the next run needs.
    used: usize,
    /// Batches until more memory is asked for.
    rest: u32,
    /// The kernel does not work here.
    broken: bool,
}

/// The same memory twice.
struct Blocks {
    host: Pinned<u8>,
    device: DeviceMemory,
    bytes: usize,
}

impl Blocks {
    fn new(context: &Arc<Retained>, bytes: usize) -> Result<Self> {
        let (host, device) = (Pinned::new(context, bytes)?, DeviceMemory::new(context, bytes)?);
        Ok(Self { host, device, bytes })
    }
}

/// A picture and the part of the blocks that it is to have.
struct Placed<'a> {
    device: DevicePicture,
    planes: Vec<(usize, &'a [u8])>,
    end: usize,
}

impl<'a> Placed<'a> {
    /// From byte `start` on; none if the kernel cannot read it.
    fn new(picture: &'a Picture, input: (u32, u32), start: usize) -> Option<Self> {
        let read = DevicePicture::read(picture, input);
        let (device, planes) = read.inspect_err(|error| tracing::debug!("left to the CPU: {error}")).ok()?;
        let mut end = start;
        let place = |plane: &'a [u8]| {
            let begin = end;
            end = (begin + plane.len()).next_multiple_of(ALIGNMENT);
            (begin, plane)
        };
        let planes = planes.into_iter().map(place).collect();
        Some(Self { device, planes, end })
    }
}

impl Pixels {
    /// No room yet: it comes with the pictures.
    ///
    /// # Errors
    /// A spoiled context.
    pub fn new(context: &Arc<Retained>, shape: &PlanShape) -> Result<Self> {
        Ok(Self {
            blocks: None,
            letterboxed: Event::new(context)?,
            context: Arc::clone(context),
            input: shape.input,
            taken: vec![false; shape.max_batch],
            used: 0,
            rest: 0,
            broken: false,
        })
    }

    /// Takes what it can of the pictures of the next run, and forgets those taken before; tells how each lies in the
    /// input. Nothing of an earlier run is under way.
    pub fn take(&mut self, pictures: &[&Picture]) -> Vec<Option<Letterbox>> {
        self.forget();
        if self.broken {
            return Vec::new();
        }
        let (mut end, input) = (self.descriptors(), self.input);
        let mut placed = Vec::with_capacity(pictures.len());
        for &picture in pictures.iter().take(self.taken.len()) {
            let place = Placed::new(picture, input, end).filter(|place| place.end <= LIMIT);
            end = place.as_ref().map_or(end, |place| place.end);
            placed.push(place);
        }
        if placed.iter().any(Option::is_some) {
            self.grow(end);
        }
        placed.into_iter().enumerate().map(|(index, placed)| self.put(index, &placed?)).collect()
    }

    /// Bytes of the descriptors, before which no plane begins.
    fn descriptors(&self) -> usize {
        (self.taken.len() * size_of::<Descriptor>()).next_multiple_of(ALIGNMENT)
    }

    /// Makes room for so many bytes, if it gets it.
    fn grow(&mut self, wanted: usize) {
        if self.blocks.as_ref().is_some_and(|blocks| blocks.bytes >= wanted) {
            return;
        }
        if self.rest > 0 {
            self.rest -= 1;
            return;
        }
        let bytes = wanted.next_power_of_two().min(LIMIT);
        match Blocks::new(&self.context, bytes) {
            Ok(blocks) => self.blocks = Some(blocks),
            Err(error) => {
                self.rest = REST;
                let gpu = self.context.info().index;
                tracing::warn!(
                    gpu,
                    "too little memory for {bytes} bytes of pictures, some are preprocessed on the CPU: {error}; free \
                     memory there, give it fewer models or lanes, or set [tensorrt] preprocess = \"cpu\""
                );
            }
        }
    }

    /// Puts a picture where it has its place, if there is room.
    fn put(&mut self, index: usize, placed: &Placed<'_>) -> Option<Letterbox> {
        let blocks = self.blocks.as_mut().filter(|blocks| placed.end <= blocks.bytes)?;
        let (base, host, mut device) = (blocks.device.address().0, blocks.host.as_mut_slice(), placed.device);
        for ((offset, plane), address) in placed.planes.iter().zip(&mut device.planes) {
            host[*offset..offset + plane.len()].copy_from_slice(plane);
            *address = base + *offset as u64;
        }
        let (descriptor, fit) = device.describe(self.input).ok()?;
        let at = index * size_of::<Descriptor>();
        host[at..at + size_of::<Descriptor>()].copy_from_slice(descriptor.as_bytes());
        self.taken[index] = true;
        self.used = placed.end;
        Some(fit)
    }

    /// Forgets what was taken.
    pub fn forget(&mut self) {
        self.taken.fill(false);
        self.used = 0;
    }

    /// Whether the picture at this place of the next run is here.
    pub fn has(&self, place: usize) -> bool {
        self.taken.get(place).copied().unwrap_or(false)
    }

    /// Whether the kernel turned out not to work here.
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// When the last pictures were letterboxed.
    pub fn letterboxed(&self) -> &Event {
        &self.letterboxed
    }

    /// Enqueues the copy of all that was taken.
    ///
    /// # Errors
    /// A spoiled context.
    ///
    /// # Safety
    /// Nothing is taken, and this is not dropped, until the stream is synchronised.
    pub unsafe fn copy_in(&self, stream: &Stream) -> Result<()> {
        let Some(blocks) = self.blocks.as_ref().filter(|_| self.used > 0) else { return Ok(()) };
        // SAFETY: pinned; only `take` changes it, and `take` and a drop end it.
        unsafe { blocks.device.copy_in(0, &blocks.host.as_slice()[..self.used], stream) }
    }

    /// Enqueues the letterboxing of the pictures at these places, all of which are here, into `target`.
    ///
    /// # Errors
    /// What the kernel does not work for. If it is not the context's end, pictures are taken no more.
    ///
    /// # Safety
    /// As for [`Pixels::copy_in`], which was enqueued before on this stream. `target` has room for so many pictures,
    /// and nobody else uses it until the stream is synchronised.
    pub unsafe fn letterbox(
        &mut self,
        kernel: &Kernel,
        places: Range<usize>,
        target: DeviceAddress,
        stream: &Stream,
    ) -> Result<()> {
        let Some(blocks) = &self.blocks else { return Ok(()) };
        let first = (places.start * size_of::<Descriptor>()) as u64;
        let (width, height) = self.input;
        let batch = Batch { pictures: blocks.device.address().0 + first, target: target.0, width, height };
        // SAFETY: the places' descriptors are there, each made for this input, with planes in the same block.
        let launched = unsafe { kernel.letterbox(&batch, places.len(), stream) };
        launched.map_err(|error| self.give_up(error))
    }

    /// Leaves the preprocessing to the CPU from now on, unless the context is at its end anyway. The error is none that
    /// a smaller batch would help against.
    fn give_up(&mut self, error: DeviceError) -> DeviceError {
        if error.kind == ErrorKind::Sticky {
            return error;
        }
        self.broken = true;
        let gpu = self.context.info().index;
        tracing::warn!(
            gpu,
            "from now on pictures are preprocessed on the CPU: {error}; update NVIDIA's driver"
        );
        DeviceError { kind: ErrorKind::Other, ..error }
    }
}

/// Divides places into those in a row that are alike: taken or not.
pub fn runs(places: Range<usize>, taken: impl Fn(usize) -> bool) -> Vec<(Range<usize>, bool)> {
    let mut runs: Vec<(Range<usize>, bool)> = Vec::new();
    for place in places {
        let taken = taken(place);
        match runs.last_mut() {
            Some((run, alike)) if *alike == taken => run.end = place + 1,
            _ => runs.push((place..place + 1, taken)),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_as_long_as_they_can_be_and_leave_no_place_out() {
        assert_eq!(runs(3..3, |_| true), []);
        assert_eq!(runs(2..5, |_| false), [(2..5, false)]);
        let mixed = runs(0..6, |place| [true, true, false, true, false, false][place]);
        assert_eq!(mixed, [(0..2, true), (2..3, false), (3..4, true), (4..6, false)]);
    }
}
