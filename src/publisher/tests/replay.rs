//! Subscribers that come back.

use std::collections::BTreeSet;

use super::*;

/// A hub that keeps so many frames a camera.
fn keeping(replay_frames: usize, ring: usize) -> Hub {
    let ring = NonZeroUsize::new(ring).unwrap();
    hub_with(Config { ring, replay_frames, ..Config::default() }).0
}

fn resume(positions: &[(&str, u64, u64)]) -> EventFilter {
    let position =
        |&(name, epoch, sequence): &(&str, u64, u64)| Position { camera: camera(name), epoch, sequence };
    EventFilter { resume: positions.iter().map(position).collect(), ..EventFilter::default() }
}

/// The epoch of the next frame.
fn epoch(subscription: &mut Subscription) -> u64 {
    match subscription.next().now_or_never() {
        Some(Some(Event::Detections(seen))) => seen.epoch(),
        other => panic!("{other:?}"),
    }
}

fn publish(hub: &Hub, name: &str, sequences: impl IntoIterator<Item = u64>) {
    sequences.into_iter().for_each(|sequence| _ = hub.publish(frame(name, sequence, vec![])));
}

#[test]
fn what_was_missed_comes_first_then_what_is_published() {
    let hub = keeping(10, 8);
    let mut before = hub.subscribe(watch(&[]), vec![]);
    publish(&hub, "a", [1, 2, 5]);
    publish(&hub, "b", [1]);
    let epoch = epoch(&mut before);
    let mut back = hub.subscribe(resume(&[("a", epoch, 1)]), vec![]);
    publish(&hub, "a", [6]);
    assert_eq!(drain(&mut back), ["a Continued", "a 2", "a 5", "a 6"]);
    let mut at_the_end = hub.subscribe(resume(&[("a", epoch, 6)]), vec![]);
    assert_eq!(drain(&mut at_the_end), ["a Continued"]);
}

#[test]
fn what_is_kept_no_more_is_named() {
    let hub = keeping(2, 8);
    let mut before = hub.subscribe(watch(&[]), vec![]);
    publish(&hub, "a", 1..=5);
    let epoch = epoch(&mut before);
    let mut back = hub.subscribe(resume(&[("a", epoch, 1)]), vec![]);
    assert_eq!(drain(&mut back), ["a Gap, 2 to 3 gone", "a 4", "a 5"]);
    let hub = keeping(0, 8);
    publish(&hub, "a", 1..=5);
    let mut back = hub.subscribe(resume(&[("a", 0, 0)]), vec![]);
    assert_eq!(drain(&mut back), ["a Restarted, 1 to 5 gone"], "nothing is kept at all");
}

#[test]
fn another_count_is_told_as_such() {
    let (hub, other) = (keeping(10, 8), keeping(10, 8));
    let mut before = hub.subscribe(watch(&[]), vec![]);
    publish(&hub, "a", [7]);
    let old = epoch(&mut before);
    assert_eq!(drain(&mut other.subscribe(resume(&[("a", old, 7)]), vec![])), ["a Restarted"]);
    publish(&other, "a", [1, 2]);
    let mut back = other.subscribe(resume(&[("a", old, 7)]), vec![]);
    assert_eq!(drain(&mut back), ["a Restarted", "a 1", "a 2"]);

    hub.forget(&camera("a"));
    publish(&hub, "a", [8]); // was under way when the camera was removed
    publish(&hub, "a", [1, 2]);
    let mut back = hub.subscribe(resume(&[("a", old, 7)]), vec![]);
    assert_eq!(drain(&mut back), ["a Restarted", "a 1", "a 2"]);
    assert_ne!(epoch(&mut before), old);
}

#[test]
fn memory_for_all_cameras_is_bounded_and_the_oldest_frame_goes() {
    let hub = hub_with(Config { replay_bytes: 100_000, replay_frames: usize::MAX, ..Config::default() }).0;
    let crowd = vec![detection("person", 0.9); 20];
    hub.publish(frame("quiet", 1, crowd.clone()));
    for sequence in 1..=500 {
        hub.publish(frame("busy", sequence, crowd.clone()));
        let (frames, bytes) = hub.0.lock().replay.size();
        assert!(bytes <= 100_000 && frames > 0);
    }
    let seen = drain(&mut hub.subscribe(resume(&[("quiet", 0, 0)]), vec![]));
    assert_eq!(seen, ["quiet Restarted, 1 to 1 gone"]);
    let seen = drain(&mut hub.subscribe(resume(&[("busy", 0, 0)]), vec![]));
    assert!(seen.len() > 20 && seen.last().unwrap() == "busy 500", "{seen:?}");
    hub.forget(&camera("busy"));
    assert_eq!(hub.0.lock().replay.size(), (0, 0));
}

