//! From what a source's files say to items: sizes are looked up, boxes checked, classes mapped.

use std::path::{Path, PathBuf};

use super::boxes::{Boxes, Count};
use super::checked::Checked;
use super::classes::{Classes, Fate};
use super::{DataError, Item};
use crate::maps::{Labels, Object};

/// What a source's files say.
#[derive(Debug)]
pub(super) struct Source {
    /// What it is called in messages.
    pub path: PathBuf,
    /// Its pictures.
    pub records: Vec<Record>,
    /// What becomes of its classes, where it has labels.
    pub classes: Option<Classes>,
    /// Oddities worth telling.
    pub notes: Vec<String>,
}

/// One picture of a source.
#[derive(Debug)]
pub(super) struct Record {
    pub id: String,
    pub group: String,
    pub frame: Option<u64>,
    pub file: PathBuf,
    pub size: Size,
    pub objects: Vec<RawObject>,
}

/// A picture's size, or what is known of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Size {
    /// The file has to be looked at.
    Unknown,
    /// So the labels say; the file has to be looked at.
    Said([f64; 2]),
    /// It is this.
    Known((u32, u32)),
}

/// One object of a picture, as it is labelled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct RawObject {
    pub fate: Fate,
    pub bbox: RawBox,
    /// Not to be judged.
    pub ignore: bool,
    /// Its number among the source's or the picture's, for messages.
    pub at: usize,
}

/// A box as it is labelled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum RawBox {
    /// x1, y1, x2, y2 in pixels.
    Pixels([f64; 4]),
    /// x1, y1, x2, y2 as shares of the picture's width and height.
    Shares([f64; 4]),
}

impl RawBox {
    fn corners(self, (width, height): (u32, u32)) -> [f64; 4] {
        let (w, h) = (f64::from(width), f64::from(height));
        match self {
            Self::Pixels(corners) => corners,
            Self::Shares([x1, y1, x2, y2]) => [x1 * w, y1 * h, x2 * w, y2 * h],
        }
    }
}

impl Record {
    /// A picture of a folder, or of a list.
    pub fn picture(file: &Path, group: &Path) -> Self {
        Self {
            id: file.display().to_string(),
            group: group.display().to_string(),
            frame: None,
            file: file.to_owned(),
            size: Size::Unknown,
            objects: Vec::new(),
        }
    }
}

impl Source {
    /// Looks at the pictures and checks the labels.
    ///
    /// # Errors
    /// A picture that is missing or damaged, unless those are to be skipped; nothing left; nothing but bad boxes.
    pub fn gather(
        mut self,
        checked: &mut Checked,
        skip: bool,
    ) -> Result<(Vec<Item>, Vec<String>), DataError> {
        let records = std::mem::take(&mut self.records);
        let known = match records.len() {
            0 => return Err(DataError::source(&self.path, "there are no pictures in it")),
            _ => look_up(&records, checked, skip)?,
        };
        let (mut items, mut boxes) = (Vec::new(), Boxes::default());
        let (mut unreadable, mut other) = (Count::default(), Count::default());
        for (record, size) in records.into_iter().zip(known) {
            match size {
                Ok(size) => {
                    note_size(&record, size, &mut other);
                    items.push(self.item(record, size, &mut boxes));
                }
                Err(cause) => unreadable.add(|| format!("{}: {cause}", record.file.display())),
            }
        }
        if items.is_empty() {
            let problem = format!("none of its pictures can be read, the first is {}", unreadable.first);
            return Err(DataError::source(&self.path, problem));
        }
        let mut notes = self.notes;
        notes.extend(self.classes.as_ref().and_then(|classes| classes.note(&self.path)));
        notes.extend(unreadable.note(
            &self.path,
            "pictures that are missing or damaged",
            "they are left out",
        ));
        let so = "their boxes may lie elsewhere";
        notes.extend(other.note(&self.path, "pictures of another size than the labels say", so));
        notes.extend(boxes.finish(&self.path)?);
        Ok((items, notes))
    }

    fn item(&self, record: Record, size: (u32, u32), boxes: &mut Boxes) -> Item {
        let labels = self.classes.as_ref().map(|classes| {
            let mut objects = Vec::new();
            for raw in record.objects.iter().filter(|raw| raw.fate != Fate::LeftOut) {
                let place = || format!("{}, object {}", record.id, raw.at);
                if let Some(bbox) = boxes.check(raw.bbox.corners(size), size, place) {
                    classes.add(raw.fate, Object { class: 0, bbox, ignore: raw.ignore }, &mut objects);
                }
            }
            Labels { objects, known: classes.known.clone() }
        });
        let Record { id, group, frame, file, .. } = record;
        Item { id, group, frame, file, size, labels, repeat: 1 }
    }
}

/// A picture's width and height, or why it has none.
type Looked = Result<(u32, u32), String>;

/// Looks at the pictures whose size is not known.
fn look_up(records: &[Record], checked: &mut Checked, skip: bool) -> Result<Vec<Looked>, DataError> {
    let files: Vec<&Path> = records
        .iter()
        .filter(|record| !matches!(record.size, Size::Known(_)))
        .map(|record| record.file.as_path())
        .collect();
    let found = checked.sizes(&files, !skip);
    if !skip {
        let mut bad = files
            .iter()
            .zip(&found)
            .filter_map(|(file, found)| Some((file, found.as_ref()?.as_ref().err()?)));
        if let Some((file, cause)) = bad.next() {
            return Err(DataError::unreadable(file, cause));
        }
    }
    let mut found = found.into_iter();
    let size = |record: &Record| match record.size {
        Size::Known(size) => Ok(size),
        _ => found.next().flatten().unwrap_or_else(|| Err("it was not looked at".to_owned())),
    };
    Ok(records.iter().map(size).collect())
}

fn note_size(record: &Record, (width, height): (u32, u32), other: &mut Count) {
    if let Size::Said([w, h]) = record.size
        && (w, h) != (f64::from(width), f64::from(height))
    {
        other.add(|| format!("{} is {width}x{height}, not {w}x{h}", record.id));
    }
}
