//! What most people write first: one loop that reads a frame, letterboxes it, runs the model, reads the boxes.

use std::path::Path;
use std::time::{Duration, Instant};

use ort::memory::Allocator;
use ort::value::Tensor;

use crate::detection::{BoundingBox, ModelInfo};
use crate::engine::onnx::OnnxRuntime;
use crate::ingest::clip::ClipReader;
use crate::letterbox::Preprocessor;

/// Frames a second of a loop over `video`, read as fast as it goes, with the runtime on `threads` threads.
///
/// Capture and decoding run in the loop's shadow, as they do in OpenCV's or GStreamer's readers; the decode of
/// the heads is in the graph, which favours the loop.
pub fn frames_a_second(
    runtime: &OnnxRuntime,
    model: &[u8],
    info: &ModelInfo,
    video: &Path,
    threads: usize,
    time: Duration,
) -> anyhow::Result<f64> {
    let mut session = runtime.session(model, threads)?;
    let size = (info.input_width, info.input_height);
    let mut input = Tensor::<u8>::new(&Allocator::default(), [1usize, size.1 as usize, size.0 as usize, 3])?;
    let mut preprocessor = Preprocessor::default();
    let mut reader = ClipReader::open(video)?;
    let (start, mut frames) = (Instant::now(), 0u32);
    while start.elapsed() < time {
        let Some(frame) = reader.next_frame()? else {
            reader = ClipReader::open(video)?;
            continue;
        };
        let fit = preprocessor.letterbox(&frame.picture, size, input.extract_tensor_mut().1)?;
        let outputs = session.run(ort::inputs!["images" => &input])?;
        let (shape, values) = outputs["detections"].try_extract_tensor::<f32>()?;
        let row = shape.last().copied().unwrap_or(6).max(6) as usize;
        let boxes = values.chunks_exact(row).filter(|row| row[4] >= 0.3);
        let boxes =
            boxes.map(|row| fit.unmap(BoundingBox { x1: row[0], y1: row[1], x2: row[2], y2: row[3] }));
        std::hint::black_box(boxes.collect::<Vec<_>>());
        frames += 1;
    }
    Ok(f64::from(frames) / start.elapsed().as_secs_f64())
}
