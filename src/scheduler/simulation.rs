//! Overload, played through by values: cameras whose frames come with jitter, one engine, no clock.

use std::time::{Duration, Instant};

use super::queue::{BatchPolicy, Plan, Queue, Terms};

const RUN: Duration = Duration::from_millis(20);
const MAX_AGE: Duration = Duration::from_millis(200);
const SECONDS: u32 = 60;
const ONE_BY_ONE: BatchPolicy =
    BatchPolicy { max_batch: 1, preferred_batch: 1, max_queue_delay: Duration::ZERO };

/// What became of one camera's frames.
#[derive(Clone, Copy, Debug, Default)]
struct Fate {
    came: u32,
    run: u32,
    superseded: u32,
    too_old: u32,
}

/// Plays a minute in which each camera, one a weight, brings `fps` frames a second, up to half an interval
/// early or late. Returns their fates, and the oldest frame's age when its run ended.
fn play(weights: &[u32], fps: f64) -> (Vec<Fate>, Duration) {
    let start = Instant::now();
    let arrivals = arrivals(weights.len(), fps);
    let mut fates = vec![Fate::default(); weights.len()];
    let mut queue = Queue::new(ONE_BY_ONE);
    queue.set_run_time(RUN);
    let (mut now, mut oldest, mut next) = (start, Duration::ZERO, 0);
    while next < arrivals.len() {
        // All that came while the engine was at work, or, where nothing waits, the next frame.
        while next < arrivals.len() && (start + arrivals[next].0 <= now || queue.is_empty()) {
            let (at, camera) = (start + arrivals[next].0, arrivals[next].1);
            let terms = Terms { weight: weights[camera], expires: Some(at + MAX_AGE), overdue: false };
            fates[camera].superseded += u32::from(queue.offer(camera, (camera, at), terms, at).is_some());
            fates[camera].came += 1;
            (now, next) = (now.max(at), next + 1);
        }
        queue.expire(now).into_iter().for_each(|(camera, _)| fates[camera].too_old += 1);
        if let Plan::Dispatch(batch) = queue.plan(now) {
            now += RUN;
            fates[batch[0].key].run += 1;
            oldest = oldest.max(now - batch[0].item.1);
        }
    }
    (fates, oldest)
}

/// When a frame comes, and of which camera, in order.
fn arrivals(cameras: usize, fps: f64) -> Vec<(Duration, usize)> {
    let mut random = fastrand::Rng::with_seed(7);
    let mut arrivals: Vec<_> = (0..cameras)
        .flat_map(|camera| (1..=(fps * f64::from(SECONDS)) as u32).map(move |frame| (camera, frame)))
        .map(|(camera, frame)| {
            (Duration::from_secs_f64((f64::from(frame) + random.f64() - 0.5) / fps), camera)
        })
        .collect();
    arrivals.sort_unstable();
    arrivals
}

/// Runs for each of cameras that bring `offered` frames each: nobody more than it brings, and the rest by weight.
fn fair(runs: f64, offered: f64, weights: &[u32]) -> Vec<f64> {
    let mut shares = vec![None; weights.len()];
    loop {
        let open: Vec<_> = (0..weights.len()).filter(|&camera| shares[camera].is_none()).collect();
        let left = runs - shares.iter().flatten().sum::<f64>();
        let weight: u32 = open.iter().map(|&camera| weights[camera]).sum();
        let due = |camera: usize| left * f64::from(weights[camera]) / f64::from(weight);
        let content: Vec<_> = open.into_iter().filter(|&camera| due(camera) >= offered).collect();
        if content.is_empty() {
            let share = |camera: usize| shares[camera].unwrap_or_else(|| due(camera));
            return (0..weights.len()).map(share).collect();
        }
        content.into_iter().for_each(|camera| shares[camera] = Some(offered));
    }
}

#[test]
fn at_any_load_shares_follow_weights_and_nothing_gets_old() {
    const WEIGHTS: [u32; 8] = [1, 1, 1, 2, 2, 3, 5, 10];
    for percent in [150.0, 300.0, 1000.0] {
        let fps = percent / 100.0 / RUN.as_secs_f64() / WEIGHTS.len() as f64;
        let (fates, oldest) = play(&WEIGHTS, fps);
        let runs: u32 = fates.iter().map(|fate| fate.run).sum();
        assert!(f64::from(runs) > 0.97 * 50.0 * f64::from(SECONDS), "no time is wasted: {runs}");
        assert!(oldest <= MAX_AGE, "{oldest:?}");
        let fair = fair(runs.into(), fates[0].came.into(), &WEIGHTS);
        for ((fate, fair), weight) in fates.iter().zip(fair).zip(WEIGHTS) {
            let off = (f64::from(fate.run) - fair).abs() / fair;
            assert!(off < 0.05, "{percent} %, weight {weight}: {fate:?}, fair is {fair:.0}");
            assert!(fate.came - fate.run - fate.superseded - fate.too_old <= 1, "{fate:?}");
        }
    }
}

#[test]
fn cameras_slower_than_their_turns_run_nothing_old_and_all_get_theirs() {
    // 400 % of the engine; each camera's turn comes every two seconds, its frames every half second.
    let (fates, oldest) = play(&[1; 100], 2.0);
    assert!(oldest <= MAX_AGE, "{oldest:?}");
    let (least, most) = (fates.iter().map(|f| f.run).min(), fates.iter().map(|f| f.run).max());
    assert!(least >= Some(27) && most <= Some(33), "30 are fair: {least:?} to {most:?}");
    assert!(fates.iter().all(|fate| fate.too_old > 0), "{fates:?}");
}
