//! What the fused decode costs: the detector against the same network without it, and without it but with a
//! decode in Rust after it, in turns.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::time::Duration;

use ort::memory::Allocator;
use ort::session::Session;
use ort::value::Tensor;

use crate::app::models;
use crate::model::decode::{Head, Heads, Heat};
use crate::model::{self, DetectorModel, recipe};

use super::{ModelArgs, measure, median, noise};
use crate::cli::output;

/// The fused decode against none, and against one in Rust, in turns.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// How often each is measured; the medians count.
    #[arg(long, default_value_t = 60)]
    rounds: usize,
    /// Seconds a measurement.
    #[arg(long, default_value_t = 0.3)]
    seconds: f64,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

type Run = Box<dyn FnMut() -> anyhow::Result<()> + Send>;

impl Args {
    /// Measures and prints.
    pub fn run(self) -> anyhow::Result<()> {
        let runtime = models::load_runtime()?;
        let detector = model::load(&model::zoo::resolve(&self.model.model)?)?;
        let heads = &detector
            .metadata
            .recipe
            .as_ref()
            .ok_or(model::ModelError::NoRecipe { name: detector.metadata.name.clone() })?
            .heads;
        let network = recipe::up_to_heads(&detector)?;
        let open = |bytes: &[u8]| anyhow::Ok((runtime.session(bytes, 1)?, input(&detector)?));
        let (fused, bare, with_rust) = (open(&detector.bytes)?, open(&network)?, open(&network)?);
        let (decoder, top_k) = (Decoder::new(heads), detector.metadata.top_k as usize);
        let mut ways: [[Run; 1]; 3] = [[plain(fused)], [plain(bare)], [decoded(with_rust, decoder, top_k)]];
        let mut times: [Vec<f64>; 3] = Default::default();
        let time = Duration::from_secs_f64(self.seconds);
        for round in 0..self.rounds.max(1) {
            eprintln!("round {} of {}", round + 1, self.rounds.max(1));
            for (way, times) in ways.iter_mut().zip(&mut times) {
                times.push(measure(way, time)?.cpu_seconds_per_run * 1e3);
            }
        }
        Ok(self.print(times, &detector)?)
    }

    fn print(&self, mut times: [Vec<f64>; 3], detector: &DetectorModel) -> io::Result<()> {
        // Shares round by round: neighbours in time share the machine's mood.
        let share = |of: usize| {
            let pairs = times[of].iter().zip(&times[1]);
            median(&mut pairs.map(|(with, without)| 1.0 - without / with).collect::<Vec<_>>())
        };
        let (fused_share, rust_share) = (share(0), share(2));
        let [fused, bare, rust] = [0, 1, 2].map(|at| median(&mut times[at]));
        let about = &detector.metadata;
        if self.json {
            let report = serde_json::json!({
                "model": about.name, "rounds": self.rounds, "fused_ms": fused, "network_ms": bare,
                "network_and_rust_ms": rust, "fused_decode_share": fused_share, "rust_decode_share": rust_share,
            });
            return output::line(report);
        }
        output::line(format_args!(
            "{} {}x{}, one thread, processor time a picture, medians of {} rounds",
            about.name, about.input_width, about.input_height, self.rounds
        ))?;
        output::line(format_args!("network up to its heads      {bare:7.2} ms"))?;
        output::line(format_args!(
            "with the decode in the graph {fused:7.2} ms   decode {:5.1} % of it",
            fused_share * 100.0
        ))?;
        output::line(format_args!(
            "with a decode in Rust        {rust:7.2} ms   decode {:5.1} % of it",
            rust_share * 100.0
        ))
    }
}

fn input(detector: &DetectorModel) -> anyhow::Result<Tensor<u8>> {
    let (width, height) = (detector.metadata.input_width, detector.metadata.input_height);
    let mut input = Tensor::<u8>::new(&Allocator::default(), [1usize, height as usize, width as usize, 3])?;
    input.extract_tensor_mut().1.copy_from_slice(&noise(width, height));
    Ok(input)
}

