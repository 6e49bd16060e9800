//! Decoded pictures, kept in memory as far as there is room: decoding takes longer than all that follows.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use centerx::frame::Picture;
use centerx::picture_file;

/// Reads and decodes a picture file to RGB, turned upright.
///
/// # Errors
/// Why it cannot be.
pub fn read(path: &Path) -> Result<Picture, String> {
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    picture_file::decode(&bytes).map_err(|error| error.to_string())
}

/// Pictures by the index of their item. Those that came first stay: with every picture wanted once an epoch, in any
/// order, throwing out one for another would gain nothing.
#[derive(Debug)]
pub(super) struct Decoded {
    pictures: Mutex<Kept>,
    limit: usize,
}

#[derive(Debug, Default)]
struct Kept {
    pictures: HashMap<usize, Arc<Picture>>,
    bytes: usize,
}

impl Decoded {
    /// Room for `limit` bytes of pixels.
    pub fn new(limit: usize) -> Self {
        Self { pictures: Mutex::default(), limit }
    }

    /// The picture of the item with this index, which is in `file`.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn get(&self, item: usize, file: &Path) -> Result<Arc<Picture>, String> {
        let kept = || self.pictures.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(picture) = kept().pictures.get(&item) {
            return Ok(Arc::clone(picture));
        }
        let picture = Arc::new(read(file)?);
        let (bytes, mut kept) = (picture.plane(0).len(), kept());
        if kept.bytes + bytes <= self.limit && kept.pictures.insert(item, Arc::clone(&picture)).is_none() {
            kept.bytes += bytes;
        }
        Ok(picture)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::tests::write_picture;

    #[test]
    fn pictures_stay_while_there_is_room() {
        let folder = tempfile::tempdir().unwrap();
        let files = [0, 1].map(|at| folder.path().join(format!("{at}.png")));
        files.iter().for_each(|file| write_picture(file, (10, 10), [50, 60, 70]));
        let decoded = Decoded::new(500);
        let first = files.each_ref().map(|file| decoded.get(usize::from(file == &files[1]), file).unwrap());
        files.iter().for_each(|file| std::fs::remove_file(file).unwrap());
        assert!(Arc::ptr_eq(&decoded.get(0, &files[0]).unwrap(), &first[0]));
        assert!(decoded.get(1, &files[1]).is_err(), "there was room for one");
    }
}
