//! Resizing of byte planes for the letterbox: area averaging where a side shrinks, linear interpolation where
//! it grows.
//!
//! Both are the same sum over a few neighbouring pixels with weights that depend on the position alone, so the
//! weights of an axis are worked out once and kept. Area weights are the overlaps of an output pixel with the
//! input's pixels; linear ones have pixel centres half a pixel in. Fixed point, rows first: results are within
//! one level of exact arithmetic.

/// Bits of a weight. Signed 16-bit multiplication, which every processor does many at a time, holds it.
const WEIGHT_BITS: u32 = 14;
/// Bits after the point that are kept between the passes: the whole then fits 16 bits.
const KEPT_BITS: u32 = 8;

/// The weights of one axis.
#[derive(Clone, Debug)]
pub struct Axis {
    /// Neighbours a sum takes, the same for all positions.
    taps: usize,
    /// Each output position's first neighbour.
    first: Vec<u32>,
    /// `taps` weights a position, 0..=1.
    weights: Vec<f32>,
}

impl Axis {
    /// Weights that take `source` pixels to `target`, both at least 1.
    pub fn new(source: usize, target: usize, grow: Grow) -> Self {
        let scale = source as f64 / target as f64;
        let linear = source < target && grow == Grow::Linear;
        let spans: Vec<(f64, f64)> = (0..target).map(|position| span(position, scale, linear)).collect();
        let reach = |&(begin, end): &(f64, f64)| end.ceil() as i64 - begin.floor() as i64;
        let taps = (spans.iter().map(reach).max().unwrap_or(1).max(1) as usize).min(source);
        let mut axis =
            Self { taps, first: Vec::with_capacity(target), weights: Vec::with_capacity(target * taps) };
        spans.into_iter().for_each(|span| axis.push(span, source, linear));
        axis
    }

    /// Adds an output position: how much each neighbour takes part, together 1.
    fn push(&mut self, (begin, end): (f64, f64), source: usize, linear: bool) {
        let first = (begin.floor().max(0.0) as usize).min(source - self.taps);
        let weight = |index: i64| {
            let left = index as f64;
            if linear {
                (1.0 - (left - begin).abs()).max(0.0)
            } else {
                (end.min(left + 1.0) - begin.max(left)).max(0.0)
            }
        };
        let at = self.weights.len();
        self.weights.resize(at + self.taps, 0.0);
        // Neighbours beyond the edge count as the edge's pixel.
        let (from, to) = (begin.floor() as i64, end.ceil() as i64);
        for index in from..to.max(from + 1) {
            let tap = (index.clamp(0, source as i64 - 1) as usize).saturating_sub(first).min(self.taps - 1);
            self.weights[at + tap] += weight(index) as f32;
        }
        let sum: f32 = self.weights[at..].iter().sum();
        self.weights[at..].iter_mut().for_each(|weight| *weight /= sum.max(f32::MIN_POSITIVE));
        self.first.push(first as u32);
    }

    /// The weights in fixed point; each position's add up to exactly `1 << WEIGHT_BITS`. Rounding the running
    /// sum rather than each weight keeps the errors of many small weights from adding up.
    fn fixed(&self) -> Vec<u16> {
        let one = f64::from(1u32 << WEIGHT_BITS);
        let mut fixed = Vec::with_capacity(self.weights.len());
        for weights in self.weights.chunks(self.taps) {
            let (mut sum, mut given) = (0.0, 0);
            for (tap, &weight) in weights.iter().enumerate() {
                sum += f64::from(weight);
                let until = if tap + 1 == weights.len() { one } else { (sum * one).round().min(one) };
                fixed.push((until as u32 - given) as u16);
                given = until as u32;
            }
        }
        fixed
    }
}

/// What an output position covers: the span it averages over, or the two pixels it lies between.
fn span(position: usize, scale: f64, linear: bool) -> (f64, f64) {
    if !linear {
        // Spans that should end at a pixel's edge must not reach a hair into the next.
        let snap = |value: f64| if (value - value.round()).abs() < 1e-6 { value.round() } else { value };
        (snap(position as f64 * scale), snap((position + 1) as f64 * scale))
    } else {
        let center = (position as f64 + 0.5) * scale - 0.5;
        (center, center + 1.0)
    }
}

/// What happens to a side that grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Grow {
    /// Linear interpolation.
    Linear,
    /// Area averaging all the same. Subsampled chroma wants it: the result is that of repeating each sample over
    /// the pixels it stands for and averaging those, as the pipelines that models are trained with do.
    Area,
}

/// Resizes planes from one size to another.
#[derive(Clone, Debug)]
pub struct Resizer {
    columns: Axis,
    rows: Axis,
    column_weights: Vec<u16>,
    row_weights: Vec<u16>,
}

