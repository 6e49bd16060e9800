//! A compiled model on one or several GPUs.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use crate::engine::check::{Promise, check};
use crate::engine::tensorrt::preprocess::nvrtc::Image;
use crate::engine::{Engine, EngineError, Lane, Limits};

use super::api::{Plan, PlanShape};
use super::context::Gpu;
use super::error::{DeviceError, ErrorKind};
use super::lane::{GpuLane, LaneSetup, Room};
use super::loaded::Loaded;

/// Lanes a device: one copies while the other computes. More only take memory.
pub const LANES: usize = 2;

/// How long to wait for a preferred batch. A GPU's run of a larger batch takes little longer, so that waiting for a
/// camera or two pays; a frame is never older for it than a display shows it.
pub const MAX_QUEUE_DELAY: Duration = Duration::from_millis(4);

/// How a model is run.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The model's name, for messages.
    pub name: String,
    /// The engine's name and version, such as `tensorrt 11.4.0 on NVIDIA L4`.
    pub description: String,
    /// What the model's metadata promise.
    pub promise: Promise,
    /// Lanes a device.
    pub lanes: usize,
    /// How long to wait for a preferred batch.
    pub max_queue_delay: Duration,
    /// Whether runs are captured as CUDA graphs.
    pub graphs: bool,
    /// The preprocessing, compiled for the devices' compute capability; none where the CPU does it.
    pub kernel: Option<Arc<Image>>,
}

impl Setup {
    /// The usual: [`LANES`] lanes a device, [`MAX_QUEUE_DELAY`], CUDA graphs, preprocessing on the CPU.
    pub fn new(name: impl Into<String>, description: impl Into<String>, promise: Promise) -> Self {
        let (name, description) = (name.into(), description.into());
        let (lanes, max_queue_delay) = (LANES, MAX_QUEUE_DELAY);
        Self { name, description, promise, lanes, max_queue_delay, graphs: true, kernel: None }
    }
}

/// A compiled model on GPUs.
///
/// Lanes are spread evenly: each is opened on the device that has the fewest. They pull their work, so load follows
/// speed by itself. A lane that is opened anew comes back to the device it left, since that has the fewest then.
pub struct TensorRtEngine {
    setup: Setup,
    plan: Arc<dyn Plan>,
    shape: PlanShape,
    places: Vec<Arc<Place>>,
    /// Held while a lane's device is chosen.
    choosing: Mutex<()>,
}

/// A device, with what this model has there.
struct Place {
    gpu: Arc<Gpu>,
    room: Room,
    lanes: AtomicUsize,
    loaded: Mutex<Weak<Loaded>>,
}

/// One lane's place on a device, let go with the lane.
struct Seat(Arc<Place>);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.lanes.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Place {
    /// The plan's weights and the kernel here: those that are in use if any are.
    fn load(&self, plan: &dyn Plan, kernel: Option<&Image>) -> Result<Arc<Loaded>, DeviceError> {
        let context = self.gpu.retain()?;
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(loaded) = loaded.upgrade().filter(|loaded| Arc::ptr_eq(loaded.context(), &context)) {
            return Ok(loaded);
        }
        let anew = Arc::new(Loaded::new(plan, kernel, context)?);
        *loaded = Arc::downgrade(&anew);
        Ok(anew)
    }
}

impl TensorRtEngine {
    /// `plan` on each of `gpus`. Nothing is done there before a lane is opened.
    ///
    /// # Errors
    /// No GPU, or a plan that is not what the model's metadata promise.
    pub fn new(gpus: &[Arc<Gpu>], plan: Arc<dyn Plan>, setup: Setup) -> Result<Self, EngineError> {
        let shape = plan.shape();
        let problem =
            if gpus.is_empty() { Some("no GPU to run it on".into()) } else { mismatch(shape, setup.promise) };
        if let Some(cause) = problem {
            return Err(EngineError::Load { model: setup.name, cause });
        }
        let place = |gpu: &Arc<Gpu>| {
            let (room, lanes) = (Room::new(shape.max_batch), AtomicUsize::new(0));
            Arc::new(Place { gpu: Arc::clone(gpu), room, lanes, loaded: Mutex::default() })
        };
        let places = gpus.iter().map(place).collect();
        Ok(Self { setup, plan, shape, places, choosing: Mutex::default() })
    }

