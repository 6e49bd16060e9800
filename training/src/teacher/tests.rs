//! With real models and pictures, and what the tests of this module share.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use centerx::app::models::load_runtime;
use centerx::cli::eval::lanes::Model;
use centerx::detection::BoundingBox;
use centerx::engine::onnx::OnnxRuntime;
use centerx::eval::Found;
use centerx::eval::agreement::{Agreement, Agreements};
use centerx::frame::Picture;
use centerx::ingest::clip::ClipReader;
use centerx::letterbox::Preprocessor;
use centerx::model::fetch::Fetcher;
use centerx::model::home::Home;
use centerx::model::zoo::Zoo;

use super::*;
use crate::maps::Maps;
use crate::view::View;

/// The objects in `maps`: cells that score at least `least` and no less than the eight around them. A cell is `stride`
/// pixels.
pub(super) fn peaks(maps: &Maps, stride: f32, least: f32) -> Vec<Found> {
    let (cells, mut found) = (maps.height * maps.width, Vec::new());
    for (at, &score) in maps.heat.iter().enumerate() {
        let (class, cell) = (at / cells, at % cells);
        let (i, j) = (cell / maps.width, cell % maps.width);
        let around = |at: usize, count: usize| at.saturating_sub(1)..(at + 2).min(count);
        let heat = |i: usize, j: usize| maps.heat[class * cells + i * maps.width + j];
        let is_peak = around(i, maps.height).all(|y| around(j, maps.width).all(|x| heat(y, x) <= score));
        if is_peak && score >= least {
            let (x, y) = (j as f32 + maps.offset[cell], i as f32 + maps.offset[cells + cell]);
            let (w, h) = (maps.size[cell] / 2.0, maps.size[cells + cell] / 2.0);
            let [x1, y1, x2, y2] = [x - w, y - h, x + w, y + h].map(|side| side * stride);
            found.push(Found { class: class as u64, score, bbox: BoundingBox { x1, y1, x2, y2 } });
        }
    }
    found
}

/// A [`Render`]: the whole picture, scaled, and of that what lies in the input.
pub(super) fn render(picture: &Picture, view: View, input: (u32, u32)) -> Vec<u8> {
    let side = |length: u32| ((length as f32 * view.scale).round() as u32).max(1);
    let size = (side(picture.width), side(picture.height));
    let mut scaled = vec![0; (size.0 * size.1 * 3) as usize];
    Preprocessor::default().scale(picture, size, &mut scaled).unwrap();
    let (left, top) = (view.left.round() as i64, view.top.round() as i64);
    let mut pixels = vec![0; (input.0 * input.1 * 3) as usize];
    for (at, pixel) in pixels.chunks_exact_mut(3).enumerate() {
        let (x, y) = ((at as i64 % i64::from(input.0)) - left, (at as i64 / i64::from(input.0)) - top);
        if (0..i64::from(size.0)).contains(&x) && (0..i64::from(size.1)).contains(&y) {
            let from = ((y * i64::from(size.0) + x) * 3) as usize;
            pixel.copy_from_slice(&scaled[from..from + 3]);
        }
    }
    pixels
}

fn from_env(name: &str, default: &str) -> PathBuf {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(default);
    std::env::var_os(name).map_or_else(beside, PathBuf::from)
}

fn home() -> PathBuf {
    from_env("CENTERX_HOME", ".cache/centerx")
}

/// The path of a pulled model.
fn model(name: &str) -> String {
    let zoo = Zoo::new(Home::at(home()), Fetcher::default());
    zoo.resolve(name).unwrap().display().to_string()
}

/// ONNX Runtime, of which a process may have one.
fn runtime() -> &'static OnnxRuntime {
    static RUNTIME: OnceLock<OnnxRuntime> = OnceLock::new();
    RUNTIME.get_or_init(|| load_runtime().expect("these tests need ONNX Runtime: centerx runtime pull"))
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn teacher(name: &str, student: &[&str]) -> Result<Teacher, TeacherError> {
    Teacher::open(runtime(), &TeacherConfig::new(&model(name)), &names(student))
}

/// Some frames of a sample, `every` frames apart.
fn frames(clip: &str, every: usize, count: usize) -> Vec<Picture> {
    let path = from_env("CENTERX_TEST_DATA", ".cache/data").join(clip);
    let mut reader = ClipReader::open(&path).unwrap();
    let all = std::iter::from_fn(|| reader.next_frame().unwrap().map(|frame| frame.picture));
    all.step_by(every).take(count).collect()
}

