//! Accepting connections and serving them until they end or their time is up.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot, watch};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::calls::Calls;
use super::metrics::Metrics;
use super::places::{Limits, Place, Places, Reason, Verdict};
use super::stream::{Socket, Stream};
use super::{Listener, accept};

/// For a request's line and headers together, in either version of HTTP.
pub const MAX_HEAD_BYTES: usize = 32 * 1024;
/// Calls that a client took back before they were begun (RFC 9113 errata, CVE-2023-44487), on one connection.
const MAX_PENDING_RESETS: usize = 20;
/// Calls reset for a client's faults on one connection, before that is closed.
const MAX_ERROR_RESETS: usize = 256;
/// For a client to take its leave once it was told to.
const GOODBYE: Duration = Duration::from_millis(250);
/// Connections that may be on their way out while others have their places.
const LEAVING: usize = 64;
/// The first byte of every TLS connection: the type of a handshake record (RFC 8446, section 5.1).
const TLS_HANDSHAKE: u8 = 22;
const USE_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-type: text/plain\r\n\
content-length: 43\r\n\r\nthis port speaks TLS: use an https address\n";

/// What is spoken on a listener's connections.
#[derive(Clone, Debug)]
pub enum Protocol {
    /// HTTP/1.
    Http1,
    /// HTTP/2, and HTTP/1 for browsers.
    Http2(Http2),
}

/// The limits of an HTTP/2 connection.
#[derive(Clone, Debug)]
pub struct Http2 {
    /// A connection that is silent this long is asked whether it lives, and has as long to answer.
    pub keep_alive: Duration,
    /// Calls at a time.
    pub calls: u32,
    /// Bytes of one call that may wait to be read.
    pub call_buffer: u32,
    /// Bytes of one connection that may wait to be read.
    pub connection_buffer: u32,
}

impl Protocol {
    /// The names in TLS (RFC 7301).
    pub(super) fn alpn(&self) -> Vec<Vec<u8>> {
        let names: &[&[u8]] = match self {
            Self::Http1 => &[b"http/1.1"],
            Self::Http2(_) => &[b"h2", b"http/1.1"],
        };
        names.iter().map(|name| name.to_vec()).collect()
    }

    fn builder(&self, limits: Limits) -> Builder<TokioExecutor> {
        let mut builder = Builder::new(TokioExecutor::new());
        if matches!(self, Self::Http1) {
            builder = builder.http1_only();
        }
        // A first head has its own, shorter time; this is for those that follow.
        let mut http1 = builder.http1();
        http1.timer(TokioTimer::new()).header_read_timeout(limits.idle).max_buf_size(MAX_HEAD_BYTES);
        if let Self::Http2(http2) = self {
            builder
                .http2()
                .timer(TokioTimer::new())
                .keep_alive_interval(http2.keep_alive)
                .keep_alive_timeout(http2.keep_alive)
                .max_concurrent_streams(http2.calls)
                .initial_stream_window_size(http2.call_buffer)
                .initial_connection_window_size(http2.connection_buffer)
                .max_header_list_size(MAX_HEAD_BYTES as u32)
                .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
                .max_local_error_reset_streams(MAX_ERROR_RESETS);
        }
        builder
    }
}

impl Listener {
    /// Answers with `router` until `stop`; then nobody else is let in, and this ends when all calls under way
    /// have. Who drops it before cuts them off.
    pub async fn serve(self, router: Router, stop: impl Future<Output = ()>) {
        let Self { socket, setup, metrics, certificates, places, all_places } = self;
        let door = Door {
            what: setup.what,
            builder: setup.protocol.builder(setup.limits),
            router,
            places,
            all_places,
            metrics,
            tls: certificates.as_ref().map(|certificates| certificates.current()),
            stop: CancellationToken::new(),
            cut: CancellationToken::new(),
        };
        let _cut_at_the_end = door.cut.clone().drop_guard();
        let (door, connections) = (Arc::new(door), TaskTracker::new());
        tokio::select! {
            () = door.accept_all(&socket, &connections) => {}
            () = keep_fresh(certificates) => {}
            () = stop => {}
        }
        // Whoever comes now is refused by the system, and not left to wait.
        drop(socket);
        door.stop.cancel();
        connections.close();
        connections.wait().await;
    }
}

async fn keep_fresh(certificates: Option<super::reload::Certificates>) {
    match certificates {
        Some(certificates) => certificates.keep_fresh().await,
        None => std::future::pending().await,
    }
}

/// What all connections of a listener share.
struct Door {
    what: &'static str,
    builder: Builder<TokioExecutor>,
    router: Router,
    places: Places,
    all_places: Vec<Places>,
    metrics: Metrics,
    tls: Option<watch::Receiver<Arc<ServerConfig>>>,
    /// Calls under way may end.
    stop: CancellationToken,
    /// They may not.
    cut: CancellationToken,
}

