//! Pascal VOC: an XML file a picture.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use roxmltree::{Document, Node};

use super::classes::{Classes, key};
use super::files::{PICTURES, has_ending, only, read_text, walk};
use super::gather::{RawBox, RawObject, Record, Size, Source};
use super::{DataError, SourceConfig};

/// Reads the XML files; the pictures are not looked at.
pub(super) fn read(source: &SourceConfig, student: &[String]) -> Result<Source, DataError> {
    let folder = only(&source.paths, "the one folder with the pictures and their XML files")?;
    let pictures =
        Some(folder.join("JPEGImages")).filter(|inner| inner.is_dir()).unwrap_or(folder.to_owned());
    let inner = Some(folder.join("Annotations")).filter(|inner| inner.is_dir());
    let labels = source.annotations.clone().or(inner).unwrap_or(folder.to_owned());
    let mut files = walk(&labels, |path| has_ending(path, &["xml"]))?;
    if let Some(split) = &source.split {
        let list = folder.join("ImageSets/Main").join(format!("{split}.txt"));
        let wanted = listed(&read_text(&list)?);
        files.retain(|file| file.file_stem().is_some_and(|stem| wanted.contains(&*stem.to_string_lossy())));
    }
    if files.is_empty() {
        return Err(DataError::source(&labels, "there is no XML file of the source in the folder"));
    }
    files.truncate(source.limit.unwrap_or(usize::MAX));
    let pages = files.iter().map(|file| read_page(file)).collect::<Result<Vec<_>, _>>()?;
    let classes = Classes::new(folder, &names(&pages, source), student, source)?;
    let records =
        files.iter().zip(pages).map(|(file, page)| record(file, page, &labels, &pictures, &classes));
    Ok(Source {
        path: folder.to_owned(),
        records: records.collect(),
        classes: Some(classes),
        notes: Vec::new(),
    })
}

/// The names in a list of `ImageSets`; some have a number after the name, -1 for pictures without the class.
fn listed(text: &str) -> BTreeSet<String> {
    text.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

/// The classes that are labelled: those told, and those met.
fn names(pages: &[Page], source: &SourceConfig) -> Vec<String> {
    let met = pages.iter().flat_map(|page| &page.objects).map(|object| &object.name);
    let mut seen = BTreeSet::new();
    source.names.iter().chain(met).filter(|name| seen.insert(key(name))).cloned().collect()
}

/// What an XML file says.
struct Page {
    file_name: Option<String>,
    size: Size,
    objects: Vec<Named>,
}

struct Named {
    name: String,
    /// x1, y1, x2, y2 in pixels.
    corners: [f64; 4],
    difficult: bool,
}

fn read_page(file: &Path) -> Result<Page, DataError> {
    let refuse = |problem: String| DataError::source(file, problem);
    let text = read_text(file)?;
    let document = Document::parse(&text)
        .map_err(|error| refuse(format!("it is not XML: {error}; mend it, or take it out of the folder")))?;
    let root = document.root_element();
    if !root.has_tag_name("annotation") {
        let found = root.tag_name().name();
        return Err(refuse(format!(
            "it is XML of <{found}>, Pascal VOC's has an <annotation>; take it out of the folder"
        )));
    }
    let objects = root.children().filter(|node| node.has_tag_name("object")).enumerate();
    let objects = objects
        .map(|(at, node)| object(node).map_err(|problem| refuse(format!("object {at}: {problem}"))))
        .collect::<Result<_, _>>()?;
    Ok(Page { file_name: text_of(root, "filename").map(str::to_owned), size: said(root), objects })
}

fn child<'a>(node: Node<'a, 'a>, name: &str) -> Option<Node<'a, 'a>> {
    node.children().find(|child| child.has_tag_name(name))
}

fn text_of<'a>(node: Node<'a, 'a>, name: &str) -> Option<&'a str> {
    child(node, name)?.text().map(str::trim).filter(|text| !text.is_empty())
}

/// The size that the file says, if it does: many say 0.
fn said(root: Node<'_, '_>) -> Size {
    let side = |name| text_of(child(root, "size")?, name)?.parse::<f64>().ok().filter(|side| *side > 0.0);
    side("width").zip(side("height")).map_or(Size::Unknown, |(width, height)| Size::Said([width, height]))
}

/// An object. Pixels count from 1 there, and a box has its last ones in it.
fn object(node: Node<'_, '_>) -> Result<Named, String> {
    let name = text_of(node, "name").ok_or("it has no <name>")?.to_owned();
    let place = child(node, "bndbox").ok_or("it has no <bndbox>; only boxes are read")?;
    let side = |name: &str| {
        let text = text_of(place, name).ok_or_else(|| format!("its <bndbox> has no <{name}>"))?;
        text.parse::<f64>().map_err(|_| format!("its <{name}> is {text:?}, expected a number of pixels"))
    };
    let corners = [side("xmin")? - 1.0, side("ymin")? - 1.0, side("xmax")?, side("ymax")?];
    let difficult = text_of(node, "difficult").is_some_and(|text| matches!(text, "1" | "true"));
    Ok(Named { name, corners, difficult })
}

fn record(file: &Path, page: Page, labels: &Path, pictures: &Path, classes: &Classes) -> Record {
    let raw = |(at, object): (usize, Named)| RawObject {
        fate: classes.fate(&object.name),
        bbox: RawBox::Pixels(object.corners),
        ignore: object.difficult,
        at,
    };
    let objects = page.objects.into_iter().enumerate().map(raw).collect();
    let picture = find_picture(file, page.file_name.as_deref(), labels, pictures);
    Record { size: page.size, objects, ..Record::picture(&picture, pictures) }
}

/// The picture of an XML file: the one it names, or that is named like it.
fn find_picture(file: &Path, name: Option<&str>, labels: &Path, pictures: &Path) -> PathBuf {
    let inner = file.strip_prefix(labels).unwrap_or(file);
    let beside = pictures.join(inner);
    let named = name.map(|name| beside.with_file_name(name));
    let like_it = PICTURES.iter().map(|ending| beside.with_extension(ending));
    let fallback = named.clone().unwrap_or_else(|| beside.with_extension("jpg"));
    named.into_iter().chain(like_it).find(|path| path.is_file()).unwrap_or(fallback)
}
