//! Pictures of what a student says beside what it should say, of the same few held-out pictures each time.

use std::path::Path;
use std::sync::Arc;

use burn::tensor::activation::sigmoid;
use burn::tensor::{Device, Tensor};

use super::materials::Materials;
use super::preview::{PreviewItem, preview};
use super::recipe::Recipe;
use super::referee;
use crate::data::{self, Sample};
use crate::loss::LabelTarget;
use crate::maps::{Heads, Labels, Maps};
use crate::nn::{self, CenterNet};
use crate::view::View;

/// Pictures that are shown.
const PICTURES: usize = 6;

/// The pictures with what should be said of them.
pub struct Show {
    input: (u32, u32),
    names: Vec<Arc<str>>,
    pictures: Vec<(Vec<u8>, Option<Maps>)>,
}

impl Show {
    /// Takes a few of the held-out pictures, evenly spread.
    ///
    /// # Errors
    /// A picture that cannot be read, a teacher that fails.
    pub fn new(recipe: &Recipe, materials: &Materials) -> anyhow::Result<Self> {
        let (input, items) = (recipe.input(), &materials.held_out.items);
        let shown = PICTURES.min(items.len());
        let picture = |number: usize| {
            let item = &items[number * items.len() / shown];
            let view = View::letterbox(item.size, input);
            let pixels = data::render(&referee::read(&item.file)?, view, input);
            let targets = match &item.labels {
                Some(labels) => Some(labelled(&data::to_input(labels, view, input), materials)?),
                None => joined(materials, &materials.lessons.shown(item)?),
            };
            Ok((pixels, targets))
        };
        let pictures = (0..shown).map(picture).collect::<anyhow::Result<_>>()?;
        let names = recipe.classes.iter().map(|class| Arc::from(class.as_str())).collect();
        Ok(Self { input, names, pictures })
    }

    /// Draws samples of a batch with what is to be learned from them.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn samples(&self, samples: &[Sample], materials: &Materials, path: &Path) -> anyhow::Result<()> {
        let taught = |sample: &Sample| match (&sample.labels, joined(materials, &sample.maps)) {
            (_, Some(maps)) => Ok(Some(maps)),
            (Some(labels), None) => labelled(labels, materials).map(Some),
            (None, None) => Ok(None),
        };
        let shown = &samples[..PICTURES.min(samples.len())];
        let maps = shown.iter().map(taught).collect::<anyhow::Result<Vec<_>>>()?;
        let pairs = shown.iter().zip(&maps);
        let items: Vec<_> = pairs
            .filter_map(|(sample, maps)| {
                let predictions = maps.as_ref()?;
                Some(PreviewItem { pixels: &sample.pixels, size: self.input, predictions, targets: None })
            })
            .collect();
        if items.is_empty() { Ok(()) } else { Ok(preview(&items, &self.names, path)?) }
    }

    /// Draws what the student says.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn draw(&self, network: &CenterNet, path: &Path) -> anyhow::Result<()> {
        let (width, height) = (self.input.0 as usize, self.input.1 as usize);
        let said = self.pictures.iter().map(|(pixels, _)| {
            let Heads { cls, wh, reg } =
                network.forward(nn::pixels(pixels, 1, height, width, &network.device()));
            maps(Heads { cls: sigmoid(cls), wh, reg })
        });
        let said = said.collect::<anyhow::Result<Vec<_>>>()?;
        let pairs = self.pictures.iter().zip(&said);
        let items: Vec<_> = pairs
            .map(|((pixels, targets), predictions)| PreviewItem {
                pixels,
                size: self.input,
                predictions,
                targets: targets.as_ref(),
            })
            .collect();
        Ok(preview(&items, &self.names, path)?)
    }
}

/// What labels in input pixels say, as maps.
fn labelled(labels: &Labels, materials: &Materials) -> anyhow::Result<Maps> {
    let (classes, grid) = (materials.shape.classes, materials.shape.grid());
    let target = LabelTarget::encode(&[Some(labels)], classes, grid, nn::STRIDE, &Device::flex());
    maps(Heads { cls: target.heat, wh: target.size, reg: target.offset })
}

/// Heads of one picture as maps; `cls` holds scores.
fn maps(heads: Heads<Tensor<4>>) -> anyhow::Result<Maps> {
    let [_, classes, height, width] = heads.cls.dims();
    let values = |tensor: Tensor<4>| -> anyhow::Result<Vec<f32>> {
        tensor
            .into_data()
            .convert::<f32>()
            .try_to_vec()
            .map_err(|error| anyhow::anyhow!("heads as floats: {error:?}"))
    };
    let (heat, size, offset) = (values(heads.cls)?, values(heads.wh)?, values(heads.reg)?);
    Ok(Maps { classes, height, width, heat, size, offset })
}

/// What all teachers say in one: each cell's size and offset are those of the teacher that is surest there.
fn joined(materials: &Materials, said: &[Maps]) -> Option<Maps> {
    let first = said.first()?;
    let cells = first.height * first.width;
    let mut all = Maps::empty(materials.shape.classes, first.height, first.width);
    let mut surest = vec![0f32; cells];
    for (teacher, maps) in materials.lessons.teachers().iter().zip(said) {
        for (channel, class) in teacher.owns().iter().enumerate() {
            for (cell, sure) in surest.iter_mut().enumerate() {
                let score = maps.heat[channel * cells + cell];
                all.heat[class * cells + cell] = score;
                if score > *sure {
                    *sure = score;
                    for at in [cell, cells + cell] {
                        (all.size[at], all.offset[at]) = (maps.size[at], maps.offset[at]);
                    }
                }
            }
        }
    }
    Some(all)
}
