//! COCO's JSON.

use serde_json::{Value, json};

use super::{Folder, objects};
use crate::data::{Kind, SourceConfig};

fn source(folder: &Folder) -> SourceConfig {
    SourceConfig {
        annotations: Some(folder.path("labels.json")),
        ..SourceConfig::new(Kind::Coco, [folder.path("pictures")])
    }
}

fn good() -> Value {
    json!({
        "images": [
            {"id": 1, "file_name": "a.png", "width": 100, "height": 50},
            {"id": 2, "file_name": "b.png"},
        ],
        "categories": [{"id": 5, "name": "Person"}, {"id": 7, "name": "dog"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 5, "bbox": [10, 5, 30, 20]},
            {"id": 2, "image_id": 1, "category_id": 5, "bbox": [80, 0, 40, 50], "iscrowd": 1},
            {"id": 3, "image_id": 1, "category_id": 7, "bbox": [0, 0, 5, 5]},
        ],
    })
}

fn folder(labels: &Value) -> Folder {
    let folder = Folder::new();
    folder.picture("pictures/a.png");
    folder.picture("pictures/b.png");
    folder.write("labels.json", labels.to_string());
    folder
}

#[test]
fn boxes_crowds_and_empty_pictures_are_read() {
    let folder = folder(&good());
    let set = folder.open(&[source(&folder)], &["face", "person"]).unwrap();
    assert_eq!(set.items.len(), 2);
    assert_eq!(folder.short(&set.items[0].id), "pictures/a.png");
    assert_eq!(set.items[0].size, (100, 50));
    let expected = [(1, [10.0, 5.0, 40.0, 25.0], false), (1, [80.0, 0.0, 100.0, 50.0], true)];
    assert_eq!(objects(&set, 0), expected);
    assert!(objects(&set, 1).is_empty());
    assert_eq!(*set.items[0].labels.as_ref().unwrap().known, [false, true]);
    let notes: Vec<String> = set.notes.iter().map(|note| folder.short(note)).collect();
    assert_eq!(
        notes,
        [
            "labels.json: classes that the student does not have are left out: dog",
            "labels.json: boxes that reach out of their picture: 1 (the first: [80.0, 0.0, 120.0, 50.0] in pictures/a.png, \
             object 1); they are clipped",
            "class face: no source labels it, it can be learnt from a teacher only",
        ]
    );
}

#[test]
fn a_class_without_objects_is_noted() {
    let mut labels = good();
    labels["categories"][1]["name"] = json!("face");
    labels["annotations"][2]["category_id"] = json!(5);
    let folder = folder(&labels);
    let set = folder.open(&[source(&folder)], &["face", "person"]).unwrap();
    assert!(
        set.notes.iter().any(|note| note.starts_with("class face: there is no object")),
        "{:?}",
        set.notes
    );
}

#[test]
fn several_sets_know_several_classes() {
    let folder = folder(&good());
    let mut faces = good();
    faces["categories"] = json!([{"id": 5, "name": "head"}, {"id": 7, "name": "sign"}]);
    folder.write("faces.json", faces.to_string());
    let mut second = source(&folder);
    second.annotations = Some(folder.path("faces.json"));
    second.rename = [("head".to_owned(), "face".to_owned())].into();
    second.ignore = vec!["sign".into()];
    let set = folder.open(&[source(&folder), second], &["face", "person"]).unwrap();
    let known: Vec<Vec<bool>> =
        set.items.iter().map(|item| item.labels.as_ref().unwrap().known.to_vec()).collect();
    assert_eq!(known, [[false, true], [false, true], [true, false], [true, false]]);
    assert_eq!(objects(&set, 2)[2], (0, [0.0, 0.0, 5.0, 5.0], true), "a sign is not judged");
    let ids: Vec<String> = set.items.iter().map(|item| folder.short(&item.id)).collect();
    assert_eq!(ids, ["pictures/a.png", "pictures/b.png", "pictures/a.png (2)", "pictures/b.png (2)"]);
}

#[test]
fn the_first_pictures_are_used() {
    let folder = folder(&good());
    let set = folder.open(&[SourceConfig { limit: Some(1), ..source(&folder) }], &["person"]).unwrap();
    assert_eq!(set.items.len(), 1);
}

#[test]
fn boxes_that_are_none_are_left_out_and_noted() {
    let mut labels = good();
    labels["annotations"][1]["bbox"] = json!([30, 30, 0, 5]);
    labels["annotations"][2] = json!({"id": 3, "image_id": 2, "category_id": 5, "bbox": [200, 5, 10, 10]});
    let folder = folder(&labels);
    let set = folder.open(&[source(&folder)], &["person"]).unwrap();
    assert_eq!(objects(&set, 0).len(), 1);
    let notes = set.notes.join("\n");
    assert!(notes.contains("or not numbers: 1 (the first: [30.0, 30.0, 30.0, 35.0]"), "{notes}");
    assert!(notes.contains("outside of their picture: 1 (the first: [200.0, 5.0, 210.0, 15.0]"), "{notes}");

    labels["annotations"][0]["bbox"] = json!([500, 5, 10, 10]);
    let folder = self::folder(&labels);
    let message = folder.refused(&source(&folder), &["person"]);
    assert!(message.contains("all of its 3 boxes are outside"), "{message}");
}

#[test]
fn what_is_no_annotation_is_refused() {
    let folder = folder(&good());
    for (text, part) in [
        ("{\"images\": [", "labels.json: it is cut short"),
        ("[1, 2]", "not COCO annotations"),
        ("a: b", "it is not JSON"),
        ("{\"images\": [], \"categories\": [], \"annotations\": []}", "it has no images"),
    ] {
        folder.write("labels.json", text);
        let message = folder.refused(&source(&folder), &["person"]);
        assert!(message.contains(part), "{text}: {message}");
    }
    std::fs::remove_file(folder.path("labels.json")).unwrap();
    assert!(folder.refused(&source(&folder), &["person"]).starts_with("labels.json: it cannot be read"));
    let none = SourceConfig { annotations: None, ..source(&folder) };
    assert!(folder.refused(&none, &["person"]).contains("needs `annotations`"));
}

#[test]
fn pictures_that_are_missing_damaged_or_of_another_size_are_told() {
    let mut labels = good();
    labels["images"][0]["width"] = json!(200);
    let folder = folder(&labels);
    let whole = std::fs::read(folder.path("pictures/b.png")).unwrap();
    let skipping = SourceConfig { skip_unreadable: true, ..source(&folder) };
    std::fs::remove_file(folder.path("pictures/b.png")).unwrap();
    let missing = folder.refused(&source(&folder), &["person"]);
    assert!(missing.starts_with("pictures/b.png: No such file"), "{missing}");
    assert!(missing.contains("skip-unreadable"), "{missing}");

    folder.write("pictures/b.png", &whole[..whole.len() / 2]);
    let damaged = folder.refused(&source(&folder), &["person"]);
    assert!(damaged.starts_with("pictures/b.png: the picture cannot be decoded"), "{damaged}");

    let set = folder.open(std::slice::from_ref(&skipping), &["person"]).unwrap();
    assert_eq!(set.items.len(), 1);
    let notes = folder.short(&set.notes.join("\n"));
    assert!(notes.contains("missing or damaged: 1 (the first: pictures/b.png: the picture"), "{notes}");
    assert!(notes.contains("pictures/a.png is 100x50, not 200x50"), "{notes}");

    std::fs::remove_file(folder.path("pictures/a.png")).unwrap();
    let message = folder.refused(&skipping, &["person"]);
    assert!(message.contains("none of its pictures can be read"), "{message}");
}