/// How far what is decoded from a teacher's maps on `grid` agrees with what the detector itself finds.
fn agreement(name: &str, class: &str, pictures: &[Picture], grid: Grid) -> Agreement {
    let mut lane = teacher(name, &[class]).unwrap().lane(render).unwrap();
    let detector = Model::load(runtime(), &model(name), 1).unwrap();
    let mut detector = detector.open(0.2).unwrap();
    let mut agreements = Agreements::new(1, 0.3);
    for picture in pictures {
        let view = View::letterbox((picture.width, picture.height), grid.input);
        let maps = lane.look(picture, view, grid).unwrap();
        let back = |found: Found| {
            let b = found.bbox;
            let [x1, y1, x2, y2] = [b.x1, b.y1, b.x2, b.y2].map(|at| at / view.scale);
            let bbox = BoundingBox { x1, y1, x2, y2 }.clip(picture.width as f32, picture.height as f32);
            Found { bbox, ..found }
        };
        let ours = peaks(&maps, grid.stride as f32, 0.3).into_iter().map(back).collect();
        let theirs = detector.look(picture).unwrap();
        let theirs = theirs.iter().filter(|found| *found.label == *class);
        let theirs: Vec<_> =
            theirs.map(|found| Found { class: 0, score: found.score, bbox: found.bbox }).collect();
        agreements.add(ours, &theirs);
    }
    let all = agreements.overall();
    println!("{name} at {grid:?}: {all:?}, F1 {:?}", all.f1());
    all
}

const SMALL: Grid = Grid { input: (384, 288), stride: 4 };

#[test]
fn coco_says_in_maps_what_it_says_in_boxes() {
    let pictures = frames("vtest.avi", 100, 3);
    let same = agreement("coco", "person", &pictures, Grid { input: (512, 512), stride: 4 });
    assert!(same.matched >= 15 && same.f1().unwrap() >= 0.95, "{same:?}");
    let small = agreement("coco", "person", &pictures, SMALL);
    assert!(small.f1().unwrap() >= 0.8, "{small:?}");
}

#[test]
fn face_says_in_maps_what_it_says_in_boxes() {
    let pictures = frames("carphone_pristine.mp4", 15, 6);
    let same = agreement("face", "face", &pictures, Grid { input: (640, 480), stride: 4 });
    assert!(same.matched >= 3 && same.f1().unwrap() >= 0.95, "{same:?}");
    let small = agreement("face", "face", &pictures, SMALL);
    assert!(small.f1().unwrap() >= 0.8, "{small:?}");
    let large = agreement("face", "face", &pictures, Grid { input: (800, 608), stride: 4 });
    assert!(large.f1().unwrap() >= 0.8, "{large:?}");
}

#[test]
fn a_crop_is_looked_at_where_it_lies() {
    let pictures = frames("carphone_pristine.mp4", 1, 1);
    let mut lane = teacher("face", &["face"]).unwrap().lane(render).unwrap();
    let mut found = |view: View| {
        let maps = lane.look(&pictures[0], view, SMALL).unwrap();
        let best = peaks(&maps, 4.0, 0.3).into_iter().max_by(|a, b| a.score.total_cmp(&b.score)).unwrap();
        best.bbox
    };
    let whole = View::letterbox((pictures[0].width, pictures[0].height), SMALL.input);
    let first = found(whole);
    let crop = View { scale: whole.scale * 1.5, left: -90.0, top: -40.0 };
    let expected = BoundingBox {
        x1: first.x1 * 1.5 - 90.0,
        y1: first.y1 * 1.5 - 40.0,
        x2: first.x2 * 1.5 - 90.0,
        y2: first.y2 * 1.5 - 40.0,
    };
    let second = found(crop);
    assert!(second.iou(&expected) > 0.7, "{second:?} and not {expected:?}");
}

