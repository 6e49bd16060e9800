//! A camera's address, which keeps its password to itself.

use std::borrow::Cow;
use std::fmt;
use std::path::Path;

use percent_encoding::NON_ALPHANUMERIC;
use serde::{Deserialize, Deserializer};
use url::Url;

use super::InvalidCamera;

/// The longest address. Browsers and cameras stop at half of it.
const MAX_BYTES: usize = 4096;

/// The ways a camera can be reached, from the scheme of its URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SourceKind {
    /// `rtsp://` or `rtsps://`.
    Rtsp,
    /// `http://` or `https://`: MJPEG or HLS, told apart by what arrives.
    Http,
    /// `file:///path` or a bare path.
    File,
    /// `v4l2:///dev/video0`.
    V4l2,
    /// `test://PATTERN`, a moving pattern made by this machine.
    Test,
}

/// A camera's address. Printing it, by `Display` or `Debug`, never shows the password.
#[derive(Clone, PartialEq, Eq)]
pub struct CameraUrl {
    url: Url,
    kind: SourceKind,
}

impl CameraUrl {
    /// Parses an address; a text without a scheme is a path to a file.
    ///
    /// # Errors
    /// An unknown scheme, a missing host, or text that is no URL. The message names the cure and never
    /// repeats the text, which may hold a password.
    pub fn parse(text: &str) -> Result<Self, InvalidCamera> {
        const SCHEMES: &str = "rtsp, rtsps, http, https, file, v4l2 or test";
        let bad = |problem: String| InvalidCamera::new("url", problem);
        let text = text.trim();
        if text.len() > MAX_BYTES {
            return Err(bad(format!("has {} bytes; the limit is {MAX_BYTES}", text.len())));
        }
        if text.is_empty() {
            return Err(bad(format!("is empty: give a path or a URL with the scheme {SCHEMES}")));
        }
        let url = if let Some((scheme, _)) = text.split_once("://") {
            let url = Url::parse(text).map_err(|error| {
                bad(format!("is not a URL ({error}); percent-encode special characters in user and password"))
            })?;
            if !url.scheme().eq_ignore_ascii_case(scheme) {
                return Err(bad(format!("does not begin with a scheme and ://: use {SCHEMES}")));
            }
            url
        } else {
            let path = std::path::absolute(text).map_err(|error| bad(error.to_string()))?;
            let url = Url::from_file_path(path).map_err(|()| bad("is not a path".into()))?;
            // Read as the store will read it after a restart: without `..`, which no URL keeps.
            Url::parse(url.as_str()).map_err(|error| bad(error.to_string()))?
        };
        let kind = match url.scheme() {
            "rtsp" | "rtsps" => SourceKind::Rtsp,
            "http" | "https" => SourceKind::Http,
            "file" => SourceKind::File,
            "v4l2" => SourceKind::V4l2,
            "test" => SourceKind::Test,
            other => return Err(bad(format!("has the unknown scheme {other:?}: use {SCHEMES}"))),
        };
        if matches!(kind, SourceKind::Rtsp | SourceKind::Http) && url.host_str().is_none_or(str::is_empty) {
            return Err(bad("names no host".into()));
        }
        let is_local = matches!(kind, SourceKind::File | SourceKind::V4l2);
        if is_local && url.host_str().is_some_and(|host| !host.is_empty()) {
            return Err(bad(format!(
                "names a host: a path of this machine is {}:///PATH, with three slashes",
                url.scheme()
            )));
        }
        if is_local && url.path().trim_matches('/').is_empty() {
            return Err(bad("names no path".into()));
        }
        Self::of(url, kind)
    }

    /// One that can be read again: encoding special characters makes an address longer.
    fn of(url: Url, kind: SourceKind) -> Result<Self, InvalidCamera> {
        let bytes = url.as_str().len();
        if bytes > MAX_BYTES {
            let problem = format!("has {bytes} bytes once it is percent-encoded; the limit is {MAX_BYTES}");
            return Err(InvalidCamera::new("url", problem));
        }
        Ok(Self { url, kind })
    }

    /// The address of a file on this machine.
    ///
    /// # Errors
    /// A path that is not absolute, or too long.
    pub fn of_file(path: &Path) -> Result<Self, InvalidCamera> {
        let url = Url::from_file_path(path)
            .map_err(|()| InvalidCamera::new("url", format!("{} is not an absolute path", path.display())))?;
        Self::of(url, SourceKind::File)
    }

    /// The same address with this user and password, which are not percent-encoded yet.
    ///
    /// # Errors
    /// An address that has them already, cannot have any, or is too long with them.
    pub fn with_login(&self, user: &str, password: &str) -> Result<Self, InvalidCamera> {
        if !self.url.username().is_empty() || self.url.password().is_some() {
            let problem = "has a user or password already: give them there or as settings, not both";
            return Err(InvalidCamera::new("url", problem));
        }
        let encode = |text: &str| percent_encoding::utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let mut url = self.url.clone();
        let set = url.set_username(&encode(user)).and_then(|()| url.set_password(Some(&encode(password))));
        match set {
            Ok(()) if matches!(self.kind, SourceKind::Rtsp | SourceKind::Http) => Self::of(url, self.kind),
            _ => Err(InvalidCamera::new("password", format!("{self} is no address that takes one"))),
        }
    }

    /// How the camera is reached.
    pub fn kind(&self) -> SourceKind {
        self.kind
    }

    /// The parsed address, **password included**: for connecting and for the private store only.
    pub fn expose(&self) -> &Url {
        &self.url
    }

