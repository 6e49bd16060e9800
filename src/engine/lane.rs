//! A lane and what it takes to look at pictures with it: letterbox them, run them, read the rows.
//!
//! What does not belong here: threads, and what becomes of a lane that fails ([`post`](super::post)).

use std::sync::Arc;
use std::time::Instant;

use super::{EngineError, Lane, Metrics};
use crate::detection::{BoundingBox, Detection, Landmark, ModelInfo};
use crate::frame::Picture;
use crate::letterbox::{Letterbox, Preprocessor};

/// Something with a picture in it that wants to know what is there.
pub trait Job: Send {
    /// The picture.
    fn picture(&self) -> &Picture;

    /// Whether a detection of this class and score is of interest.
    fn wants(&self, label: &str, score: f32) -> bool;

    /// The batch it was in has run, well or not.
    fn ran(&self, _times: &Times) {}
}

/// When a batch was run.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// It was begun.
    pub begun: Instant,
    /// Its pictures were network input.
    pub letterboxed: Instant,
    /// The network was done.
    pub inferred: Instant,
}

/// What a lane must know of its model.
#[derive(Clone, Debug)]
pub struct LaneModel {
    /// Class names.
    pub classes: Arc<[Arc<str>]>,
    /// Input width and height in pixels.
    pub input: (u32, u32),
}

impl From<&ModelInfo> for LaneModel {
    fn from(info: &ModelInfo) -> Self {
        Self { classes: info.classes.clone().into(), input: (info.input_width, info.input_height) }
    }
}

/// A lane with its scratch memory; also the way to look at pictures without a thread.
pub struct Worker {
    lane: Box<dyn Lane>,
    model: LaneModel,
    metrics: Metrics,
    preprocessor: Preprocessor,
}

impl Worker {
    /// Wraps a lane.
    pub fn new(lane: Box<dyn Lane>, model: LaneModel, metrics: Metrics) -> Self {
        Self { lane, model, metrics, preprocessor: Preprocessor::default() }
    }

    /// Looks at one picture; detections come best first, in pixels of the picture: those that `wants` says of
    /// their class and score.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub fn look(
        &mut self,
        picture: &Picture,
        wants: impl Fn(&str, f32) -> bool + Send,
    ) -> Result<Vec<Detection>, EngineError> {
        let mut found = self.process(&[&Look { picture, wants }])?;
        Ok(found.pop().unwrap_or_default())
    }

    /// Looks at a batch; for each job what [`Worker::look`] would find.
    ///
    /// # Errors
    /// See [`EngineError`]. Then there is no result for any of them.
    pub fn process<J: Job>(&mut self, batch: &[&J]) -> Result<Vec<Vec<Detection>>, EngineError> {
        let (width, height) = self.model.input;
        let picture_bytes = width as usize * height as usize * 3;
        let start = Instant::now();
        let pictures: Vec<_> = batch.iter().map(|job| job.picture()).collect();
        let taken = self.lane.take(&pictures).into_iter().chain(std::iter::repeat(None));
        let targets = self.lane.input().chunks_exact_mut(picture_bytes);
        let fit = |((picture, taken), target): ((_, Option<_>), _)| match taken {
            Some(fit) => Ok(fit),
            None => self.preprocessor.letterbox(picture, self.model.input, target),
        };
        let fits = pictures.into_iter().zip(taken).zip(targets).map(fit).collect::<Result<Vec<_>, _>>()?;
        let letterboxed = Instant::now();
        self.metrics.preprocess_seconds.observe((letterboxed - start).as_secs_f64());
        let rows = self.lane.infer(batch.len());
        let times = Times { begun: start, letterboxed, inferred: Instant::now() };
        batch.iter().for_each(|job| job.ran(&times));
        let rows = rows?;
        self.metrics.infer_seconds.observe((times.inferred - letterboxed).as_secs_f64());
        let found = batch.iter().zip(fits).enumerate().map(|(index, (job, fit))| {
            rows.picture(index).filter_map(|row| detection(row, fit, &self.model.classes, *job)).collect()
        });
        Ok(found.collect())
    }
}

/// One picture without a thread.
struct Look<'a, F> {
    picture: &'a Picture,
    wants: F,
}

impl<F: Fn(&str, f32) -> bool + Send> Job for Look<'_, F> {
    fn picture(&self) -> &Picture {
        self.picture
    }

    fn wants(&self, label: &str, score: f32) -> bool {
        (self.wants)(label, score)
    }
}

/// Reads one row of the output; none if nobody wants it or nothing of it is in the picture.
fn detection<J: Job>(row: &[f32], fit: Letterbox, classes: &[Arc<str>], job: &J) -> Option<Detection> {
    let &[x1, y1, x2, y2, score, class, ..] = row else { return None };
    let class_id = class as u32;
    let label = classes.get(class_id as usize)?;
    if !job.wants(label, score) {
        return None;
    }
    let bbox = fit.unmap(BoundingBox { x1: x1.min(x2), y1: y1.min(y2), x2: x2.max(x1), y2: y2.max(y1) });
    (bbox.area() > 0.0).then(|| Detection {
        bbox,
        score,
        class_id,
        label: Arc::clone(label),
        landmarks: landmarks(row, fit),
    })
}

