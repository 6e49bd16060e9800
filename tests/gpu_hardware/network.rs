//! A network of one kernel, and the GPU it runs on.

use std::ffi::{CStr, c_void};
use std::sync::{Arc, OnceLock};

use centerx::engine::check::Promise;
use centerx::engine::tensorrt::device::api::{DeviceAddress, StreamHandle};
use centerx::engine::tensorrt::device::cuda::Driver;
use centerx::engine::tensorrt::device::{
    DeviceError, Execution, ExecutionSource, Gpu, Metrics, Plan, PlanShape, Setup, TensorRtEngine,
};
use centerx::engine::tensorrt::preprocess::nvrtc::{Image, Nvrtc};
use cudarc::driver::{result, sys};
use prometheus::Registry;

/// Every value out is a byte in, negated, so that no row counts as a detection. Four bytes of 255 at the beginning make
/// it write where there is no memory. `rounds` make it slow.
const SOURCE: &CStr = cr#"
extern "C" __global__ void network(const unsigned char* in, float* out, unsigned count, unsigned rounds)
{
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count) return;
    unsigned spin = in[i];
    for (unsigned r = 0; r < rounds; ++r) spin = spin * 1664525u + 1013904223u;
    if (i == 0 && in[0] == 255 && in[1] == 255 && in[2] == 255 && in[3] == 255) *(volatile int*)16 = 1;
    out[i] = -(float)in[i] - (spin == 0x5eed5eedu && rounds == 0xffffffffu ? 1.0f : 0.0f);
}
"#;

/// What a lane puts in to spoil the context.
pub const POISON: [u8; 4] = [255; 4];

/// The first GPU, and where its times are.
pub struct Hardware {
    pub gpu: Arc<Gpu>,
    pub registry: Registry,
    pub image: Arc<Image>,
    pub kernel: Arc<Image>,
}

/// The first GPU. One of it a process, as in the server.
pub fn hardware() -> &'static Hardware {
    static HARDWARE: OnceLock<Hardware> = OnceLock::new();
    HARDWARE.get_or_init(|| {
        let device = Driver::load().expect("a driver").device(0).expect("a GPU").shared();
        println!("on {:?}", device.info());
        let capability = (device.info().capability.major, device.info().capability.minor);
        let nvrtc = Nvrtc::from_environment().expect("NVRTC: NVRTC_LIBRARY_DIR names its folder");
        println!("with {nvrtc:?}");
        let image = Arc::new(nvrtc.compile_source(SOURCE, capability).unwrap());
        let kernel = Arc::new(nvrtc.compile(capability).unwrap());
        let registry = Registry::new();
        let gpu = Gpu::new(device, Metrics::register(&registry).unwrap());
        Hardware { gpu, registry, image, kernel }
    })
}

/// Seconds and number of a step so far.
pub fn step(name: &str) -> (f64, u64) {
    let families = hardware().registry.gather();
    let family = families.iter().find(|family| family.name() == "centerx_gpu_step_seconds").unwrap();
    let metric = family.get_metric().iter().find(|metric| metric.get_label()[0].value() == name).unwrap();
    (metric.get_histogram().get_sample_sum(), metric.get_histogram().get_sample_count())
}

/// Microseconds a step took on average while `work` was done; none if it was not taken.
pub fn micros(names: &[&str], work: impl FnOnce()) -> Vec<f64> {
    let before: Vec<_> = names.iter().map(|name| step(name)).collect();
    work();
    let mean = |(name, (sum, count)): (&&str, &(f64, u64))| {
        let (now, times) = step(name);
        (now - sum) * 1e6 / (times - count) as f64
    };
    names.iter().zip(&before).map(mean).collect()
}

/// The plan of the network.
#[derive(Clone, Copy)]
pub struct Echo {
    pub input: (u32, u32),
    pub max_batch: usize,
    pub rounds: u32,
}

impl Echo {
    pub fn new(input: (u32, u32), max_batch: usize) -> Self {
        Self { input, max_batch, rounds: 0 }
    }

    fn top_k(&self) -> usize {
        (self.input.0 * self.input.1) as usize / 2
    }

    /// An engine of it on the first GPU.
    pub fn engine(self, change: impl FnOnce(&mut Setup)) -> TensorRtEngine {
        let promise = Promise { input: self.input, top_k: self.top_k() as u32, classes: 1 };
        let mut setup = Setup::new("echo", "a kernel", promise);
        change(&mut setup);
        TensorRtEngine::new(&[Arc::clone(&hardware().gpu)], Arc::new(self), setup).unwrap()
    }
}

impl Plan for Echo {
    fn shape(&self) -> PlanShape {
        let (top_k, values) = (self.top_k(), 6);
        PlanShape { input: self.input, top_k, values, max_batch: self.max_batch, optimum: self.max_batch }
    }

    fn load(&self) -> Result<Box<dyn ExecutionSource>, DeviceError> {
        let refuse = |error: result::DriverError| DeviceError::cuda("load", error.0 as u32, "refused");
        // SAFETY: NVRTC made it, and the context is the thread's.
        let module = unsafe { result::module::load_data(hardware().image.bytes().as_ptr().cast()) };
        let module = module.map_err(refuse)?;
        // SAFETY: it was just loaded.
        let function = unsafe { result::module::get_function(module, c"network".into()) }.map_err(refuse)?;
        Ok(Box::new(Module { module, function, plan: *self }))
    }
}

struct Module {
    module: sys::CUmodule,
    function: sys::CUfunction,
    plan: Echo,
}

// SAFETY: the driver takes its handles in any thread that the context is current in.
unsafe impl Send for Module {}
// SAFETY: as above.
unsafe impl Sync for Module {}

impl ExecutionSource for Module {
    fn open(&self, max_batch: usize) -> Result<Box<dyn Execution>, DeviceError> {
        let (function, plan) = (self.function, self.plan);
        Ok(Box::new(Run { function, plan, max_batch, input: 0, output: 0, batch: 0 }))
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        // SAFETY: no run is under way. In a spoiled context it fails, and goes with that.
        let _ = unsafe { result::module::unload(self.module) };
    }
}

struct Run {
    function: sys::CUfunction,
    plan: Echo,
    max_batch: usize,
    input: u64,
    output: u64,
    batch: usize,
}

// SAFETY: as for `Module`.
unsafe impl Send for Run {}

impl Execution for Run {
    unsafe fn bind(&mut self, input: DeviceAddress, output: DeviceAddress) -> Result<(), DeviceError> {
        (self.input, self.output) = (input.0, output.0);
        Ok(())
    }

    fn set_batch(&mut self, batch: usize) -> Result<(), DeviceError> {
        assert!((1..=self.max_batch).contains(&batch), "{batch} of {}", self.max_batch);
        self.batch = batch;
        Ok(())
    }

    unsafe fn enqueue(&mut self, stream: StreamHandle) -> Result<(), DeviceError> {
        let mut count = (self.batch * self.plan.shape().input_bytes()) as u32;
        let parameters: &mut [*mut c_void] = &mut [
            (&raw mut self.input).cast(),
            (&raw mut self.output).cast(),
            (&raw mut count).cast(),
            (&raw mut self.plan.rounds).cast(),
        ];
        let grid = (count.div_ceil(256), 1, 1);
        // SAFETY: the parameters are those of the kernel; the caller vouches for the memory.
        unsafe { result::launch_kernel(self.function, grid, (256, 1, 1), 0, stream.as_ptr(), parameters) }
            .map_err(|error| DeviceError::cuda("launch", error.0 as u32, "refused"))
    }
}
