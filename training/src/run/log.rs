//! The record of a run, one row every so many optimiser steps, as CSV that pandas and spreadsheets read.
//!
//! The columns are `step,epoch,rate,gradient_norm,seconds_per_step,total,score`, then `NAME,NAME:weight` for each loss
//! term. A run that was killed goes on in the same file: what was written after its last checkpoint, and a row torn by
//! the kill, are cut off first.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// The columns before the terms'.
const FIXED: [&str; 7] = ["step", "epoch", "rate", "gradient_norm", "seconds_per_step", "total", "score"];
/// What the column of a term's weight ends in.
const WEIGHT: &str = ":weight";

/// The record cannot be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The file system refuses, or is full.
    #[error("{}: {cause}; is there space left, and may this user write there?", path.display())]
    File {
        /// The record.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// A loss term's name cannot stand in a header.
    #[error(
        "the loss term {name:?} cannot be a column: rename it so that it is not empty and has no comma, quote or line break"
    )]
    Name {
        /// The term.
        name: String,
    },
    /// Another run's terms.
    #[error(
        "{} has the columns \"{found}\" and this run has \"{expected}\": resume with the terms it began with, or \
         begin in another folder", path.display()
    )]
    Columns {
        /// The record.
        path: PathBuf,
        /// Its header.
        found: String,
        /// This run's.
        expected: String,
    },
    /// A row that nobody here wrote.
    #[error("{}, line {line}: it is not a row of {columns} numbers; remove the line", path.display())]
    Row {
        /// The record.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// Numbers in a row.
        columns: usize,
    },
}

/// A loss term at some step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TermValue {
    /// Before it is weighted.
    pub value: f32,
    /// What it is multiplied with in the total.
    pub weight: f32,
}

/// What is recorded of a step, or of the steps since the row before: then values are means.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Optimiser steps done.
    pub step: u64,
    /// Epochs begun.
    pub epoch: u32,
    /// Learning rate.
    pub rate: f64,
    /// Norm of all gradients together, before clipping.
    pub gradient_norm: f32,
    /// Seconds a step.
    pub seconds: f32,
    /// The loss: the weighted sum of the terms.
    pub total: f32,
    /// Result of the evaluation at this step, where there was one.
    pub score: Option<f64>,
    /// The loss terms in the order of the log's names.
    pub terms: Vec<TermValue>,
}

/// A record as it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct History {
    /// Names of the loss terms.
    pub terms: Vec<String>,
    /// In the order of the file.
    pub rows: Vec<Row>,
}

/// A record that rows are added to.
#[derive(Debug)]
pub struct Log {
    file: File,
    path: PathBuf,
    terms: usize,
}

impl Log {
    /// Begins a record of these loss terms; what was in the file is lost.
    ///
    /// # Errors
    /// A name that cannot be a column; a file that cannot be written.
    pub fn create(path: &Path, terms: &[&str]) -> Result<Self, LogError> {
        let header = header(terms)?;
        let failed = |cause| LogError::File { path: path.to_owned(), cause };
        let mut file = File::create(path).map_err(failed)?;
        file.write_all(format!("{header}\n").as_bytes()).map_err(failed)?;
        Ok(Self { file, path: path.to_owned(), terms: terms.len() })
    }

    /// Goes on with the record of a run that is resumed after `step`: later rows and a torn one are cut off. A record
    /// that is missing, or was torn in its header, is begun.
    ///
    /// # Errors
    /// As [`Log::create`]; a record with other terms or damaged rows.
    pub fn resume(path: &Path, terms: &[&str], step: u64) -> Result<Self, LogError> {
        let expected = header(terms)?;
        let failed = |cause| LogError::File { path: path.to_owned(), cause };
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => String::new(),
            Err(cause) => return Err(failed(cause)),
        };
        let Some((found, _)) = text.split_once('\n') else { return Self::create(path, terms) };
        if found != expected {
            return Err(LogError::Columns { path: path.to_owned(), found: found.to_owned(), expected });
        }
        let kept = kept(path, &text, terms.len(), step)?;
        let mut file = OpenOptions::new().write(true).open(path).map_err(failed)?;
        file.set_len(kept).and_then(|()| file.seek(SeekFrom::End(0))).map_err(failed)?;
        Ok(Self { file, path: path.to_owned(), terms: terms.len() })
    }

    /// Adds a row. It is with the system when this returns: no kill of this process can lose it.
    ///
    /// # Errors
    /// A full disk.
    ///
    /// # Panics
    /// A row of another number of terms than the record has.
    pub fn write(&mut self, row: &Row) -> Result<(), LogError> {
        assert_eq!(row.terms.len(), self.terms, "the loss terms of a run do not change");
        let failed = |cause| LogError::File { path: self.path.clone(), cause };
        self.file.write_all(row.line().as_bytes()).map_err(failed)
    }
}

