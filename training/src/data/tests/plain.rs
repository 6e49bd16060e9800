//! Pictures without labels, and settings.

use super::Folder;
use crate::data::{Item, Kind, SourceConfig};

#[test]
fn folders_and_single_pictures_are_read() {
    let folder = Folder::new();
    folder.picture("some/b/2.png");
    folder.picture("some/1.jpg");
    folder.picture("other.webp");
    folder.write("some/readme.txt", "not a picture");
    let source = SourceConfig::new(Kind::Pictures, [folder.path("some"), folder.path("other.webp")]);
    let set = folder.open(std::slice::from_ref(&source), &["person"]).unwrap();
    let ids: Vec<String> = set.items.iter().map(|item| folder.short(&item.id)).collect();
    assert_eq!(ids, ["some/1.jpg", "some/b/2.png", "other.webp"]);
    let names: Vec<&str> = set.items.iter().map(Item::local_name).collect();
    assert_eq!(names, ["1.jpg", "b/2.png", "other.webp"]);
    assert!(set.items.iter().all(|item| item.labels.is_none() && item.size == (100, 50)));
    assert!(set.items[0].group == set.items[1].group && set.items[1].group != set.items[2].group);
    assert!(set.notes.is_empty(), "{:?}", set.notes);
    let set = folder.open(&[SourceConfig { limit: Some(1), ..source }], &["person"]).unwrap();
    assert_eq!(set.items.len(), 2, "one of each path");
}

#[test]
fn what_was_found_sound_is_not_decoded_again() {
    let folder = Folder::new();
    let picture = folder.picture("some/1.png");
    let source = SourceConfig::new(Kind::Pictures, [folder.path("some")]);
    let first = folder.open(std::slice::from_ref(&source), &["person"]).unwrap();
    let cache = folder.path("cache/pictures.json");
    let text = std::fs::read_to_string(&cache).unwrap();
    // Believed, as the picture is the same.
    std::fs::write(&cache, text.replace("[100,50]", "[7,5]")).unwrap();
    let again = folder.open(std::slice::from_ref(&source), &["person"]).unwrap();
    assert_eq!((first.items[0].size, again.items[0].size), ((100, 50), (7, 5)));
    // Looked at, as it is another one.
    super::write_picture(&picture, (20, 30), [1, 2, 3]);
    assert_eq!(folder.open(std::slice::from_ref(&source), &["person"]).unwrap().items[0].size, (20, 30));
    std::fs::write(&cache, "{not JSON").unwrap();
    assert_eq!(folder.open(std::slice::from_ref(&source), &["person"]).unwrap().items[0].size, (20, 30));
}

#[test]
fn a_cache_that_cannot_be_written_is_named() {
    let folder = Folder::new();
    folder.picture("some/1.png");
    folder.write("cache", "a file in the way");
    let message = folder.refused(&SourceConfig::new(Kind::Pictures, [folder.path("some")]), &["person"]);
    assert!(message.contains("cache/pictures.json cannot be written"), "{message}");
}

#[test]
fn nothing_to_train_on_is_refused() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path("empty")).unwrap();
    let refused =
        |path: &str| folder.refused(&SourceConfig::new(Kind::Pictures, [folder.path(path)]), &["person"]);
    assert!(refused("empty").contains("empty: there is no picture"));
    assert!(refused("none").contains("none: there is no such file or folder"));
    let none = SourceConfig::new(Kind::Pictures, Vec::<String>::new());
    assert!(folder.refused(&none, &["person"]).contains("`paths` is empty"));
    assert!(folder.open(&[], &["person"]).unwrap_err().to_string().contains("no source"));
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let folder = Folder::new();
    folder.picture("some/1.png");
    let source = SourceConfig::new(Kind::Pictures, [folder.path("some")]);
    assert!(folder.refused(&source, &[]).contains("no classes"));
    assert!(folder.refused(&source, &["Car", "car"]).contains("\"car\" is empty or there twice"));
    let often = SourceConfig { repeat: 0, ..source.clone() };
    assert!(folder.refused(&often, &["car"]).contains("`repeat` is 0; it is from 1 to 100"));
    assert!(folder.refused(&SourceConfig { every: 0, ..source }, &["car"]).contains("`every` is 0"));
}

#[test]
fn a_damaged_picture_is_refused_or_skipped() {
    let folder = Folder::new();
    folder.picture("some/1.png");
    folder.write("some/2.jpg", "no JPEG");
    let source = SourceConfig::new(Kind::Pictures, [folder.path("some")]);
    let message = folder.refused(&source, &["person"]);
    assert!(message.starts_with("some/2.jpg: the bytes are not a JPEG"), "{message}");
    let set = folder.open(&[SourceConfig { skip_unreadable: true, ..source }], &["person"]).unwrap();
    assert_eq!((set.items.len(), set.notes.len()), (1, 1));
}
