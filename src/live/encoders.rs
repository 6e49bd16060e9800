//! The threads that make pictures, of lower priority than everything else: detections come first.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use super::board::Work;
use super::encode::{EncodeError, Encoder, Jpeg};
use super::{Config, Shared};
use crate::view::LivePicture;

/// How nice they are (nice(1)): a thread of usual priority that wants the same core gets nine times as much of it.
const NICENESS: i32 = 10;

/// Starts them; they end when `shared` is closed.
pub(super) fn start(config: &Config, shared: &Arc<Shared>) -> io::Result<()> {
    for index in 0..config.encoders.get() {
        let encoder = Encoder::new(config.quality).map_err(io::Error::other)?;
        let (shared, quality) = (Arc::clone(shared), config.quality);
        std::thread::Builder::new()
            .name(format!("live-{index}"))
            .spawn(move || run(&shared, encoder, quality))?;
    }
    Ok(())
}

fn run(shared: &Shared, mut encoder: Encoder, quality: u8) {
    // On Linux this is the calling thread. Pictures are made all the same where it is refused.
    let _ = rustix::process::setpriority_process(None, NICENESS);
    while let Some(work) = next(shared) {
        let begun = Instant::now();
        let look = &work.look;
        let encode = AssertUnwindSafe(|| encoder.encode(&work.offer, look.side, look.boxes));
        let encoded = catch_unwind(encode).unwrap_or(Err(EncodeError::Panicked));
        if matches!(encoded, Err(EncodeError::Panicked)) {
            match Encoder::new(quality) {
                Ok(new) => encoder = new,
                Err(error) => return tracing::error!("an encoder of live pictures ended: {error}"),
            }
        }
        finish(shared, &work, encoded, begun);
    }
}

/// Waits for work; none at the end.
fn next(shared: &Shared) -> Option<Work> {
    let mut board = shared.lock();
    loop {
        if board.is_closed() {
            return None;
        }
        if let Some(work) = board.work(Instant::now()) {
            return Some(work);
        }
        board = shared.work.wait(board).unwrap_or_else(PoisonError::into_inner);
    }
}

fn finish(shared: &Shared, work: &Work, encoded: Result<Jpeg, EncodeError>, begun: Instant) {
    let now = Instant::now();
    let picture = match encoded {
        Ok(jpeg) => {
            shared.metrics.made(now - begun);
            Some(picture(work, jpeg))
        }
        Err(error) => {
            shared.metrics.failed();
            tell(shared, work, &error);
            None
        }
    };
    if shared.lock().made(work, picture, now) {
        shared.work.notify_one();
    }
}

fn picture(work: &Work, jpeg: Jpeg) -> LivePicture {
    let Jpeg { bytes: jpeg, width, height } = jpeg;
    let found = Arc::clone(&work.offer.found);
    LivePicture { found, jpeg, width, height, age: work.offer.age, skipped: 0 }
}

/// Once aloud: the next frame is mostly no better, and there is a metric.
fn tell(shared: &Shared, work: &Work, error: &EncodeError) {
    let (camera, picture) = (&work.look.camera, &work.offer.picture);
    if shared.told.swap(true, Ordering::Relaxed) {
        tracing::debug!(%camera, ?picture, "no live picture of a frame: {error}");
    } else {
        tracing::warn!(%camera, ?picture, "no live picture of a frame: {error}; others are not told, but counted");
    }
}