/// Reads a record; a torn row at its end is left out.
///
/// # Errors
/// A file that cannot be read, or that is none of these.
pub fn read(path: &Path) -> Result<History, LogError> {
    let text = fs::read_to_string(path).map_err(|cause| LogError::File { path: path.to_owned(), cause })?;
    let found = text.lines().next().unwrap_or_default();
    let terms: Vec<_> = found.split(',').skip(FIXED.len()).step_by(2).map(str::to_owned).collect();
    let names: Vec<_> = terms.iter().map(String::as_str).collect();
    let expected = header(&names)?;
    if found != expected {
        return Err(LogError::Columns { path: path.to_owned(), found: found.to_owned(), expected });
    }
    let rows = rows(path, &text, terms.len()).map(|row| row.map(|(row, _)| row));
    Ok(History { rows: rows.collect::<Result<_, _>>()?, terms })
}

fn header(terms: &[&str]) -> Result<String, LogError> {
    let bad = |name: &&&str| name.is_empty() || name.contains([',', '"', '\n', '\r']);
    if let Some(name) = terms.iter().find(bad) {
        return Err(LogError::Name { name: (*name).to_owned() });
    }
    let terms = terms.iter().flat_map(|name| [(*name).to_owned(), format!("{name}{WEIGHT}")]);
    Ok(FIXED.map(str::to_owned).into_iter().chain(terms).collect::<Vec<_>>().join(","))
}

/// The length in bytes of the header and the whole rows up to `step`.
fn kept(path: &Path, text: &str, terms: usize, step: u64) -> Result<u64, LogError> {
    let mut kept = text.find('\n').map_or(0, |end| end + 1);
    for row in rows(path, text, terms) {
        let (row, end) = row?;
        if row.step > step {
            break;
        }
        kept = end;
    }
    Ok(kept as u64)
}

/// The whole rows, each with the byte after it.
fn rows(path: &Path, text: &str, terms: usize) -> impl Iterator<Item = Result<(Row, usize), LogError>> {
    let mut end = 0;
    let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    let placed = whole.map(move |line| {
        end += line.len();
        (line.trim_end(), end)
    });
    placed.enumerate().skip(1).map(move |(index, (line, end))| {
        let columns = FIXED.len() + 2 * terms;
        let damaged = || LogError::Row { path: path.to_owned(), line: index + 1, columns };
        Row::parse(line, terms).map(|row| (row, end)).ok_or_else(damaged)
    })
}

impl Row {
    fn line(&self) -> String {
        let Self { step, epoch, rate, gradient_norm, seconds, total, score, terms } = self;
        let score = score.map(|score| score.to_string()).unwrap_or_default();
        let mut line = format!("{step},{epoch},{rate},{gradient_norm},{seconds},{total},{score}");
        for TermValue { value, weight } in terms {
            line.push_str(&format!(",{value},{weight}"));
        }
        line + "\n"
    }

