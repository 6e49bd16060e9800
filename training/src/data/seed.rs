//! Random numbers that depend on what they are for, and on nothing else.

use fastrand::Rng;

/// A generator for `parts`, which name a purpose: other parts, other numbers; the same ones, the same on every machine.
pub(super) fn rng(parts: &[u64]) -> Rng {
    Rng::with_seed(parts.iter().fold(0x9E37_79B9_7F4A_7C15, |hash, &part| mix(hash ^ part)))
}

/// A number for a name. FNV-1a (Fowler, Noll, Vo), as the standard library's hash may change between its versions.
pub(super) fn number(name: &str) -> u64 {
    name.bytes().fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
    })
}

/// The finaliser of SplitMix64 (Steele et al. 2014): each bit of the result depends on each bit of the argument.
fn mix(mut z: u64) -> u64 {
    z = z.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_purpose_has_its_own_numbers() {
        let first = |parts: &[u64]| rng(parts).u64(..);
        assert_eq!(first(&[1, 2]), first(&[1, 2]));
        let all = [first(&[1, 2]), first(&[2, 1]), first(&[1]), first(&[1, 2, 0]), first(&[1, 3])];
        assert!((0..5).all(|a| (0..a).all(|b| all[a] != all[b])), "{all:?}");
        assert_ne!(number("a.jpg"), number("b.jpg"));
        // The published value of FNV-1a for this string.
        assert_eq!(number("foobar"), 0x8594_4171_F739_67E8);
    }
}
