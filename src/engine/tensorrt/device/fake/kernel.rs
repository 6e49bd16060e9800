//! The preprocessing's kernel on the fake: the same source, run on the host.

#![allow(unsafe_code)]

use super::super::super::preprocess::{Batch, Descriptor, host};
use super::State;

impl State {
    /// Letterboxes what the descriptors in the device's memory tell of, out of that memory and into it.
    pub(super) fn letterbox(&mut self, batch: &Batch, count: usize) {
        let mut descriptors = self.descriptors(batch.pictures, count);
        for descriptor in &mut descriptors {
            match self.planes(descriptor) {
                Some(planes) => *descriptor = descriptor.moved(planes),
                None => return self.wrong(format!("a picture that is not on the device: {descriptor:?}")),
            }
        }
        let bytes = count * batch.width as usize * batch.height as usize * 3;
        let Some(target) = self.block(batch.target, bytes) else { return };
        // SAFETY: `planes` has found all of them in the device's memory, in blocks that are none of the target's: a
        // block is for one or the other.
        unsafe { host::launch(&descriptors, (batch.width, batch.height), target) };
    }

    fn descriptors(&mut self, address: u64, count: usize) -> Vec<Descriptor> {
        let bytes = self.block(address, count * size_of::<Descriptor>()).unwrap_or_default();
        bytes.as_chunks().0.iter().map(Descriptor::from_bytes).collect()
    }

    /// Where the planes are on the host.
    fn planes(&mut self, descriptor: &Descriptor) -> Option<[u64; 3]> {
        let mut planes = [0; 3];
        for (plane, (address, bytes)) in planes.iter_mut().zip(descriptor.reads()?) {
            *plane = self.block(address, bytes)?.as_ptr() as u64;
        }
        Some(planes)
    }

    /// Memory of the device, inside of one block.
    pub(super) fn block(&mut self, address: u64, bytes: usize) -> Option<&mut [u8]> {
        let (start, block) = self.device.range_mut(..=address).next_back()?;
        let offset = usize::try_from(address - start).ok()?;
        block.get_mut(offset..offset.checked_add(bytes)?)
    }
}
