//! Symmetric int8: a number is a whole number from -127 to 127 times a scale, and zero is zero.

/// The greatest whole number used. -128 is left out, so that a number and its negative are as near.
const GREATEST: f32 = 127.0;

/// The scale that takes numbers up to `threshold` in magnitude. Where all numbers are 0 any does.
pub(super) fn scale_of(threshold: f32) -> f32 {
    let scale = threshold / GREATEST;
    if scale.is_normal() { scale } else { 1.0 / GREATEST }
}

/// The number nearest to `value`, in scales; numbers beyond the threshold become the threshold.
pub(super) fn quantized(value: f32, scale: f32) -> i8 {
    (value / scale).round_ties_even().clamp(-GREATEST, GREATEST) as i8
}

/// A weight in int8 with scales of its own for each index of one axis.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct QuantizedWeight {
    /// As many as the weight had.
    pub values: Vec<i8>,
    /// One for each index of the axis.
    pub scales: Vec<f32>,
}

/// Quantises a weight of this shape. None if `values` are not as many as `dims` say, or there is no such axis.
pub(super) fn quantize_weight(values: &[f32], dims: &[usize], axis: usize) -> Option<QuantizedWeight> {
    let channels = *dims.get(axis)?;
    if dims.iter().product::<usize>() != values.len() || channels == 0 {
        return None;
    }
    let inner: usize = dims[axis + 1..].iter().product();
    let channel_of = |at: usize| at / inner % channels;
    let mut greatest = vec![0f32; channels];
    for (at, value) in values.iter().enumerate() {
        let channel = &mut greatest[channel_of(at)];
        *channel = channel.max(value.abs());
    }
    let scales: Vec<f32> = greatest.into_iter().map(scale_of).collect();
    let each = values.iter().enumerate().map(|(at, &value)| quantized(value, scales[channel_of(at)]));
    Some(QuantizedWeight { values: each.collect(), scales })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn whole_scales_are_kept_and_ties_go_to_even() {
        let scale = scale_of(127.0);
        assert_eq!(scale, 1.0);
        let of = |value| quantized(value, scale);
        assert_eq!([0.0, 0.5, 1.5, 2.5, -0.5, -1.5].map(of), [0, 0, 2, 2, 0, -2]);
        assert_eq!([127.0, 127.6, 1e9, -128.0, -1e9].map(of), [127, 127, 127, -127, -127]);
    }

    #[test]
    fn a_range_of_nothing_has_a_scale_all_the_same() {
        for threshold in [0.0, 1e-44, f32::MIN_POSITIVE] {
            assert!(scale_of(threshold).is_normal() && scale_of(threshold) > 0.0);
        }
    }

    #[test]
    fn channels_have_scales_of_their_own_along_their_axis() {
        // [2, 3]: rows 1 2 4 and -8 4 2.
        let values = [1.0, 2.0, 4.0, -8.0, 4.0, 2.0];
        let rows = quantize_weight(&values, &[2, 3], 0).unwrap();
        assert_eq!(rows.scales, [4.0 / 127.0, 8.0 / 127.0]);
        assert_eq!(rows.values, [32, 64, 127, -127, 64, 32]);
        let columns = quantize_weight(&values, &[2, 3], 1).unwrap();
        assert_eq!(columns.scales, [8.0, 4.0, 4.0].map(|greatest| greatest / 127.0));
        assert_eq!(columns.values, [16, 64, 127, -127, 127, 64]);
        let zeros = quantize_weight(&[0.0; 4], &[2, 2], 0).unwrap();
        assert_eq!((zeros.values, zeros.scales), (vec![0; 4], vec![1.0 / 127.0; 2]));
    }

    #[test]
    fn shapes_that_do_not_fit_are_refused() {
        assert_eq!(quantize_weight(&[1.0; 5], &[2, 3], 0), None);
        assert_eq!(quantize_weight(&[1.0; 6], &[2, 3], 2), None);
        assert_eq!(quantize_weight(&[], &[0, 3], 0), None);
    }

    proptest! {
        /// Half a step inside the range; what is left over outside.
        #[test]
        fn the_error_is_bounded(value in -1e4f32..1e4, threshold in 1e-3f32..1e4) {
            let scale = scale_of(threshold);
            let back = f32::from(quantized(value, scale)) * scale;
            let beyond = (value.abs() - threshold).max(0.0);
            let bound = (scale / 2.0).max(beyond) * 1.0001 + value.abs() * 1e-6;
            prop_assert!((value - back).abs() <= bound, "{value} came back as {back}, scale {scale}");
        }

        #[test]
        fn a_weight_comes_back_within_half_a_step_of_its_channel(
            dims in prop::collection::vec(1usize..4, 1..5), axis in 0usize..4, seed in any::<u64>(),
        ) {
            let axis = axis % dims.len();
            let mut rng = fastrand::Rng::with_seed(seed);
            let values: Vec<f32> = (0..dims.iter().product()).map(|_| rng.f32() * 20.0 - 10.0).collect();
            let weight = quantize_weight(&values, &dims, axis).unwrap();
            prop_assert_eq!(weight.scales.len(), dims[axis]);
            let inner: usize = dims[axis + 1..].iter().product();
            for (at, (value, int)) in values.iter().zip(&weight.values).enumerate() {
                let scale = weight.scales[at / inner % dims[axis]];
                prop_assert!((value - f32::from(*int) * scale).abs() <= scale * 0.501);
            }
        }
    }
}