fn plain((mut session, input): (Session, Tensor<u8>)) -> Run {
    Box::new(move || {
        session.run(ort::inputs!["images" => &input])?;
        Ok(())
    })
}

fn decoded((mut session, input): (Session, Tensor<u8>), mut decoder: Decoder, top_k: usize) -> Run {
    Box::new(move || {
        let outputs = session.run(ort::inputs!["images" => &input])?;
        let (_, heat) = outputs[0].try_extract_tensor::<f32>()?;
        let rest = (1..outputs.len()).map(|at| Ok(outputs[at].try_extract_tensor::<f32>()?.1));
        std::hint::black_box(decoder.decode(heat, &rest.collect::<anyhow::Result<Vec<_>>>()?, top_k));
        Ok(())
    })
}

/// What an engineer would write by hand after the network: one pass over the heatmap that looks at a cell's
/// neighbours only if it is among the best so far, and a look at the other heads for those that remain.
struct Decoder {
    heatmap: Head,
    logits: bool,
}

impl Decoder {
    fn new(heads: &Heads) -> Self {
        Self { heatmap: heads.heatmap.clone(), logits: heads.heat == Heat::Logits }
    }

    /// Score, class, column, row and what the other heads hold there, best first.
    fn decode(
        &mut self,
        heat: &[f32],
        rest: &[&[f32]],
        top_k: usize,
    ) -> Vec<(f32, usize, usize, usize, Vec<f32>)> {
        let Head { height, width, .. } = self.heatmap;
        let cells = height * width;
        // Orders floats as the integers they become; none is NaN.
        let order = |v: f32| if v.is_sign_negative() { !v.to_bits() } else { v.to_bits() | 1 << 31 };
        let mut best: BinaryHeap<Reverse<(u32, usize)>> = BinaryHeap::with_capacity(top_k + 1);
        let mut least = f32::NEG_INFINITY;
        for (class, map) in heat.chunks_exact(cells).enumerate() {
            for (at, &v) in map.iter().enumerate() {
                if v <= least || !is_peak(map, at, height, width) {
                    continue;
                }
                best.push(Reverse((order(v), class * cells + at)));
                if best.len() > top_k {
                    best.pop();
                    least = best.peek().map_or(least, |Reverse((_, index))| heat[*index]);
                }
            }
        }
        let sorted = best.into_sorted_vec();
        let found = sorted.into_iter().map(|Reverse((_, index))| {
            let (class, cell) = (index / cells, index % cells);
            let score = if self.logits { 1.0 / (1.0 + (-heat[index]).exp()) } else { heat[index] };
            let values = rest.iter().flat_map(|head| head[cell..].iter().step_by(cells).copied()).collect();
            (score, class, cell % width, cell / width, values)
        });
        found.collect()
    }
}

fn is_peak(map: &[f32], at: usize, height: usize, width: usize) -> bool {
    let (x, y, v) = (at % width, at / width, map[at]);
    let columns = x.saturating_sub(1)..(x + 2).min(width);
    (y.saturating_sub(1)..(y + 2).min(height)).all(|y| columns.clone().all(|x| map[y * width + x] <= v))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peaks_come_best_first_with_what_the_heads_hold() {
        let heatmap = Head { value: String::new(), channels: 2, height: 3, width: 4 };
        let mut heat = vec![-9.0; 24];
        (heat[5], heat[6], heat[12 + 11]) = (2.0, 1.0, 3.0);
        let side: Vec<f32> = (0..24).map(|v| v as f32).collect();
        let found = Decoder { heatmap, logits: false }.decode(&heat, &[&side], 2);
        assert_eq!(found[0], (3.0, 1, 3, 2, vec![11.0, 23.0]));
        assert_eq!(found[1], (2.0, 0, 1, 1, vec![5.0, 17.0]));
    }
}
