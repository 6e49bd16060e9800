//! All sources together.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use super::checked::Checked;
use super::classes::key;
use super::{DataError, DataSet, Item, Kind, SourceConfig, coco, pictures, voc, yolo};

/// A picture that an epoch has more often would hardly leave room for others.
const MOST_REPEATS: usize = 100;

/// Reads `sources` for a student of these `classes`; frames of videos and what is found out about pictures are kept in
/// the folder `cache`.
///
/// # Errors
/// See [`DataError`]; each says what was found where, and what to do.
pub fn open(sources: &[SourceConfig], classes: &[String], cache: &Path) -> Result<DataSet, DataError> {
    check_classes(classes)?;
    if sources.is_empty() {
        return Err(DataError::Settings("there is no source of pictures; give at least one".into()));
    }
    let mut checked = Checked::open(cache);
    let (mut items, mut notes) = (Vec::new(), Vec::new());
    for source in sources {
        if source.every == 0 {
            return Err(DataError::Settings("`every` is 0; 1 is each frame, 2 every second".into()));
        }
        if !(1..=MOST_REPEATS).contains(&source.repeat) {
            let problem = format!("`repeat` is {}; it is from 1 to {MOST_REPEATS}", source.repeat);
            return Err(DataError::Settings(problem));
        }
        let read = match source.kind {
            Kind::Coco => coco::read(source, classes)?,
            Kind::Voc => voc::read(source, classes)?,
            Kind::Yolo => yolo::read(source, classes)?,
            Kind::Pictures => pictures::read(source, cache)?,
        };
        let gathered = read.gather(&mut checked, source.skip_unreadable);
        // What was sound is known next time, whatever was not.
        checked.save()?;
        let (more, told) = gathered?;
        items.extend(more.into_iter().map(|item| Item { repeat: source.repeat, ..item }));
        notes.extend(told);
    }
    name_apart(&mut items);
    notes.extend(class_notes(classes, &items));
    Ok(DataSet { classes: classes.to_vec(), items, notes })
}

fn check_classes(classes: &[String]) -> Result<(), DataError> {
    if classes.is_empty() {
        return Err(DataError::Settings("the student has no classes; name at least one".into()));
    }
    let mut seen = HashSet::new();
    match classes.iter().find(|name| key(name).is_empty() || !seen.insert(key(name))) {
        Some(name) => {
            let problem = format!(
                "the student's class {name:?} is empty or there twice; classes are matched by name, whatever its case"
            );
            Err(DataError::Settings(problem))
        }
        None => Ok(()),
    }
}

/// Pictures that several sources have get a number behind their name from the second on.
fn name_apart(items: &mut [Item]) {
    let mut seen: HashMap<String, usize> = HashMap::new();
    for item in items {
        let count = seen.entry(item.id.clone()).or_insert(0);
        *count += 1;
        if *count > 1 {
            item.id = format!("{} ({count})", item.id);
        }
    }
}

/// Classes of which nothing can be learnt from labels.
fn class_notes(classes: &[String], items: &[Item]) -> Vec<String> {
    let labels = || items.iter().filter_map(|item| item.labels.as_ref());
    if labels().next().is_none() {
        return Vec::new();
    }
    let (mut known, mut counts) = (vec![false; classes.len()], vec![0usize; classes.len()]);
    for labels in labels() {
        known.iter_mut().zip(labels.known.iter()).for_each(|(known, is)| *known |= is);
        labels.objects.iter().filter(|one| !one.ignore).for_each(|one| counts[one.class] += 1);
    }
    let note = |(class, name): (usize, &String)| match (known[class], counts[class]) {
        (true, 0) => {
            Some(format!("class {name}: there is no object of it, labels can only teach where it is not"))
        }
        (false, _) => {
            Some(format!("class {name}: no source labels it, it can be learnt from a teacher only"))
        }
        _ => None,
    };
    classes.iter().enumerate().filter_map(note).collect()
}
