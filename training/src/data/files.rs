//! Finding files in folders.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::DataError;

/// Endings of the picture files that can be read, in lower case.
pub(super) const PICTURES: [&str; 4] = ["jpg", "jpeg", "png", "webp"];

/// Endings of what is taken for a video where a folder has it. A file named by itself is, whatever it is called.
const VIDEOS: [&str; 11] = ["avi", "mp4", "mkv", "mov", "webm", "m4v", "mpg", "mpeg", "ts", "wmv", "flv"];

/// Whether the file is called like a picture.
pub(super) fn is_picture(path: &Path) -> bool {
    has_ending(path, &PICTURES)
}

/// Whether the file is called like a video.
pub(super) fn is_video(path: &Path) -> bool {
    has_ending(path, &VIDEOS)
}

/// Whether the file's ending is one of `endings`, in lower or upper case.
pub(super) fn has_ending(path: &Path, endings: &[&str]) -> bool {
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
    ending.is_some_and(|ending| endings.contains(&ending.as_str()))
}

/// The files in a folder and the folders in it that `wanted` says yes to, by name. Hidden ones are passed over.
///
/// # Errors
/// A folder that is not there or cannot be read.
pub(super) fn walk(folder: &Path, wanted: impl Fn(&Path) -> bool) -> Result<Vec<PathBuf>, DataError> {
    let (mut files, mut waiting, mut seen) = (Vec::new(), vec![folder.to_owned()], HashSet::new());
    while let Some(folder) = waiting.pop() {
        let refuse =
            |error: std::io::Error| DataError::source(&folder, format!("it cannot be read: {error}"));
        // A link may lead back to where it is.
        if !seen.insert(folder.canonicalize().map_err(refuse)?) {
            continue;
        }
        for entry in folder.read_dir().map_err(refuse)? {
            let path = entry.map_err(refuse)?.path();
            let is_hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
            if is_hidden {
                continue;
            } else if path.is_dir() {
                waiting.push(path);
            } else if wanted(&path) {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Reads a text file.
///
/// # Errors
/// One that is missing, or not UTF-8.
pub(super) fn read_text(path: &Path) -> Result<String, DataError> {
    std::fs::read_to_string(path)
        .map_err(|error| DataError::source(path, format!("it cannot be read: {error}")))
}

/// The one path that `paths` is to be; `what` it is.
///
/// # Errors
/// None or several.
pub(super) fn only<'a>(paths: &'a [PathBuf], what: &str) -> Result<&'a Path, DataError> {
    match paths {
        [path] => Ok(path),
        _ => Err(DataError::Settings(format!("`paths` has {} entries; give {what}", paths.len()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_walked_by_name_and_loops_are_left() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        std::fs::create_dir_all(root.join("b/c")).unwrap();
        for name in ["b/c/1.JPG", "b/2.png", "a.webp", "b/notes.txt", "b/._2.png", "z.mp4"] {
            std::fs::write(root.join(name), "").unwrap();
        }
        std::os::unix::fs::symlink(root, root.join("b/again")).unwrap();
        let names = |wanted: fn(&Path) -> bool| -> Vec<String> {
            let found = walk(root, wanted).unwrap();
            found.iter().map(|path| path.strip_prefix(root).unwrap().display().to_string()).collect()
        };
        assert_eq!(names(is_picture), ["a.webp", "b/2.png", "b/c/1.JPG"]);
        assert_eq!(names(is_video), ["z.mp4"]);
        let message = walk(&root.join("none"), is_picture).unwrap_err().to_string();
        assert!(message.contains("none: it cannot be read"), "{message}");
    }
}
