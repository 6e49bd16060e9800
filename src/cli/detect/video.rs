//! One video file, frame by frame.

use std::path::Path;

use crate::annotate;
use crate::cli::{output, progress};
use crate::detection::Detection;
use crate::frame::Picture;
use crate::ingest::clip::{ClipReader, ClipWriter};
use crate::letterbox::Preprocessor;

use super::report::{Record, Summary};
use super::{Detector, Settings};

/// Looks at every frame of a video and reports it.
pub fn detect(detector: &mut Detector, path: &Path, settings: &Settings<'_>) -> anyhow::Result<()> {
    let mut reader = ClipReader::open(path)?;
    let limit = settings.frames.unwrap_or(u64::MAX);
    let progress = progress::bar(reader.frame_count().map(|count| count.min(limit)), "frames");
    let mut annotator = settings.output.map(|output| Annotator::new(output, reader.frame_rate()));
    let mut summary = Summary::default();
    let mut number = 0;
    while number < limit
        && let Some(frame) = reader.next_frame()?
    {
        let detections = detector.look(&frame.picture)?;
        summary.add(&detections);
        if settings.json {
            let record = Record {
                file: path,
                frame: Some(number),
                time: Some(frame.time.as_secs_f64()),
                width: frame.picture.width,
                height: frame.picture.height,
                model: &detector.model.name,
                detections: detector.found(&detections),
            };
            let line = serde_json::to_string(&record)?;
            progress.suspend(|| output::line(line))?;
        }
        if let Some(annotator) = &mut annotator {
            annotator.write(&frame.picture, detections, &detector.model.skeleton)?;
        }
        number += 1;
        progress.inc(1);
    }
    progress.finish_and_clear();
    if !settings.json {
        output::line(format_args!("{}: {number} frames\n{}", path.display(), summary.table()))?;
    }
    if let (Some(annotator), Some(output)) = (annotator, settings.output) {
        annotator.finish()?;
        eprintln!("wrote {}", output.display());
    }
    Ok(())
}

/// Writes the frames with boxes drawn; opened at the first frame, whose size it takes.
struct Annotator<'a> {
    output: &'a Path,
    frame_rate: (i32, i32),
    writer: Option<ClipWriter>,
    preprocessor: Preprocessor,
}

impl<'a> Annotator<'a> {
    fn new(output: &'a Path, frame_rate: (i32, i32)) -> Self {
        Self { output, frame_rate, writer: None, preprocessor: Preprocessor::default() }
    }

    fn write(
        &mut self,
        picture: &Picture,
        mut detections: Vec<Detection>,
        skeleton: &[[u32; 2]],
    ) -> anyhow::Result<()> {
        let writer = match &mut self.writer {
            Some(writer) => writer,
            None => {
                let size = (picture.width, picture.height);
                self.writer.insert(ClipWriter::create(self.output, size, self.frame_rate)?)
            }
        };
        // A stream that changes its size in the middle is written at the size it began with.
        let size = writer.size();
        let mut rgb = vec![0; size.0 as usize * size.1 as usize * 3];
        let fit = self.preprocessor.letterbox(picture, size, &mut rgb)?;
        detections.iter_mut().for_each(|found| annotate::place(found, fit));
        annotate::draw(&mut rgb, size, &detections, skeleton)?;
        Ok(writer.write(&rgb)?)
    }

    fn finish(self) -> anyhow::Result<()> {
        self.writer.map_or(Ok(()), |writer| Ok(writer.finish()?))
    }
}
