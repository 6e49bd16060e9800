//! What goes wrong: memory that runs out, a context that is spoiled, and lanes opened a thousand times.

use std::sync::Arc;

use centerx::engine::tensorrt::device::api::MemoryInfo;
use centerx::engine::{Engine, EngineError, Lane};

use crate::network::{Echo, POISON, hardware};

const PICTURE: usize = 64 * 48 * 3;

fn works(lane: &mut dyn Lane) {
    lane.input()[..PICTURE].fill(7);
    assert!(lane.infer(1).unwrap().data.iter().all(|&value| value == -7.0));
}

fn memory() -> MemoryInfo {
    // Nobody else works on it: somebody has to, for it to be asked.
    let context = hardware().gpu.retain().unwrap();
    let memory = context.enter().unwrap().memory().unwrap();
    drop(context);
    memory
}

#[test]
fn a_thousand_openings_leave_no_memory_behind() {
    // With a context of its own that stays, as other models' lanes make it stay in a server.
    let _stays = hardware().gpu.retain().unwrap();
    let engine = Echo::new((64, 48), 8).engine(|setup| setup.kernel = Some(Arc::clone(&hardware().kernel)));
    works(&mut *engine.open_lane().unwrap());
    let before = memory();
    for _ in 0..1000 {
        works(&mut *engine.open_lane().unwrap());
    }
    let after = memory();
    println!("free before {} and after {}", before.free, after.free);
    assert!(before.free.abs_diff(after.free) <= 4 << 20, "{before:?} {after:?}");
}

#[test]
fn contexts_come_and_go() {
    let engine = Echo::new((64, 48), 8).engine(|_| ());
    let begun = std::time::Instant::now();
    for _ in 0..20 {
        works(&mut *engine.open_lane().unwrap());
    }
    println!("a context and a lane in it: {:?}", begun.elapsed() / 20);
}

#[test]
fn too_little_memory_makes_smaller_pieces() {
    let gpu = &hardware().gpu;
    let context = gpu.retain().unwrap();
    let device = context.enter().unwrap();
    let free = device.memory().unwrap().free as usize;
    // What is left is for two pictures of eight, each 12 MB in and 48 MB out.
    let hog = device.alloc_device(free - (200 << 20)).unwrap();
    let engine = Echo::new((2048, 2048), 8).engine(|_| ());
    let mut lane = engine.open_lane().unwrap();
    let fits = engine.limits().max_batch;
    println!("room for {fits} of 8");
    assert!((1..8).contains(&fits));
    for (index, byte) in lane.input().iter_mut().enumerate() {
        *byte = (index % 251) as u8;
    }
    let rows = lane.infer(8).unwrap();
    assert!(rows.data.iter().enumerate().all(|(index, &value)| value == -((index % 251) as f32)));
    drop(lane);
    // SAFETY: nobody uses it.
    unsafe { context.enter().unwrap().free_device(hog) }.unwrap();
}

#[test]
fn a_spoiled_context_is_replaced_when_its_last_lane_has_left() {
    for graphs in [false, true] {
        for round in 0..3 {
            let engine = Echo::new((64, 48), 8).engine(|setup| setup.graphs = graphs);
            let (mut one, mut other) = (engine.open_lane().unwrap(), engine.open_lane().unwrap());
            works(&mut *one);
            works(&mut *other);
            one.input()[..4].copy_from_slice(&POISON);
            let told = one.infer(1).unwrap_err().to_string();
            if round == 0 {
                println!("{told}");
            }
            assert!(told.contains("ILLEGAL_ADDRESS") && told.contains("opened anew"), "{told}");
            // The other one's context is the same.
            let beside = other.infer(1).unwrap_err().to_string();
            assert!(beside.contains("broke down"), "{beside}");
            let refused = engine.open_lane().err().map(|error: EngineError| error.to_string()).unwrap();
            assert!(refused.contains("context is lost"), "{refused}");
            drop(one);
            drop(other);
            works(&mut *engine.open_lane().unwrap());
        }
    }
}
