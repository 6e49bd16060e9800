//! Who goes and who stays, by values.

use super::*;

fn limits(connections: usize, per_peer: usize) -> Limits {
    Limits { connections, per_peer, first_request: Duration::from_secs(10), idle: Duration::from_secs(300) }
}

type Held = (Arc<Place>, oneshot::Receiver<()>);

struct Bench {
    places: Places,
    now: Instant,
}

impl Bench {
    fn new(connections: usize, per_peer: usize) -> Self {
        Self { places: Places::new(limits(connections, per_peer)), now: Instant::now() }
    }

    fn take(&self, host: u8) -> Result<Held, Reason> {
        self.places.take(IpAddr::from([10, 0, 0, host]), self.now)
    }
}

fn is_displaced(held: &mut Held) -> bool {
    held.1.try_recv().is_ok()
}

#[test]
fn of_new_connections_the_oldest_of_the_greediest_goes() {
    let bench = Bench::new(16, 16);
    let mut single = bench.take(1).unwrap();
    let mut greedy: Vec<_> = (0..3).map(|_| bench.take(2).unwrap()).collect();
    // A quarter of the places is for new ones: from here on each pushes out one.
    let _next = bench.take(3).unwrap();
    assert!(is_displaced(&mut greedy[0]) && !is_displaced(&mut greedy[1]) && !is_displaced(&mut single));
    let _next = bench.take(2).unwrap();
    assert!(is_displaced(&mut greedy[1]) && !is_displaced(&mut single));
}

#[test]
fn connections_with_calls_stay_and_others_are_refused() {
    let bench = Bench::new(4, 4);
    let mut held: Vec<_> = (0..4)
        .map(|host| {
            let held = bench.take(host).unwrap();
            let call = held.0.begin();
            (held, call)
        })
        .collect();
    assert_eq!(bench.take(9).unwrap_err(), Reason::Full);
    assert!(!Places::make_room(std::slice::from_ref(&bench.places)));
    // One that has no call any more makes way.
    let (mut first, call) = held.remove(0);
    drop(call);
    let _ninth = bench.take(9).unwrap();
    assert!(is_displaced(&mut first));
    assert!(held.iter_mut().all(|(held, _)| !is_displaced(held)));
}

#[test]
fn the_longest_idle_goes_after_all_new_ones() {
    let bench = Bench::new(4, 4);
    let mut idle: Vec<_> = (0..3)
        .map(|host| {
            let held = bench.take(host).unwrap();
            drop(held.0.begin());
            held
        })
        .collect();
    drop(idle[0].0.begin()); // it spoke last
    let mut new = bench.take(7).unwrap();
    let busy = bench.take(8).unwrap();
    assert!(is_displaced(&mut new));
    let _call = busy.0.begin();
    let _next = bench.take(9).unwrap();
    assert!(is_displaced(&mut idle[1]) && !is_displaced(&mut idle[2]) && !is_displaced(&mut idle[0]));
}

#[test]
fn an_address_has_its_own_limit_and_pushes_out_its_own() {
    let bench = Bench::new(100, 2);
    let mut first = bench.take(1).unwrap();
    let second = bench.take(1).unwrap();
    let call = second.0.begin();
    let third = bench.take(1).unwrap();
    assert!(is_displaced(&mut first));
    let _also_busy = third.0.begin();
    assert_eq!(bench.take(1).unwrap_err(), Reason::PeerFull);
    let _other = bench.take(2).unwrap();
    drop((call, second));
    assert!(bench.take(1).is_ok());
}

#[test]
fn where_the_system_is_short_the_greediest_of_all_listeners_goes() {
    let (one, two) = (Bench::new(100, 100), Bench::new(100, 100));
    let all = [one.places.clone(), two.places.clone()];
    assert!(!Places::make_room(&all));
    let mut quiet = one.take(1).unwrap();
    let mut idle = one.take(2).unwrap();
    drop(idle.0.begin());
    let mut greedy = [two.take(3).unwrap(), two.take(3).unwrap()];
    assert!(Places::make_room(&all) && is_displaced(&mut greedy[0]));
    assert!(!is_displaced(&mut quiet) && !is_displaced(&mut greedy[1]));
    assert!(Places::make_room(&all) && Places::make_room(&all) && !is_displaced(&mut idle));
    assert!(is_displaced(&mut quiet) && is_displaced(&mut greedy[1]));
    assert!(Places::make_room(&all) && is_displaced(&mut idle));
    assert!(!Places::make_room(&all));
}

#[test]
fn a_network_of_ipv6_is_one_address_and_a_mapped_ipv4_is_itself() {
    let of = |text: &str| network(text.parse().unwrap());
    assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
    assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
    assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
    assert_ne!(of("10.0.0.1"), of("10.0.0.2"));
}

#[test]
fn time_is_short_before_the_first_words_and_long_between_calls() {
    let bench = Bench::new(4, 4);
    let (place, _closing) = bench.take(1).unwrap();
    let at = |seconds| bench.now + Duration::from_secs(seconds);
    assert_eq!(place.verdict(false, at(9)), Verdict::Wait(at(10)));
    assert_eq!(place.verdict(false, at(10)), Verdict::Close(Reason::Slow));
    assert_eq!(place.verdict(true, at(10)), Verdict::Wait(at(300)));
    assert_eq!(place.verdict(true, at(300)), Verdict::Close(Reason::Idle));
    let (one, two) = (place.begin(), place.begin());
    assert!(matches!(place.verdict(false, at(4000)), Verdict::Wait(_)));
    drop(one);
    assert!(matches!(place.verdict(false, at(4000)), Verdict::Wait(_)));
    drop(two);
    assert_eq!(place.verdict(false, at(4000)), Verdict::Close(Reason::Idle));
}

#[test]
fn every_place_comes_back() {
    let bench = Bench::new(8, 8);
    for round in 0..50 {
        let held: Vec<_> = (0..8).filter_map(|host| bench.take(host % 3).ok()).collect();
        let calls: Vec<_> = held.iter().skip(round % 3).map(|(place, _)| place.begin()).collect();
        if round % 2 == 0 {
            drop(held);
            drop(calls);
        } else {
            drop(calls);
            drop(held);
        }
    }
    let book = bench.places.lock();
    assert!(book.holders.is_empty() && book.peers.is_empty() && book.idle.is_empty() && book.new == 0);
}

#[test]
fn limits_that_let_nobody_in_are_explained() {
    assert!(limits(4, 1).validate().is_ok());
    assert!(limits(3, 1).validate().unwrap_err().contains("connections = 3"));
    assert!(limits(4, 0).validate().unwrap_err().contains("connections_per_peer"));
    let hasty = Limits { first_request: Duration::ZERO, ..limits(4, 1) };
    assert!(hasty.validate().unwrap_err().contains("first_request_timeout"));
}
