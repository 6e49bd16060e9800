//! Which web pages may use the server from a browser (CORS, for grpc-web).

use axum::http::{HeaderName, HeaderValue, Method};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};
use url::{Host, Url};

/// Answers to browsers that ask whether a page may call.
///
/// Pages served by this machine may, and pages of `origins`. Not every page: any web site somebody here
/// visits could otherwise watch and change the cameras through the visitor's browser.
pub(super) fn layer(origins: &[String]) -> CorsLayer {
    let origins = origins.to_vec();
    CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(move |origin, _| is_allowed(origin, &origins)))
        .allow_methods([Method::POST])
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(
            ["grpc-status", "grpc-message", "grpc-status-details-bin"].map(HeaderName::from_static),
        )
}

fn is_allowed(origin: &HeaderValue, origins: &[String]) -> bool {
    let Ok(origin) = origin.to_str() else { return false };
    let listed = |allowed: &String| allowed == "*" || allowed.trim_end_matches('/') == origin;
    origins.iter().any(listed) || Url::parse(origin).is_ok_and(|url| is_this_machine(&url))
}

fn is_this_machine(origin: &Url) -> bool {
    match origin.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_this_machine_and_listed_ones_are_allowed() {
        let listed = ["https://cameras.example/".to_owned()];
        let check = |origin: &'static str| is_allowed(&HeaderValue::from_static(origin), &listed);
        for good in
            ["http://localhost:3000", "http://127.0.0.1:8080", "http://[::1]", "https://cameras.example"]
        {
            assert!(check(good), "{good}");
        }
        for bad in ["https://evil.example", "http://localhost.evil.example", "null", "http://10.0.0.9"] {
            assert!(!check(bad), "{bad}");
        }
        assert!(is_allowed(&HeaderValue::from_static("https://any.example"), &["*".to_owned()]));
    }
}