#[test]
fn what_cannot_teach_is_told_with_the_cure() {
    let error = teacher("coco", &["face", "hand"]).err().unwrap().to_string();
    assert!(error.contains("no class name in common") && error.contains("face, hand"), "{error}");
    let open = |config: &TeacherConfig| Teacher::open(runtime(), config, &names(&["face"])).err().unwrap();
    let error = open(&TeacherConfig::new("nobody.onnx")).to_string();
    assert!(error.contains("teacher nobody.onnx: cannot read the model"), "{error}");
    let error = open(&TeacherConfig { weight: f32::NAN, ..TeacherConfig::new("face") }).to_string();
    assert!(error.contains("weight: NaN is not a number of 0 or more"), "{error}");
    let error = open(&TeacherConfig { score_floor: 2.0, ..TeacherConfig::new("face") }).to_string();
    assert!(error.contains("score-floor: 2 is not"), "{error}");
    let pose = Teacher::open(runtime(), &TeacherConfig::new(&model("pose")), &names(&["person"]));
    let error = pose.err().unwrap().to_string();
    assert!(error.contains("does not say which values are its heads"), "{error}");
}

/// A folder with a sample's first frame as a picture, and one for the cache.
struct Kept {
    folder: tempfile::TempDir,
}

impl Kept {
    fn new() -> Self {
        let kept = Self { folder: tempfile::tempdir().unwrap() };
        kept.draw(90);
        kept
    }

    fn picture(&self) -> PathBuf {
        self.folder.path().join("a.jpg")
    }

    /// Writes the picture anew.
    fn draw(&self, quality: u8) {
        let picture = &frames("carphone_pristine.mp4", 1, 1)[0];
        let size = (picture.width, picture.height);
        let pixels = render(picture, View { scale: 1.0, left: 0.0, top: 0.0 }, size);
        let file = std::fs::File::create(self.picture()).unwrap();
        let mut encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(file, quality);
        encoder.encode(&pixels, size.0, size.1, image::ExtendedColorType::Rgb8).unwrap();
    }

    fn cached(&self, teachers: Vec<Teacher>) -> Cached {
        Cached::new(teachers, &self.cache(), SMALL).unwrap()
    }

    fn cache(&self) -> PathBuf {
        self.folder.path().join("cache")
    }

    /// The files in the cache.
    fn files(&self) -> Vec<PathBuf> {
        let folders = std::fs::read_dir(self.cache()).unwrap();
        folders
            .flat_map(|folder| std::fs::read_dir(folder.unwrap().path()).unwrap())
            .map(|file| file.unwrap().path())
            .collect()
    }
}

fn looks(file: &Path, count: usize) -> Vec<Look<'_>> {
    let view = |at: usize| View { scale: 1.0, left: -8.0 * at as f32, top: 0.0 };
    (0..count).map(|at| Look { id: "a", file, view: view(at) }).collect()
}

fn prepare(cached: &Cached, looks: &[Look<'_>]) -> Result<(u64, u64), String> {
    let done = cached.prepare(looks, render, &indicatif::ProgressBar::hidden());
    done.map(|done| (done.found, done.asked)).map_err(|error| error.to_string())
}

#[test]
fn teachers_are_asked_once() {
    let kept = Kept::new();
    let both = || vec![teacher("coco", &["person", "face"]).unwrap(), teacher("face", &["face"]).unwrap()];
    let (file, cached) = (kept.picture(), kept.cached(both()));
    let looks = looks(&file, 3);
    let error = cached.get(&looks[0]).unwrap_err().to_string();
    assert!(error.contains("said of a cannot be read") && error.contains("begin again"), "{error}");
    assert_eq!(prepare(&cached, &looks[..2]), Ok((0, 4)));
    assert_eq!(prepare(&cached, &looks), Ok((4, 2)));
    assert_eq!(prepare(&kept.cached(both()), &looks), Ok((6, 0)));
    assert_eq!(kept.files().len(), 6);

    let maps = cached.get(&looks[1]).unwrap();
    let picture = centerx::picture_file::decode(&std::fs::read(&file).unwrap()).unwrap();
    let expected = both()[1].lane(render).unwrap().look(&picture, looks[1].view, SMALL).unwrap();
    assert_eq!(maps.iter().map(|maps| maps.classes).collect::<Vec<_>>(), [1, 1]);
    let near = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() <= b.abs() / 2048.0 + 1e-6);
    assert!(near(&maps[1].heat, &expected.heat) && near(&maps[1].size, &expected.size));
    assert_ne!(cached.get(&looks[2]).unwrap(), maps);
}

