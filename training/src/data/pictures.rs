//! Pictures and videos without labels.

use std::path::Path;

use super::files::{is_picture, is_video, walk};
use super::gather::{Record, Source};
use super::{DataError, SourceConfig, video};

/// Finds the pictures, and takes the videos apart.
pub(super) fn read(source: &SourceConfig, cache: &Path) -> Result<Source, DataError> {
    let Some(first) = source.paths.first() else {
        return Err(DataError::Settings("`paths` is empty; give folders, pictures or videos".into()));
    };
    let (mut records, mut notes) = (Vec::new(), Vec::new());
    for path in &source.paths {
        if path.is_dir() {
            let mut pictures = walk(path, is_picture)?;
            let videos = walk(path, is_video)?;
            if pictures.is_empty() && videos.is_empty() {
                let problem = "there is no picture (jpg, jpeg, png, webp) and no video in the folder";
                return Err(DataError::source(path, problem));
            }
            pictures.truncate(source.limit.unwrap_or(usize::MAX));
            records.extend(pictures.iter().map(|file| Record::picture(file, path)));
            for video in videos {
                records.extend(video::frames(&video, source, cache, &mut notes)?);
            }
        } else if is_picture(path) {
            records.push(Record::picture(path, path.parent().unwrap_or(Path::new("."))));
        } else if path.exists() {
            records.extend(video::frames(path, source, cache, &mut notes)?);
        } else {
            return Err(DataError::source(path, "there is no such file or folder"));
        }
    }
    Ok(Source { path: first.clone(), records, classes: None, notes })
}
