//! What a teacher said of one view, as bytes.
//!
//! `centerxM`, then in little endian: a version, classes, height and width as 32-bit numbers, scores, sizes and offsets as
//! float16 in the order of [`Maps`], and the first eight bytes of the SHA-256 of all before.

use burn::tensor::f16;
use sha2::{Digest as _, Sha256};

use crate::maps::Maps;

const MAGIC: &[u8; 8] = b"centerxM";
/// Of this format and of what the numbers mean: another one is not read.
pub(super) const VERSION: u32 = 1;
const HEADER: usize = 24;
const CHECK: usize = 8;

/// The bytes of `maps`, each number rounded to eleven significant bits.
pub(super) fn encode(maps: &Maps) -> Vec<u8> {
    let numbers = [&maps.heat, &maps.size, &maps.offset];
    let count: usize = numbers.iter().map(|list| list.len()).sum();
    let mut bytes = Vec::with_capacity(HEADER + 2 * count + CHECK);
    bytes.extend_from_slice(MAGIC);
    for number in [VERSION, maps.classes as u32, maps.height as u32, maps.width as u32] {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    for number in numbers.into_iter().flatten() {
        bytes.extend_from_slice(&f16::from_f32(*number).to_le_bytes());
    }
    let check = Sha256::digest(&bytes);
    bytes.extend_from_slice(&check[..CHECK]);
    bytes
}

/// The maps in `bytes`, of `classes` classes and the given rows and columns; what is wrong with them otherwise.
pub(super) fn decode(
    bytes: &[u8],
    classes: usize,
    (height, width): (usize, usize),
) -> Result<Maps, &'static str> {
    let values = check(bytes, classes, (height, width))?;
    let mut numbers = values.chunks_exact(2).map(|two| f16::from_le_bytes([two[0], two[1]]).to_f32());
    let mut maps = Maps::empty(classes, height, width);
    for list in [&mut maps.heat, &mut maps.size, &mut maps.offset] {
        list.iter_mut().zip(&mut numbers).for_each(|(to, number)| *to = number);
    }
    Ok(maps)
}

/// The bytes of the numbers, if all is as it was written.
pub(super) fn check(
    bytes: &[u8],
    classes: usize,
    (height, width): (usize, usize),
) -> Result<&[u8], &'static str> {
    let Some(mut rest) = bytes.strip_prefix(MAGIC) else { return Err("it is another kind of file") };
    let expected = [VERSION, classes as u32, height as u32, width as u32];
    for (number, expected) in expected.into_iter().enumerate() {
        let Some((four, after)) = rest.split_first_chunk::<4>() else { return Err("it is cut short") };
        if u32::from_le_bytes(*four) != expected {
            return Err(if number == 0 { "it is of another version" } else { "it is of another size" });
        }
        rest = after;
    }
    let length = 2 * (classes + 4) * height * width;
    if rest.len() != length + CHECK {
        return Err("it is cut short");
    }
    let (content, sum) = bytes.split_at(bytes.len() - CHECK);
    if Sha256::digest(content)[..CHECK] != *sum {
        return Err("it is damaged");
    }
    Ok(&rest[..length])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn some_maps() -> impl Strategy<Value = Maps> {
        (1usize..4, 1usize..6, 1usize..6, any::<u64>()).prop_map(|(classes, height, width, seed)| {
            let (mut maps, mut rng) = (Maps::empty(classes, height, width), fastrand::Rng::with_seed(seed));
            maps.heat.iter_mut().for_each(|v| *v = rng.f32());
            maps.size.iter_mut().for_each(|v| *v = rng.f32() * 200.0);
            maps.offset.iter_mut().for_each(|v| *v = rng.f32() * 3.0 - 1.0);
            maps
        })
    }

    fn read(bytes: &[u8], maps: &Maps) -> Result<Maps, &'static str> {
        decode(bytes, maps.classes, (maps.height, maps.width))
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_was_written(maps in some_maps()) {
            let again = read(&encode(&maps), &maps).unwrap();
            for (ours, theirs) in [(&again.heat, &maps.heat), (&again.size, &maps.size), (&again.offset, &maps.offset)] {
                prop_assert_eq!(ours.len(), theirs.len());
                for (a, b) in ours.iter().zip(theirs) {
                    prop_assert!((a - b).abs() <= b.abs() / 2048.0 + 1e-7, "{} for {}", a, b);
                }
            }
            prop_assert_eq!(encode(&again), encode(&maps));
        }

        #[test]
        fn a_changed_or_shortened_file_is_found_out(maps in some_maps(), at: prop::sample::Index, change in 1u8..) {
            let mut bytes = encode(&maps);
            let at = at.index(bytes.len());
            prop_assert!(read(&bytes[..at], &maps).is_err());
            bytes[at] ^= change;
            prop_assert!(read(&bytes, &maps).is_err());
        }
    }

    #[test]
    fn what_is_wrong_is_told() {
        let maps = Maps::empty(2, 3, 4);
        let bytes = encode(&maps);
        assert_eq!(bytes.len(), HEADER + 2 * 6 * 12 + CHECK);
        assert_eq!(decode(&bytes, 1, (3, 4)), Err("it is of another size"));
        assert_eq!(read(&[], &maps), Err("it is another kind of file"));
        assert_eq!(read(&bytes[..9], &maps), Err("it is cut short"));
        let mut other = bytes.clone();
        other[8] = 9;
        assert_eq!(read(&other, &maps), Err("it is of another version"));
        other.clone_from(&bytes);
        other[40] ^= 1;
        assert_eq!(read(&other, &maps), Err("it is damaged"));
    }
}