/// One connection that was let in.
struct Guest {
    peer: SocketAddr,
    place: Arc<Place>,
    /// Told when somebody else needs the place.
    displaced: oneshot::Receiver<()>,
}

impl Door {
    async fn accept_all(self: &Arc<Self>, socket: &TcpListener, connections: &TaskTracker) {
        // Places are given away before their holders have closed. This bounds what is really open.
        let sockets = Arc::new(Semaphore::new(self.places.limits().connections + LEAVING));
        while let Ok(permit) = Arc::clone(&sockets).acquire_owned().await {
            let (stream, peer) = accept(socket, || Places::make_room(&self.all_places)).await;
            match self.places.take(peer.ip(), Instant::now()) {
                Ok((place, displaced)) => {
                    let (door, guest) = (Arc::clone(self), Guest { peer, place, displaced });
                    connections.spawn(async move {
                        door.welcome(stream, guest).await;
                        drop(permit);
                    });
                }
                Err(reason) => self.refuse(peer, reason),
            }
        }
    }

    fn refuse(&self, peer: SocketAddr, reason: Reason) {
        self.metrics.refuse(reason);
        tracing::debug!("{}: the connection of {peer} was closed: {}", self.what, reason.label());
    }

    async fn welcome(&self, stream: TcpStream, mut guest: Guest) {
        let _open = self.metrics.open();
        let deadline = Instant::now() + self.places.limits().first_request;
        let socket = tokio::select! {
            socket = self.handshake(stream, guest.peer) => socket,
            _ = &mut guest.displaced => return self.refuse(guest.peer, Reason::Displaced),
            () = sleep_until(deadline) => return self.refuse(guest.peer, Reason::Slow),
            () = self.stop.cancelled() => return,
        };
        if let Some(socket) = socket {
            self.serve(socket, guest).await;
        }
    }

    /// TLS, if this port speaks it. None if the client does not, or not the right one.
    async fn handshake(&self, stream: TcpStream, peer: SocketAddr) -> Option<Socket> {
        let Some(tls) = &self.tls else { return Some(Socket::Plain(stream)) };
        let mut first = [0];
        let is_tls = stream.peek(&mut first).await.is_ok_and(|count| count == 0) || first[0] == TLS_HANDSHAKE;
        if !is_tls {
            self.refuse(peer, Reason::Tls);
            tell_to_use_tls(stream).await;
            return None;
        }
        let acceptor = TlsAcceptor::from(Arc::clone(&tls.borrow()));
        match acceptor.accept(stream).await {
            Ok(stream) => Some(Socket::Tls(Box::new(stream))),
            Err(error) => {
                tracing::debug!("{}: the TLS handshake of {peer} failed: {error}", self.what);
                self.refuse(peer, Reason::Tls);
                None
            }
        }
    }

    async fn serve(&self, socket: Socket, guest: Guest) {
        let Guest { peer, place, mut displaced } = guest;
        let stream = Stream::new(socket);
        let greeted = stream.greeted();
        let calls = Calls::new(self.router.clone(), Arc::clone(&place), peer);
        let mut connection = pin!(self.builder.serve_connection(TokioIo::new(stream), calls));
        let (mut check, mut stopping) = (Instant::now(), false);
        let reason = loop {
            tokio::select! {
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!("{}: the connection of {peer} broke: {error}", self.what);
                    }
                    return;
                }
                _ = &mut displaced => break Reason::Displaced,
                () = sleep_until(check) => match place.verdict(greeted.get(), Instant::now()) {
                    Verdict::Wait(until) => check = until,
                    Verdict::Close(reason) => break reason,
                },
                () = self.stop.cancelled(), if !stopping => {
                    connection.as_mut().graceful_shutdown();
                    stopping = true;
                }
                () = self.cut.cancelled() => return,
            }
        };
        self.refuse(peer, reason);
        if reason != Reason::Slow {
            // Clients of HTTP/2 are told that the calls they are about to make are safe to make elsewhere.
            connection.as_mut().graceful_shutdown();
            let _ = tokio::time::timeout(GOODBYE, poll_fn(|cx| connection.as_mut().poll(cx))).await;
        }
    }
}

async fn sleep_until(time: Instant) {
    tokio::time::sleep_until(time.into()).await;
}

/// In words that a person sees who typed the wrong address.
async fn tell_to_use_tls(mut stream: TcpStream) {
    let _ = stream.write_all(USE_TLS).await;
    let _ = stream.shutdown().await;
    // Closed with bytes unread, the system would reset the connection and take the answer back.
    let _ = tokio::io::copy(&mut stream.take(MAX_HEAD_BYTES as u64), &mut tokio::io::sink()).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_of_the_hint_is_right() {
        let text = String::from_utf8(USE_TLS.to_vec()).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}", body.len())), "{}", body.len());
    }
}
