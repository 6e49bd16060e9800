//! What the settings know of a token.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Deserializer};
use sha2::{Digest as _, Sha256};

/// The SHA-256 of a token.
///
/// A slow password hash (Argon2, bcrypt) makes guessing dear where people choose secrets. A token here is 256
/// random bits: nobody guesses one whatever a guess costs, and a slow hash on every call would be a gift to
/// whoever wants to keep the server busy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of a token as it is sent.
    pub fn of(token: &[u8]) -> Self {
        Self(Sha256::digest(token).into())
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        if text.len() != 64 || !text.is_ascii() {
            return None;
        }
        for (index, byte) in bytes.iter_mut().enumerate() {
            // `from_str_radix` takes a sign.
            let digits = text.get(2 * index..2 * index + 2).filter(|digits| !digits.contains('+'))?;
            *byte = u8::from_str_radix(digits, 16).ok()?;
        }
        Some(Self(bytes))
    }
}

/// 64 hexadecimal digits.
impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        // What was written there by mistake may be the token: it is not repeated.
        Self::parse(&text).ok_or_else(|| {
            serde::de::Error::custom(
                "sha256 is not 64 hexadecimal digits: take the line that `centerx token new` prints, or \
                 `printf %s TOKEN | sha256sum`",
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_that_of_sha256sum_and_survives_its_text() {
        // printf %s abc | sha256sum
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Digest::of(b"abc").to_string(), abc);
        assert_eq!(Digest::parse(&abc.to_uppercase()), Some(Digest::of(b"abc")));
        for bad in ["", "abc", &abc[1..], &format!("+{}", &abc[1..]), &"ä".repeat(32), &"z".repeat(64)] {
            assert_eq!(Digest::parse(bad), None, "{bad}");
        }
    }
}
