//! Pictures to compare two models on: files of folders, frames of videos.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::cli::UsageError;
use crate::frame::Picture;
use crate::ingest::clip::{ClipError, ClipReader};
use crate::picture_file;

/// Endings of the picture files that can be read, in lower case.
pub const ENDINGS: [&str; 4] = ["jpg", "jpeg", "png", "webp"];

/// Something to look at.
pub enum Shot {
    /// A picture file, not read yet: that is done on the lane.
    File(PathBuf),
    /// A frame of a video.
    Frame(Picture),
}

/// Which frames of a video are wanted.
#[derive(Clone, Copy, Debug)]
pub struct Frames {
    /// Every Nth, from the first on.
    pub every: u64,
    /// So many at most.
    pub most: u64,
}

/// The pictures of a folder, by name; at least one.
///
/// # Errors
/// A folder that cannot be read, or has none.
pub fn pictures(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let refuse = |error| UsageError(format!("--images: {} cannot be read: {error}", folder.display()));
    let mut files = Vec::new();
    for entry in folder.read_dir().map_err(refuse)? {
        let path = entry.map_err(refuse)?.path();
        if is_picture(&path) && path.is_file() {
            files.push(path);
        }
    }
    if files.is_empty() {
        let endings = ENDINGS.join(", ");
        let problem = format!("--images: there is no picture ({endings}) in the folder {}", folder.display());
        return Err(UsageError(problem).into());
    }
    files.sort();
    Ok(files)
}

/// Whether the file is called like a picture.
pub fn is_picture(path: &Path) -> bool {
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
    ending.is_some_and(|ending| ENDINGS.contains(&ending.as_str()))
}

/// Reads and decodes a picture file.
///
/// # Errors
/// One that is missing or damaged, named.
pub fn read(path: &Path) -> Result<Picture, UsageError> {
    let refuse = |cause: String| {
        UsageError(format!("{}: {cause}; leave such pictures out with --skip-unreadable", path.display()))
    };
    let bytes = std::fs::read(path).map_err(|error| refuse(error.to_string()))?;
    picture_file::decode(&bytes).map_err(|error| refuse(error.to_string()))
}

/// One of the inputs, opened.
enum Input {
    Files(std::vec::IntoIter<PathBuf>),
    Video { path: PathBuf, reader: ClipReader, frames: Frames, read: u64, given: u64 },
}

impl Input {
    fn open(path: &Path, frames: Frames) -> anyhow::Result<Self> {
        if path.is_dir() {
            return Ok(Self::Files(pictures(path)?.into_iter()));
        }
        if is_picture(path) {
            return Ok(Self::Files(vec![path.to_owned()].into_iter()));
        }
        let reader = ClipReader::open(path).map_err(|error| unreadable(path, &error))?;
        Ok(Self::Video { path: path.to_owned(), reader, frames, read: 0, given: 0 })
    }

    /// How many pictures it has, where it tells.
    fn count(&self) -> Option<u64> {
        match self {
            Self::Files(files) => Some(files.len() as u64),
            Self::Video { reader, frames, .. } => {
                reader.frame_count().map(|count| count.div_ceil(frames.every).min(frames.most))
            }
        }
    }

    fn next(&mut self) -> anyhow::Result<Option<Shot>> {
        match self {
            Self::Files(files) => Ok(files.next().map(Shot::File)),
            Self::Video { path, reader, frames, read, given } => {
                while *given < frames.most {
                    let frame = reader.next_frame().map_err(|error| unreadable(path, &error))?;
                    let Some(frame) = frame else { return Ok(None) };
                    *read += 1;
                    if (*read - 1).is_multiple_of(frames.every) {
                        *given += 1;
                        return Ok(Some(Shot::Frame(frame.picture)));
                    }
                }
                Ok(None)
            }
        }
    }
}

fn unreadable(video: &Path, error: &ClipError) -> UsageError {
    UsageError(format!("--images: {}: {error}", video.display()))
}

/// Everything to look at, input after input; an input is opened when its turn comes.
pub struct Shots {
    waiting: VecDeque<PathBuf>,
    current: Input,
    frames: Frames,
}

impl Shots {
    /// Opens the first of `inputs`, and sees that all are there.
    ///
    /// # Errors
    /// An input that is missing, an empty folder, a file that is no video.
    pub fn open(inputs: &[PathBuf], frames: Frames) -> anyhow::Result<Self> {
        // Before an hour of work, not after it.
        for input in inputs {
            let there = if input.is_dir() { !pictures(input)?.is_empty() } else { input.is_file() };
            anyhow::ensure!(
                there,
                UsageError(format!("--images: there is no such file or folder: {}", input.display()))
            );
        }
        let mut waiting = VecDeque::from(inputs.to_vec());
        let first = waiting.pop_front().context("no input was given")?;
        Ok(Self { current: Input::open(&first, frames)?, waiting, frames })
    }

    /// How many pictures there are, if that is known yet.
    pub fn known_count(&self) -> Option<u64> {
        self.current.count().filter(|_| self.waiting.is_empty())
    }
}

impl Iterator for Shots {
    type Item = anyhow::Result<Shot>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.current.next() {
                Ok(Some(shot)) => return Some(Ok(shot)),
                Err(error) => return Some(Err(error)),
                Ok(None) => match Input::open(&self.waiting.pop_front()?, self.frames) {
                    Ok(input) => self.current = input,
                    Err(error) => return Some(Err(error)),
                },
            }
        }
    }
}
