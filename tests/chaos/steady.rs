//! An engine that takes the same time for every picture, as a GPU does, and no processor: then the age of
//! detections tells of everything but the engine.

use std::sync::mpsc::sync_channel;
use std::time::Duration;

use centerx::app::LoadedModel;
use centerx::detection::ModelInfo;
use centerx::engine::{Engine, EngineError, Lane, Limits, Rows};

/// One box with its score and class, in a picture of 64x64.
const PERSON: [f32; 6] = [8.0, 8.0, 16.0, 16.0, 0.9, 0.0];
const SIDE: u32 = 64;

/// Takes `time` for each picture, in so many lanes.
pub struct Steady {
    pub time: Duration,
    pub lanes: usize,
}

impl Steady {
    /// The model `coco` on this engine.
    pub fn model(self) -> LoadedModel {
        let info = ModelInfo {
            name: "coco".into(),
            family: "ttf".into(),
            classes: vec!["person".into()],
            input_width: SIDE,
            input_height: SIDE,
            top_k: 1,
            engine: "steady".into(),
            ..Default::default()
        };
        LoadedModel { info, engine: Box::new(self) }
    }
}

impl Engine for Steady {
    fn description(&self) -> String {
        "steady".into()
    }

    fn limits(&self) -> Limits {
        Limits { max_batch: 1, preferred_batch: 1, max_queue_delay: Duration::ZERO, lanes: self.lanes }
    }

    fn open_lane(&self) -> Result<Box<dyn Lane>, EngineError> {
        Ok(Box::new(SteadyLane { time: self.time, input: vec![0; (SIDE * SIDE * 3) as usize] }))
    }
}

struct SteadyLane {
    time: Duration,
    input: Vec<u8>,
}

impl Lane for SteadyLane {
    fn input(&mut self) -> &mut [u8] {
        &mut self.input
    }

    fn infer(&mut self, _batch: usize) -> Result<Rows<'_>, EngineError> {
        // Nobody sends: the time is what the receiver waits.
        let (_never, time) = sync_channel::<()>(0);
        let _ = time.recv_timeout(self.time);
        Ok(Rows { data: &PERSON, values: PERSON.len(), top_k: 1 })
    }
}
