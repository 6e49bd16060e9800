//! Who may do what: bearer tokens, their roles, and refusals in words.
//!
//! What does not belong here: which call needs which role (`api`, `http`), and how a refusal looks on the wire.

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};

use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderValue};
use prometheus::{IntCounterVec, Opts, Registry};
use serde::Deserialize;
use subtle::{Choice, ConditionallySelectable as _, ConstantTimeEq as _};

mod digest;
mod log;
mod token;

pub use digest::Digest;
use log::Log;
pub use token::Token;

/// What a token allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Watch: subscribe, list, have pictures looked at, scrape metrics.
    Read,
    /// Change as well: add, update and remove cameras, load, swap and unload models.
    Operate,
}

impl Role {
    /// The role's name in the settings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Operate => "operate",
        }
    }
}

/// Whether tokens are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// If there are any; without, the server listens on loopback only.
    #[default]
    Tokens,
    /// Never, wherever the server listens: dangerous, unless something in front of it authenticates.
    Off,
}

/// A token as the settings hold it: not the token itself.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenConfig {
    /// Whose it is, in the log and in refusals: 1 to 64 letters, digits, `-`, `_` and `.`.
    pub name: String,
    /// What it allows.
    pub role: Role,
    /// The token's SHA-256; the settings do not hold the token.
    pub sha256: Digest,
}

/// The table `[auth]` of the settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Whether tokens are asked for.
    pub mode: Mode,
    /// The tokens, each as `centerx token new` prints it.
    #[serde(rename = "token")]
    pub tokens: Vec<TokenConfig>,
}

impl Config {
    /// Checks the tokens, and that a server without any listens on loopback only. `listeners` are the
    /// settings' names of the addresses, and the addresses.
    ///
    /// # Errors
    /// What is wrong, the setting, and the cure.
    pub fn validate(&self, listeners: &[(&str, SocketAddr)]) -> Result<(), String> {
        for (index, token) in self.tokens.iter().enumerate() {
            let name = &token.name;
            check_name(name)?;
            if let Some(other) =
                self.tokens[..index].iter().find(|t| t.name == *name || t.sha256 == token.sha256)
            {
                return Err(format!("the tokens {:?} and {name:?} have one name or one sha256", other.name));
            }
        }
        match (self.mode, self.tokens.is_empty()) {
            (Mode::Off, false) => {
                Err("mode is \"off\" and there are tokens: take out the one or the others".into())
            }
            (Mode::Off, true) | (Mode::Tokens, false) => Ok(()),
            (Mode::Tokens, true) => match listeners.iter().find(|(_, address)| !is_loopback(address)) {
                Some((setting, address)) => Err(format!(
                    "{setting} is {address}, which other machines reach, and there are no tokens: make one with \
                     `centerx token new --role operate --name me` and put its lines into the settings, or listen on \
                     127.0.0.1. Only where something in front of the server authenticates: mode = \"off\" under \
                     [auth], which lets in whoever reaches it"
                )),
                None => Ok(()),
            },
        }
    }
}

/// Checks the name of a token: 1 to 64 letters, digits, `-`, `_` and `.`.
///
/// # Errors
/// What would do.
pub fn check_name(name: &str) -> Result<(), String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > 64 || !name.chars().all(allowed) {
        let shown: String = name.chars().take(64).collect();
        return Err(format!("token name: {shown:?} is not 1 to 64 letters, digits, '-', '_' or '.'"));
    }
    Ok(())
}

/// Whether only this machine reaches the address.
pub fn is_loopback(address: &SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

/// Why a call is refused. No message holds what the caller sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// There is no token.
    #[error(
        "this server asks for a token: send it as `authorization: Bearer TOKEN`; the server's owner makes one with \
         `centerx token new`"
    )]
    Missing,
    /// The header is there and holds no bearer token.
    #[error("the authorization header is not of the form `Bearer TOKEN`")]
    Malformed,
    /// The token is none of the server's.
    #[error(
        "the token is not known to this server: it is misspelt, of another server, or was taken out of the settings"
    )]
    Unknown,
    /// The token's role does not allow it.
    #[error(
        "this call needs the role {}, and the token {name:?} has {}; use a token made with `centerx token new --role {}`",
        needs.as_str(), has.as_str(), needs.as_str()
    )]
    Forbidden {
        /// The token's name.
        name: String,
        /// Its role.
        has: Role,
        /// The role it would take.
        needs: Role,
    },
}

