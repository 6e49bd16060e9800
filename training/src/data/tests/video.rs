//! Videos, made here.

use centerx::ingest::GStreamer;
use centerx::ingest::clip::ClipWriter;

use super::Folder;
use crate::data::{Kind, SourceConfig};

/// Writes a video whose frames get brighter and brighter.
fn write_video(folder: &Folder, name: &str, frames: u8) {
    GStreamer::new().unwrap();
    let mut writer = ClipWriter::create(&folder.path(name), (64, 48), (25, 1)).unwrap();
    (0..frames).for_each(|at| writer.write(&[20 + 12 * at; 64 * 48 * 3]).unwrap());
    writer.finish().unwrap();
}

fn source(folder: &Folder) -> SourceConfig {
    SourceConfig { every: 3, ..SourceConfig::new(Kind::Pictures, [folder.path("clip.mp4")]) }
}

#[test]
fn every_third_frame_is_taken_out_once() {
    let folder = Folder::new();
    write_video(&folder, "clip.mp4", 10);
    let set = folder.open(&[source(&folder)], &["person"]).unwrap();
    let ids: Vec<String> = set.items.iter().map(|item| folder.short(&item.id)).collect();
    assert_eq!(ids, ["clip.mp4#000000", "clip.mp4#000003", "clip.mp4#000006", "clip.mp4#000009"]);
    for item in &set.items {
        assert_eq!((item.size, folder.short(&item.group)), ((64, 48), "clip.mp4".into()));
        assert_eq!(item.local_name(), folder.short(&item.id));
        let picture = crate::data::decoded::read(&item.file).unwrap();
        let expected = 20 + 12 * item.frame.unwrap() as u8;
        let bytes = picture.plane(0);
        assert!(bytes.iter().all(|value| value.abs_diff(expected) < 6), "{}: {}", item.id, bytes[0]);
    }
    let written = std::fs::metadata(&set.items[0].file).unwrap().modified().unwrap();
    let again = folder.open(&[source(&folder)], &["person"]).unwrap();
    assert_eq!(again.items, set.items);
    assert_eq!(std::fs::metadata(&set.items[0].file).unwrap().modified().unwrap(), written);
    let fewer = SourceConfig { limit: Some(2), ..source(&folder) };
    let fewer = folder.open(&[fewer], &["person"]).unwrap();
    assert_eq!(fewer.items.iter().map(|item| item.frame.unwrap()).collect::<Vec<_>>(), [0, 3]);
}

#[test]
fn a_folder_may_have_videos_and_frames_left_half_done_are_made_anew() {
    let folder = Folder::new();
    folder.picture("both/a.png");
    write_video(&folder, "both/clip.mp4", 2);
    let source = SourceConfig::new(Kind::Pictures, [folder.path("both")]);
    let set = folder.open(std::slice::from_ref(&source), &["person"]).unwrap();
    assert_eq!(set.items.len(), 3);
    std::fs::remove_file(set.items[2].file.with_file_name("frames.json")).unwrap();
    std::fs::write(&set.items[2].file, "half a frame").unwrap();
    assert_eq!(folder.open(&[source], &["person"]).unwrap().items, set.items);
    assert!(crate::data::decoded::read(&set.items[2].file).is_ok());
}

#[test]
fn what_is_no_video_is_refused_or_skipped() {
    let folder = Folder::new();
    folder.picture("a.png");
    folder.write("clip.mp4", "no video");
    let message = folder.refused(&source(&folder), &["person"]);
    assert!(message.starts_with("clip.mp4: it cannot be read as a video"), "{message}");
    let paths = [folder.path("a.png"), folder.path("clip.mp4")];
    let both = SourceConfig { skip_unreadable: true, ..SourceConfig::new(Kind::Pictures, paths) };
    let set = folder.open(&[both], &["person"]).unwrap();
    assert_eq!(set.items.len(), 1);
    assert!(set.notes[0].contains("the 0 frames before are used"), "{:?}", set.notes);
}

#[test]
fn frames_before_the_damage_are_used_where_that_is_asked_for() {
    let folder = Folder::new();
    write_video(&folder, "clip.mp4", 5);
    let set = folder.open(&[source(&folder)], &["person"]).unwrap();
    let list = set.items[0].file.with_file_name("frames.json");
    // As the decoder would have said it.
    let text = std::fs::read_to_string(&list).unwrap().replace("null", "\"broken here\"");
    std::fs::write(&list, text).unwrap();
    let message = folder.refused(&source(&folder), &["person"]);
    assert!(
        message.starts_with("clip.mp4: broken here;") && message.contains("skip-unreadable"),
        "{message}"
    );
    let skipping = SourceConfig { skip_unreadable: true, ..source(&folder) };
    let kept = folder.open(&[skipping], &["person"]).unwrap();
    assert_eq!(kept.items, set.items);
    assert!(kept.notes[0].ends_with("broken here; the 2 frames before are used"), "{:?}", kept.notes);
}
