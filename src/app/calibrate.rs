//! Runs a detector over pictures and counts what its inner values are.

use anyhow::Context;
use ort::session::Session;
use ort::value::Tensor;
use prost::Message as _;

use crate::engine::onnx::OnnxRuntime;
use crate::frame::Picture;
use crate::letterbox::Preprocessor;
use crate::model::onnx::{ElementType, ModelProto};
use crate::model::precision::calibrate::Calibrator;
use crate::model::recipe::{Input, Layout};
use crate::model::verify::pictures::feed;
use crate::model::verify::tap::tap;
use crate::model::{INPUT, ModelMetadata};

/// A detector that gives inner values, and what was seen of them. Of each picture there are the values in memory,
/// of all pictures together only counts.
pub struct Calibration {
    session: Session,
    input: String,
    /// Names in the detector, with those that they have as outputs of the session.
    values: Vec<(String, String)>,
    size: (u32, u32),
    preprocessor: Preprocessor,
    pixels: Vec<u8>,
    calibrator: Calibrator,
}

/// The detector's input, for [`feed`].
fn images() -> Input {
    Input { layout: Layout::Nhwc, element: ElementType::Uint8 as i32, ..Input::plain(INPUT) }
}

impl Calibration {
    /// Opens a session of `model` on all cores that gives `values`.
    ///
    /// # Errors
    /// Values that are not there, a model that the runtime refuses.
    pub fn open(
        runtime: &OnnxRuntime,
        model: &ModelProto,
        about: &ModelMetadata,
        values: &[&str],
    ) -> anyhow::Result<Self> {
        let tapped = tap(model, &images(), values)?;
        let session = runtime.session(&tapped.model.encode_to_vec(), 0);
        let session = session.context("the model does not load with its inner values as outputs")?;
        let size = (about.input_width, about.input_height);
        let values = values.iter().map(|&value| value.to_owned()).zip(tapped.outputs).collect();
        Ok(Self {
            session,
            input: tapped.input,
            values,
            size,
            preprocessor: Preprocessor::default(),
            pixels: vec![0; size.0 as usize * size.1 as usize * 3],
            calibrator: Calibrator::default(),
        })
    }

    /// Runs over one picture, brought into the input's form as a server does.
    ///
    /// # Errors
    /// A picture that the colour conversion refuses, a failed run, values that are no numbers.
    pub fn look(&mut self, picture: &Picture) -> anyhow::Result<()> {
        self.preprocessor.letterbox(picture, self.size, &mut self.pixels)?;
        let shape = [1, self.size.1 as usize, self.size.0 as usize, 3];
        let pictures = Tensor::from_array((shape, feed(&self.pixels, &images())))?;
        let outputs = self.session.run(ort::inputs![self.input.as_str() => pictures])?;
        for (value, output) in &self.values {
            let (_, tensor) = outputs[output.as_str()].try_extract_tensor::<f32>()?;
            self.calibrator.add(value, tensor)?;
        }
        Ok(())
    }

    /// What was seen.
    pub fn seen(self) -> Calibrator {
        self.calibrator
    }
}
