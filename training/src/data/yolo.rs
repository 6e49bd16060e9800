//! YOLO: a text file a picture, on each line a class's number and a box.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::boxes::Count;
use super::classes::{Classes, Fate};
use super::files::{has_ending, is_picture, only, read_text, walk};
use super::gather::{RawBox, RawObject, Record, Source};
use super::{DataError, SourceConfig};

/// What is read of a `data.yaml`.
#[derive(Deserialize)]
struct File {
    path: Option<PathBuf>,
    train: Option<Places>,
    val: Option<Places>,
    test: Option<Places>,
    names: Names,
}

/// One place or several, each a folder or a list of pictures.
#[derive(Deserialize)]
#[serde(untagged)]
enum Places {
    One(PathBuf),
    Several(Vec<PathBuf>),
}

/// Names in their order, or by number.
#[derive(Deserialize)]
#[serde(untagged)]
enum Names {
    List(Vec<String>),
    Map(BTreeMap<usize, String>),
}

/// A data set as its files describe it.
struct Layout {
    names: Vec<String>,
    /// Folders, or text files that list pictures.
    places: Vec<PathBuf>,
}

/// Reads the labels; the pictures are not looked at.
pub(super) fn read(source: &SourceConfig, student: &[String]) -> Result<Source, DataError> {
    let path = only(&source.paths, "the one data.yaml, or the one folder with `images` and `labels`")?;
    let layout = if path.is_dir() { of_folder(path, source)? } else { of_file(path, source)? };
    let classes = Classes::new(path, &layout.names, student, source)?;
    let fates: Vec<Fate> = layout.names.iter().map(|name| classes.fate(name)).collect();
    let (mut records, mut notes, mut without) = (Vec::new(), Vec::new(), Count::default());
    for place in &layout.places {
        let mut pictures = pictures(place)?;
        notes.extend(strangers(place, &pictures)?);
        pictures.truncate(source.limit.unwrap_or(usize::MAX));
        for picture in pictures {
            let label = label_file(&picture);
            let objects = if label.is_file() {
                read_label(&label, &fates, &layout.names)?
            } else {
                without.add(|| picture.display().to_string());
                Vec::new()
            };
            records.push(Record { objects, ..Record::picture(&picture, place) });
        }
    }
    if !records.is_empty() && without.number == records.len() {
        let label = label_file(&records[0].file);
        let problem = format!(
            "none of its pictures has a label file, the first one's should be {}; folders are to be called `images` and \
             `labels`, or use it without labels (kind \"pictures\")",
            label.display()
        );
        return Err(DataError::source(path, problem));
    }
    notes.extend(without.note(path, "pictures without a label file", "they are taken to show no object"));
    Ok(Source { path: path.to_owned(), records, classes: Some(classes), notes })
}

/// Reads a `data.yaml`. Its paths are relative to its `path`, and that to the file.
fn of_file(path: &Path, source: &SourceConfig) -> Result<Layout, DataError> {
    let refuse = |problem: String| DataError::source(path, problem);
    let file: File = serde_yaml_ng::from_str(&read_text(path)?).map_err(|error| {
        refuse(format!("it is not a YOLO data set: {error}; expected `names` and `train`, `val` or `test`"))
    })?;
    let split = source.split.as_deref().unwrap_or("train");
    let places = match split {
        "train" => file.train,
        "val" => file.val,
        "test" => file.test,
        other => {
            return Err(DataError::Settings(format!("`split` is {other:?}; YOLO has train, val and test")));
        }
    };
    let places = match places.ok_or_else(|| refuse(format!("it has no `{split}`; choose another `split`")))? {
        Places::One(place) => vec![place],
        Places::Several(places) => places,
    };
    let folder = path.parent().unwrap_or(Path::new("."));
    let root = file.path.map_or(folder.to_owned(), |inner| folder.join(inner));
    let names = match file.names {
        Names::List(names) => names,
        Names::Map(map) => numbered(map).map_err(refuse)?,
    };
    Ok(Layout { names, places: places.iter().map(|place| join(&root, place)).collect() })
}

/// The path of `inner` in `folder`, without the `.` that many files begin their paths with.
fn join(folder: &Path, inner: &Path) -> PathBuf {
    folder.join(inner).components().collect()
}

fn numbered(map: BTreeMap<usize, String>) -> Result<Vec<String>, String> {
    match map.keys().zip(0..).find(|(number, expected)| **number != *expected) {
        Some((_, expected)) => {
            Err(format!("its `names` have none for class {expected}; number them from 0 on"))
        }
        None => Ok(map.into_values().collect()),
    }
}

/// A folder with `images` and `labels` and no description.
fn of_folder(path: &Path, source: &SourceConfig) -> Result<Layout, DataError> {
    let description = path.join("data.yaml");
    if description.is_file() && source.names.is_empty() {
        return of_file(&description, source);
    }
    let list = path.join("classes.txt");
    let names = if !source.names.is_empty() {
        source.names.clone()
    } else if list.is_file() {
        read_text(&list)?.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
    } else {
        let problem = "nothing tells what its classes are called; give `names`, or a data.yaml or classes.txt in the folder";
        return Err(DataError::source(path, problem));
    };
    let images = path.join("images");
    let place = source.split.iter().fold(images, |folder, split| folder.join(split));
    Ok(Layout { names, places: vec![place] })
}

