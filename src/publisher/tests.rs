//! The hub against its promises, by values and by random interleavings.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::time::{Duration, SystemTime};

use futures_util::{FutureExt, StreamExt};
use prometheus::Registry;
use proptest::prelude::*;

use super::*;
use crate::camera::CameraState;
use crate::detection::{BoundingBox, Detection, Position, ResumeOutcome};
use crate::frame::{CaptureQuality, CaptureTime};

mod replay;

fn hub(ring: usize) -> (Hub, Registry) {
    hub_with(Config { ring: NonZeroUsize::new(ring).unwrap(), ..Config::default() })
}

fn hub_with(config: Config) -> (Hub, Registry) {
    let registry = Registry::new();
    (Hub::new(config, Metrics::new(&registry).unwrap()), registry)
}

fn camera(name: &str) -> CameraId {
    CameraId::new(name).unwrap()
}

fn detection(label: &str, score: f32) -> Detection {
    Detection { bbox: BoundingBox::default(), score, class_id: 0, label: label.into(), landmarks: Vec::new() }
}

fn frame(name: &str, sequence: u64, detections: Vec<Detection>) -> Arc<FrameDetections> {
    let capture =
        CaptureTime { wall: SystemTime::now(), monotonic: Instant::now(), quality: CaptureQuality::Arrival };
    let (camera, model) = (camera(name), "m".into());
    Arc::new(FrameDetections { camera, sequence, capture, width: 4, height: 3, model, detections })
}

fn status(reason: &str) -> Arc<CameraStatus> {
    Arc::new(CameraStatus {
        state: CameraState::Live,
        reason: reason.into(),
        failure: None,
        since: SystemTime::UNIX_EPOCH,
        retry_at: None,
        frame_size: None,
    })
}

fn watch(cameras: &[&str]) -> EventFilter {
    EventFilter { cameras: cameras.iter().map(|name| camera(name)).collect(), ..EventFilter::default() }
}

/// What waits for a subscriber, in short: `yard 3`, `dropped 2`, `yard: reason`, `end`.
fn drain(subscription: &mut Subscription) -> Vec<String> {
    let mut seen = Vec::new();
    while let Some(next) = subscription.next().now_or_never() {
        seen.push(match next {
            Some(Event::Detections(frame)) => format!("{} {}", frame.camera, frame.sequence),
            Some(Event::Dropped { frames, .. }) => format!("dropped {frames}"),
            Some(Event::Stalled(after)) => format!("stalled {after:?}"),
            Some(Event::Resumed { camera, outcome, gap }) => {
                let gap = gap.map(|gap| format!(", {} to {} gone", gap.first, gap.last));
                format!("{camera} {outcome:?}{}", gap.unwrap_or_default())
            }
            Some(Event::CameraState(camera, status)) => format!("{camera}: {}", status.reason),
            None => "end".into(),
        });
        if seen.last().is_some_and(|last| last == "end") {
            break;
        }
    }
    seen
}

fn text(registry: &Registry) -> String {
    prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap()
}

/// The value of a series.
fn metric(registry: &Registry, name: &str) -> f64 {
    let text = text(registry);
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).unwrap().parse().unwrap()
}

#[test]
fn a_subscriber_receives_only_its_cameras() {
    let (hub, _) = hub(8);
    let mut both = hub.subscribe(watch(&["a", "b", "a"]), vec![]);
    let mut all = hub.subscribe(watch(&[]), vec![]);
    for (name, sequence) in [("a", 1), ("b", 1), ("c", 1)] {
        hub.publish(frame(name, sequence, vec![]));
    }
    assert_eq!(drain(&mut both), ["a 1", "b 1"]);
    assert_eq!(drain(&mut all), ["a 1", "b 1", "c 1"]);
}

#[test]
fn an_overflow_is_told_and_then_comes_the_newest() {
    let (hub, registry) = hub(2);
    let mut slow = hub.subscribe(watch(&[]), vec![]);
    for sequence in 1..=5 {
        hub.publish(frame("a", sequence, vec![]));
    }
    assert_eq!(drain(&mut slow), ["dropped 4", "a 5"]);
    assert_eq!(metric(&registry, "centerx_subscriber_dropped_frames_total"), 4.0);
}

