//! Looking at every picture once before training: an hour later is too late to learn that one is damaged.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::UNIX_EPOCH;

use indicatif::ProgressBar;

use super::DataError;
use super::decoded::read;

type Size = (u32, u32);

/// Sizes of the pictures that were found sound, by file; kept between runs.
#[derive(Debug)]
pub(super) struct Checked {
    file: PathBuf,
    sizes: BTreeMap<String, Size>,
    changed: bool,
}

/// What a file is known by: another one, or a changed one, has another.
///
/// # Errors
/// A file that is missing.
pub(super) fn stamp(path: &Path) -> std::io::Result<String> {
    let about = fs::metadata(path)?;
    let modified = about.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    let path = path.canonicalize()?;
    Ok(format!("{} {} {}", about.len(), modified.as_nanos(), path.display()))
}

impl Checked {
    /// Reads what earlier runs have found. What cannot be read is found anew.
    pub fn open(cache: &Path) -> Self {
        let file = cache.join("pictures.json");
        let known = fs::read(&file).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Self { file, sizes: known.unwrap_or_default(), changed: false }
    }

    /// Widths and heights of `files`; those that are not known yet are decoded, on all cores. Of a picture that is
    /// missing or damaged it tells why, and if `stop` is set no more are looked at after it.
    pub fn sizes(&mut self, files: &[&Path], stop: bool) -> Vec<Option<Result<Size, String>>> {
        let stamps: Vec<Result<String, String>> =
            files.iter().map(|file| stamp(file).map_err(|error| error.to_string())).collect();
        let known = |stamp: &Result<String, String>| match stamp {
            Ok(stamp) => self.sizes.get(stamp).copied().map(Ok),
            Err(cause) => Some(Err(cause.clone())),
        };
        let mut results: Vec<_> = stamps.iter().map(known).collect();
        if !(stop && results.iter().flatten().any(Result::is_err)) {
            look(files, &mut results, stop);
        }
        for (stamp, result) in stamps.into_iter().zip(&results) {
            if let (Ok(stamp), Some(Ok(size))) = (stamp, result) {
                self.changed |= self.sizes.insert(stamp, *size).is_none();
            }
        }
        results
    }

    /// Keeps what was found for later runs.
    ///
    /// # Errors
    /// A full disk, a folder that cannot be written.
    pub fn save(&self) -> Result<(), DataError> {
        if !self.changed {
            return Ok(());
        }
        let refuse = |error: std::io::Error| DataError::cache(&self.file, error);
        let folder = self.file.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder).map_err(refuse)?;
        let part = tempfile::NamedTempFile::new_in(folder).map_err(refuse)?;
        serde_json::to_writer(&part, &self.sizes).map_err(|error| refuse(error.into()))?;
        part.persist(&self.file).map_err(|error| refuse(error.error)).map(drop)
    }
}

/// Decodes those of `files` of which `results` has nothing yet.
fn look(files: &[&Path], results: &mut [Option<Result<Size, String>>], stop: bool) {
    let waiting: Vec<usize> = (0..files.len()).filter(|&at| results[at].is_none()).collect();
    let threads = thread::available_parallelism().map_or(1, usize::from).min(waiting.len());
    let progress = progress(waiting.len() as u64, "pictures checked");
    let (next, stopped, results) = (AtomicUsize::new(0), AtomicBool::new(false), Mutex::new(results));
    let work = || {
        while !stopped.load(Ordering::Relaxed)
            && let Some(&at) = waiting.get(next.fetch_add(1, Ordering::Relaxed))
        {
            let result = read(files[at]).map(|picture| (picture.width, picture.height));
            stopped.fetch_or(stop && result.is_err(), Ordering::Relaxed);
            results.lock().unwrap_or_else(PoisonError::into_inner)[at] = Some(result);
            progress.inc(1);
        }
    };
    thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    progress.finish_and_clear();
}

/// A bar of `what`; nothing where standard error is no terminal.
pub(super) fn progress(count: u64, what: &str) -> ProgressBar {
    let template = format!("{{bar:40}} {{pos}}/{{len}} {what}  {{per_sec}}  {{eta}} left");
    let style = indicatif::ProgressStyle::with_template(&template);
    ProgressBar::new(count).with_style(style.unwrap_or_else(|_| indicatif::ProgressStyle::default_bar()))
}
