//! A user's own frames, to calibrate on and to compare on: so many, evenly spread over pictures and videos.

use std::path::{Path, PathBuf};

use crate::cli::UsageError;
use crate::cli::eval::source::{self, Shot};
use crate::frame::Picture;
use crate::ingest::clip::{ClipError, ClipReader};
use crate::picture_file;

/// Endings of the video files that are looked for in a folder, in lower case.
const VIDEOS: [&str; 11] = ["avi", "flv", "m2ts", "m4v", "mkv", "mov", "mp4", "mpeg", "mpg", "ts", "webm"];

/// Of so many frames one is held out, to compare on.
const HELD_OUT: usize = 5;

/// How many frames there must be so that this many are to calibrate on.
pub fn with_held_out(calibration: usize) -> usize {
    calibration + calibration / (HELD_OUT - 1)
}

/// Which of the chosen frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Those to calibrate on.
    Calibration,
    /// Those that are held out.
    HeldOut,
    /// All.
    All,
}

impl Part {
    fn has(self, number: usize) -> bool {
        let held_out = number % HELD_OUT == HELD_OUT - 1;
        match self {
            Self::Calibration => !held_out,
            Self::HeldOut => held_out,
            Self::All => true,
        }
    }
}

/// The chosen frames.
#[derive(Clone, Debug)]
pub struct Frames {
    files: Vec<File>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct File {
    path: PathBuf,
    /// Frames it has; a picture has one.
    frames: usize,
    /// Frames that were chosen.
    chosen: usize,
    is_video: bool,
}

impl Frames {
    /// Chooses at most `most` frames of `inputs`: folders of pictures and videos, and such files themselves.
    ///
    /// # Errors
    /// An input that is not there or cannot be read, a folder without pictures and videos.
    pub fn choose(inputs: &[PathBuf], most: usize) -> anyhow::Result<Self> {
        let mut files = Vec::new();
        for input in inputs {
            files.extend(if input.is_dir() { files_of(input)? } else { vec![file(input.clone())?] });
        }
        let frames: Vec<usize> = files.iter().map(|file| file.frames).collect();
        for (file, chosen) in files.iter_mut().zip(spread(&frames, most)) {
            file.chosen = chosen;
        }
        Ok(Self { files })
    }

    /// How many frames there are of a part.
    pub fn count(&self, part: Part) -> usize {
        let all: usize = self.files.iter().map(|file| file.chosen).sum();
        (0..all).filter(|&number| part.has(number)).count()
    }

    /// The frames of a part, file after file.
    pub fn of(&self, part: Part) -> impl Iterator<Item = anyhow::Result<Shot>> + Send + use<> {
        let files: Vec<File> = self.files.iter().filter(|file| file.chosen > 0).cloned().collect();
        let mut number = 0;
        files.into_iter().flat_map(move |file| {
            let first = number;
            number += file.chosen;
            file.shots(first, part)
        })
    }
}

impl File {
    /// The chosen frames of a part; they are numbered from `first` on.
    fn shots(self, first: usize, part: Part) -> Box<dyn Iterator<Item = anyhow::Result<Shot>> + Send> {
        if !self.is_video {
            return Box::new(part.has(first).then_some(Ok(Shot::File(self.path))).into_iter());
        }
        let wanted = (0..self.chosen).filter(move |at| part.has(first + at));
        let places: Vec<usize> = wanted.map(|at| place(at, self.chosen, self.frames)).collect();
        match ClipReader::open(&self.path) {
            Ok(reader) => {
                let places = places.into_iter();
                Box::new(VideoShots { path: self.path, reader, places, read: 0, over: false })
            }
            Err(error) => Box::new(std::iter::once(Err(unreadable(&self.path, &error).into()))),
        }
    }
}

/// Some frames of a video.
struct VideoShots {
    path: PathBuf,
    reader: ClipReader,
    /// Numbers of the frames, rising.
    places: std::vec::IntoIter<usize>,
    /// Frames that were read.
    read: usize,
    over: bool,
}

impl Iterator for VideoShots {
    type Item = anyhow::Result<Shot>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        let place = self.places.next()?;
        loop {
            match self.reader.next_frame() {
                Ok(Some(frame)) => {
                    self.read += 1;
                    if self.read > place {
                        return Some(Ok(Shot::Frame(frame.picture)));
                    }
                }
                // Some files have less than they tell.
                Ok(None) => {
                    self.over = true;
                    return None;
                }
                Err(error) => {
                    self.over = true;
                    return Some(Err(unreadable(&self.path, &error).into()));
                }
            }
        }
    }
}

/// The picture of a shot.
///
/// # Errors
/// A picture file that is damaged, named.
pub fn picture(shot: Shot) -> Result<Picture, UsageError> {
    let path = match shot {
        Shot::Frame(picture) => return Ok(picture),
        Shot::File(path) => path,
    };
    let refuse =
        |cause: String| UsageError(format!("{}: {cause}; repair it or take it away", path.display()));
    let bytes = std::fs::read(&path).map_err(|error| refuse(error.to_string()))?;
    picture_file::decode(&bytes).map_err(|error| refuse(error.to_string()))
}