/// The landmarks of a row: x, y, score each, behind the six values of the box.
fn landmarks(row: &[f32], fit: Letterbox) -> Vec<Landmark> {
    let points = row.get(6..).unwrap_or_default().as_chunks().0.iter();
    let place = |&[x, y, score]: &[f32; 3]| {
        let [x, y] = fit.unmap_point([x, y]);
        Landmark { x, y, score }
    };
    points.map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Engine;
    use crate::engine::fake::FakeEngine;
    use prometheus::Registry;

    fn worker(engine: &FakeEngine) -> Worker {
        let model = LaneModel { classes: ["person".into(), "car".into()].into(), input: (64, 64) };
        Worker::new(engine.open_lane().unwrap(), model, Metrics::register(&Registry::new()).unwrap())
    }

    #[test]
    fn boxes_come_back_in_source_pixels_clipped_and_filtered() {
        let rows = [
            [8.0, 8.0, 16.0, 16.0, 0.9, 0.0],
            [-10.0, 0.0, 100.0, 32.0, 0.8, 1.0],
            [0.0, 40.0, 10.0, 50.0, 0.7, 1.0],
            [0.0, 0.0, 4.0, 4.0, 0.2, 0.0],
            [0.0, 0.0, 4.0, 4.0, 0.6, 99.0],
        ];
        let engine = FakeEngine::new((64, 64)).finds(rows.to_vec());
        // 128x64 fits 64x64 at half scale, with 32 rows of zeros below.
        let picture = Picture::rgb(128, 64, vec![0; 128 * 64 * 3]).unwrap();
        let found = worker(&engine).look(&picture, |_, score| score >= 0.5).unwrap();
        let boxes: Vec<_> = found.iter().map(|d| (&*d.label, d.bbox)).collect();
        let expected = [
            ("person", BoundingBox { x1: 16.0, y1: 16.0, x2: 32.0, y2: 32.0 }),
            ("car", BoundingBox { x1: 0.0, y1: 0.0, x2: 128.0, y2: 64.0 }),
        ];
        assert_eq!(
            boxes, expected,
            "what lies in the border, scores too low or has no class name is left out"
        );
    }

    #[test]
    fn landmarks_come_back_in_source_pixels_and_may_lie_outside() {
        let row = [8.0, 8.0, 16.0, 16.0, 0.9, 0.0, 10.0, 12.0, 0.7, -4.0, 70.0, 0.1];
        let fit = Letterbox::fit((128, 64), (64, 64));
        let expected =
            [Landmark { x: 20.0, y: 24.0, score: 0.7 }, Landmark { x: -8.0, y: 140.0, score: 0.1 }];
        assert_eq!(landmarks(&row, fit), expected);
        assert!(landmarks(&row[..6], fit).is_empty());
    }

    /// Takes every other picture, and finds in each what its first byte says.
    struct Taker {
        input: Vec<u8>,
        rows: Vec<f32>,
    }

    impl Lane for Taker {
        fn take(&mut self, pictures: &[&Picture]) -> Vec<Option<Letterbox>> {
            // What a worker leaves of the last batch must not matter.
            self.input.fill(99);
            let place = |(index, picture): (usize, &&Picture)| {
                self.input[index * 48] = 100 + picture.plane(0)[0];
                (index % 2 == 0).then(|| Letterbox::fit((picture.width, picture.height), (4, 4)))
            };
            pictures.iter().enumerate().take(3).map(place).collect()
        }

        fn input(&mut self) -> &mut [u8] {
            &mut self.input
        }

        fn infer(&mut self, batch: usize) -> Result<crate::engine::Rows<'_>, EngineError> {
            let row = |picture: &[u8]| [0.0, 0.0, 4.0, 4.0, f32::from(picture[0]) / 200.0, 0.0];
            self.rows = self.input.chunks_exact(48).take(batch).flat_map(row).collect();
            Ok(crate::engine::Rows { data: &self.rows, values: 6, top_k: 1 })
        }
    }

    #[test]
    fn a_lane_may_letterbox_some_pictures_itself() {
        let model = LaneModel { classes: ["person".into()].into(), input: (4, 4) };
        let lane = Box::new(Taker { input: vec![0; 5 * 48], rows: vec![] });
        let mut worker = Worker::new(lane, model, Metrics::register(&Registry::new()).unwrap());
        let pictures: Vec<_> =
            (0..5).map(|index| Picture::rgb(8, 8, vec![index * 2; 192]).unwrap()).collect();
        let jobs: Vec<_> =
            pictures.iter().map(|picture| Look { picture, wants: |_: &str, _| true }).collect();
        let found = worker.process(&jobs.iter().collect::<Vec<_>>()).unwrap();
        let scores: Vec<_> = found.iter().map(|found| (found[0].score * 200.0).round()).collect();
        assert_eq!(scores, [100.0, 2.0, 104.0, 6.0, 8.0], "it took the first and the third");
        assert!(
            found.iter().all(|found| found[0].bbox == BoundingBox { x1: 0.0, y1: 0.0, x2: 8.0, y2: 8.0 })
        );
    }

    #[test]
    fn a_failing_engine_is_an_error_not_a_panic() {
        let engine = FakeEngine::new((64, 64)).fails("out of memory");
        let picture = Picture::rgb(8, 8, vec![0; 192]).unwrap();
        let error = worker(&engine).look(&picture, |_, _| true).unwrap_err();
        assert!(error.to_string().contains("out of memory"));
    }
}
