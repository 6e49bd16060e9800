//! Whether this machine can run TensorRT, asked step by step: driver, device, library, version, plan.
//!
//! Each step is asked only if the one before was well, so that what is told is the cause and not one of its
//! consequences. Whatever step fails, the server can go on on the CPU.

use std::fmt;

use super::api::DeviceInfo;
use super::cuda::{Driver, NoDriver};

/// What has to be well, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// NVIDIA's driver is there and starts.
    Driver,
    /// It shows a GPU.
    Device,
    /// TensorRT's library is there and loads.
    Library,
    /// It is of a version this server knows.
    Version,
    /// It takes the plan, or can make it.
    Plan,
}

impl Step {
    /// In their order.
    pub const ALL: [Self; 5] = [Self::Driver, Self::Device, Self::Library, Self::Version, Self::Plan];

    /// Its name in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Driver => "driver",
            Self::Device => "device",
            Self::Library => "library",
            Self::Version => "version",
            Self::Plan => "plan",
        }
    }
}

/// What is wrong and what helps, as parts of a sentence: `no NVIDIA driver (...)`, `Install it`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What is wrong.
    pub cause: String,
    /// What helps.
    pub cure: String,
}

impl Trouble {
    /// Both.
    pub fn new(cause: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { cause: cause.into(), cure: cure.into() }
    }

    /// What a failed step is told as.
    pub fn at(self, step: Step) -> Unavailable {
        Unavailable { step, cause: self.cause, cure: self.cure }
    }
}

/// Why TensorRT cannot be used here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unavailable {
    /// The first step that failed.
    pub step: Step,
    /// What is wrong.
    pub cause: String,
    /// What helps.
    pub cure: String,
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { step, cause, cure } = self;
        write!(f, "TensorRT cannot be used ({}): {cause}. {cure}", step.as_str())
    }
}

impl std::error::Error for Unavailable {}

/// How each step is taken. Each may rely on those before it.
pub trait Steps {
    /// A loaded library.
    type Library;

    /// Finds the driver.
    ///
    /// # Errors
    /// What is wrong with it.
    fn driver(&mut self) -> Result<(), Trouble>;

    /// Finds the devices.
    ///
    /// # Errors
    /// What the driver says instead.
    fn devices(&mut self) -> Result<Vec<DeviceInfo>, Trouble>;

    /// Loads TensorRT and looks at its version.
    ///
    /// # Errors
    /// Which of the two failed, and what helps.
    fn library(&mut self, devices: &[DeviceInfo]) -> Result<Self::Library, Unavailable>;
}

/// Takes the steps in their order, up to the first that fails; gives the devices, one at least, and the library. What is
/// left is each model's own: its plan.
///
/// # Errors
/// Which step failed, and what helps.
pub fn start_up<S: Steps>(steps: &mut S) -> Result<(Vec<DeviceInfo>, S::Library), Unavailable> {
    steps.driver().map_err(|trouble| trouble.at(Step::Driver))?;
    let devices = steps.devices().and_then(some_device).map_err(|trouble| trouble.at(Step::Device))?;
    let library = steps.library(&devices)?;
    Ok((devices, library))
}

fn some_device(devices: Vec<DeviceInfo>) -> Result<Vec<DeviceInfo>, Trouble> {
    if devices.is_empty() {
        return Err(Trouble::new(
            "the NVIDIA driver shows no GPU",
            "See whether nvidia-smi lists one, give the container its GPUs (--gpus all), look at CUDA_VISIBLE_DEVICES",
        ));
    }
    Ok(devices)
}

/// Loads the driver.
///
/// # Errors
/// What is wrong with it, and what helps.
pub fn driver() -> Result<Driver, Trouble> {
    Driver::load().map_err(no_driver)
}

fn no_driver(why: NoDriver) -> Trouble {
    match why {
        NoDriver::Missing => Trouble::new(
            "no NVIDIA driver (libcuda.so.1 is not there)",
            "Install NVIDIA's driver, in a container run it with NVIDIA's container toolkit (--gpus all)",
        ),
        NoDriver::Old(version) => Trouble::new(
            format!("the NVIDIA driver is for CUDA {version}, and CUDA 12.0 is the least"),
            "Update NVIDIA's driver to 525.60.13 or newer",
        ),
        NoDriver::Fails(error) if error.message.starts_with("CUDA_ERROR_NO_DEVICE") => Trouble::new(
            format!("the NVIDIA driver finds no GPU ({error})"),
            "See whether nvidia-smi lists one, look at CUDA_VISIBLE_DEVICES",
        ),
        NoDriver::Fails(error) => Trouble::new(
            format!("the NVIDIA driver does not start ({error})"),
            "See whether nvidia-smi works, restart the machine after an update of the driver",
        ),
    }
}

/// The devices the driver shows.
///
/// # Errors
/// What it says instead, and what helps.
pub fn devices(driver: &Driver) -> Result<Vec<DeviceInfo>, Trouble> {
    let all = driver.devices().and_then(|count| {
        use super::api::Device;
        (0..count).map(|index| driver.device(index).map(|device| device.info().clone())).collect()
    });
    all.map_err(|error| {
        Trouble::new(format!("a GPU cannot be used ({error})"), "See whether nvidia-smi lists it")
    })
}

