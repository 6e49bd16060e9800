//! How the cameras fared lately: for each a ring of points, one a step of time, read off its ledger.
//!
//! Takes no clock: whoever steps it says what time it is.
//!
//! What does not belong here: when to step, and what the points look like on the wire.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::camera::CameraId;
use crate::ledger::{Ledger, Reading};

/// The time of one point.
pub const STEP: Duration = Duration::from_secs(5);
/// Points kept of a camera: ten minutes.
pub const POINTS: usize = 120;

/// What happened at a camera in one step of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// The end of the step.
    pub time: SystemTime,
    /// Frames that the decoder delivered.
    pub received: u64,
    /// Frames whose detections were published.
    pub published: u64,
    /// Frames dropped, for whatever reason.
    pub dropped: u64,
    /// Objects found in the frames published.
    pub objects: u64,
    /// The mean age of the frames when they were published; none if there were none.
    pub mean_age: Option<Duration>,
    /// The greatest such age.
    pub max_age: Option<Duration>,
}

/// How one camera fared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CameraHistory {
    /// The camera.
    pub camera: CameraId,
    /// Oldest first, [`POINTS`] at most.
    pub points: Vec<Point>,
}

/// How all cameras fared.
#[derive(Debug, Default)]
pub struct History {
    last: Option<SystemTime>,
    rings: BTreeMap<CameraId, Ring>,
}

impl History {
    /// Ends a step at `now` for the cameras there are, and forgets all others. Times only rise: where the clock was
    /// set back, a step ends just after the one before.
    pub fn step(&mut self, now: SystemTime, cameras: impl IntoIterator<Item = (CameraId, Arc<Ledger>)>) {
        let now = self.last.map_or(now, |last| now.max(last + Duration::from_nanos(1)));
        self.last = Some(now);
        let mut before = std::mem::take(&mut self.rings);
        for (camera, ledger) in cameras {
            let known = before.remove(&camera).filter(|ring| ring.is_of(&ledger));
            let mut ring = known.unwrap_or_else(|| Ring::new(ledger));
            ring.step(now);
            self.rings.insert(camera, ring);
        }
    }

    /// The points of a camera after a time. None of a camera that was removed, though another one may have its id.
    pub fn points(&self, camera: &CameraId, ledger: &Arc<Ledger>, after: Option<SystemTime>) -> Vec<Point> {
        let ring = self.rings.get(camera).filter(|ring| ring.is_of(ledger));
        let points = ring.iter().flat_map(|ring| &ring.points);
        points.filter(|point| after.is_none_or(|after| point.time > after)).copied().collect()
    }
}

/// The points of one camera.
#[derive(Debug)]
struct Ring {
    /// Tells the camera from another one of the same id that was there before.
    ledger: Arc<Ledger>,
    before: Reading,
    points: VecDeque<Point>,
}

impl Ring {
    /// That of a camera that was added since the last step: all that happened to it belongs to the first point.
    fn new(ledger: Arc<Ledger>) -> Self {
        Self { ledger, before: Reading::default(), points: VecDeque::new() }
    }

    fn is_of(&self, ledger: &Arc<Ledger>) -> bool {
        Arc::ptr_eq(&self.ledger, ledger)
    }

    fn step(&mut self, time: SystemTime) {
        let now = self.ledger.read();
        let before = std::mem::replace(&mut self.before, now);
        if self.points.len() == POINTS {
            self.points.pop_front();
        }
        self.points.push_back(between(&before, &now, time));
    }
}

