//! From labels to what the heads should say.

use burn::tensor::{Device, Tensor};
use centerx::detection::BoundingBox;

use super::tensor;
use crate::maps::{Labels, Object};

/// Two boxes whose corners are this close, as intersection over union, count as nearly right.
const LEAST_IOU: f64 = 0.7;

/// What labels say of a batch of pictures, on a grid of h by w cells.
#[derive(Clone, Debug)]
pub struct LabelTarget {
    /// Scores, `[N, C, h, w]`: 1 at each object's centre, falling off around it.
    pub heat: Tensor<4>,
    /// 1 where the scores are judged and 0 where nothing is known, `[N, C, h, w]`.
    pub judged: Tensor<4>,
    /// Width and height of the objects in cells at their centres, `[N, 2, h, w]`.
    pub size: Tensor<4>,
    /// Offset x and y of the centres in cells, 0 to 1, `[N, 2, h, w]`.
    pub offset: Tensor<4>,
    /// 1 at the centres, `[N, 1, h, w]`.
    pub at: Tensor<4>,
}

/// How far, in cells, the corners of a `width` by `height` box can move so that its intersection over union with what it
/// becomes is at least 0.7, however they move.
///
/// *CornerNet* (Law and Deng 2018) takes the smallest of three bounds: both corners move the same way, both inwards, both
/// outwards. With s = r / width and t = r / height what is left is (1 - 2s)(1 - 2t) inwards, and no other way leaves less,
/// as (1 - s) / (1 + s) and 1 / (1 + 2s) are at least 1 - 2s. So that bound alone is enough: the smaller root of
/// (w - 2r)(h - 2r) = 0.7 wh. (The published code divides its roots by 2 instead of by twice the leading coefficient, so
/// that its radius can be too large.)
pub fn radius(width: f32, height: f32) -> f32 {
    let (sum, area) = (f64::from(width) + f64::from(height), f64::from(width) * f64::from(height));
    let lost = area * (1.0 - LEAST_IOU);
    // The root with the square root below: nothing cancels where a box is thin.
    (lost / (sum + (sum * sum - 4.0 * lost).max(0.0).sqrt())) as f32
}

/// The grid under construction.
struct Grid {
    classes: usize,
    height: usize,
    width: usize,
    stride: f32,
    heat: Vec<f32>,
    judged: Vec<f32>,
    size: Vec<f32>,
    offset: Vec<f32>,
    at: Vec<f32>,
}

impl LabelTarget {
    /// Brings labels, boxes in input pixels, to a grid of `(rows, columns)` of `stride` pixels each.
    ///
    /// Objects of no size and those whose centre is outside are left out. Of two objects with one centre the smaller one
    /// tells size and offset. What an `ignore` object covers is not judged for its class.
    pub fn encode(
        labels: &[Option<&Labels>],
        classes: usize,
        (height, width): (usize, usize),
        stride: usize,
        device: &Device,
    ) -> Self {
        let (pictures, cells) = (labels.len(), height * width);
        let mut grid = Grid {
            classes,
            height,
            width,
            stride: stride as f32,
            heat: vec![0.0; pictures * classes * cells],
            judged: vec![0.0; pictures * classes * cells],
            size: vec![0.0; pictures * 2 * cells],
            offset: vec![0.0; pictures * 2 * cells],
            at: vec![0.0; pictures * cells],
        };
        for (picture, labels) in labels.iter().enumerate() {
            if let Some(labels) = labels {
                grid.add(picture, labels);
            }
        }
        let scores = [pictures, classes, height, width];
        let pairs = [pictures, 2, height, width];
        Self {
            heat: tensor(grid.heat, scores, device),
            judged: tensor(grid.judged, scores, device),
            size: tensor(grid.size, pairs, device),
            offset: tensor(grid.offset, pairs, device),
            at: tensor(grid.at, [pictures, 1, height, width], device),
        }
    }
}

impl Grid {
    fn add(&mut self, picture: usize, labels: &Labels) {
        let cells = self.height * self.width;
        for class in (0..self.classes).filter(|class| labels.known.get(*class) == Some(&true)) {
            let start = (picture * self.classes + class) * cells;
            self.judged[start..start + cells].fill(1.0);
        }
        let (ignored, mut objects): (Vec<&Object>, Vec<&Object>) = labels
            .objects
            .iter()
            .filter(|object| object.class < self.classes)
            .partition(|object| object.ignore);
        ignored.into_iter().for_each(|object| self.leave_out(picture, object));
        // The smallest comes last and so has its way where two have one centre.
        objects.sort_by(|a, b| b.bbox.area().total_cmp(&a.bbox.area()));
        objects.into_iter().for_each(|object| self.place(picture, object));
    }

    fn leave_out(&mut self, picture: usize, object: &Object) {
        let BoundingBox { x1, y1, x2, y2 } = object.bbox;
        let start = (picture * self.classes + object.class) * self.height * self.width;
        // Every cell it touches; casting keeps what is below 0, above all, or no number within.
        let span = |low: f32, high: f32, most: usize| {
            let end = ((high / self.stride).ceil() as usize).min(most);
            ((low / self.stride) as usize).min(end)..end
        };
        let (rows, columns) = (span(y1, y2, self.height), span(x1, x2, self.width));
        for row in rows {
            self.judged[start + row * self.width..][columns.clone()].fill(0.0);
        }
    }

    fn place(&mut self, picture: usize, object: &Object) {
        let BoundingBox { x1, y1, x2, y2 } = object.bbox;
        let (w, h) = ((x2 - x1) / self.stride, (y2 - y1) / self.stride);
        let (x, y) = ((x1 + x2) / 2.0 / self.stride, (y1 + y2) / 2.0 / self.stride);
        let inside = (0.0..self.width as f32).contains(&x) && (0.0..self.height as f32).contains(&y);
        let has_size = [w, h].iter().all(|side| *side > 0.0 && side.is_finite());
        if !inside || !has_size {
            return;
        }
        let (column, row) = (x as usize, y as usize);
        self.draw(
            (picture * self.classes + object.class) * self.height * self.width,
            (row, column),
            radius(w, h),
        );
        let cells = self.height * self.width;
        let cell = row * self.width + column;
        self.at[picture * cells + cell] = 1.0;
        for (channel, (size, offset)) in [(w, x - column as f32), (h, y - row as f32)].into_iter().enumerate()
        {
            let index = (picture * 2 + channel) * cells + cell;
            self.size[index] = size;
            self.offset[index] = offset;
        }
    }

    /// A Gaussian around a cell; its deviation is a sixth of the diameter, which is how *Objects as Points* has it.
    fn draw(&mut self, start: usize, (row, column): (usize, usize), radius: f32) {
        // Casting takes an infinite radius too; beyond the grid there is nothing to draw on.
        let reach = (radius as usize).min(self.height.max(self.width));
        let deviation = (2 * reach + 1) as f32 / 6.0;
        let near = |at: usize, most: usize| at.saturating_sub(reach)..(at + reach + 1).min(most);
        for y in near(row, self.height) {
            for x in near(column, self.width) {
                let (dx, dy) = (x as f32 - column as f32, y as f32 - row as f32);
                let score = (-(dx * dx + dy * dy) / (2.0 * deviation * deviation)).exp();
                let cell = &mut self.heat[start + y * self.width + x];
                *cell = cell.max(score);
            }
        }
    }
}