    /// The secrets in the address, as typed and percent-decoded, for scrubbing foreign messages.
    pub fn secrets(&self) -> Vec<String> {
        let Some(password) = self.url.password().filter(|p| !p.is_empty()) else { return Vec::new() };
        let decoded = percent_decode(password);
        if decoded == password { vec![decoded] } else { vec![password.to_owned(), decoded] }
    }

    /// `message` with every secret of this address replaced by `***`.
    pub fn scrub(&self, message: &str) -> String {
        self.secrets().iter().fold(message.to_owned(), |text, secret| text.replace(secret.as_str(), "***"))
    }
}

/// Decodes `%XX` escapes; what is not valid UTF-8 afterwards is replaced.
pub fn percent_decode(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

impl fmt::Display for CameraUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = self.url.clone();
        if shown.password().is_some() {
            // Only a URL that cannot hold a password refuses one, and this one held one.
            let _ = shown.set_password(Some("***"));
        }
        if shown.query().is_some() && self.kind != SourceKind::Test {
            // Tokens travel in queries too.
            shown.set_query(Some("***"));
        }
        f.write_str(shown.as_str())
    }
}

impl fmt::Debug for CameraUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CameraUrl({self})")
    }
}

impl<'de> Deserialize<'de> for CameraUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printing_a_url_hides_password_and_query() {
        let url = CameraUrl::parse("rtsp://admin:s%40cret@10.0.0.9/live?token=abc").unwrap();
        assert_eq!(url.to_string(), "rtsp://admin:***@10.0.0.9/live?***");
        assert!(!format!("{url:?}").contains("cret"));
        assert_eq!(url.scrub("no entry for s@cret or s%40cret"), "no entry for *** or ***");
    }

    #[test]
    fn a_login_is_encoded_whatever_is_in_it() {
        let url =
            CameraUrl::parse("rtsp://10.0.0.9/live?x=1").unwrap().with_login("bob", "p@s%41/: ä").unwrap();
        assert_eq!(url.to_string(), "rtsp://bob:***@10.0.0.9/live?***");
        assert_eq!(percent_decode(url.expose().password().unwrap()), "p@s%41/: ä");
        assert_eq!(url.scrub("no p@s%41/: ä here"), "no *** here");
        assert!(url.with_login("bob", "x").unwrap_err().problem.contains("already"));
        let file = CameraUrl::parse("clips/yard.mp4").unwrap();
        assert!(file.with_login("bob", "x").unwrap_err().problem.contains("no address that takes one"));
    }

    /// A fuzzer found some that were taken, and refused when the store was read again.
    #[test]
    fn an_address_that_is_too_long_once_it_is_encoded_is_refused() {
        let refused = |url: Result<CameraUrl, InvalidCamera>| url.unwrap_err().problem;
        let accents = format!("http://host/{}", "é".repeat(1400));
        assert!(accents.len() < MAX_BYTES);
        assert!(refused(CameraUrl::parse(&accents)).contains("once it is percent-encoded"));
        assert!(refused(CameraUrl::of_file(Path::new(&format!("/{}", "é".repeat(1400))))).contains("limit"));
        let short = CameraUrl::parse("rtsp://host/x").unwrap();
        assert!(refused(short.with_login("bob", &" ".repeat(1400))).contains("limit"));
        assert!(short.with_login("bob", &" ".repeat(1300)).is_ok());
    }

    /// A fuzzer found that the URL standard drops the host before what looks like a Windows drive, but only when
    /// the text is parsed a second time.
    #[test]
    fn a_file_is_on_this_machine() {
        for text in ["file://l//c://x", "file://server/clips/yard.mp4", "v4l2://dev/video0"] {
            let problem = CameraUrl::parse(text).unwrap_err().problem;
            assert!(problem.contains("names a host"), "{text}: {problem}");
        }
        for text in ["file:///clips/yard.mp4", "file://localhost/clips/yard.mp4", "v4l2:///dev/video0"] {
            let url = CameraUrl::parse(text).unwrap();
            assert_eq!(CameraUrl::parse(&url.to_string()).unwrap(), url);
        }
    }

    #[test]
    fn a_bare_path_is_a_file() {
        assert_eq!(CameraUrl::parse("clips/yard.mp4").unwrap().kind(), SourceKind::File);
    }

    #[test]
    fn an_address_is_the_same_once_it_was_written_and_read_again() {
        for text in
            ["clips/../yard.mp4", "/a/./b/../c.mp4", "/C|/x", "/%2e%2e/a b", "rtsp://u:p@h:554/a/../b?q#f"]
        {
            let url = CameraUrl::parse(text).unwrap();
            assert_eq!(CameraUrl::parse(url.expose().as_str()).unwrap(), url, "{text}");
        }
    }

    #[test]
    fn bad_urls_name_the_field_and_the_cure() {
        for (text, expected) in [
            ("", "is empty"),
            ("ftp://host/x", "unknown scheme"),
            (&format!("rtsp://host/{}", "x".repeat(5000)), "the limit is 4096"),
            ("rtsp://", "url"),
            ("v4l2://", "names no path"),
            // Found by the fuzz target: its query was hidden, and what was left was another address.
            ("v4l2:https:/?/://bal", "does not begin with a scheme"),
            ("rtsp://user:pa ss@:x", "percent-encode"),
        ] {
            let error = CameraUrl::parse(text).unwrap_err();
            assert_eq!(error.field, "url");
            assert!(error.to_string().contains(expected), "{text}: {error}");
        }
    }
}