#[test]
fn frames_of_other_cameras_are_no_drops() {
    let (hub, registry) = hub(1);
    let _slow = hub.subscribe(watch(&["a"]), vec![]);
    for sequence in 1..=5 {
        hub.publish(frame("b", sequence, vec![]));
    }
    assert_eq!(metric(&registry, "centerx_subscriber_dropped_frames_total"), 0.0);
}

#[test]
fn states_survive_an_overflow_and_keep_their_place() {
    let (hub, _) = hub(2);
    let mut slow = hub.subscribe(watch(&[]), vec![Event::CameraState(camera("a"), status("at first"))]);
    hub.publish(frame("a", 1, vec![]));
    hub.camera_state(&camera("a"), status("gone"));
    hub.publish(frame("b", 1, vec![]));
    hub.publish(frame("b", 2, vec![]));
    assert_eq!(drain(&mut slow), ["a: at first", "dropped 2", "a: gone", "b 2"]);
}

#[test]
fn piled_up_states_shrink_to_the_latest_of_each_camera() {
    let (hub, _) = hub(2);
    let mut slow = hub.subscribe(watch(&[]), vec![]);
    for turn in 0..50 {
        hub.camera_state(&camera("a"), status(&turn.to_string()));
        hub.camera_state(&camera("b"), status(&turn.to_string()));
    }
    assert_eq!(drain(&mut slow), ["a: 49", "b: 49"]);
}

#[test]
fn a_snapshot_taken_while_a_state_changes_loses_nothing() {
    let (hub, _) = hub(2);
    let mut subscription = hub.subscribe_with(watch(&[]), || {
        let snapshot = vec![Event::CameraState(camera("a"), status("old"))];
        hub.camera_state(&camera("a"), status("new"));
        snapshot
    });
    assert_eq!(drain(&mut subscription), ["a: old", "a: new"]);
}

#[test]
fn detections_are_filtered_and_an_unfiltered_subscriber_shares_the_frame() {
    let (hub, _) = hub(8);
    let filter = EventFilter { classes: vec!["person".into()], min_score: 0.5, ..EventFilter::default() };
    let mut picky = hub.subscribe(filter, vec![]);
    let mut plain = hub.subscribe(EventFilter::default(), vec![]);
    let published =
        frame("a", 1, vec![detection("person", 0.9), detection("car", 0.8), detection("person", 0.4)]);
    hub.publish(Arc::clone(&published));
    hub.publish(frame("a", 2, vec![detection("car", 0.8)]));
    let Some(Some(Event::Detections(seen))) = picky.next().now_or_never() else { panic!("no frame") };
    assert_eq!(seen.detections, [detection("person", 0.9)]);
    let Some(Some(Event::Detections(seen))) = picky.next().now_or_never() else { panic!("no frame") };
    assert_eq!((seen.sequence, seen.detections.len()), (2, 0), "a frame with none of them is sent, empty");
    let Some(Some(Event::Detections(seen))) = plain.next().now_or_never() else { panic!("no frame") };
    assert!(Arc::ptr_eq(seen.frame(), &published));
}

#[test]
fn subscribers_with_the_same_filter_share_what_they_see() {
    let (hub, _) = hub(8);
    let filter = |min_score| EventFilter {
        min_score,
        classes: vec!["car".into(), "person".into()],
        ..EventFilter::default()
    };
    let mut same: Vec<_> = (0..2).map(|_| hub.subscribe(filter(0.5), vec![])).collect();
    let mut other = hub.subscribe(filter(0.2), vec![]);
    hub.publish(frame(
        "a",
        1,
        vec![detection("person", 0.9), detection("person", 0.3), detection("dog", 0.9)],
    ));
    let next = |subscription: &mut Subscription| match subscription.next().now_or_never() {
        Some(Some(Event::Detections(seen))) => seen,
        other => panic!("{other:?}"),
    };
    let (first, second, third) = (next(&mut same[0]), next(&mut same[1]), next(&mut other));
    assert!(Arc::ptr_eq(&first, &second) && !Arc::ptr_eq(&first, &third));
    assert_eq!((first.detections.len(), third.detections.len()), (1, 2));
    let encoded = first.wire(|_| vec![1]).as_ptr();
    assert_eq!(second.wire(|_| panic!("encoded twice")).as_ptr(), encoded);
}

