mod balance;
mod encode;
mod gradients;
mod values;

use burn::tensor::{Device, Tensor, TensorData};
use centerx::detection::BoundingBox;

use crate::maps::{Heads, Labels, Object};

fn numbers<const D: usize>(tensor: &Tensor<D>) -> Vec<f32> {
    tensor.clone().into_data().try_to_vec().unwrap()
}

fn number(tensor: &Tensor<1>) -> f32 {
    numbers(tensor)[0]
}

fn near(a: f32, b: f32) -> bool {
    (a - b).abs() <= 1e-5 * (1.0 + a.abs().max(b.abs()))
}

fn object(class: usize, [x1, y1, x2, y2]: [f32; 4]) -> Object {
    Object { class, bbox: BoundingBox { x1, y1, x2, y2 }, ignore: false }
}

/// Of two classes, both labelled.
fn labels(objects: &[Object]) -> Labels {
    Labels { objects: objects.to_vec(), known: [true, true].into() }
}

/// What a network says of one picture of 2 by 3 cells: everywhere these logits for each of two classes, this size, this
/// offset.
fn says(cls: [f32; 2], wh: [f32; 2], reg: [f32; 2], device: &Device) -> Heads<Tensor<4>> {
    let head = |pair: [f32; 2]| {
        let values: Vec<f32> = pair.iter().flat_map(|value| [*value; 6]).collect();
        Tensor::from_data(TensorData::new(values, [1, 2, 2, 3]), device)
    };
    Heads { cls: head(cls), wh: head(wh), reg: head(reg) }
}
