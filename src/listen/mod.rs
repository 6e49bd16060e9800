//! The connection layer of every server here: sockets, TLS, who may hold a connection and for how long.
//!
//! [`Listener::open`] takes the address and the certificate, [`Listener::serve`] runs an [`axum::Router`] on
//! it. A connection has a place in [`places`]; one that asks for nothing loses it first.
//!
//! What does not belong here: the pages and services behind the router, and who may call them.

mod calls;
mod metrics;
pub mod places;
mod reload;
mod serve;
mod stream;
mod tap;
pub mod tls;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use prometheus::Registry;
use tokio::net::{TcpListener, TcpStream};

pub use serve::{Http2, MAX_HEAD_BYTES, Protocol};
pub use tap::{Tap, Tapped};

use metrics::Metrics;
use places::{Limits, Places};
use reload::Certificates;

/// Connections to close at a time when the system has no descriptors left.
const MAKE_ROOM_FOR: usize = 8;
/// For connections that were told to go to close their sockets.
const SHORT_PAUSE: Duration = Duration::from_millis(5);
/// For others to give back what nobody here can.
const LONG_PAUSE: Duration = Duration::from_millis(100);

/// Nobody can be listened to.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address cannot be listened on.
    #[error("{what} cannot listen on {address}: {cause}; {cure}")]
    Address {
        /// The protocol.
        what: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system said.
        cause: io::Error,
        /// What to do.
        cure: &'static str,
    },
    /// The certificate, the key or the clients' CA cannot be used.
    #[error("{what} cannot speak TLS: {cause}")]
    Tls {
        /// The protocol.
        what: &'static str,
        /// Which file, why, and the cure.
        cause: tls::TlsError,
    },
    /// A limit that lets nobody in.
    #[error("{what}: {problem}")]
    Limits {
        /// The protocol.
        what: &'static str,
        /// Which limit, and what would be right.
        problem: String,
    },
    /// What it counts cannot be set up.
    #[error("{what} cannot count its connections, a fault in centerx: {cause}; please report it")]
    Metrics {
        /// The protocol.
        what: &'static str,
        /// What is wrong with the metric.
        cause: prometheus::Error,
    },
}

impl ListenError {
    /// Whether the settings are to blame, and not the address.
    pub fn is_of_settings(&self) -> bool {
        matches!(self, Self::Tls { .. } | Self::Limits { .. })
    }
}

/// How a listener is set up.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The protocol in messages: `gRPC`, `HTTP`.
    pub what: &'static str,
    /// The same in metrics: `grpc`, `http`.
    pub label: &'static str,
    /// Address and port; port 0 takes a free one.
    pub address: SocketAddr,
    /// Who may hold a connection.
    pub limits: Limits,
    /// The certificate; without one, nothing is encrypted.
    pub tls: Option<tls::Config>,
    /// What is spoken.
    pub protocol: Protocol,
}

/// A port that is listened on, with its certificate and its metrics.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    setup: Setup,
    metrics: Metrics,
    certificates: Option<Certificates>,
    places: Places,
    /// Its own places, and those of the other listeners of this process.
    all_places: Vec<Places>,
}

impl Listener {
    /// Reads the certificate and listens.
    ///
    /// # Errors
    /// A certificate or limits that cannot be used; an address that is in use, forbidden, or not this machine's.
    pub async fn open(setup: Setup) -> Result<Self, ListenError> {
        let what = setup.what;
        setup.limits.validate().map_err(|problem| ListenError::Limits { what, problem })?;
        let metrics = Metrics::new(setup.label).map_err(|cause| ListenError::Metrics { what, cause })?;
        let certificates = match setup.tls.clone() {
            Some(files) => Some(
                Certificates::load(what, files, setup.protocol.alpn(), metrics.tls.clone())
                    .map_err(|cause| ListenError::Tls { what, cause })?,
            ),
            None => None,
        };
        let socket = bind(what, setup.address).await?;
        let places = Places::new(setup.limits);
        let all_places = vec![places.clone()];
        Ok(Self { socket, setup, metrics, certificates, places, all_places })
    }

    /// Lets another listener of this process know of this one: descriptors are shared, so whichever finds none
    /// left closes the connections of whoever holds the most, at either.
    pub fn share_descriptors(&mut self, other: &mut Self) {
        self.all_places.push(other.places.clone());
        other.all_places.push(self.places.clone());
    }

    /// Adds what this listener counts to the server's metrics.
    ///
    /// # Errors
    /// A metric registered twice.
    pub fn register(&self, registry: &Registry) -> prometheus::Result<()> {
        self.metrics.register(registry, self.certificates.is_some())
    }

    /// Where it listens.
    ///
    /// # Errors
    /// A socket that the system took away.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Whether connections are encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.certificates.is_some()
    }

    /// Whether only clients with a certificate get in.
    pub fn asks_for_certificates(&self) -> bool {
        self.setup.tls.as_ref().is_some_and(tls::Config::asks_for_certificates)
    }
}

async fn bind(what: &'static str, address: SocketAddr) -> Result<TcpListener, ListenError> {
    TcpListener::bind(address).await.map_err(|cause| {
        let cure = match cause.kind() {
            io::ErrorKind::AddrInUse => {
                "another program has this port, perhaps another centerx: stop it or choose another port"
            }
            io::ErrorKind::PermissionDenied => "choose a port from 1024 up, or allow this program lower ones",
            io::ErrorKind::AddrNotAvailable => {
                "use an address of this machine, 127.0.0.1 for this machine alone or 0.0.0.0 for all networks"
            }
            _ => "choose another address",
        };
        ListenError::Address { what, address, cause, cure }
    })
}

/// Waits for the next connection. Failures pass by themselves and are waited out; a lack of file descriptors
/// passes sooner once `make_room` has closed somebody's connection.
async fn accept(listener: &TcpListener, make_room: impl Fn() -> bool) -> (TcpStream, SocketAddr) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    let mut told = false;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // Detections are small and urgent. A socket that refuses works all the same.
                let _ = stream.set_nodelay(true);
                return (stream, peer);
            }
            // A caller that gave up costs nothing.
            Err(error) if matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) => {
            }
            Err(error) => {
                if !std::mem::replace(&mut told, true) {
                    tracing::warn!("a connection cannot be accepted: {error}; trying on");
                }
                // Time for descriptors to be given back, and no busy loop.
                let made = (0..MAKE_ROOM_FOR).take_while(|_| make_room()).count();
                tokio::time::sleep(if made > 0 { SHORT_PAUSE } else { LONG_PAUSE }).await;
            }
        }
    }
}

#[cfg(test)]
mod tests;
