//! YOLO folders.

use super::{Folder, objects};
use crate::data::{Kind, SourceConfig};

fn folder() -> Folder {
    let folder = Folder::new();
    folder.picture("set/images/train/a.jpg");
    folder.picture("set/images/train/b.jpg");
    folder.write("set/labels/train/a.txt", "1 0.5 0.5 0.2 0.4\n\n0 0.1 0.5 0.4 1.0\n");
    folder.write(
        "set/data.yaml",
        "path: .\ntrain: images/train\nval: images/val\nnames:\n  0: car\n  1: person\n",
    );
    folder
}

fn source(folder: &Folder) -> SourceConfig {
    SourceConfig::new(Kind::Yolo, [folder.path("set/data.yaml")])
}

fn near(found: &[(usize, [f32; 4], bool)], expected: &[(usize, [f32; 4], bool)]) -> bool {
    let close = |a: &[f32; 4], b: &[f32; 4]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-4);
    found.len() == expected.len()
        && found.iter().zip(expected).all(|(a, b)| a.0 == b.0 && close(&a.1, &b.1) && a.2 == b.2)
}

#[test]
fn boxes_are_shares_of_the_picture() {
    let folder = folder();
    let set = folder.open(&[source(&folder)], &["person", "car"]).unwrap();
    let expected = [(0, [40.0, 15.0, 60.0, 35.0], false), (1, [0.0, 0.0, 30.0, 50.0], false)];
    assert!(near(&objects(&set, 0), &expected), "{:?}", objects(&set, 0));
    assert!(objects(&set, 1).is_empty());
    let notes = folder.short(&set.notes.join("\n"));
    assert!(
        notes.contains("pictures without a label file: 1 (the first: set/images/train/b.jpg)"),
        "{notes}"
    );
}

#[test]
fn a_folder_is_read_without_a_description() {
    let folder = folder();
    std::fs::remove_file(folder.path("set/data.yaml")).unwrap();
    let mut source = SourceConfig::new(Kind::Yolo, [folder.path("set")]);
    let message = folder.refused(&source, &["person"]);
    assert!(message.contains("give `names`"), "{message}");
    folder.write("set/classes.txt", "car\nperson\n");
    assert_eq!(folder.open(&[source.clone()], &["person"]).unwrap().items.len(), 2);
    source.names = vec!["person".into(), "car".into()];
    source.split = Some("train".into());
    let set = folder.open(&[source], &["car"]).unwrap();
    assert_eq!(objects(&set, 0).len(), 1);
    assert!(near(&objects(&set, 0), &[(0, [40.0, 15.0, 60.0, 35.0], false)]));
}

#[test]
fn a_list_of_pictures_is_followed() {
    let folder = folder();
    folder.write("set/some.txt", "./images/train/a.jpg\n");
    folder.write("set/data.yaml", "train: [some.txt]\nnames: [car, person]\n");
    let set = folder.open(&[source(&folder)], &["person"]).unwrap();
    assert_eq!((set.items.len(), objects(&set, 0).len()), (1, 1));
}

#[test]
fn bad_lines_are_refused_with_file_and_line() {
    let folder = folder();
    for (text, part) in [
        (
            "2 0.5 0.5 0.2 0.4",
            "set/labels/train/a.txt: line 1: the class is 2, but there are 2 names, 0 to 1",
        ),
        ("1 0.5 0.5 0.2 0.4\n1 0.1 0.1 0.2 0.2 0.3 0.3", "line 2: it has 7 numbers, as of polygons"),
        ("1 a 0.5 0.2 0.4", "line 1: \"a\" is not a number"),
    ] {
        folder.write("set/labels/train/a.txt", text);
        let message = folder.refused(&source(&folder), &["person"]);
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn boxes_in_pixels_are_found_out() {
    let folder = folder();
    folder.write("set/labels/train/a.txt", "1 50 25 20 20\n1 nan 0.5 0.2 0.4");
    let message = folder.refused(&source(&folder), &["person"]);
    assert!(message.contains("all of its 2 boxes") && message.contains("units"), "{message}");
}

#[test]
fn bad_descriptions_are_refused() {
    let folder = folder();
    for (text, part) in [
        ("train: [images", "set/data.yaml: it is not a YOLO data set"),
        ("train: images/train", "missing field `names`"),
        ("val: images/train\nnames: [car]", "it has no `train`"),
        ("train: images/train\nnames: {0: car, 2: person}", "none for class 1"),
        ("train: images/none\nnames: [person]", "set/images/none: it cannot be read"),
    ] {
        folder.write("set/data.yaml", text);
        let message = folder.refused(&source(&folder), &["person"]);
        assert!(message.contains(part), "{text}: {message}");
    }
    let other = SourceConfig { split: Some("all".into()), ..source(&folder) };
    assert!(folder.refused(&other, &["person"]).contains("YOLO has train, val and test"));
}

#[test]
fn labels_and_pictures_that_do_not_meet_are_told() {
    let folder = folder();
    folder.write("set/labels/train/c.txt", "0 0.5 0.5 0.1 0.1");
    let set = folder.open(&[source(&folder)], &["person"]).unwrap();
    let notes = folder.short(&set.notes.join("\n"));
    assert!(
        notes.contains("label files without a picture: 1 (the first: set/labels/train/c.txt)"),
        "{notes}"
    );
    std::fs::remove_file(folder.path("set/labels/train/a.txt")).unwrap();
    let message = folder.refused(&source(&folder), &["person"]);
    assert!(
        message.contains("none of its pictures has a label file") && message.contains("a.txt"),
        "{message}"
    );
    std::fs::create_dir_all(folder.path("set/images/val")).unwrap();
    let empty = SourceConfig { split: Some("val".into()), ..source(&folder) };
    assert!(folder.refused(&empty, &["person"]).starts_with("set/images/val: there is no picture"));
}
