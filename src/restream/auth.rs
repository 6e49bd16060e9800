//! Tokens over RTSP: the password of Basic authentication (RFC 7617), whatever the user.

use std::sync::OnceLock;

use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderValue};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gstreamer_rtsp_server as rtsp;
use gstreamer_rtsp_server::glib;
use gstreamer_rtsp_server::gst_rtsp::RTSPAuthMethod;
use gstreamer_rtsp_server::subclass::prelude::*;

use crate::auth::{Guard, Role};

glib::wrapper! {
    /// Lets in whom a guard lets in.
    pub(super) struct TokenAuth(ObjectSubclass<Asking>) @extends rtsp::RTSPAuth;
}

impl TokenAuth {
    pub(super) fn new(guard: Guard) -> Self {
        let auth: Self = glib::Object::new();
        // It is new, so there is none yet.
        let _ = auth.imp().guard.set(guard);
        auth
    }
}

#[derive(Default)]
pub(super) struct Asking {
    guard: OnceLock<Guard>,
}

#[glib::object_subclass]
impl ObjectSubclass for Asking {
    const NAME: &'static str = "CenterxTokenAuth";
    type Type = TokenAuth;
    type ParentType = rtsp::RTSPAuth;
}

impl ObjectImpl for Asking {}

impl RTSPAuthImpl for Asking {
    fn check(&self, context: &rtsp::RTSPContext, check: &glib::GString) -> bool {
        // The parent knows no user: it asks for one and refuses. To connect alone takes none.
        self.admits(context) || self.parent_check(context, check)
    }
}

impl Asking {
    fn admits(&self, context: &rtsp::RTSPContext) -> bool {
        let Some(guard) = self.guard.get() else { return false };
        if guard.is_open() {
            return true;
        }
        let Some(request) = context.request() else { return false };
        let credentials = request.parse_auth_credentials();
        let basic = credentials.iter().find(|credential| credential.scheme() == RTSPAuthMethod::Basic);
        // Clients send none until they are asked: that is no failure yet.
        let Some(sent) = basic.and_then(|credential| credential.authorization()) else { return false };
        let mut headers = HeaderMap::new();
        if let Some(bearer) = bearer(sent) {
            headers.insert(AUTHORIZATION, bearer);
        }
        guard.admit(&mut headers, Some(Role::Read), None).is_ok()
    }
}

/// The password of `user:password` in base64, in the form that the guard reads.
fn bearer(basic: &str) -> Option<HeaderValue> {
    let decoded = STANDARD.decode(basic.trim()).ok()?;
    let at = decoded.iter().position(|&byte| byte == b':')?;
    HeaderValue::from_bytes(&[b"Bearer ", &decoded[at + 1..]].concat()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_the_token_whoever_the_user() {
        for text in ["me:cx_abc", ":cx_abc"] {
            assert_eq!(bearer(&STANDARD.encode(text)).unwrap(), "Bearer cx_abc");
        }
        assert_eq!(bearer(&STANDARD.encode("me:a:b")).unwrap(), "Bearer a:b");
        assert!(bearer(&STANDARD.encode("cx_abc")).is_none() && bearer("!").is_none());
    }
}
