//! Making tokens.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::Digest;

/// What tokens begin with, so that people and scanners of repositories know one when they see it.
const PREFIX: &str = "centerx_";

/// A new token: 256 random bits. It is shown once, to its owner, by [`Token::expose`] and in no other way.
pub struct Token(String);

impl Token {
    /// A token that nobody has seen.
    ///
    /// # Errors
    /// The system gives no randomness.
    pub fn new() -> Result<Self, getrandom::Error> {
        let mut bits = [0; 32];
        getrandom::fill(&mut bits)?;
        Ok(Self(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bits))))
    }

    /// The token itself.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What the settings may know of it.
    pub fn digest(&self) -> Digest {
        Digest::of(self.0.as_bytes())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_differ_fit_into_a_header_and_do_not_show_themselves() {
        let (one, other) = (Token::new().unwrap(), Token::new().unwrap());
        assert_ne!(one.expose(), other.expose());
        assert_eq!(one.expose().len(), PREFIX.len() + 43, "256 bits in base64");
        assert!(one.expose().bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
        assert!(!format!("{one:?}").contains(one.expose()));
        assert_eq!(one.digest(), Digest::of(one.expose().as_bytes()));
    }
}