/// What happened between two readings.
fn between(before: &Reading, now: &Reading, time: SystemTime) -> Point {
    let published = now.balance.published - before.balance.published;
    let frames = u32::try_from(published).unwrap_or(u32::MAX);
    Point {
        time,
        received: now.balance.received - before.balance.received,
        published,
        dropped: now.balance.total_dropped() - before.balance.total_dropped(),
        objects: now.objects - before.objects,
        mean_age: (now.age - before.age).checked_div(frames),
        max_age: (published > 0).then_some(now.oldest),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ledger::{Balance, DropReason, Ticket};

    fn camera(id: &str) -> CameraId {
        CameraId::new(id).unwrap()
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn publish(ledger: &Arc<Ledger>, objects: usize, age_ms: u64) {
        ledger.receive().publish_with(objects, Duration::from_millis(age_ms));
    }

    proptest! {
        /// Sums of points are differences of the accounts, whatever happens between the steps.
        #[test]
        fn points_add_up_to_the_accounts(
            steps in prop::collection::vec(prop::collection::vec((0u8..4, 0usize..5, 0u64..500), 0..12), 1..300)
        ) {
            let (mut history, ledger, mut open) = (History::default(), Arc::new(Ledger::default()), Vec::new());
            let mut books = vec![Balance::default()];
            let mut ages = Vec::new();
            for (index, happened) in steps.iter().enumerate() {
                let mut of_step = Vec::new();
                for &(what, objects, age) in happened {
                    match (what, open.pop()) {
                        (1, Some(ticket)) => {
                            Ticket::publish_with(ticket, objects, Duration::from_millis(age));
                            of_step.push((objects, age));
                        }
                        (2, Some(ticket)) => Ticket::drop_as(ticket, DropReason::ALL[objects]),
                        (_, before) => {
                            open.extend(before);
                            open.push(ledger.receive());
                        }
                    }
                }
                history.step(at(index as u64), [(camera("yard"), Arc::clone(&ledger))]);
                books.push(ledger.balance());
                ages.push(of_step);
            }
            let points = history.points(&camera("yard"), &ledger, None);
            prop_assert_eq!(points.len(), steps.len().min(POINTS));
            let first = steps.len() - points.len();
            let (then, now) = (books[first], books[steps.len()]);
            let sum = |count: fn(&Point) -> u64| points.iter().map(count).sum::<u64>();
            prop_assert_eq!(sum(|point| point.received), now.received - then.received);
            prop_assert_eq!(sum(|point| point.published), now.published - then.published);
            prop_assert_eq!(sum(|point| point.dropped), now.total_dropped() - then.total_dropped());
            for (point, of_step) in points.iter().zip(&ages[first..]) {
                prop_assert_eq!(point.objects, of_step.iter().map(|(objects, _)| *objects as u64).sum::<u64>());
                let max = of_step.iter().map(|(_, age)| Duration::from_millis(*age)).max();
                prop_assert_eq!(point.max_age, max);
                let total: u64 = of_step.iter().map(|(_, age)| age).sum();
                let mean = Duration::from_millis(total).checked_div(of_step.len() as u32);
                prop_assert_eq!(point.mean_age, mean);
            }
        }
    }

    #[test]
    fn only_newer_points_are_told() {
        let (mut history, ledger) = (History::default(), Arc::new(Ledger::default()));
        (1..=5).for_each(|step| history.step(at(step * 5), [(camera("yard"), Arc::clone(&ledger))]));
        let times = |after| {
            let points = history.points(&camera("yard"), &ledger, after);
            points.into_iter().map(|point| point.time).collect::<Vec<_>>()
        };
        assert_eq!(times(None).len(), 5);
        assert_eq!(times(Some(at(15))), [at(20), at(25)]);
        assert!(times(Some(at(99))).is_empty());
    }

    #[test]
    fn a_camera_that_was_removed_is_forgotten_and_another_of_its_id_begins_anew() {
        let (mut history, old, new) = (History::default(), Arc::default(), Arc::default());
        publish(&old, 3, 10);
        publish(&old, 3, 10);
        history.step(at(5), [(camera("yard"), Arc::clone(&old))]);
        assert!(history.points(&camera("yard"), &new, None).is_empty(), "nothing of the old one");
        publish(&new, 1, 20);
        history.step(at(10), [(camera("yard"), Arc::clone(&new))]);
        let points = history.points(&camera("yard"), &new, None);
        assert_eq!(points.iter().map(|point| (point.published, point.objects)).collect::<Vec<_>>(), [(1, 1)]);
        history.step(at(15), []);
        assert!(history.rings.is_empty());
        assert_eq!(Arc::strong_count(&new), 1);
    }

    #[test]
    fn times_rise_though_the_clock_is_set_back() {
        let (mut history, ledger) = (History::default(), Arc::new(Ledger::default()));
        for seconds in [100, 50, 55, 200] {
            publish(&ledger, 1, 1);
            history.step(at(seconds), [(camera("yard"), Arc::clone(&ledger))]);
        }
        let points = history.points(&camera("yard"), &ledger, None);
        assert!(points.windows(2).all(|pair| pair[0].time < pair[1].time), "{points:?}");
        assert_eq!((points[0].time, points[3].time), (at(100), at(200)));
    }
}
