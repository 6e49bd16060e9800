//! Loading a model again and again leaves the GPU's memory as it was.

use anyhow::Context as _;
use serde_json::json;

use super::{engine, tell};
use crate::app::gpu::OnGpu;
use crate::cli::progress;
use crate::engine::Engine as _;

/// How much less memory may be free in the end, in bytes: drivers keep a little of their own.
const SLACK: u64 = 16 << 20;
/// Reloads after which drivers and libraries have what they keep.
const WARM_UP: usize = 10;

/// Opens and closes all lanes `times` over.
///
/// # Errors
/// A lane that does not open, or memory that does not come back.
pub fn reload(model: &OnGpu, times: usize, json: bool) -> anyhow::Result<()> {
    // What is measured is the memory that lanes take within a context that stays.
    let context = model.gpu().retain()?;
    let free = || anyhow::Ok(context.enter()?.memory()?.free);
    let bar = progress::bar(Some((times + WARM_UP) as u64), "reloads");
    let mut before = free()?;
    for time in 0..times + WARM_UP {
        if time == WARM_UP {
            before = free()?;
        }
        let engine = engine(model, true)?;
        let lanes = (0..engine.limits().lanes).map(|_| engine.open_lane()).collect::<Result<Vec<_>, _>>();
        drop(lanes.with_context(|| format!("reload {time}"))?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    let lost = before.saturating_sub(free()?);
    tell(
        json,
        json!({ "reloads": times, "gpu_bytes_lost": lost }),
        format!(
            "{times} reloads: {:.1} MiB of GPU memory did not come back",
            lost as f64 / f64::from(1 << 20)
        ),
    )?;
    anyhow::ensure!(lost <= SLACK, "GPU memory leaks: {lost} bytes less are free after {times} reloads");
    Ok(())
}