/// Bytes in rows: `rows` of `stride` bytes, the last of which may end with its pixels.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    /// The bytes.
    pub bytes: &'a [u8],
    /// From one row to the next.
    pub stride: usize,
}

impl Resizer {
    /// A resizer from `source` to `target`, both (width, height) in pixels, at least 1.
    pub fn new(source: (usize, usize), target: (usize, usize), grow: Grow) -> Self {
        let (columns, rows) = (Axis::new(source.0, target.0, grow), Axis::new(source.1, target.1, grow));
        let (column_weights, row_weights) = (columns.fixed(), rows.fixed());
        Self { columns, rows, column_weights, row_weights }
    }

    /// Resizes a plane of `C` interleaved bytes a pixel into `target`, whose rows are `target_stride` bytes apart.
    pub fn resize<const C: usize>(
        &self,
        source: Rows<'_>,
        source_width: usize,
        target: &mut [u8],
        target_stride: usize,
        scratch: &mut Scratch,
    ) {
        let Scratch { sums, wide } = scratch;
        sums.resize(source_width * C, 0);
        let weights = self.row_weights.chunks_exact(self.rows.taps);
        let targets = target.chunks_mut(target_stride);
        for ((&first, weights), target) in self.rows.first.iter().zip(weights).zip(targets) {
            let rows = Window { source, first: first as usize, weights };
            match *weights {
                [weight] => rows.sum([weight], sums),
                [a, b] => rows.sum([a, b], sums),
                [a, b, c] => rows.sum([a, b, c], sums),
                _ => rows.sum_many(wide, sums),
            }
            let target = &mut target[..self.columns.first.len() * C];
            match self.columns.taps {
                1 => self.sum_columns::<C, 1>(sums, target),
                2 => self.sum_columns::<C, 2>(sums, target),
                3 => self.sum_columns::<C, 3>(sums, target),
                4 => self.sum_columns::<C, 4>(sums, target),
                5 => self.sum_columns::<C, 5>(sums, target),
                taps => self.sum_columns_of::<C>(taps, sums, target),
            }
        }
    }

    /// The sums of one row, with a number of taps that the compiler knows.
    fn sum_columns<const C: usize, const TAPS: usize>(&self, row: &[u16], target: &mut [u8]) {
        let weights = self.column_weights.chunks_exact(TAPS);
        for ((pixel, &first), weights) in target.chunks_exact_mut(C).zip(&self.columns.first).zip(weights) {
            let window = &row[first as usize * C..][..TAPS * C];
            for (channel, out) in pixel.iter_mut().enumerate() {
                let sum: u32 =
                    (0..TAPS).map(|tap| u32::from(window[tap * C + channel]) * u32::from(weights[tap])).sum();
                *out = round(sum);
            }
        }
    }

    /// The same with any number of taps.
    fn sum_columns_of<const C: usize>(&self, taps: usize, row: &[u16], target: &mut [u8]) {
        let weights = self.column_weights.chunks_exact(taps);
        for ((pixel, &first), weights) in target.chunks_exact_mut(C).zip(&self.columns.first).zip(weights) {
            let window = &row[first as usize * C..][..taps * C];
            for (channel, out) in pixel.iter_mut().enumerate() {
                let values = window[channel..].iter().step_by(C);
                *out = round(values.zip(weights).map(|(&v, &w)| u32::from(v) * u32::from(w)).sum());
            }
        }
    }
}

/// Memory to work in, kept between calls.
#[derive(Debug, Default)]
pub struct Scratch {
    sums: Vec<u16>,
    wide: Vec<u32>,
}

/// Neighbouring rows and their weights.
struct Window<'a> {
    source: Rows<'a>,
    first: usize,
    weights: &'a [u16],
}

impl<'a> Window<'a> {
    /// A row's bytes. A row without weight may lie beyond the plane; any row does in its place.
    fn row(&self, tap: usize, length: usize) -> &'a [u8] {
        let tap = if self.weights[tap] == 0 { 0 } else { tap };
        &self.source.bytes[(self.first + tap) * self.source.stride..][..length]
    }

    /// The weighted sum of a number of rows that the compiler knows.
    fn sum<const TAPS: usize>(&self, weights: [u16; TAPS], sums: &mut [u16]) {
        let rows: [&[u8]; TAPS] = std::array::from_fn(|tap| self.row(tap, sums.len()));
        for (at, sum) in sums.iter_mut().enumerate() {
            let wide = (0..TAPS).map(|tap| u32::from(rows[tap][at]) * u32::from(weights[tap])).sum();
            *sum = narrow(wide);
        }
    }

    /// The weighted sum of many rows.
    fn sum_many(&self, wide: &mut Vec<u32>, sums: &mut [u16]) {
        wide.clear();
        wide.resize(sums.len(), 0);
        for (tap, &weight) in self.weights.iter().enumerate().filter(|(_, weight)| **weight > 0) {
            let row = self.row(tap, sums.len());
            wide.iter_mut().zip(row).for_each(|(sum, &value)| *sum += u32::from(value) * u32::from(weight));
        }
        sums.iter_mut().zip(wide).for_each(|(sum, wide)| *sum = narrow(*wide));
    }
}

