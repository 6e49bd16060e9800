//! Labels by Pascal VOC, YOLO and COCO, told apart by the first byte: any bytes are objects of some size within the
//! picture, or an error that says something.
#![no_main]

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use centerx_train::data::{self, Kind, SourceConfig};
use tempfile::TempDir;

/// A folder with one picture, where each run writes its labels beside it. In memory, where there is such a place.
static FOLDER: LazyLock<TempDir> = LazyLock::new(|| {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    let folder = folder.expect("a folder");
    image::RgbImage::new(32, 24).save(folder.path().join("a.png")).expect("a picture");
    folder
});

fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = FOLDER.path().join(name);
    std::fs::write(&path, bytes).expect("it can be written");
    path
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    let folder = FOLDER.path();
    let (label, source) = match kind % 3 {
        0 => (file("a.xml", bytes), SourceConfig::new(Kind::Voc, [folder])),
        1 => (
            file("a.txt", bytes),
            SourceConfig { names: vec!["a".to_owned(), "b".to_owned()], ..SourceConfig::new(Kind::Yolo, [folder]) },
        ),
        _ => {
            let label = file("a.json", bytes);
            (label.clone(), SourceConfig { annotations: Some(label), ..SourceConfig::new(Kind::Coco, [folder]) })
        }
    };
    let opened = data::open(&[source], &["a".to_owned(), "b".to_owned()], &folder.join("cache"));
    std::fs::remove_file(label).expect("it is there");
    match opened {
        Ok(set) => {
            for object in set.items.iter().flat_map(|item| &item.labels).flat_map(|labels| &labels.objects) {
                let b = object.bbox;
                let inside = 0.0 <= b.x1 && b.x1 < b.x2 && b.x2 <= 32.0 && 0.0 <= b.y1 && b.y1 < b.y2 && b.y2 <= 24.0;
                assert!(inside && object.class < 2, "{object:?}");
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
