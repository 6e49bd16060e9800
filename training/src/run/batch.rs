//! A batch as tensors.

use burn::tensor::{Device, Tensor};

use crate::data::Sample;
use crate::loss::{DistillConfig, LabelTarget, TeacherTarget};
use crate::maps::Maps;
use crate::nn;

/// What all batches of a run have in common.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Input width and height in pixels.
    pub input: (u32, u32),
    /// The student's number of classes.
    pub classes: usize,
    /// Whether any picture has labels.
    pub labelled: bool,
    /// How many teachers there are.
    pub teachers: usize,
    /// What of a teacher's maps is the target.
    pub distill: DistillConfig,
}

impl Shape {
    /// Rows and columns of the heads' cells.
    pub fn grid(&self) -> (usize, usize) {
        (self.input.1 as usize / nn::STRIDE, self.input.0 as usize / nn::STRIDE)
    }
}

/// Pictures and what is to be said of them.
pub struct Batch {
    /// Normalised, `[N, 3, H, W]`.
    pub images: Tensor<4>,
    /// What labels say, if any picture of the run has some.
    pub labels: Option<LabelTarget>,
    /// What each teacher says.
    pub teachers: Vec<TeacherTarget>,
}

impl Batch {
    /// Brings samples to the device.
    pub fn of(samples: &[Sample], shape: &Shape, device: &Device) -> Self {
        let pixels: Vec<u8> = samples.iter().flat_map(|sample| sample.pixels.iter().copied()).collect();
        let (width, height) = (shape.input.0 as usize, shape.input.1 as usize);
        let images = nn::pixels(&pixels, samples.len(), height, width, device);
        let labels = shape.labelled.then(|| {
            let labels: Vec<_> = samples.iter().map(|sample| sample.labels.as_ref()).collect();
            LabelTarget::encode(&labels, shape.classes, shape.grid(), nn::STRIDE, device)
        });
        let teacher = |at: usize| {
            let maps: Vec<&Maps> = samples.iter().filter_map(|sample| sample.maps.get(at)).collect();
            TeacherTarget::of(&maps, &shape.distill, device)
        };
        Self { images, labels, teachers: (0..shape.teachers).map(teacher).collect() }
    }
}
