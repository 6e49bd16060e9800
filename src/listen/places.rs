//! Who holds the places of a listener: bookkeeping without sockets and without a clock of its own.
//!
//! Three kinds of connections hold a place. A *new* one has not made a call yet, a *busy* one has a call under
//! way, an *idle* one had. When places run out, new connections go before idle ones, and busy ones stay. Of the
//! new ones it is the oldest of the address that has the most, so that whoever opens thousands of silent
//! connections pushes out their own.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

/// How many connections there may be, and how long one may be silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// At a time. A quarter of them at most have not made a call yet.
    pub connections: usize,
    /// At a time from one address; an IPv6 network of 64 bits counts as one.
    pub per_peer: usize,
    /// From the connection to the end of the TLS handshake and of the first request's head or the HTTP/2
    /// greeting.
    pub first_request: Duration,
    /// Without a call.
    pub idle: Duration,
}

impl Limits {
    /// Checks the values.
    ///
    /// # Errors
    /// The limit that lets nobody in, and what would be right.
    pub fn validate(&self) -> Result<(), String> {
        let least = [("connections", self.connections, 4), ("connections_per_peer", self.per_peer, 1)];
        if let Some((name, value, least)) = least.into_iter().find(|(_, value, least)| value < least) {
            return Err(format!("{name} = {value} lets nobody in: {least} at least"));
        }
        let times = [("first_request_timeout", self.first_request), ("idle_timeout", self.idle)];
        match times.into_iter().find(|(_, time)| *time < Duration::from_millis(100)) {
            Some((name, time)) => Err(format!("{name} = {time:?} lets nobody finish: 100ms at least")),
            None => Ok(()),
        }
    }

    /// Connections at a time that have not made a call yet.
    fn new_ones(&self) -> usize {
        (self.connections / 4).max(1)
    }
}

/// Why a connection was turned away or closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// All places are taken by connections with calls under way.
    Full,
    /// All places of its address are.
    PeerFull,
    /// Another took its place while it had no call under way.
    Displaced,
    /// The TLS handshake failed.
    Tls,
    /// It did not make its first request in time.
    Slow,
    /// It made no call for a long time.
    Idle,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Full, Self::PeerFull, Self::Displaced, Self::Tls, Self::Slow, Self::Idle];

    /// The value of the metric's label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::PeerFull => "peer_full",
            Self::Displaced => "displaced",
            Self::Tls => "tls",
            Self::Slow => "slow",
            Self::Idle => "idle",
        }
    }
}

/// What a connection's own clock says about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Look again then.
    Wait(Instant),
    /// Its time is up.
    Close(Reason),
}

/// The places of one listener.
#[derive(Clone, Debug)]
pub struct Places {
    limits: Limits,
    book: Arc<Mutex<Book>>,
}

/// A place, until it is let go.
#[derive(Debug)]
pub struct Place {
    id: u64,
    places: Places,
}

/// A call under way, until it is let go.
#[derive(Debug)]
pub struct Call(Arc<Place>);

#[derive(Debug, Default)]
struct Book {
    /// The last number given to a connection or to the beginning of an idle time.
    last: u64,
    holders: HashMap<u64, Holder>,
    peers: HashMap<IpAddr, Peer>,
    /// Idle connections, the longest idle first.
    idle: BTreeMap<u64, u64>,
    new: usize,
}

#[derive(Debug)]
struct Holder {
    peer: IpAddr,
    state: State,
    close: oneshot::Sender<()>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    New { since: Instant },
    Busy { calls: usize },
    Idle { place: u64, since: Instant },
}

#[derive(Debug, Default)]
struct Peer {
    open: usize,
    /// Its new connections, the oldest first.
    new: BTreeSet<u64>,
    /// Its idle connections, the longest idle first.
    idle: BTreeMap<u64, u64>,
}

impl Places {
    /// As many places as `limits` says.
    pub fn new(limits: Limits) -> Self {
        Self { limits, book: Arc::default() }
    }

    /// The limits.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// A place for a connection from `peer`, if need be another's that has no call under way. The receiver is
    /// told when somebody else needs it.
    ///
    /// # Errors
    /// [`Reason::Full`] and [`Reason::PeerFull`].
    pub fn take(&self, peer: IpAddr, now: Instant) -> Result<(Arc<Place>, oneshot::Receiver<()>), Reason> {
        let peer = network(peer);
        let mut book = self.lock();
        let of_peer = book.peers.get(&peer);
        if of_peer.is_some_and(|held| held.open >= self.limits.per_peer) {
            let victim = of_peer.and_then(Peer::first_to_go).ok_or(Reason::PeerFull)?;
            book.displace(victim);
        } else if book.holders.len() >= self.limits.connections {
            let victim = book.first_to_go().ok_or(Reason::Full)?;
            book.displace(victim);
        } else if book.new >= self.limits.new_ones()
            && let Some(victim) = book.first_new_to_go()
        {
            book.displace(victim);
        }
        let (id, closing) = book.enter(peer, now);
        drop(book);
        Ok((Arc::new(Place { id, places: self.clone() }), closing))
    }