impl Denied {
    const REASONS: [&'static str; 4] = ["missing", "malformed", "unknown", "forbidden"];

    /// The reason's name in metrics.
    pub fn reason(&self) -> &'static str {
        Self::REASONS[match self {
            Self::Missing => 0,
            Self::Malformed => 1,
            Self::Unknown => 2,
            Self::Forbidden { .. } => 3,
        }]
    }
}

/// Lets calls in or not. Cheap to clone; all clones are the same guard.
#[derive(Clone, Debug)]
pub struct Guard(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    tokens: RwLock<Arc<[TokenConfig]>>,
    failures: IntCounterVec,
    log: Log,
}

impl Guard {
    /// A guard that lets everybody in.
    pub fn open() -> Self {
        Self(None)
    }

    /// The guard that the settings ask for, which counts refusals in `registry`.
    ///
    /// # Errors
    /// A metric registered twice.
    pub fn new(config: Config, registry: &Registry) -> prometheus::Result<Self> {
        let failures = IntCounterVec::new(
            Opts::new(
                "centerx_auth_failures_total",
                "Calls refused for want of a token or a role, by reason.",
            ),
            &["reason"],
        )?;
        Denied::REASONS.iter().for_each(|reason| failures.with_label_values(&[*reason]).reset());
        registry.register(Box::new(failures.clone()))?;
        let tokens = RwLock::new(config.tokens.into());
        Ok(Self(Some(Arc::new(Inner { tokens, failures, log: Log::default() }))))
    }

    /// Whether everybody is let in.
    pub fn is_open(&self) -> bool {
        self.0.as_ref().is_none_or(|inner| inner.tokens().is_empty())
    }

    /// From now on the tokens are those of other settings. Calls under way go on.
    pub fn replace(&self, config: Config) {
        if let Some(inner) = &self.0 {
            *inner.tokens.write().unwrap_or_else(PoisonError::into_inner) = config.tokens.into();
        }
    }

    /// Takes the token out of a request's headers, so that nothing behind can show it, and checks that it
    /// allows `needs`; none is needed without a role. `peer` is who asks, for the log.
    ///
    /// # Errors
    /// See [`Denied`]. It is counted, and logged now and then.
    pub fn admit(
        &self,
        headers: &mut HeaderMap,
        needs: Option<Role>,
        peer: Option<SocketAddr>,
    ) -> Result<(), Denied> {
        let mut sent: Vec<HeaderValue> = headers.get_all(AUTHORIZATION).iter().cloned().collect();
        headers.remove(AUTHORIZATION);
        let (Some(inner), Some(needs)) = (&self.0, needs) else { return Ok(()) };
        sent.iter_mut().for_each(|value| value.set_sensitive(true));
        let tokens = inner.tokens();
        if tokens.is_empty() {
            return Ok(());
        }
        check(&tokens, &sent, needs).inspect_err(|denied| {
            inner.failures.with_label_values(&[denied.reason()]).inc();
            inner.log.refused(denied, peer);
        })
    }
}

impl Inner {
    fn tokens(&self) -> Arc<[TokenConfig]> {
        Arc::clone(&self.tokens.read().unwrap_or_else(PoisonError::into_inner))
    }
}

fn check(tokens: &[TokenConfig], sent: &[HeaderValue], needs: Role) -> Result<(), Denied> {
    let value = match sent {
        [] => return Err(Denied::Missing),
        [value] => value,
        _ => return Err(Denied::Malformed),
    };
    let token = bearer(value).ok_or(Denied::Malformed)?;
    let found = find(tokens, &Digest::of(token)).ok_or(Denied::Unknown)?;
    if found.role < needs {
        return Err(Denied::Forbidden { name: found.name.clone(), has: found.role, needs });
    }
    Ok(())
}

/// The token of this digest. Takes as long whether and wherever there is one: the time must not tell how much of
/// a digest was right.
fn find<'a>(tokens: &'a [TokenConfig], digest: &Digest) -> Option<&'a TokenConfig> {
    let mut at = u64::MAX;
    for (index, token) in tokens.iter().enumerate() {
        let same: Choice = token.sha256.as_bytes().ct_eq(digest.as_bytes());
        at.conditional_assign(&(index as u64), same);
    }
    usize::try_from(at).ok().and_then(|at| tokens.get(at))
}

/// The token of `Bearer TOKEN` (RFC 6750, section 2.1); the scheme's case does not matter (RFC 9110, 11.1).
fn bearer(value: &HeaderValue) -> Option<&[u8]> {
    let (scheme, token) = value.as_bytes().split_at_checked(7)?;
    let token = token.trim_ascii();
    (scheme.eq_ignore_ascii_case(b"bearer ") && !token.is_empty() && !token.contains(&b' ')).then_some(token)
}

#[cfg(test)]
mod tests;
