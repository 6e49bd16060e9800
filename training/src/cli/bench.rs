//! `centerx-train bench`: what a step costs.

use std::time::Instant;

use burn::tensor::{Device, Distribution, Tensor};
use serde_json::json;

use crate::loss::{self, Balance, DistillConfig, Levels, TeacherTarget};
use crate::maps::Maps;
use crate::nn::{self, BackboneKind, CenterNet, NeckKind, NetworkConfig};
use crate::optim::{OptimConfig, Optimiser};

/// Measure training steps on random pictures.
#[derive(Debug, clap::Args)]
#[command(after_help = "Prints one line of JSON: seconds a step are the median without the first two. \
scripts/train-bench.sh holds it against PyTorch.")]
pub struct Args {
    /// The backbone, as recipes name it.
    #[arg(long, default_value = "resnet18", value_parser = named::<BackboneKind>)]
    backbone: BackboneKind,
    /// The neck, as recipes name it.
    #[arg(long, default_value = "transposed", value_parser = named::<NeckKind>)]
    neck: NeckKind,
    /// Add what the backbone saw on the way up.
    #[arg(long)]
    skips: bool,
    /// Factor on the channels.
    #[arg(long, default_value_t = 0.25)]
    width: f32,
    /// Channels inside each head.
    #[arg(long, default_value_t = 64)]
    head_channels: usize,
    /// Classes.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=1000))]
    classes: u64,
    /// Input size, both sides multiples of 32.
    #[arg(long, default_value = "192x192", value_name = "WxH", value_parser = size)]
    input: (usize, usize),
    /// Pictures a step.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(2..=1024))]
    batch: u64,
    /// Threads; 0 means one a core.
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// Steps.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(3..))]
    steps: u64,
}

/// Steps that come before the measurement.
const WARM_UP: usize = 2;

impl Args {
    /// Measures and prints.
    ///
    /// # Errors
    /// A network that cannot be made.
    pub fn run(self) -> anyhow::Result<()> {
        rayon::ThreadPoolBuilder::new().num_threads(self.threads).build_global()?;
        let device = nn::device().autodiff();
        device.seed(1);
        let classes = self.classes as usize;
        let config = NetworkConfig {
            backbone: self.backbone,
            width: self.width,
            neck: self.neck,
            skips: self.skips,
            head_channels: self.head_channels,
        };
        let mut network = CenterNet::new(&config, classes, &device)?;
        let parameters = network.parameters();
        let (width, height) = self.input;
        let batch = self.batch as usize;
        let images = Tensor::random([batch, 3, height, width], Distribution::Normal(0.0, 1.0), &device);
        let target = target(batch, classes, (height / nn::STRIDE, width / nn::STRIDE), &device);
        let owns: Vec<usize> = (0..classes).collect();
        let optimiser = OptimConfig::default();
        let mut optimiser = Optimiser::new(&optimiser, &network);
        let mut seconds = Vec::new();
        for _ in 0..self.steps {
            let begin = Instant::now();
            let heads = network.forward(images.clone());
            let terms = loss::teacher_terms("bench", &heads, &target, &owns, &DistillConfig::default(), 1.0);
            let total = loss::combine(&terms, Balance::Static, &mut Levels::default())?.total;
            (network, _) = optimiser.step(network, total.backward(), 1e-3);
            seconds.push(begin.elapsed().as_secs_f64());
        }
        let mut seconds = seconds.split_off(WARM_UP);
        seconds.sort_by(f64::total_cmp);
        super::print(json!({
            "params": parameters,
            "seconds_per_step": seconds[seconds.len() / 2],
            "peak_rss_mib": peak_rss_mib(),
            "threads": rayon::current_num_threads(),
        }))
    }
}

/// A teacher that says anything.
fn target(batch: usize, classes: usize, (height, width): (usize, usize), device: &Device) -> TeacherTarget {
    let mut rng = fastrand::Rng::with_seed(1);
    let maps: Vec<Maps> = (0..batch)
        .map(|_| {
            let mut maps = Maps::empty(classes, height, width);
            maps.heat.iter_mut().for_each(|score| *score = rng.f32().powi(8));
            maps.size.iter_mut().for_each(|size| *size = 10.0 * rng.f32());
            maps.offset.iter_mut().for_each(|offset| *offset = rng.f32());
            maps
        })
        .collect();
    TeacherTarget::of(&maps.iter().collect::<Vec<_>>(), &DistillConfig::default(), device)
}

/// The most memory this process has held, in MiB, as Linux tells it.
fn peak_rss_mib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? / 1024)
}

/// What a recipe would name so.
fn named<T: serde::de::DeserializeOwned>(name: &str) -> Result<T, String> {
    serde_json::from_value(json!(name)).map_err(|error| error.to_string())
}

fn size(text: &str) -> Result<(usize, usize), String> {
    let is_fit = |side: &usize| *side > 0 && side.is_multiple_of(CenterNet::MULTIPLE);
    let side = |text: &str| text.parse().ok().filter(is_fit);
    let sides = text.split_once('x').and_then(|(w, h)| Some((side(w)?, side(h)?)));
    sides.ok_or_else(|| {
        format!("expected WIDTHxHEIGHT, multiples of {}, such as 192x192", CenterNet::MULTIPLE)
    })
}
