//! The live page: files that hold no data, so that everybody may have them. What they show, they ask the services for.

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use rust_embed::{EmbeddedFile, RustEmbed};
use sha2::{Digest as _, Sha256};

/// The messages and services, as `build/schema.rs` writes them.
const SCHEMA: &str = include_str!(concat!(env!("OUT_DIR"), "/schema.json"));
/// Scripts, styles and data from this server alone, and pictures that scripts made; no frame around the page.
const POLICY: &str = "default-src 'self'; img-src 'self' blob:; object-src 'none'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

#[derive(RustEmbed)]
#[folder = "src/http/page"]
struct Files;

/// `/` and `/assets/`.
pub(super) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/", get(|headers: HeaderMap| async move { file("index.html", &headers) }))
        .route("/assets/schema.json", get(|headers: HeaderMap| async move { schema(&headers) }))
        .route(
            "/assets/{name}",
            get(|Path(name): Path<String>, headers: HeaderMap| async move { file(&name, &headers) }),
        )
}

fn file(name: &str, headers: &HeaderMap) -> Response {
    let known = kind(name).zip(Files::get(name));
    let Some((kind, EmbeddedFile { data, metadata })) = known else {
        return (StatusCode::NOT_FOUND, "there is no such file\n").into_response();
    };
    answer(kind, &tag(&metadata.sha256_hash()), headers, data.into_owned())
}

fn schema(headers: &HeaderMap) -> Response {
    answer("application/json", &tag(&Sha256::digest(SCHEMA)), headers, SCHEMA.into())
}

/// An entity tag: as much of the digest as tells two versions apart.
fn tag(digest: &[u8]) -> String {
    let digest = u64::from_be_bytes(digest.first_chunk().copied().unwrap_or_default());
    format!("\"{digest:016x}\"")
}

/// The content type of a file of the page; other files are none of it.
fn kind(name: &str) -> Option<&'static str> {
    Some(match name.rsplit_once('.')?.1 {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        _ => return None,
    })
}

/// A file that browsers keep, and ask each time whether it is still the same.
fn answer(kind: &'static str, tag: &str, headers: &HeaderMap, body: Vec<u8>) -> Response {
    let told = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    ];
    let known = headers.get(header::IF_NONE_MATCH).and_then(|known| known.to_str().ok());
    let is_known = known.is_some_and(|known| known.split(',').any(|one| one.trim() == tag));
    let tag = [(header::ETAG, tag.to_owned())];
    if is_known {
        return (StatusCode::NOT_MODIFIED, told, tag).into_response();
    }
    (told, tag, body).into_response()
}