    /// Displaces somebody at one of several listeners who has no call under way; tells whether there was anybody.
    pub fn make_room(all: &[Self]) -> bool {
        let greediest = all.iter().filter_map(|places| Some((places.lock().greed()?, places)));
        let chosen = greediest.max_by_key(|(greed, _)| *greed).map(|(_, places)| places);
        let idle = || all.iter().find(|places| !places.lock().idle.is_empty());
        chosen.or_else(idle).is_some_and(|places| {
            let mut book = places.lock();
            let victim = book.first_to_go();
            victim.map(|victim| book.displace(victim)).is_some()
        })
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Counts a call as under way until what is returned is let go.
    pub fn begin(self: &Arc<Self>) -> Call {
        self.places.lock().begin(self.id);
        Call(Arc::clone(self))
    }

    /// What the time says. `greeted`: whether it has said what HTTP/2 begins with.
    pub fn verdict(&self, greeted: bool, now: Instant) -> Verdict {
        let Limits { first_request, idle, .. } = self.places.limits;
        let state = self.places.lock().holders.get(&self.id).map(|holder| holder.state);
        let (since, time, reason) = match state {
            Some(State::New { since }) if !greeted => (since, first_request, Reason::Slow),
            Some(State::New { since } | State::Idle { since, .. }) => (since, idle, Reason::Idle),
            // It is told to go in another way.
            Some(State::Busy { .. }) | None => (now, idle, Reason::Idle),
        };
        if now >= since + time { Verdict::Close(reason) } else { Verdict::Wait(since + time) }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.lock().leave(self.id);
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.0.places.lock().end(self.0.id, Instant::now());
    }
}

impl Peer {
    fn first_to_go(&self) -> Option<u64> {
        self.new.first().or_else(|| self.idle.values().next()).copied()
    }
}

impl Book {
    fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    fn enter(&mut self, peer: IpAddr, now: Instant) -> (u64, oneshot::Receiver<()>) {
        let id = self.next();
        let (close, closing) = oneshot::channel();
        self.holders.insert(id, Holder { peer, state: State::New { since: now }, close });
        let held = self.peers.entry(peer).or_default();
        held.open += 1;
        held.new.insert(id);
        self.new += 1;
        (id, closing)
    }

    fn leave(&mut self, id: u64) -> Option<Holder> {
        let holder = self.holders.remove(&id)?;
        self.unlist(id, &holder);
        if let Some(held) = self.peers.get_mut(&holder.peer) {
            held.open -= 1;
            if held.open == 0 {
                self.peers.remove(&holder.peer);
            }
        }
        Some(holder)
    }

    /// Takes it off the lists of those who go first.
    fn unlist(&mut self, id: u64, holder: &Holder) {
        let held = self.peers.get_mut(&holder.peer);
        match holder.state {
            State::New { .. } => {
                self.new -= 1;
                held.map(|held| held.new.remove(&id));
            }
            State::Idle { place, .. } => {
                self.idle.remove(&place);
                held.map(|held| held.idle.remove(&place));
            }
            State::Busy { .. } => {}
        }
    }

    fn displace(&mut self, id: u64) {
        if let Some(holder) = self.leave(id) {
            // A connection that ends at this moment does not listen any more.
            let _ = holder.close.send(());
        }
    }

    fn first_to_go(&self) -> Option<u64> {
        self.first_new_to_go().or_else(|| self.idle.values().next().copied())
    }

    fn first_new_to_go(&self) -> Option<u64> {
        // Of two addresses that have as many, the one that has held on for longer.
        let greed = |held: &Peer| Some((held.new.len(), Reverse(*held.new.first()?)));
        self.peers.values().filter_map(greed).max().map(|(_, Reverse(oldest))| oldest)
    }

    /// How many connections the first to go has of its kind, and since when: more, and older, is worse.
    fn greed(&self) -> Option<(usize, Reverse<Instant>)> {
        let holder = self.holders.get(&self.first_new_to_go()?)?;
        let State::New { since } = holder.state else { return None };
        Some((self.peers.get(&holder.peer)?.new.len(), Reverse(since)))
    }

    fn begin(&mut self, id: u64) {
        let Some(mut holder) = self.holders.remove(&id) else { return };
        self.unlist(id, &holder);
        let calls = if let State::Busy { calls } = holder.state { calls } else { 0 };
        holder.state = State::Busy { calls: calls + 1 };
        self.holders.insert(id, holder);
    }

    fn end(&mut self, id: u64, now: Instant) {
        let place = self.next();
        let Some(holder) = self.holders.get_mut(&id) else { return };
        let State::Busy { calls } = holder.state else { return };
        if calls > 1 {
            holder.state = State::Busy { calls: calls - 1 };
            return;
        }
        holder.state = State::Idle { place, since: now };
        self.idle.insert(place, id);
        if let Some(held) = self.peers.get_mut(&holder.peer) {
            held.idle.insert(place, id);
        }
    }
}

/// Whom an address belongs to: itself, or the network of 64 bits that one host gets in IPv6.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests;
