//! Making one sample: a picture in its view, in other colours, mirrored, in a mosaic.

use std::sync::Arc;

use fastrand::Rng;

use super::colour::Colour;
use super::decoded::Decoded;
use super::loader::{MapSource, Settings};
use super::mosaic::{Canvas, mosaic};
use super::render::{covered, render, to_input};
use super::seed::rng;
use super::{DataError, DataSet, Item};
use crate::maps::{Labels, Maps};

/// What a network is shown of one picture, or of four in a mosaic.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Index of the picture in its data set; of a mosaic the first.
    pub item: usize,
    /// RGB, `[height, width, 3]`.
    pub pixels: Vec<u8>,
    /// What is known of the objects, in input pixels.
    pub labels: Option<Labels>,
    /// What the teachers say, one after the other.
    pub maps: Vec<Maps>,
}

/// Makes samples; the same one, whichever thread asks.
pub(super) struct Maker {
    pub data: Arc<DataSet>,
    pub maps: Arc<dyn MapSource>,
    pub settings: Settings,
    pub decoded: Decoded,
}

impl Maker {
    /// The sample at a position of an epoch, whose picture is the one of index `item`.
    pub fn sample(&self, epoch: u64, position: usize, item: usize) -> Result<Sample, DataError> {
        let mut rng = rng(&[self.settings.seed, epoch, position as u64]);
        let is_mosaic = rng.f32() < self.settings.augment.mosaic;
        let first = self.canvas(item, &mut rng)?;
        let Canvas { pixels, labels, maps } = if is_mosaic {
            let mut another = || self.canvas(rng.usize(0..self.data.items.len()), &mut rng);
            let parts = [first, another()?, another()?, another()?];
            mosaic(parts, self.settings.grid(), self.settings.stride as usize, &mut rng)
        } else {
            first
        };
        Ok(Sample { item, pixels, labels, maps })
    }

    /// One picture in one of its views, with other colours, mirrored or not.
    fn canvas(&self, index: usize, rng: &mut Rng) -> Result<Canvas, DataError> {
        let Settings { input, seed, augment, .. } = &self.settings;
        let item = &self.data.items[index];
        let variant = rng.usize(0..augment.variants);
        let view = augment.view(*seed, item, variant, *input);
        let picture =
            self.decoded.get(index, &item.file).map_err(|cause| DataError::unreadable(&item.file, cause))?;
        if (picture.width, picture.height) != item.size {
            return Err(DataError::unreadable(&item.file, "its size has changed since training began"));
        }
        let mut pixels = render(&picture, view, *input);
        let (row, (columns, rows)) = (input.0 as usize * 3, covered(item.size, view, *input));
        if augment.is_coloured() {
            let colour = Colour::draw(augment, rng);
            // Only the picture: what is beside it is black for the server, too.
            let lines = pixels[rows.start * row..rows.end * row].chunks_exact_mut(row);
            lines.for_each(|line| colour.apply(&mut line[columns.start * 3..columns.end * 3]));
        }
        let labels = item.labels.as_ref().map(|labels| to_input(labels, view, *input));
        let canvas = Canvas { pixels, labels, maps: self.maps_of(index, item, variant)? };
        Ok(if rng.f32() < augment.flip { flipped(&canvas, input.0) } else { canvas })
    }

    /// What the teachers say, seen to fit.
    fn maps_of(&self, index: usize, item: &Item, variant: usize) -> Result<Vec<Maps>, DataError> {
        let refuse = |cause| DataError::Maps { item: item.id.clone(), cause };
        let maps = self.maps.maps(index, variant).map_err(refuse)?;
        let grid = self.settings.grid();
        match maps.iter().find(|maps| (maps.width, maps.height) != grid || !maps.is_sound()) {
            Some(bad) => {
                let Maps { width, height, .. } = bad;
                let problem = format!("they are {width}x{height} cells, the input has {}x{}", grid.0, grid.1);
                Err(refuse(problem.into()))
            }
            None => Ok(maps),
        }
    }
}

fn flipped(canvas: &Canvas, width: u32) -> Canvas {
    let mut pixels = Vec::with_capacity(canvas.pixels.len());
    for line in canvas.pixels.chunks_exact(width as usize * 3) {
        line.chunks_exact(3).rev().for_each(|pixel| pixels.extend_from_slice(pixel));
    }
    let labels = canvas.labels.as_ref().map(|labels| labels.flipped(width as f32));
    Canvas { pixels, labels, maps: canvas.maps.iter().map(Maps::flipped).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_are_mirrored_line_by_line() {
        let pixels = vec![1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
        let canvas = Canvas { pixels, labels: None, maps: Vec::new() };
        let mirrored = flipped(&canvas, 2);
        assert_eq!(mirrored.pixels, [4, 5, 6, 1, 2, 3, 10, 11, 12, 7, 8, 9]);
        assert_eq!(flipped(&mirrored, 2), canvas);
    }
}