#[test]
fn a_subscriber_that_takes_nothing_is_ended_told_and_let_go() {
    let (hub, registry) = hub_with(Config { stall_timeout: Duration::ZERO, ..Config::default() });
    let mut stuck = hub.subscribe(watch(&[]), vec![]);
    hub.publish(frame("a", 1, vec![]));
    while metric(&registry, "centerx_subscribers_stalled_total") == 0.0 {
        hub.publish(frame("a", 2, vec![]));
    }
    assert_eq!(hub.0.table().all().count(), 0, "publishers do not meet it again");
    hub.publish(frame("a", 3, vec![]));
    let seen = drain(&mut stuck);
    assert!(seen[0].starts_with("dropped "), "{seen:?}");
    assert_eq!(seen[1..], ["stalled 0ns", "end"]);
}

#[test]
fn a_subscriber_that_takes_what_there_is_never_stalls() {
    let (hub, registry) = hub_with(Config { stall_timeout: Duration::from_millis(20), ..Config::default() });
    let mut steady = hub.subscribe(watch(&[]), vec![]);
    let start = Instant::now();
    let mut sequence = 0;
    while start.elapsed() < Duration::from_millis(60) {
        sequence += 1;
        hub.publish(frame("a", sequence, vec![]));
        assert_eq!(drain(&mut steady), [format!("a {sequence}")]);
    }
    assert_eq!(metric(&registry, "centerx_subscribers_stalled_total"), 0.0);
}

#[test]
fn closing_lets_subscribers_drain_and_ends_them() {
    let (hub, _) = hub(8);
    let mut early = hub.subscribe(watch(&["a", "b"]), vec![]);
    hub.publish(frame("a", 1, vec![]));
    hub.close();
    hub.publish(frame("a", 2, vec![]));
    assert_eq!(drain(&mut early), ["a 1", "end"]);
    let mut late = hub.subscribe(watch(&[]), vec![Event::Dropped { frames: 1, gaps: vec![] }]);
    assert_eq!(drain(&mut late), ["dropped 1", "end"]);
}

#[test]
fn dropping_a_subscription_unsubscribes() {
    let (hub, registry) = hub(8);
    let one = hub.subscribe(watch(&["a"]), vec![]);
    let two = hub.subscribe(watch(&[]), vec![]);
    assert_eq!(metric(&registry, "centerx_subscribers"), 2.0);
    drop((one, two));
    assert_eq!(metric(&registry, "centerx_subscribers"), 0.0);
    assert_eq!(hub.0.table().all().count(), 0);
}

#[test]
fn published_frames_are_counted_and_a_removed_camera_is_forgotten() {
    let (hub, registry) = hub(8);
    hub.publish(frame("a", 1, vec![detection("person", 0.9), detection("person", 0.1)]));
    assert!(text(&registry).contains("centerx_detections_total{label=\"person\"} 2"));
    assert!(text(&registry).contains("centerx_age_at_publish_seconds_count{camera=\"a\"} 1"));
    assert!(text(&registry).contains("centerx_camera_detections_total{camera=\"a\"} 2"));
    let at = metric(&registry, "centerx_camera_published_timestamp_seconds{camera=\"a\"}");
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
    assert!((0.0..60.0).contains(&(now - at)), "{at} is not now, {now}");
    hub.forget(&camera("a"));
    assert!(!text(&registry).contains("camera=\"a\""));
}

#[test]
fn a_ring_of_zero_and_an_unknown_key_are_config_errors() {
    assert!(toml::from_str::<Config>("ring = 0").is_err());
    assert!(toml::from_str::<Config>("rings = 8").is_err());
    assert_eq!(toml::from_str::<Config>("").unwrap().ring.get(), 64);
}

/// The books of one subscriber over its whole life.
#[derive(Default)]
struct Books {
    received: u64,
    dropped: u64,
    last: HashMap<CameraId, u64>,
    last_state: HashMap<CameraId, String>,
}