    /// Lanes open on each device, in their order.
    pub fn lanes(&self) -> Vec<usize> {
        self.places.iter().map(|place| place.lanes.load(Ordering::Relaxed)).collect()
    }

    /// Takes a seat on the device with the fewest lanes.
    fn take_seat(&self) -> Option<Arc<Seat>> {
        let _alone = self.choosing.lock().unwrap_or_else(PoisonError::into_inner);
        let place = self.places.iter().min_by_key(|place| place.lanes.load(Ordering::Relaxed))?;
        place.lanes.fetch_add(1, Ordering::Relaxed);
        Some(Arc::new(Seat(Arc::clone(place))))
    }

    /// A warm lane for as large a batch as there is memory for.
    fn open_on(&self, seat: &Arc<Seat>) -> Result<GpuLane, DeviceError> {
        let place = &seat.0;
        loop {
            let tried = place.room.get();
            let error = match self.try_on(seat) {
                Err(error) if error.kind == ErrorKind::OutOfMemory && tried > 1 => error,
                done => return done,
            };
            let (gpu, room) = (place.gpu.info().index, place.room.halve(tried));
            tracing::warn!(
                gpu,
                "too little memory for batches of {tried}, {room} at a time is tried: {error}"
            );
        }
    }

    fn try_on(&self, seat: &Arc<Seat>) -> Result<GpuLane, DeviceError> {
        let Place { room, .. } = &*seat.0;
        let loaded = seat.0.load(&*self.plan, self.setup.kernel.as_deref())?;
        let (seat, room) = (Box::new(Arc::clone(seat)), room.clone());
        let setup = LaneSetup { shape: self.shape, room, graphs: self.setup.graphs, seat };
        let mut lane = GpuLane::open(loaded, setup)?;
        lane.warm_up()?;
        Ok(lane)
    }

    /// Why a lane does not open, with the cure.
    fn refuse(&self, gpu: &Gpu, error: &DeviceError) -> EngineError {
        let cure = match error.kind {
            ErrorKind::OutOfMemory => "; free memory there, or give it fewer models or lanes",
            ErrorKind::Sticky => "; if that goes on, restart the server",
            ErrorKind::Other => "",
        };
        let info = gpu.info();
        let cause = format!("GPU {} ({}): {error}{cure}", info.index, info.name);
        EngineError::Load { model: self.setup.name.clone(), cause }
    }
}

/// How a plan differs from what the model's metadata promise.
fn mismatch(shape: PlanShape, promise: Promise) -> Option<String> {
    let PlanShape { input, top_k, values, max_batch, optimum } = shape;
    if input != promise.input {
        let ((w, h), (width, height)) = (input, promise.input);
        return Some(format!(
            "the plan takes pictures of {w}x{h}, and its metadata tell of {width}x{height}"
        ));
    }
    if top_k != promise.top_k as usize {
        return Some(format!(
            "the plan gives {top_k} detections a picture, and its metadata tell of {}",
            promise.top_k
        ));
    }
    if values < 6 {
        return Some(format!("the plan gives {values} numbers a detection, and 6 are the least"));
    }
    (max_batch == 0 || optimum == 0 || optimum > max_batch)
        .then(|| format!("the plan's profile is for {optimum} pictures of at most {max_batch}"))
}

impl Engine for TensorRtEngine {
    fn description(&self) -> String {
        self.setup.description.clone()
    }

    /// What the plan's profile says; less once the devices turned out to have too little memory for it.
    fn limits(&self) -> Limits {
        let max_batch = self.places.iter().map(|place| place.room.get()).max().unwrap_or(1);
        Limits {
            max_batch,
            preferred_batch: self.shape.optimum.min(max_batch),
            max_queue_delay: self.setup.max_queue_delay,
            lanes: self.setup.lanes * self.places.len(),
        }
    }

    fn open_lane(&self) -> Result<Box<dyn Lane>, EngineError> {
        let no_gpu =
            || EngineError::Load { model: self.setup.name.clone(), cause: "no GPU to run it on".into() };
        let seat = self.take_seat().ok_or_else(no_gpu)?;
        let mut lane = self.open_on(&seat).map_err(|error| self.refuse(&seat.0.gpu, &error))?;
        check(&self.setup.name, &mut lane, self.setup.promise)?;
        Ok(Box::new(lane))
    }
}
