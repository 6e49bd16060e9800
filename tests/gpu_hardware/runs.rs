//! Runs: what goes in comes out, on one lane and on several, with and without graphs.

use std::time::{Duration, Instant};

use centerx::engine::{Engine, Lane};

use crate::network::{Echo, hardware, micros};

/// Fills the first `batch` pictures with bytes that are the same for a seed and never poison.
fn fill(lane: &mut dyn Lane, bytes: usize, seed: u64) {
    fastrand::Rng::with_seed(seed).fill(&mut lane.input()[..bytes]);
    lane.input()[0] = 1;
}

/// One run, byte for byte.
fn echo(lane: &mut dyn Lane, picture: usize, batch: usize, seed: u64) {
    fill(lane, batch * picture, seed);
    let sent = lane.input()[..batch * picture].to_vec();
    let rows = lane.infer(batch).unwrap();
    assert_eq!(rows.data.len(), sent.len());
    let wrong = rows.data.iter().zip(&sent).position(|(&value, &byte)| value != -f32::from(byte));
    assert_eq!(wrong, None, "batch {batch}, seed {seed}");
}

#[test]
fn every_batch_comes_back_as_it_went_in() {
    for graphs in [false, true] {
        let engine = Echo::new((64, 48), 8).engine(|setup| setup.graphs = graphs);
        let mut lane = engine.open_lane().unwrap();
        for round in 0..50 {
            for batch in 1..=8 {
                echo(&mut *lane, 64 * 48 * 3, batch, round * 8 + batch as u64);
            }
        }
    }
}

#[test]
fn lanes_side_by_side_do_not_mix() {
    let engine = Echo::new((128, 96), 16).engine(|setup| setup.lanes = 4);
    std::thread::scope(|scope| {
        for number in 0..4u64 {
            let engine = &engine;
            scope.spawn(move || {
                let mut lane = engine.open_lane().unwrap();
                for round in 0..500 {
                    let batch = 1 + ((round + number) % 16) as usize;
                    echo(&mut *lane, 128 * 96 * 3, batch, number << 32 | round);
                }
            });
        }
    });
}

/// Pictures a second of so many lanes.
fn speed(lanes: usize, graphs: bool, rounds: u32, batch: usize) -> f64 {
    let engine = Echo { rounds, ..Echo::new((512, 512), batch) }.engine(|setup| setup.graphs = graphs);
    let done = std::sync::atomic::AtomicUsize::new(0);
    let time = Duration::from_secs(1);
    let mut opened: Vec<_> = (0..lanes).map(|_| engine.open_lane().unwrap()).collect();
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for lane in &mut opened {
            let done = &done;
            scope.spawn(move || {
                while begun.elapsed() < time {
                    lane.infer(batch).unwrap();
                    done.fetch_add(batch, std::sync::atomic::Ordering::Relaxed);
                }
            });
        }
    });
    done.into_inner() as f64 / begun.elapsed().as_secs_f64()
}

#[test]
fn speed_with_one_lane_and_two_with_and_without_graphs() {
    // About as long as the copies take, and nothing to compute at all, which leaves what launching costs.
    for (rounds, batch) in [(0, 1), (400, 1), (400, 8)] {
        let mut all = Vec::new();
        let steps = micros(&["copy_in", "compute", "copy_out"], || {
            for (lanes, graphs) in [(1, false), (1, true), (2, false), (2, true)] {
                all.push((lanes, graphs, speed(lanes, graphs, rounds, batch)));
            }
        });
        println!("512x512, batch {batch}, rounds {rounds}: copy in, compute, copy out {steps:.0?} us");
        for (lanes, graphs, speed) in &all {
            println!("  {lanes} lanes, graphs {graphs}: {speed:.0} pictures/s, x{:.2}", speed / all[0].2);
        }
    }
    println!("utilization {:?}, memory {:?}", hardware().gpu.utilization(), hardware().gpu.memory());
}
