//! Videos, taken apart once: training wants frames in any order, which no decoder gives.

use std::fs;
use std::path::{Path, PathBuf};

use centerx::ingest::clip::{ClipError, ClipReader};
use centerx::live::Encoder;
use centerx::view::Side;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::checked::{progress, stamp};
use super::gather::{Record, Size};
use super::{DataError, SourceConfig};

/// Quality of the JPEGs. Frames were compressed before; this adds little to that.
const QUALITY: u8 = 95;

/// The file that lists a folder's frames.
const LIST: &str = "frames.json";

/// What a video was taken apart to.
#[derive(Debug, Default, Deserialize, Serialize)]
struct Frames {
    /// Number in the video, width, height.
    frames: Vec<(u64, u32, u32)>,
    /// Why there are no more, where the file is damaged.
    damage: Option<String>,
}

/// The frames of a video that are wanted, as files in the cache. Those of more than 1920 pixels on the longer side are
/// shrunk to that.
///
/// # Errors
/// A video that is damaged, unless such are to be skipped; a full disk.
pub(super) fn frames(
    path: &Path,
    source: &SourceConfig,
    cache: &Path,
    notes: &mut Vec<String>,
) -> Result<Vec<Record>, DataError> {
    let folder = folder(path, source, cache)?;
    let list = folder.join(LIST);
    let known = fs::read(&list).ok().and_then(|bytes| serde_json::from_slice::<Frames>(&bytes).ok());
    let Frames { frames, damage } = match known {
        Some(known) => known,
        None => take_apart(path, source, &folder)?,
    };
    match damage {
        Some(cause) if source.skip_unreadable => {
            let kept = frames.len();
            notes.push(format!("{}: {cause}; the {kept} frames before are used", path.display()));
        }
        Some(cause) => return Err(DataError::unreadable(path, cause)),
        None => {}
    }
    let record = |(number, width, height)| Record {
        id: format!("{}#{number:06}", path.display()),
        frame: Some(number),
        size: Size::Known((width, height)),
        ..Record::picture(&folder.join(file_name(number)), path)
    };
    Ok(frames.into_iter().map(record).collect())
}

fn file_name(number: u64) -> String {
    format!("{number:06}.jpg")
}

/// Where a video's frames are: another file, a changed one, or other frames of it have another place.
fn folder(path: &Path, source: &SourceConfig, cache: &Path) -> Result<PathBuf, DataError> {
    let stamp = stamp(path).map_err(|error| DataError::unreadable(path, error))?;
    let limit = source.limit.unwrap_or(usize::MAX);
    let digest = Sha256::digest(format!("1 {} {limit} {stamp}", source.every));
    let name: String = digest.iter().take(12).map(|byte| format!("{byte:02x}")).collect();
    Ok(cache.join("frames").join(name))
}

/// Writes the frames into `folder`, which is there once it is complete.
fn take_apart(path: &Path, source: &SourceConfig, folder: &Path) -> Result<Frames, DataError> {
    let above = folder.parent().unwrap_or(Path::new("."));
    let refuse = |error: std::io::Error| DataError::cache(folder, error);
    fs::create_dir_all(above).map_err(refuse)?;
    let part = tempfile::tempdir_in(above).map_err(refuse)?;
    let frames = write_frames(path, source, part.path())?;
    if frames.frames.is_empty() {
        // Nothing worth keeping: with another decoder installed there may be more.
        return Ok(frames);
    }
    let list = serde_json::to_vec(&frames).map_err(|error| refuse(error.into()))?;
    fs::write(part.path().join(LIST), list).map_err(refuse)?;
    // One without its list is left from a run that was stopped, or damaged.
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(refuse)?;
    }
    fs::rename(part.path(), folder).map_err(refuse)?;
    Ok(frames)
}

fn write_frames(path: &Path, source: &SourceConfig, folder: &Path) -> Result<Frames, DataError> {
    let limit = source.limit.unwrap_or(usize::MAX);
    let bad = |error: &dyn ToString| DataError::unreadable(path, error.to_string());
    let mut frames = Frames::default();
    let mut reader = match ClipReader::open(path) {
        Ok(reader) => reader,
        Err(error @ ClipError::GStreamer(_)) => return Err(DataError::Settings(error.to_string())),
        Err(error) => return Ok(Frames { damage: Some(error.to_string()), ..frames }),
    };
    let mut encoder = Encoder::new(QUALITY).map_err(|error| bad(&error))?;
    let [.., side] = Side::ALL;
    let progress = progress(reader.frame_count().unwrap_or(0), &format!("frames of {}", path.display()));
    for number in 0.. {
        if frames.frames.len() >= limit {
            break;
        }
        let frame = match reader.next_frame() {
            Ok(Some(frame)) => frame,
            Ok(None) => break,
            Err(error) => {
                frames.damage = Some(error.to_string());
                break;
            }
        };
        progress.inc(1);
        if number % source.every == 0 {
            let jpeg = encoder.picture(&frame.picture, side, None).map_err(|error| bad(&error))?;
            let file = folder.join(file_name(number));
            fs::write(&file, &jpeg.bytes).map_err(|error| DataError::cache(&file, error))?;
            frames.frames.push((number, jpeg.width, jpeg.height));
        }
    }
    progress.finish_and_clear();
    Ok(frames)
}