#[test]
fn what_is_too_old_goes_when_others_publish() {
    let hub = hub_with(Config { replay_age: Duration::ZERO, ..Config::default() }).0;
    publish(&hub, "a", [1]);
    while hub.0.lock().replay.size().0 != 1 || !hub.0.lock().replay.order_is(&["b"]) {
        publish(&hub, "b", [1]);
    }
    let seen = drain(&mut hub.subscribe(resume(&[("a", 0, 0)]), vec![]));
    assert_eq!(seen, ["a Restarted, 1 to 1 gone"]);
}

/// What a client has seen of one camera over all its subscriptions.
#[derive(Debug, Default)]
struct Diary {
    epoch: u64,
    last: u64,
    received: BTreeSet<u64>,
    gone: BTreeSet<u64>,
}

impl Diary {
    /// Enters an event. Nothing may come twice, or after it was named as gone.
    fn enter(&mut self, event: Event) {
        match event {
            Event::Detections(seen) => {
                if self.last == 0 {
                    self.epoch = seen.epoch();
                }
                assert_eq!(self.epoch, seen.epoch());
                assert!(seen.sequence > self.last, "{} after {}", seen.sequence, self.last);
                self.last = seen.sequence;
                assert!(self.received.insert(seen.sequence) && !self.gone.contains(&seen.sequence));
            }
            Event::Dropped { gaps, .. } => gaps.iter().for_each(|gap| self.lose(gap.first, gap.last)),
            Event::Resumed { outcome, gap, .. } => {
                assert_ne!(outcome, ResumeOutcome::Restarted);
                gap.iter().for_each(|gap| self.lose(gap.first, gap.last));
            }
            other => panic!("{other:?}"),
        }
    }

    fn lose(&mut self, first: u64, last: u64) {
        assert!(first > self.last && first <= last);
        for sequence in first..=last {
            assert!(self.gone.insert(sequence) && !self.received.contains(&sequence));
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// Publishes, after so many sequences that were dropped by the server.
    Publish(u64),
    Receive,
    /// Comes back without having read what waited.
    Reconnect,
}

proptest! {
    /// Whatever is published, read, and cut off in between: each sequence comes once or is named as gone.
    #[test]
    fn each_sequence_comes_once_or_is_named(
        ring in 1usize..6, kept in 0usize..8,
        steps in prop::collection::vec(
            prop_oneof![4 => (0u64..3).prop_map(Step::Publish), 3 => Just(Step::Receive), 1 => Just(Step::Reconnect)],
            0..200,
        ),
    ) {
        let hub = keeping(kept, ring);
        let (mut sequence, mut published) = (0, BTreeSet::new());
        let mut diary = Diary::default();
        let mut subscription = hub.subscribe(watch(&["a"]), vec![]);
        for step in steps.into_iter().chain([Step::Publish(0)]) {
            match step {
                Step::Publish(skipped) => {
                    sequence += 1 + skipped;
                    published.insert(sequence);
                    publish(&hub, "a", [sequence]);
                }
                Step::Receive => {
                    if let Some(Some(event)) = subscription.next().now_or_never() {
                        diary.enter(event);
                    }
                }
                // A client that has seen nothing has nowhere to continue.
                Step::Reconnect if diary.last == 0 => {}
                Step::Reconnect => {
                    // What it was told of as gone after its last frame, it is told of again.
                    diary.gone.retain(|gone| *gone <= diary.last);
                    subscription = hub.subscribe(resume(&[("a", diary.epoch, diary.last)]), vec![]);
                }
            }
        }
        while let Some(Some(event)) = subscription.next().now_or_never() {
            diary.enter(event);
        }
        let named: BTreeSet<_> = diary.received.union(&diary.gone).copied().collect();
        prop_assert!(published.is_subset(&named), "{:?} of {:?}", published.difference(&named), diary);
        prop_assert!(diary.received.is_subset(&published));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_doubled_while_subscribers_come_and_go_at_full_speed() {
    const FRAMES: u64 = 20_000;
    let hub = keeping(usize::MAX, FRAMES as usize);
    let mut first = hub.subscribe(watch(&["a"]), vec![]);
    let publisher = std::thread::spawn({
        let hub = hub.clone();
        move || publish(&hub, "a", 1..=FRAMES)
    });
    let mut diary = Diary::default();
    diary.enter(first.next().await.unwrap());
    drop(first);
    let mut visits = 0;
    while diary.last < FRAMES {
        visits += 1;
        let mut visit = hub.subscribe(resume(&[("a", diary.epoch, diary.last)]), vec![]);
        // As long as something comes at once, and some frames at least.
        let before = diary.last;
        while let Some(Some(event)) = visit.next().now_or_never() {
            diary.enter(event);
            if diary.last > before + 100 {
                break;
            }
        }
        tokio::task::yield_now().await;
    }
    publisher.join().unwrap();
    assert!(visits > 1 && diary.gone.is_empty());
    assert_eq!(diary.received.len() as u64, FRAMES);
}