impl Books {
    fn enter(&mut self, event: Event) {
        match event {
            Event::Detections(frame) => {
                self.received += 1;
                let before = self.last.insert(frame.camera.clone(), frame.sequence);
                assert!(before.is_none_or(|before| before < frame.sequence), "sequences strictly increase");
            }
            Event::Dropped { frames, gaps } => {
                assert!(frames > 0 && !gaps.is_empty());
                self.dropped += frames;
            }
            Event::CameraState(camera, status) => {
                self.last_state.insert(camera, status.reason.clone());
            }
            other => panic!("{other:?}"),
        }
    }

    fn take_all(&mut self, subscription: &mut Subscription) {
        while let Some(Some(event)) = subscription.next().now_or_never() {
            self.enter(event);
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Publish(usize),
    State(usize),
    Receive(usize),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0usize..3).prop_map(Step::Publish),
        1 => (0usize..3).prop_map(Step::State),
        2 => (0usize..4).prop_map(Step::Receive),
    ]
}

proptest! {
    #[test]
    fn received_and_dropped_make_what_was_published(ring in 1usize..6, steps in prop::collection::vec(any_step(), 0..300)) {
        const NAMES: [&str; 3] = ["a", "b", "c"];
        const WATCHED: [&[&str]; 4] = [&[], &["a"], &["b", "c"], &["a", "c", "a"]];
        let (hub, registry) = hub(ring);
        let mut subscriptions: Vec<_> = WATCHED.iter().map(|names| hub.subscribe(watch(names), vec![])).collect();
        let mut books: Vec<_> = WATCHED.iter().map(|_| Books::default()).collect();
        let mut published = [0u64; 3];
        let mut states = [0u64; 3];
        for step in steps {
            match step {
                Step::Publish(at) => {
                    published[at] += 1;
                    hub.publish(frame(NAMES[at], published[at], vec![]));
                }
                Step::State(at) => {
                    states[at] += 1;
                    hub.camera_state(&camera(NAMES[at]), status(&states[at].to_string()));
                }
                Step::Receive(at) => {
                    if let Some(Some(event)) = subscriptions[at].next().now_or_never() {
                        books[at].enter(event);
                    }
                }
            }
        }
        let mut dropped = 0;
        for ((names, subscription), books) in WATCHED.iter().zip(&mut subscriptions).zip(&mut books) {
            books.take_all(subscription);
            let wanted = |name: &str| names.is_empty() || names.contains(&name);
            let expected: u64 = NAMES.iter().zip(published).filter(|(name, _)| wanted(name)).map(|(_, n)| n).sum();
            prop_assert_eq!(books.received + books.dropped, expected);
            for (name, count) in NAMES.iter().zip(states).filter(|(name, count)| wanted(name) && *count > 0) {
                prop_assert_eq!(books.last_state.get(&camera(name)), Some(&count.to_string()), "the last state arrives");
            }
            for (name, count) in NAMES.iter().zip(published).filter(|(name, count)| names.len() == 1 && wanted(name) && *count > 0) {
                prop_assert_eq!(books.last.get(&camera(name)), Some(&count), "the newest frame arrives");
            }
            dropped += books.dropped;
        }
        prop_assert_eq!(metric(&registry, "centerx_subscriber_dropped_frames_total"), dropped as f64);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_books_balance_with_threads_that_publish_at_full_speed() {
    const FRAMES: u64 = 5_000;
    let (hub, _) = hub(4);
    let readers: Vec<_> = (0..6)
        .map(|at| {
            let mut subscription = hub.subscribe(watch(if at % 2 == 0 { &[] } else { &["a"] }), vec![]);
            tokio::spawn(async move {
                let mut books = Books::default();
                while let Some(event) = subscription.next().await {
                    books.enter(event);
                }
                (at, books.received + books.dropped)
            })
        })
        .collect();
    let publishers: Vec<_> = ["a", "b"]
        .map(|name| {
            let hub = hub.clone();
            std::thread::spawn(move || (1..=FRAMES).for_each(|n| _ = hub.publish(frame(name, n, vec![]))))
        })
        .into();
    for publisher in publishers {
        publisher.join().unwrap();
    }
    hub.close();
    for reader in readers {
        let (at, total) = reader.await.unwrap();
        assert_eq!(total, if at % 2 == 0 { 2 * FRAMES } else { FRAMES });
    }
}
