//! What the tests share: the binaries, and pictures with drawn shapes whose boxes are known exactly.

// Each test uses its own part of this, and one that fails is to panic.
#![allow(dead_code, clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use image::{Rgb, RgbImage};
use serde_json::json;

/// `centerx-train` with the tests' home.
pub fn trainer(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_centerx-train"));
    command.args(arguments).env("CENTERX_HOME", home());
    command
}

/// `centerx`, which building the whole workspace puts beside the trainer.
pub fn server(arguments: &[&str]) -> Command {
    let path = Path::new(env!("CARGO_BIN_EXE_centerx-train")).with_file_name("centerx");
    assert!(path.is_file(), "{} is missing: cargo build --workspace makes it", path.display());
    let mut command = Command::new(path);
    command.args(arguments).env("CENTERX_HOME", home()).env_remove("CENTERX_CONFIG");
    command
}

/// Runs it, and shows what it said if it failed.
pub fn done(mut command: Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}:\n{}", text(&output.stderr));
    output
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn home() -> PathBuf {
    std::env::var_os("CENTERX_HOME").map_or_else(|| root().join(".cache/centerx"), PathBuf::from)
}

/// The folder with the sample videos that scripts/test.sh fetches.
pub fn sample(name: &str) -> PathBuf {
    let folder =
        std::env::var_os("CENTERX_TEST_DATA").map_or_else(|| root().join(".cache/data"), PathBuf::from);
    let path = folder.join(name);
    assert!(path.is_file(), "{} is missing: bash scripts/test.sh fetches it", path.display());
    path
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The classes of the drawn shapes.
pub const SHAPES: [&str; 2] = ["disc", "bar"];

/// Draws so many pictures of 128x128 with up to four shapes each into `folder`, and their exact boxes into
/// `folder/truth.json`, by COCO's format.
pub fn draw_shapes(folder: &Path, pictures: usize, seed: u64) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let (mut images, mut annotations) = (Vec::new(), Vec::new());
    for id in 1..=pictures {
        let mut picture = background(&mut rng);
        let mut taken: Vec<[u32; 4]> = Vec::new();
        for _ in 0..rng.usize(1..=4) {
            let shape = rng.usize(0..SHAPES.len());
            let Some(bbox) = place(&mut rng, shape, &taken) else { continue };
            paint(&mut picture, &mut rng, shape, bbox);
            taken.push(bbox);
            let [x1, y1, x2, y2] = bbox;
            let (w, h) = (x2 - x1, y2 - y1);
            annotations.push(json!({
                "id": annotations.len() + 1, "image_id": id, "category_id": shape + 1,
                "bbox": [x1, y1, w, h], "area": w * h, "iscrowd": 0,
            }));
        }
        let name = format!("{id:04}.png");
        picture.save(folder.join(&name)).unwrap();
        images.push(json!({"id": id, "file_name": name, "width": SIDE, "height": SIDE}));
    }
    let categories: Vec<_> =
        SHAPES.iter().zip(1..).map(|(name, id)| json!({"id": id, "name": name})).collect();
    let truth = json!({"images": images, "annotations": annotations, "categories": categories});
    std::fs::write(folder.join("truth.json"), truth.to_string()).unwrap();
}

const SIDE: u32 = 128;

/// Dim noise.
fn background(rng: &mut fastrand::Rng) -> RgbImage {
    let base: [u8; 3] = std::array::from_fn(|_| rng.u8(20..100));
    RgbImage::from_fn(SIDE, SIDE, |_, _| Rgb(base.map(|level| level + rng.u8(0..30))))
}

/// A place that touches no other; discs are round, bars are twice as long as high or twice as high as long.
fn place(rng: &mut fastrand::Rng, shape: usize, taken: &[[u32; 4]]) -> Option<[u32; 4]> {
    (0..20).find_map(|_| {
        let side = rng.u32(16..40);
        let (w, h) = match (shape, rng.bool()) {
            (0, _) => (side, side),
            (_, true) => (side, side / 2),
            (_, false) => (side / 2, side),
        };
        let (x, y) = (rng.u32(0..=SIDE - w), rng.u32(0..=SIDE - h));
        let bbox = [x, y, x + w, y + h];
        let apart = |other: &[u32; 4]| {
            bbox[2] <= other[0] || other[2] <= bbox[0] || bbox[3] <= other[1] || other[3] <= bbox[1]
        };
        taken.iter().all(apart).then_some(bbox)
    })
}

fn paint(picture: &mut RgbImage, rng: &mut fastrand::Rng, shape: usize, [x1, y1, x2, y2]: [u32; 4]) {
    let color = Rgb(std::array::from_fn(|_| rng.u8(150..=255)));
    let radius = f64::from(x2 - x1) / 2.0;
    let (cx, cy) = (f64::from(x1) + radius, f64::from(y1) + radius);
    for (x, y) in (y1..y2).flat_map(|y| (x1..x2).map(move |x| (x, y))) {
        let (dx, dy) = (f64::from(x) + 0.5 - cx, f64::from(y) + 0.5 - cy);
        if shape != 0 || dx * dx + dy * dy <= radius * radius {
            picture.put_pixel(x, y, color);
        }
    }
}