fn narrow(sum: u32) -> u16 {
    const SHIFT: u32 = WEIGHT_BITS - KEPT_BITS;
    ((sum + (1 << (SHIFT - 1))) >> SHIFT) as u16
}

fn round(sum: u32) -> u8 {
    const SHIFT: u32 = KEPT_BITS + WEIGHT_BITS;
    ((sum + (1 << (SHIFT - 1))) >> SHIFT) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn resize(source: &[u8], from: (usize, usize), to: (usize, usize)) -> Vec<u8> {
        let mut target = vec![0; to.0 * to.1];
        let rows = Rows { bytes: source, stride: from.0 };
        Resizer::new(from, to, Grow::Linear).resize::<1>(
            rows,
            from.0,
            &mut target,
            to.0,
            &mut Scratch::default(),
        );
        target
    }

    /// The definition of area averaging in plain arithmetic.
    fn exact_area(source: &[u8], from: (usize, usize), to: (usize, usize)) -> Vec<f64> {
        let (sx, sy) = (from.0 as f64 / to.0 as f64, from.1 as f64 / to.1 as f64);
        let overlap =
            |i: usize, begin: f64, end: f64| (end.min(i as f64 + 1.0) - begin.max(i as f64)).max(0.0);
        let mut out = Vec::new();
        for y in 0..to.1 {
            for x in 0..to.0 {
                let mut sum = 0.0;
                for (j, row) in source.chunks(from.0).enumerate() {
                    let wy = overlap(j, y as f64 * sy, (y + 1) as f64 * sy);
                    if wy > 0.0 {
                        let columns = row.iter().enumerate();
                        sum += wy
                            * columns
                                .map(|(i, &v)| overlap(i, x as f64 * sx, (x + 1) as f64 * sx) * f64::from(v))
                                .sum::<f64>();
                    }
                }
                out.push(sum / (sx * sy));
            }
        }
        out
    }

    #[test]
    fn halving_averages_four_pixels() {
        assert_eq!(resize(&[0, 100, 50, 150, 0, 100, 50, 150], (4, 2), (2, 1)), [50, 100]);
    }

    #[test]
    fn doubling_interpolates_between_centres() {
        assert_eq!(resize(&[0, 100], (2, 1), (4, 1)), [0, 25, 75, 100]);
    }

    #[test]
    fn chroma_grows_as_repeated_samples_averaged() {
        // Three samples stand for six pixels; four outputs of one and a half pixels each.
        let mut target = [0; 4];
        let rows = Rows { bytes: &[0, 90, 240], stride: 3 };
        Resizer::new((3, 1), (4, 1), Grow::Area).resize::<1>(
            rows,
            3,
            &mut target,
            4,
            &mut Scratch::default(),
        );
        assert_eq!(target, [0, 60, 140, 240]);
    }

    #[test]
    fn interleaved_channels_stay_apart() {
        let source = [10, 200, 30, 220, 50, 240];
        let mut target = [0; 2];
        let rows = Rows { bytes: &source, stride: 6 };
        Resizer::new((3, 1), (1, 1), Grow::Linear).resize::<2>(
            rows,
            3,
            &mut target,
            2,
            &mut Scratch::default(),
        );
        assert_eq!(target, [30, 220]);
    }

    proptest! {
        #[test]
        fn shrinking_is_the_area_average(
            from in (1usize..60, 1usize..60), shrink in (0.05f64..=1.0, 0.05f64..=1.0), seed in any::<u32>(),
        ) {
            let to = (((from.0 as f64 * shrink.0) as usize).max(1), ((from.1 as f64 * shrink.1) as usize).max(1));
            let source: Vec<u8> = (0..from.0 * from.1)
                .map(|i| ((i as u32).wrapping_mul(2_654_435_761).wrapping_add(seed) >> 13) as u8)
                .collect();
            for (got, exact) in resize(&source, from, to).iter().zip(exact_area(&source, from, to)) {
                prop_assert!((f64::from(*got) - exact).abs() <= 1.0, "{} for {}", got, exact);
            }
        }

        #[test]
        fn a_flat_plane_stays_flat(from in (1usize..80, 1usize..80), to in (1usize..80, 1usize..80), value: u8) {
            prop_assert!(resize(&vec![value; from.0 * from.1], from, to).iter().all(|&v| v == value));
        }
    }
}