/// One of the devices, to be worked on.
///
/// # Errors
/// What the driver says instead, and what helps.
pub fn open(driver: &Driver, info: &DeviceInfo) -> Result<std::sync::Arc<dyn super::api::Device>, Trouble> {
    let device = driver.device(info.index).map(super::cuda::CudaDevice::shared);
    device.map_err(|error| {
        let name = &info.name;
        Trouble::new(format!("the GPU {name} cannot be used ({error})"), "See whether nvidia-smi lists it")
    })
}

#[cfg(test)]
mod tests {
    use super::super::api::{Capability, Device};
    use super::super::error::DeviceError;
    use super::super::fake::FakeGpu;
    use super::*;

    /// Fails at one step and writes down which were taken.
    struct Scripted {
        fails: Option<Step>,
        taken: Vec<Step>,
        devices: usize,
    }

    impl Scripted {
        fn take(&mut self, step: Step) -> Result<(), Trouble> {
            self.taken.push(step);
            if self.fails == Some(step) {
                return Err(Trouble::new(format!("the {} is bad", step.as_str()), "Mend it"));
            }
            Ok(())
        }
    }

    impl Steps for Scripted {
        type Library = &'static str;

        fn driver(&mut self) -> Result<(), Trouble> {
            self.take(Step::Driver)
        }

        fn devices(&mut self) -> Result<Vec<DeviceInfo>, Trouble> {
            self.take(Step::Device)?;
            Ok((0..self.devices).map(|index| FakeGpu::new(index, 1).info().clone()).collect())
        }

        fn library(&mut self, _: &[DeviceInfo]) -> Result<&'static str, Unavailable> {
            self.take(Step::Library).map_err(|trouble| trouble.at(Step::Library))?;
            self.take(Step::Version).map_err(|trouble| trouble.at(Step::Version))?;
            Ok("library")
        }
    }

    const TAKEN: [Step; 4] = [Step::Driver, Step::Device, Step::Library, Step::Version];

    #[test]
    fn the_first_step_that_fails_is_told_and_no_later_one_taken() {
        for (index, step) in TAKEN.into_iter().enumerate() {
            let mut steps = Scripted { fails: Some(step), taken: vec![], devices: 1 };
            let error = start_up(&mut steps).unwrap_err();
            assert_eq!(error.step, step);
            assert_eq!(steps.taken, TAKEN[..=index]);
            let step = step.as_str();
            let words = format!("TensorRT cannot be used ({step}): the {step} is bad. Mend it");
            assert_eq!(error.to_string(), words);
        }
    }

    #[test]
    fn with_all_well_everything_is_handed_out() {
        let mut steps = Scripted { fails: None, taken: vec![], devices: 2 };
        let (devices, library) = start_up(&mut steps).unwrap();
        assert_eq!((devices.len(), library), (2, "library"));
        assert_eq!(devices[1].capability, Capability { major: 8, minor: 9 });
        assert_eq!(steps.taken, TAKEN);
    }

    #[test]
    fn a_driver_without_a_device_fails_at_the_device() {
        let mut steps = Scripted { fails: None, taken: vec![], devices: 0 };
        let error = start_up(&mut steps).unwrap_err();
        assert_eq!(error.step, Step::Device);
        assert!(error.to_string().contains("shows no GPU"), "{error}");
        assert_eq!(steps.taken, [Step::Driver, Step::Device]);
    }

    #[test]
    fn each_trouble_with_a_driver_has_its_cause_and_cure() {
        let told = |why| no_driver(why).at(Step::Driver).to_string();
        let missing = told(NoDriver::Missing);
        assert!(missing.contains("libcuda.so.1 is not there"), "{missing}");
        assert!(missing.contains("Install NVIDIA's driver"), "{missing}");
        assert!(told(NoDriver::Old("11.4".into())).contains("is for CUDA 11.4, and CUDA 12.0 is the least"));
        let fails = |code, name| told(NoDriver::Fails(DeviceError::cuda("cuInit", code, name)));
        assert!(
            fails(100, "CUDA_ERROR_NO_DEVICE")
                .contains("finds no GPU (cuInit failed: CUDA_ERROR_NO_DEVICE (100))")
        );
        assert!(fails(803, "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH").contains("restart the machine"));
    }

    /// The driver and device steps on this machine.
    fn probe() -> Result<Vec<DeviceInfo>, Unavailable> {
        let driver = driver().map_err(|trouble| trouble.at(Step::Driver))?;
        devices(&driver).and_then(some_device).map_err(|trouble| trouble.at(Step::Device))
    }

    #[test]
    fn this_machine_is_probed_without_harm() {
        // With a driver or without: an answer, and one that names its step.
        match probe() {
            Ok(devices) => assert!(!devices.is_empty()),
            Err(error) => assert!(
                error.step <= Step::Device && error.to_string().contains("TensorRT cannot be used"),
                "{error}"
            ),
        }
    }
}
