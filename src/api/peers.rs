//! What one peer may take: streams open at a time, and calls a second. Refusals name the limit and its setting.
//!
//! A peer is an address: of IPv6 the first 64 bits, since one machine has all addresses of its network.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use tonic::Status;
use tonic::transport::server::TcpConnectInfo;

use super::Config;
use super::observe::{Metrics, Refusal};
use super::rates::Rates;
use crate::listen::places::network;

/// Who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Peer(IpAddr);

impl Peer {
    pub(super) fn new(address: IpAddr) -> Self {
        Self(network(address))
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(address) => address.fmt(f),
            IpAddr::V6(network) => write!(f, "{network}/64"),
        }
    }
}

/// What each peer has taken. Clones are the same books.
#[derive(Clone)]
pub(super) struct Peers(Arc<Books>);

struct Books {
    most_streams: usize,
    rate: NonZeroU32,
    rates: Mutex<Rates<Peer>>,
    streams: Mutex<HashMap<Peer, usize>>,
    metrics: Metrics,
}

impl Peers {
    pub(super) fn new(config: &Config, metrics: Metrics) -> Self {
        let rate = config.peer_calls;
        let (most_streams, streams) = (config.peer_streams.get(), Mutex::default());
        Self(Arc::new(Books { most_streams, rate, rates: Mutex::new(Rates::new(rate)), streams, metrics }))
    }

    /// Counts a stream of whoever calls as open until what is returned is let go. A caller whose address is not
    /// known, as in-process ones, is not limited.
    ///
    /// # Errors
    /// The peer has as many as it may.
    pub(super) fn open_stream(&self, caller: Option<IpAddr>) -> Result<OpenStream, Status> {
        let Some(peer) = caller.map(Peer::new) else { return Ok(OpenStream(None)) };
        let mut streams = self.0.streams();
        let open = streams.entry(peer).or_default();
        if *open >= self.0.most_streams {
            drop(streams);
            self.0.metrics.refused(Refusal::PeerStreams);
            return Err(Status::resource_exhausted(format!(
                "{peer} has {} streams open, as many as it may ([grpc] peer_streams); close one first",
                self.0.most_streams
            )));
        }
        *open += 1;
        drop(streams);
        Ok(OpenStream(Some((Arc::clone(&self.0), peer))))
    }

    fn check_rate(&self, peer: Peer) -> Result<(), Status> {
        let books = &*self.0;
        // Nothing under this lock panics.
        let mut rates = books.rates.lock().unwrap_or_else(PoisonError::into_inner);
        if rates.take(peer, Instant::now()) {
            return Ok(());
        }
        drop(rates);
        books.metrics.refused(Refusal::PeerCalls);
        Err(Status::resource_exhausted(format!(
            "{peer} makes more than {} calls a second ([grpc] peer_calls); call less often",
            books.rate
        )))
    }
}

impl Books {
    fn streams(&self) -> MutexGuard<'_, HashMap<Peer, usize>> {
        // Nothing under this lock panics.
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream that is open. Letting it go closes it in the books.
pub(super) struct OpenStream(Option<(Arc<Books>, Peer)>);

impl Drop for OpenStream {
    fn drop(&mut self) {
        let Some((books, peer)) = &self.0 else { return };
        if let Entry::Occupied(mut open) = books.streams().entry(*peer) {
            *open.get_mut() -= 1;
            if *open.get() == 0 {
                open.remove();
            }
        }
    }
}

/// Who makes a call; none where it is not known, as in the process itself.
pub(super) fn caller(request: &Request) -> Option<SocketAddr> {
    request.extensions().get::<TcpConnectInfo>().and_then(TcpConnectInfo::remote_addr)
}

/// Refuses calls of a peer that makes too many.
pub(super) async fn limit(State(peers): State<Peers>, request: Request, next: Next) -> Response {
    match caller(&request).map_or(Ok(()), |address| peers.check_rate(Peer::new(address.ip()))) {
        Ok(()) => next.run(request).await,
        Err(status) => status.into_http(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus::Registry;
    use proptest::prelude::*;

    fn peers(streams: usize, calls: u32) -> Peers {
        let config = Config {
            peer_streams: streams.try_into().unwrap(),
            peer_calls: calls.try_into().unwrap(),
            ..Config::default()
        };
        Peers::new(&config, Metrics::new(&Registry::new()).unwrap())
    }

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn a_machine_s_ipv6_addresses_are_one_peer() {
        let peer = |text| Peer::new(ip(text).unwrap());
        assert_eq!(peer("2001:db8:1:2::1"), peer("2001:db8:1:2:ffff::9"));
        assert_ne!(peer("2001:db8:1:2::1"), peer("2001:db8:1:3::1"));
        assert_eq!(peer("::ffff:192.0.2.1"), peer("192.0.2.1"));
        assert_ne!(peer("192.0.2.1"), peer("192.0.2.2"));
        assert_eq!(peer("2001:db8:1:2::1").to_string(), "2001:db8:1:2::/64");
    }

    #[test]
    fn one_peer_s_streams_are_limited_and_not_another_s() {
        let peers = peers(2, 1);
        let open = |text| peers.open_stream(ip(text));
        let held: Vec<_> = (0..2).map(|_| open("192.0.2.1").ok()).collect();
        let Err(refused) = open("192.0.2.1") else { panic!("a third stream") };
        assert_eq!(refused.code(), tonic::Code::ResourceExhausted);
        assert!(refused.message().contains("192.0.2.1 has 2 streams open"), "{refused}");
        assert!(refused.message().contains("[grpc] peer_streams"));
        assert!(open("192.0.2.2").is_ok() && peers.open_stream(None).is_ok());
        drop(held);
        assert!(open("192.0.2.1").is_ok());
        assert!(peers.0.streams().is_empty(), "who has none open is not remembered");
    }

    #[test]
    fn one_peer_s_calls_are_limited_and_not_another_s() {
        let peers = peers(1, 5);
        let call = |text| peers.check_rate(Peer::new(ip(text).unwrap()));
        let refused = (0..1000).find_map(|_| call("192.0.2.1").err()).unwrap();
        assert!(refused.message().contains("more than 5 calls a second ([grpc] peer_calls)"), "{refused}");
        assert!(call("192.0.2.2").is_ok());
    }

    proptest! {
        #[test]
        fn the_books_count_what_is_open(steps in prop::collection::vec((0u8..3, any::<bool>()), 0..100)) {
            let peers = peers(4, 1);
            let mut open: Vec<(u8, OpenStream)> = Vec::new();
            for (host, opens) in steps {
                let of_host = open.iter().filter(|(other, _)| *other == host).count();
                if opens {
                    let result = peers.open_stream(Some(IpAddr::from([192, 0, 2, host])));
                    prop_assert_eq!(result.is_ok(), of_host < 4);
                    open.extend(result.ok().map(|stream| (host, stream)));
                } else if let Some(at) = open.iter().position(|(other, _)| *other == host) {
                    open.remove(at);
                }
            }
            prop_assert_eq!(peers.0.streams().values().sum::<usize>(), open.len());
        }
    }
}