    fn parse(line: &str, terms: usize) -> Option<Self> {
        let fields: Vec<&str> = line.split(',').collect();
        let (fixed, rest) = fields.split_first_chunk::<{ FIXED.len() }>()?;
        let number = |text: &str| text.parse::<f32>().ok();
        let term =
            |[value, weight]: &[&str; 2]| Some(TermValue { value: number(value)?, weight: number(weight)? });
        let (pairs, odd) = rest.as_chunks::<2>();
        if pairs.len() != terms || !odd.is_empty() {
            return None;
        }
        let score = if fixed[6].is_empty() { None } else { Some(fixed[6].parse().ok()?) };
        Some(Self {
            step: fixed[0].parse().ok()?,
            epoch: fixed[1].parse().ok()?,
            rate: fixed[2].parse().ok()?,
            gradient_norm: number(fixed[3])?,
            seconds: number(fixed[4])?,
            total: number(fixed[5])?,
            score,
            terms: pairs.iter().map(term).collect::<Option<_>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TERMS: [&str; 2] = ["labels/heat", "coco/size"];

    fn row(step: u64) -> Row {
        let terms = vec![TermValue { value: 0.5, weight: 1.0 }, TermValue { value: f32::MAX, weight: 1e-9 }];
        Row {
            step,
            epoch: 2,
            rate: 1.25e-4,
            gradient_norm: 3.5,
            seconds: 0.25,
            total: 7.0,
            score: step.is_multiple_of(2).then_some(0.75),
            terms,
        }
    }

    fn recorded(folder: &Path, steps: &[u64]) -> PathBuf {
        let path = folder.join("events.csv");
        let mut log = Log::create(&path, &TERMS).unwrap();
        steps.iter().for_each(|&step| log.write(&row(step)).unwrap());
        path
    }

    fn steps(path: &Path) -> Vec<u64> {
        read(path).unwrap().rows.iter().map(|row| row.step).collect()
    }

    #[test]
    fn a_record_is_csv_with_a_header() {
        let folder = tempfile::tempdir().unwrap();
        let text = fs::read_to_string(recorded(folder.path(), &[1, 2])).unwrap();
        let lines: Vec<_> = text.lines().collect();
        let header = "step,epoch,rate,gradient_norm,seconds_per_step,total,score,\
                      labels/heat,labels/heat:weight,coco/size,coco/size:weight";
        assert_eq!(lines[0], header);
        assert!(lines[1].starts_with("1,2,0.000125,3.5,0.25,7,,0.5,1,"), "{}", lines[1]);
        assert!(lines[2].starts_with("2,2,0.000125,3.5,0.25,7,0.75,0.5,1,"), "{}", lines[2]);
    }

    #[test]
    fn what_is_read_is_what_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let history = read(&recorded(folder.path(), &[1, 2, 30])).unwrap();
        assert_eq!(history.terms, TERMS);
        assert_eq!(history.rows, [row(1), row(2), row(30)]);
    }

    #[test]
    fn a_resumed_run_cuts_off_what_came_after_its_checkpoint() {
        let folder = tempfile::tempdir().unwrap();
        let path = recorded(folder.path(), &[10, 20, 30, 40]);
        let mut log = Log::resume(&path, &TERMS, 25).unwrap();
        assert_eq!(steps(&path), [10, 20]);
        log.write(&row(26)).unwrap();
        assert_eq!(steps(&path), [10, 20, 26]);
    }

    #[test]
    fn a_run_without_a_record_or_with_a_torn_header_begins_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.csv");
        for torn in [None, Some(""), Some("step,epo")] {
            torn.into_iter().for_each(|text| fs::write(&path, text).unwrap());
            Log::resume(&path, &TERMS, 5).unwrap().write(&row(6)).unwrap();
            assert_eq!(steps(&path), [6]);
            fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn other_terms_and_damaged_rows_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = recorded(folder.path(), &[1]);
        let other = Log::resume(&path, &TERMS[..1], 5).unwrap_err().to_string();
        assert!(other.contains("coco/size") && other.contains("another folder"), "{other}");
        fs::write(&path, fs::read_to_string(&path).unwrap() + "2,oops\n").unwrap();
        let damaged = read(&path).unwrap_err().to_string();
        assert!(damaged.contains("line 3") && damaged.contains("11 numbers"), "{damaged}");
    }

    #[test]
    fn names_that_would_break_the_columns_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["", "a,b", "a\"b", "a\nb"] {
            let refused = Log::create(&folder.path().join("events.csv"), &["fine", name]).unwrap_err();
            assert!(refused.to_string().contains(&format!("{name:?}")), "{refused}");
        }
    }

    #[test]
    fn a_full_disk_is_told() {
        let mut log = Log {
            file: OpenOptions::new().write(true).open("/dev/full").unwrap(),
            path: "events.csv".into(),
            terms: 2,
        };
        let full = log.write(&row(1)).unwrap_err().to_string();
        assert!(full.contains("events.csv") && full.contains("space"), "{full}");
    }

    #[test]
    fn values_that_are_no_numbers_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.csv");
        let terms = vec![TermValue { value: f32::NAN, weight: f32::INFINITY }];
        let mut log = Log::create(&path, &TERMS[..1]).unwrap();
        log.write(&Row { terms, total: f32::NAN, ..row(1) }).unwrap();
        let read = &read(&path).unwrap().rows[0];
        assert!(read.total.is_nan() && read.terms[0].value.is_nan() && read.terms[0].weight.is_infinite());
    }

    proptest! {
        #[test]
        fn a_record_torn_anywhere_is_read_and_resumed(part in 0.0..1.0f64, count in 1u64..6) {
            let folder = tempfile::tempdir().unwrap();
            let path = recorded(folder.path(), &(1..=count).collect::<Vec<_>>());
            let text = fs::read_to_string(&path).unwrap();
            let torn = &text[..(text.len() as f64 * part) as usize];
            fs::write(&path, torn).unwrap();
            let whole = torn.matches('\n').count().saturating_sub(1) as u64;
            let mut log = Log::resume(&path, &TERMS, count).unwrap();
            log.write(&row(count + 1)).unwrap();
            prop_assert_eq!(steps(&path), (1..=whole).chain([count + 1]).collect::<Vec<_>>());
        }
    }
}
