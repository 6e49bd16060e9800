//! COCO's JSON.

use std::collections::HashMap;

use centerx::eval::annotations::Annotations;

use super::classes::Classes;
use super::files::only;
use super::gather::{RawBox, RawObject, Record, Size, Source};
use super::{DataError, SourceConfig};

/// Reads the annotations; the pictures are not looked at.
pub(super) fn read(source: &SourceConfig, student: &[String]) -> Result<Source, DataError> {
    let folder = only(&source.paths, "the one folder that has the pictures")?;
    let Some(path) = &source.annotations else {
        let problem =
            format!("a source of kind \"coco\" ({}) needs `annotations`, its JSON file", folder.display());
        return Err(DataError::Settings(problem));
    };
    let bytes = std::fs::read(path)
        .map_err(|error| DataError::source(path, format!("it cannot be read: {error}")))?;
    let mut annotations = Annotations::parse(&bytes).map_err(|error| DataError::source(path, error))?;
    if let Some(limit) = source.limit {
        annotations.limit(limit);
    }
    let names: Vec<String> = annotations.categories.iter().map(|(_, name)| name.clone()).collect();
    let classes = Classes::new(path, &names, student, source)?;
    let fates: HashMap<u64, _> =
        annotations.categories.iter().map(|(id, name)| (*id, classes.fate(name))).collect();
    let mut objects: HashMap<u64, Vec<RawObject>> = HashMap::new();
    for (at, one) in annotations.instances.iter().enumerate() {
        let [x, y, width, height] = one.bbox;
        let bbox = RawBox::Pixels([x, y, x + width, y + height]);
        let raw = RawObject { fate: fates[&one.category], bbox, ignore: one.crowd, at };
        objects.entry(one.image).or_default().push(raw);
    }
    let records = annotations.images.iter().map(|image| {
        let said = image.width.zip(image.height).map_or(Size::Unknown, |(w, h)| Size::Said([w, h]));
        let objects = objects.remove(&image.id).unwrap_or_default();
        Record { size: said, objects, ..Record::picture(&folder.join(&image.file_name), folder) }
    });
    let records = records.collect();
    let notes = annotations.notes.iter().map(|note| format!("{}: {note}", path.display())).collect();
    Ok(Source { path: path.clone(), records, classes: Some(classes), notes })
}
