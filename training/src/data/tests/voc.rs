//! Pascal VOC.

use super::{Folder, objects};
use crate::data::{Kind, SourceConfig};

fn page(name: &str, objects: &str) -> String {
    format!(
        "<annotation><filename>{name}</filename><size><width>100</width><height>50</height></size>{objects}</annotation>"
    )
}

fn object(name: &str, [x1, y1, x2, y2]: [&str; 4], difficult: &str) -> String {
    format!(
        "<object><name>{name}</name><difficult>{difficult}</difficult><bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin>\
         <xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
    )
}

fn folder() -> Folder {
    let folder = Folder::new();
    folder.picture("JPEGImages/a.jpg");
    folder.picture("JPEGImages/b.png");
    let objects =
        object("car", ["1", "1", "100", "50"], "0") + &object("Dog", ["11", "6", "20", "10.5"], "1");
    folder.write("Annotations/a.xml", page("a.jpg", &objects));
    // Named as it was before it was converted.
    folder.write("Annotations/b.xml", page("old/b.bmp", ""));
    folder
}

fn source(folder: &Folder) -> SourceConfig {
    SourceConfig::new(Kind::Voc, [folder.path("")])
}

#[test]
fn pixels_count_from_one_and_the_last_is_in_the_box() {
    let folder = folder();
    let set = folder.open(&[source(&folder)], &["dog", "car"]).unwrap();
    assert_eq!(objects(&set, 0), [(1, [0.0, 0.0, 100.0, 50.0], false), (0, [10.0, 5.0, 20.0, 10.5], true)]);
    assert!(objects(&set, 1).is_empty());
    assert!(set.items[1].file.ends_with("JPEGImages/b.png"));
}

#[test]
fn a_list_chooses_and_names_tell_of_classes_that_are_in_no_picture() {
    let folder = folder();
    folder.write("ImageSets/Main/val.txt", "b  1\n");
    let mut source = SourceConfig { split: Some("val".into()), ..source(&folder) };
    let message = folder.refused(&source, &["dog"]);
    assert!(message.contains("labels none of the student's classes"), "{message}");
    source.names = vec!["dog".into()];
    let set = folder.open(&[source.clone()], &["dog"]).unwrap();
    assert_eq!((set.items.len(), set.notes.len()), (1, 1));
    source.split = Some("test".into());
    assert!(folder.refused(&source, &["dog"]).starts_with("ImageSets/Main/test.txt: it cannot be read"));
}

#[test]
fn bad_pages_are_refused_by_name() {
    let folder = folder();
    let bad_box = object("car", ["1", "x", "100", "50"], "0");
    for (text, part) in [
        ("<annotation><object>".to_owned(), "Annotations/a.xml: it is not XML"),
        ("<html></html>".to_owned(), "it is XML of <html>"),
        (page("a.jpg", &bad_box), "object 0: its <ymin> is \"x\""),
        (page("a.jpg", "<object><name>car</name></object>"), "object 0: it has no <bndbox>"),
        (page("a.jpg", "<object/>"), "object 0: it has no <name>"),
        ("<!DOCTYPE a [<!ENTITY b \"c\">]><annotation>&b;</annotation>".to_owned(), "it is not XML"),
    ] {
        folder.write("Annotations/a.xml", text);
        let message = folder.refused(&source(&folder), &["car"]);
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn numbers_that_make_no_box_are_left_out() {
    let folder = folder();
    let boxes = [
        ["1", "1", "20", "20"],
        ["NaN", "1", "20", "20"],
        ["30", "5", "20", "20"],
        ["500", "5", "520", "20"],
    ];
    let objects: String = boxes.into_iter().map(|corners| object("car", corners, "0")).collect();
    folder.write("Annotations/a.xml", page("a.jpg", &objects));
    let set = folder.open(&[source(&folder)], &["car"]).unwrap();
    assert_eq!(super::objects(&set, 0).len(), 1);
    let notes = set.notes.join("\n");
    assert!(notes.contains("or not numbers: 2 (the first: [NaN, 0.0, 20.0, 20.0]"), "{notes}");
    assert!(notes.contains("outside of their picture: 1"), "{notes}");
}

#[test]
fn a_page_without_its_picture_and_a_folder_without_pages_are_told() {
    let folder = folder();
    std::fs::remove_file(folder.path("JPEGImages/a.jpg")).unwrap();
    let message = folder.refused(&source(&folder), &["car"]);
    assert!(message.starts_with("JPEGImages/a.jpg: No such file"), "{message}");
    let empty = Folder::new();
    let message = empty.refused(&source(&empty), &["car"]);
    assert!(message.contains("there is no XML file"), "{message}");
}