/// The pictures and videos of a folder, by name.
fn files_of(folder: &Path) -> anyhow::Result<Vec<File>> {
    let refuse = |error| UsageError(format!("--calibrate: {} cannot be read: {error}", folder.display()));
    let mut paths = Vec::new();
    for entry in folder.read_dir().map_err(refuse)? {
        let path = entry.map_err(refuse)?.path();
        if (source::is_picture(&path) || is_video(&path)) && path.is_file() {
            paths.push(path);
        }
    }
    if paths.is_empty() {
        let endings = source::ENDINGS.into_iter().chain(VIDEOS).collect::<Vec<_>>().join(", ");
        let problem = format!(
            "--calibrate: there is no picture or video ({endings}) in the folder {}",
            folder.display()
        );
        return Err(UsageError(problem).into());
    }
    paths.sort();
    paths.into_iter().map(file).collect()
}

fn is_video(path: &Path) -> bool {
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
    ending.is_some_and(|ending| VIDEOS.contains(&ending.as_str()))
}

fn file(path: PathBuf) -> anyhow::Result<File> {
    if !path.is_file() {
        let problem = format!("--calibrate: there is no such file or folder: {}", path.display());
        return Err(UsageError(problem).into());
    }
    let is_video = !source::is_picture(&path);
    let frames = if is_video { count(&path).map_err(|error| unreadable(&path, &error))? } else { 1 };
    Ok(File { path, frames, chosen: 0, is_video })
}

/// Frames of a video; where it does not tell they are counted.
fn count(path: &Path) -> Result<usize, ClipError> {
    let mut reader = ClipReader::open(path)?;
    if let Some(count) = reader.frame_count() {
        return Ok(usize::try_from(count).unwrap_or(usize::MAX));
    }
    let mut count = 0;
    while reader.next_frame()?.is_some() {
        count += 1;
    }
    Ok(count)
}

fn unreadable(video: &Path, error: &ClipError) -> UsageError {
    UsageError(format!("--calibrate: {}: {error}", video.display()))
}

/// How many frames to take of files that have so many: `most` in all, or all there are. Each file gives as many as
/// any other that has enough; where there are more files than frames, every so-manieth gives one.
fn spread(frames: &[usize], most: usize) -> Vec<usize> {
    let mut chosen = vec![0; frames.len()];
    let mut left = most;
    loop {
        let open: Vec<usize> = (0..frames.len()).filter(|&at| chosen[at] < frames[at]).collect();
        if open.is_empty() || left == 0 {
            return chosen;
        }
        let each = left / open.len();
        if each == 0 {
            (0..left).for_each(|nth| chosen[open[place(nth, left, open.len())]] += 1);
            return chosen;
        }
        for at in open {
            let more = each.min(frames[at] - chosen[at]);
            chosen[at] += more;
            left -= more;
        }
    }
}

/// The place of the nth of `chosen` things among `all`, in the middle of its share.
fn place(nth: usize, chosen: usize, all: usize) -> usize {
    ((2 * nth as u128 + 1) * all as u128 / (2 * chosen as u128)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn files_give_alike_and_small_ones_all_they_have() {
        assert_eq!(spread(&[1, 1, 100, 1000], 22), [1, 1, 10, 10]);
        assert_eq!(spread(&[5, 1000], 25), [5, 20]);
        assert_eq!(spread(&[1; 10], 5), [0, 1, 0, 1, 0, 1, 0, 1, 0, 1]);
        assert_eq!(spread(&[3, 4], 100), [3, 4]);
        assert_eq!((spread(&[], 9), spread(&[0, 2], 0)), (vec![], vec![0, 0]));
    }

    #[test]
    fn places_lie_in_the_middle_of_their_shares() {
        let places = |chosen, all| (0..chosen).map(|nth| place(nth, chosen, all)).collect::<Vec<_>>();
        assert_eq!(places(4, 40), [5, 15, 25, 35]);
        assert_eq!(places(3, 3), [0, 1, 2]);
        assert_eq!(places(1, 795), [397]);
    }

    #[test]
    fn every_fifth_frame_is_held_out() {
        let part = |part: Part| (0..12).filter(|&number| part.has(number)).collect::<Vec<_>>();
        assert_eq!(part(Part::HeldOut), [4, 9]);
        assert_eq!(part(Part::Calibration), [0, 1, 2, 3, 5, 6, 7, 8, 10, 11]);
        assert_eq!(part(Part::All).len(), 12);
        for calibration in 1..300 {
            let all = 0..with_held_out(calibration);
            assert_eq!(all.filter(|&number| Part::Calibration.has(number)).count(), calibration);
        }
    }

    proptest! {
        #[test]
        fn as_many_as_wanted_and_none_that_is_not_there(
            frames in prop::collection::vec(0usize..50, 0..20), most in 0usize..300,
        ) {
            let chosen = spread(&frames, most);
            prop_assert_eq!(chosen.iter().sum::<usize>(), most.min(frames.iter().sum()));
            prop_assert!(chosen.iter().zip(&frames).all(|(chosen, frames)| chosen <= frames));
        }

        #[test]
        fn places_rise_and_are_there(all in 1usize..500, share in 1usize..500) {
            let chosen = share.min(all);
            let places: Vec<_> = (0..chosen).map(|nth| place(nth, chosen, all)).collect();
            prop_assert!(places.windows(2).all(|pair| pair[0] < pair[1]));
            prop_assert!(places.iter().all(|&place| place < all));
        }
    }
}