#[test]
fn what_changed_or_was_damaged_is_asked_anew() {
    let kept = Kept::new();
    let (file, cached) = (kept.picture(), kept.cached(vec![teacher("face", &["face"]).unwrap()]));
    let looks = looks(&file, 2);
    assert_eq!(prepare(&cached, &looks), Ok((0, 2)));
    let maps = kept.files();
    std::fs::write(&maps[0], &std::fs::read(&maps[0]).unwrap()[..1000]).unwrap();
    assert!(looks.iter().filter(|look| cached.get(look).is_err()).count() == 1);
    assert_eq!(prepare(&cached, &looks), Ok((1, 1)));
    assert!(looks.iter().all(|look| cached.get(look).is_ok()));
    kept.draw(80);
    assert_eq!(prepare(&cached, &looks), Ok((0, 2)), "another picture in its place");
    let other = TeacherConfig {
        classes: [("head".into(), "face".into())].into(),
        ..TeacherConfig::new(&model("face"))
    };
    let other = Teacher::open(runtime(), &other, &names(&["tail", "head"])).unwrap();
    assert_eq!(other.owns(), [1]);
    assert_eq!(prepare(&kept.cached(vec![other]), &looks), Ok((2, 0)), "the same class by another name");
}

#[test]
fn scores_under_the_floor_are_none() {
    let kept = Kept::new();
    let file = kept.picture();
    let floor = |score_floor| {
        let config = TeacherConfig { score_floor, ..TeacherConfig::new(&model("face")) };
        let cached = kept.cached(vec![Teacher::open(runtime(), &config, &names(&["face"])).unwrap()]);
        let looks = looks(&file, 1);
        let asked = prepare(&cached, &looks).unwrap().1;
        (asked, cached.get(&looks[0]).unwrap().remove(0).heat)
    };
    let ((first, all), (second, high)) = (floor(0.0), floor(0.4));
    assert_eq!((first, second), (1, 0), "the floor is no reason to ask again");
    let expected: Vec<f32> = all.iter().map(|score| if *score < 0.4 { 0.0 } else { *score }).collect();
    assert_eq!(high, expected);
    assert!(all.iter().any(|score| *score > 0.0 && *score < 0.4) && high.iter().any(|score| *score >= 0.4));
}

#[test]
fn what_stands_in_the_way_is_named() {
    let kept = Kept::new();
    let (file, face) = (kept.picture(), || vec![teacher("face", &["face"]).unwrap()]);
    let cached = kept.cached(face());
    let gone = kept.folder.path().join("gone.jpg");
    let error = prepare(&cached, &looks(&gone, 1)).unwrap_err();
    assert!(error.contains("gone.jpg cannot be shown to the teachers: No such file"), "{error}");
    let odd = kept.folder.path().join("odd.jpg");
    std::fs::write(&odd, "a poem").unwrap();
    let error = prepare(&cached, &[looks(&odd, 1), looks(&file, 1)].concat()).unwrap_err();
    assert!(error.contains("odd.jpg cannot be shown") && error.contains("not a JPEG"), "{error}");
    // A folder that cannot be written to, whoever asks.
    std::fs::remove_dir_all(kept.cache()).unwrap();
    std::fs::write(kept.cache(), "").unwrap();
    let error = prepare(&cached, &looks(&file, 1)).unwrap_err();
    assert!(error.contains("/cache for what the teachers say cannot be used"), "{error}");
    let error = Cached::new(face(), &kept.cache(), SMALL).err().unwrap().to_string();
    assert!(error.contains("make room in it or choose another one"), "{error}");
}

#[test]
fn settings_are_read_and_slips_are_told() {
    let read = |text: &str| toml::from_str::<TeacherConfig>(text).map_err(|error| error.to_string());
    assert_eq!(read("model = 'coco'"), Ok(TeacherConfig::new("coco")));
    let all = "model = 'coco'\nclasses = { human = 'person' }\nweight = 0.5\nscore-floor = 0.1";
    let classes = [("human".to_owned(), "person".to_owned())].into();
    assert_eq!(read(all), Ok(TeacherConfig { model: "coco".into(), classes, weight: 0.5, score_floor: 0.1 }));
    let error = read("model = 'coco'\nscore_floor = 0.1").unwrap_err();
    assert!(error.contains("unknown field `score_floor`"), "{error}");
}
