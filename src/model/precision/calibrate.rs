//! From the values that pass through a network to the ranges in which they are quantised.
//!
//! Values are counted, not kept: a [`Histogram`] a value, whatever the number of pictures.

use std::collections::HashMap;

use super::PrecisionError;

/// Bins of a histogram. At least half of them lie under the greatest value seen.
const BINS: usize = 2048;
/// The share of a value's numbers that its range covers. One in ten thousand is cut off.
///
/// Measured on 32 frames held out of 160, the mean difference of scores to float32 and the mean overlap of boxes:
/// coco 0.018 and 0.958, against 0.034 and 0.925 with the greatest number seen as the range, 0.033 and 0.938 with a
/// share of 0.999, 0.026 and 0.938 with 0.99999, 0.023 and 0.942 by the least mean square error, and 0.049 and 0.875
/// by the least entropy, which cuts off what the heads of a detector live on. The faces of `face` change little by
/// any of them.
const COVERED: f64 = 0.9999;

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

    fn edge(&self, bins: usize) -> f32 {
        (self.width * bins as f32).min(self.greatest)
    }
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

    /// The greatest magnitude of all, with the value that had it.
    pub fn greatest(&self) -> Option<(&str, f32)> {
        let each = self.0.iter().map(|(value, histogram)| (value.as_str(), histogram.greatest()));
        each.max_by(|(_, a), (_, b)| a.total_cmp(b))
    }

    /// The ranges that follow: of each value what all but one in ten thousand of its numbers do not exceed.
    pub fn ranges(&self) -> Ranges {
        let each = self.0.iter();
        each.map(|(value, histogram)| (value.clone(), histogram.percentile(COVERED))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(tensors: &[&[f32]]) -> Histogram {
        let mut histogram = Histogram::default();
        assert!(tensors.iter().all(|tensor| histogram.add(tensor)));
        histogram
    }

    #[test]
    fn rare_outliers_are_cut_off_and_frequent_ones_are_not() {
        let mut values: Vec<f32> = (0..100_000).map(|at| at as f32 / 100_000.0).collect();
        values[500] = -64.0;
        let histogram = of(&[&values]);
        assert_eq!((histogram.greatest(), histogram.count()), (64.0, 100_000));
        // One bin of 2048 up to 64 is the best that can be told.
        let cut = histogram.percentile(COVERED);
        assert!((1.0..1.07).contains(&cut), "{cut}");
        values[..50].fill(64.0);
        assert_eq!(of(&[&values]).percentile(COVERED), 64.0);
        assert_eq!(histogram.percentile(1.0), 64.0);
    }

    #[test]
    fn bins_grow_with_what_comes() {
        let histogram = of(&[&[0.0; 3], &[1.0, -0.25], &[0.0], &[1000.0]]);
        assert_eq!((histogram.count(), histogram.greatest()), (7, 1000.0));
        let fine = histogram.percentile(6.0 / 7.0);
        assert!((1.0..1.6).contains(&fine), "the old bins are still told from the new: {fine}");
    }

    #[test]
    fn zeros_have_no_range_and_the_least_number_has_one() {
        assert_eq!(of(&[&[0.0; 9]]).percentile(COVERED), 0.0);
        assert_eq!(of(&[&[]]).percentile(COVERED), 0.0);
        let least = f32::from_bits(1);
        assert_eq!(of(&[&[least]]).percentile(COVERED), least);
        assert_eq!(of(&[&[f32::MAX]]).percentile(COVERED), f32::MAX);
    }

    #[test]
    fn numbers_that_are_none_are_told_and_not_counted() {
        let mut calibrator = Calibrator::default();
        calibrator.add("x", &[1.0]).unwrap();
        for odd in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let error = calibrator.add("x", &[2.0, odd, 3.0]).unwrap_err();
            assert_eq!(error, PrecisionError::NotFinite("x".into()));
        }
        assert_eq!((calibrator.ranges().get("x"), calibrator.ranges().get("y")), (Some(1.0), None));
    }

    proptest! {
        /// The threshold is right to a bin, whatever comes in which order and in how many parts.
        #[test]
        fn the_threshold_is_right_to_a_bin(
            parts in prop::collection::vec(prop::collection::vec(-100f32..100.0, 0..50), 1..8),
            share in 0.01f64..1.0,
        ) {
            let mut histogram = Histogram::default();
            prop_assert!(parts.iter().all(|part| histogram.add(part)));
            let mut all: Vec<f32> = parts.concat().into_iter().map(f32::abs).collect();
            all.sort_by(f32::total_cmp);
            prop_assert_eq!(histogram.count(), all.len() as u64);
            let Some(greatest) = all.last() else { return Ok(()) };
            let exact = all[((all.len() as f64 * share).ceil() as usize).clamp(1, all.len()) - 1];
            let bin = greatest * 2.0 / BINS as f32;
            let told = histogram.percentile(share);
            prop_assert!((exact - bin / 1000.0..=exact + bin * 1.001).contains(&told), "{told} for {exact}");
            prop_assert_eq!(histogram.greatest(), *greatest);
        }
    }
}
