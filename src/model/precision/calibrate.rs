//! From the values that pass through a network to the ranges in which they are quantised.
//!
//! Values are counted, not kept: a [`Histogram`] a value, whatever the number of pictures.

use std::collections::HashMap;

use super::PrecisionError;

/// Bins of a histogram. At least half of them lie under the greatest value seen.
const BINS: usize = 2048;
/// The number of magnitudes that int8 tells apart: 0 to 127.
const LEVELS: usize = 128;

/// How often a value had which magnitude. The range grows by doubling, so that it need not be known before.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    bins: Vec<u64>,
    /// Of a bin; 0 as long as there were only zeros.
    width: f32,
    greatest: f32,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { bins: vec![0; BINS], width: 0.0, greatest: 0.0 }
    }
}

impl Histogram {
    /// Counts `values`; false, and nothing is counted, if one is not finite.
    #[must_use]
    pub fn add(&mut self, values: &[f32]) -> bool {
        // Infinite for what is infinite, NaN for NaN, whatever comes after it.
        let greatest = values.iter().fold(0f32, |most, v| if v.abs() <= most { most } else { v.abs() });
        if !values.iter().all(|v| v.is_finite()) {
            return false;
        }
        self.reach(greatest);
        if self.width == 0.0 {
            self.bins[0] += values.len() as u64;
            return true;
        }
        let per_width = 1.0 / self.width;
        for value in values {
            let bin = (value.abs() * per_width) as usize;
            self.bins[bin.min(BINS - 1)] += 1;
        }
        true
    }

    /// Makes the bins wide enough for `greatest`.
    fn reach(&mut self, greatest: f32) {
        self.greatest = self.greatest.max(greatest);
        if self.greatest == 0.0 {
            return;
        }
        if self.width == 0.0 {
            // So small that its inverse would not be finite is nothing.
            self.width = (self.greatest / BINS as f32).max(f32::MIN_POSITIVE);
        }
        while self.greatest > self.width * BINS as f32 {
            for at in 0..BINS / 2 {
                self.bins[at] = self.bins[2 * at] + self.bins[2 * at + 1];
            }
            self.bins[BINS / 2..].fill(0);
            self.width *= 2.0;
        }
    }

    /// The greatest magnitude seen.
    pub fn greatest(&self) -> f32 {
        self.greatest
    }

    /// Values counted.
    pub fn count(&self) -> u64 {
        self.bins.iter().sum()
    }

    /// The least threshold, on a bin's upper edge, that `share` of the values do not exceed.
    pub fn percentile(&self, share: f64) -> f32 {
        let wanted = (self.count() as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (at, count) in self.bins.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return self.edge(at + 1);
            }
        }
        self.greatest
    }

    /// The threshold that loses the least information, by the divergence of Kullback and Leibler between the
    /// values and the values in int8.
    pub fn entropy(&self) -> f32 {
        let last = self.bins.iter().rposition(|&count| count > 0).map_or(0, |at| at + 1);
        let candidates = (LEVELS..=last).map(|bins| (bins, divergence(&self.bins, bins)));
        let best = candidates.min_by(|(_, a), (_, b)| a.total_cmp(b));
        best.map_or(self.greatest, |(bins, _)| self.edge(bins))
    }

    /// The threshold with the least mean square error.
    pub fn mse(&self) -> f32 {
        let last = self.bins.iter().rposition(|&count| count > 0).map_or(0, |at| at + 1);
        let error = |bins: usize| -> f64 {
            let threshold = f64::from(self.width) * bins as f64;
            let step = threshold / 127.0;
            self.bins[..last]
                .iter()
                .enumerate()
                .map(|(at, &count)| {
                    let middle = (at as f64 + 0.5) * f64::from(self.width);
                    let e = if middle > threshold {
                        middle - threshold
                    } else {
                        let q = (middle / step).round() * step;
                        q - middle
                    };
                    e * e * count as f64
                })
                .sum()
        };
        let best = (LEVELS..=last).map(|bins| (bins, error(bins))).min_by(|(_, a), (_, b)| a.total_cmp(b));
        best.map_or(self.greatest, |(bins, _)| self.edge(bins))
    }

    fn edge(&self, bins: usize) -> f32 {
        (self.width * bins as f32).min(self.greatest)
    }
}

/// What is lost if all above the first `kept` bins becomes the greatest of them, and those become [`LEVELS`].
fn divergence(bins: &[u64], kept: usize) -> f64 {
    let beyond: u64 = bins[kept..].iter().sum();
    let mut clipped: Vec<f64> = bins[..kept].iter().map(|&count| count as f64).collect();
    clipped[kept - 1] += beyond as f64;
    let total: f64 = clipped.iter().sum();
    let mut sum = 0.0;
    let mut levels_total = 0.0;
    for level in 0..LEVELS {
        let (from, to) = (level * kept / LEVELS, (level + 1) * kept / LEVELS);
        levels_total += bins[from..to].iter().sum::<u64>() as f64;
    }
    for level in 0..LEVELS {
        let (from, to) = (level * kept / LEVELS, (level + 1) * kept / LEVELS);
        let mass = bins[from..to].iter().sum::<u64>() as f64;
        let filled = clipped[from..to].iter().filter(|&&count| count > 0.0).count().max(1);
        let each = (mass / filled as f64).max(1e-9) / levels_total.max(1e-9);
        for count in clipped[from..to].iter().filter(|&&count| count > 0.0) {
            let p = count / total;
            sum += p * (p / each).ln();
        }
    }
    sum
}

/// The thresholds by which values are quantised, by the values' names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ranges(HashMap<String, f32>);

impl Ranges {
    /// The threshold of a value, if it was seen.
    pub fn get(&self, value: &str) -> Option<f32> {
        self.0.get(value).copied()
    }
}

impl FromIterator<(String, f32)> for Ranges {
    fn from_iter<T: IntoIterator<Item = (String, f32)>>(ranges: T) -> Self {
        Self(ranges.into_iter().collect())
    }
}

/// Watches values go by.
#[derive(Clone, Debug, Default)]
pub struct Calibrator(HashMap<String, Histogram>);

impl Calibrator {
    /// Counts what one picture made of a value.
    ///
    /// # Errors
    /// Numbers that are not finite.
    pub fn add(&mut self, value: &str, tensor: &[f32]) -> Result<(), PrecisionError> {
        if !self.0.contains_key(value) {
            self.0.insert(value.to_owned(), Histogram::default());
        }
        let counted = self.0.get_mut(value).is_some_and(|histogram| histogram.add(tensor));
        counted.then_some(()).ok_or_else(|| PrecisionError::NotFinite(value.to_owned()))
    }

    /// The ranges that follow.
    pub fn ranges(&self) -> Ranges {
        let method = std::env::var("RANGE").unwrap_or_default();
        let threshold = |h: &Histogram| match method.as_str() {
            "max" => h.greatest(),
            "entropy" => h.entropy(),
            "mse" => h.mse(),
            p => h.percentile(p.parse().unwrap_or(0.9999)),
        };
        self.0.iter().map(|(value, histogram)| (value.clone(), threshold(histogram))).collect()
    }
}