/// The pictures of a folder, or of a text file that lists them.
fn pictures(place: &Path) -> Result<Vec<PathBuf>, DataError> {
    let pictures = if place.is_dir() || !has_ending(place, &["txt"]) {
        walk(place, is_picture)?
    } else {
        let folder = place.parent().unwrap_or(Path::new("."));
        let text = read_text(place)?;
        text.lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .map(|line| join(folder, Path::new(line)))
            .collect()
    };
    if pictures.is_empty() {
        return Err(DataError::source(place, "there is no picture (jpg, jpeg, png, webp) in it"));
    }
    Ok(pictures)
}

/// `…/images/…/NAME.jpg` has its labels in `…/labels/…/NAME.txt`; without such a folder they are side by side.
fn label_file(picture: &Path) -> PathBuf {
    labels_of(picture).with_extension("txt")
}

/// The path with its last folder called `images` called `labels`.
fn labels_of(path: &Path) -> PathBuf {
    let parts: Vec<_> = path.components().collect();
    let last = parts.iter().rposition(|part| part.as_os_str() == "images");
    let swap = |(at, part): (usize, &std::path::Component<'_>)| match last {
        Some(last) if last == at => "labels".into(),
        _ => part.as_os_str().to_owned(),
    };
    parts.iter().enumerate().map(swap).collect()
}

/// Label files beside the pictures of a folder that belong to none of them.
fn strangers(place: &Path, pictures: &[PathBuf]) -> Result<Option<String>, DataError> {
    let labels = labels_of(place);
    if !(place.is_dir() && labels.is_dir()) {
        return Ok(None);
    }
    let known: HashSet<PathBuf> = pictures.iter().map(|picture| label_file(picture)).collect();
    let mut count = Count::default();
    let is_label = |path: &Path| has_ending(path, &["txt"]) && !path.ends_with("classes.txt");
    for file in walk(&labels, is_label)?.into_iter().filter(|file| !known.contains(file)) {
        count.add(|| file.display().to_string());
    }
    Ok(count.note(place, "label files without a picture", "they are left out"))
}

fn read_label(file: &Path, fates: &[Fate], names: &[String]) -> Result<Vec<RawObject>, DataError> {
    let text = read_text(file)?;
    let lines = text.lines().zip(1..).filter(|(line, _)| !line.trim().is_empty());
    lines
        .map(|(line, at)| {
            let (class, bbox) = parse_line(line, names)
                .map_err(|problem| DataError::source(file, format!("line {at}: {problem}")))?;
            Ok(RawObject { fate: fates[class], bbox, ignore: false, at })
        })
        .collect()
}

/// `CLASS X Y WIDTH HEIGHT`, the centre and the size as shares of the picture's.
fn parse_line(line: &str, names: &[String]) -> Result<(usize, RawBox), String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let &[class, x, y, width, height] = words.as_slice() else {
        let of = match words.len() {
            ..=4 => "",
            6 => ", as of predictions with a score",
            _ => ", as of polygons or key points, which are not read: export boxes",
        };
        return Err(format!("it has {} numbers{of}; expected class, x, y, width, height", words.len()));
    };
    let class: usize =
        class.parse().map_err(|_| format!("the class is {class:?}, expected a number from 0 up"))?;
    if class >= names.len() {
        let count = names.len();
        return Err(format!(
            "the class is {class}, but there are {count} names, 0 to {}; add its name, or mend the line",
            count - 1
        ));
    }
    let number = |word: &str| word.parse::<f64>().map_err(|_| format!("{word:?} is not a number"));
    let [x, y, w, h] = [number(x)?, number(y)?, number(width)?, number(height)?];
    Ok((class, RawBox::Shares([x - w / 2.0, y - h / 2.0, x + w / 2.0, y + h / 2.0])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_folder_called_images_is_swapped() {
        let swapped = label_file(Path::new("/data/images/a/images/train/x.y.jpg"));
        assert_eq!(swapped, Path::new("/data/images/a/labels/train/x.y.txt"));
        assert_eq!(label_file(Path::new("set/a.jpg")), Path::new("set/a.txt"));
    }

    #[test]
    fn a_line_is_a_class_and_a_box() {
        let names = vec!["a".to_owned(), "b".to_owned()];
        let (class, bbox) = parse_line("1 0.5 0.5 0.25 0.5", &names).unwrap();
        assert_eq!((class, bbox), (1, RawBox::Shares([0.375, 0.25, 0.625, 0.75])));
        for (line, part) in [
            ("2 0.5 0.5 0.2 0.5", "the class is 2, but there are 2 names, 0 to 1"),
            ("-1 0.5 0.5 0.2 0.5", "\"-1\""),
            ("person 0.5 0.5 0.2 0.5", "\"person\""),
            ("1 0.5 x 0.2 0.5", "\"x\" is not a number"),
            ("1 0.5", "it has 2 numbers;"),
            ("1 0.5 0.5 0.2 0.5 0.9", "with a score"),
            ("1 0.5 0.5 0.2 0.5 0.9 0.1", "polygons"),
        ] {
            let message = parse_line(line, &names).unwrap_err();
            assert!(message.contains(part), "{message}");
        }
    }
}
