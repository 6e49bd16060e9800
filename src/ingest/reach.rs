//! Whether a camera's host can be reached at all: looked into after a failure, for its reason in words,
//! and between retries, so that a camera's return is noticed at once.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::camera::{CameraUrl, FailureKind, SourceKind};

use super::source::Failure;

/// How long a host may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Tries to reach the host of a camera. None where that says nothing: a camera without a host, or one
/// behind a proxy.
pub(super) async fn try_reach(url: &CameraUrl) -> Option<Result<(), Failure>> {
    let (host, port) = host_and_port(url)?;
    Some(connect(&host, port).await)
}

/// Returns once the host of a camera can be reached.
pub(super) async fn reachable(url: &CameraUrl, every: Duration) {
    if every.is_zero() {
        return std::future::pending().await;
    }
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        match try_reach(url).await {
            Some(Ok(())) => return,
            Some(Err(_)) => {}
            None => return std::future::pending().await,
        }
    }
}

fn host_and_port(url: &CameraUrl) -> Option<(String, u16)> {
    let default_port = match (url.kind(), url.expose().scheme()) {
        (SourceKind::Rtsp, "rtsps") => 322,
        (SourceKind::Rtsp, _) => 554,
        (SourceKind::Http, _) if behind_proxy() => return None,
        (SourceKind::Http, "https") => 443,
        (SourceKind::Http, _) => 80,
        _ => return None,
    };
    let host = url.expose().host_str()?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Some((host.to_owned(), url.expose().port().unwrap_or(default_port)))
}

fn behind_proxy() -> bool {
    ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"]
        .iter()
        .any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
}

async fn connect(host: &str, port: u16) -> Result<(), Failure> {
    let addresses = match timeout(PATIENCE, lookup_host((host, port))).await {
        Ok(Ok(addresses)) => addresses.collect(),
        Ok(Err(_)) => Vec::new(),
        Err(_) => {
            return Err(Failure::new(
                FailureKind::Network,
                format!("the name server does not answer for host name {host:?}"),
            ));
        }
    };
    if addresses.is_empty() {
        return Err(Failure::new(
            FailureKind::NotFound,
            format!("the host name {host:?} cannot be resolved; check the spelling, or use the IP address"),
        ));
    }
    connect_any(&addresses)
        .await
        .map_err(|error| Failure::new(FailureKind::Network, explain(host, port, &error)))
}

async fn connect_any(addresses: &[SocketAddr]) -> io::Result<()> {
    match timeout(PATIENCE, TcpStream::connect(addresses)).await {
        Ok(result) => result.map(drop),
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

fn explain(host: &str, port: u16, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => format!(
            "{host} refuses connections on port {port}; check the port and that the camera's service is on"
        ),
        io::ErrorKind::TimedOut => format!(
            "{host} does not answer on port {port}; check that the camera is on and no firewall is between"
        ),
        _ => format!("{host} cannot be reached on port {port}: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(url: &str) -> Option<(String, u16)> {
        host_and_port(&CameraUrl::parse(url).unwrap())
    }

    #[test]
    fn ports_are_the_url_s_or_the_scheme_s() {
        assert_eq!(target("rtsp://user:pw@cam/x"), Some(("cam".into(), 554)));
        assert_eq!(target("rtsps://cam/x"), Some(("cam".into(), 322)));
        assert_eq!(target("rtsp://[::1]:8554/x"), Some(("::1".into(), 8554)));
        assert_eq!(target("file:///x.mp4"), None);
    }
}
