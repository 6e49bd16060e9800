//! The steps to TensorRT on this machine: driver, devices, library.

use crate::engine::flavour::Flavour;
use crate::engine::gpu::Settings;
use crate::engine::tensorrt::device::DeviceInfo;
use crate::engine::tensorrt::device::cuda::Driver;
use crate::engine::tensorrt::device::startup::{self, Step, Steps, Trouble, Unavailable};
use crate::engine::tensorrt::{TensorRt, TensorRtError};

/// TensorRT as `settings` say: the flavour they name, or the first that loads.
///
/// # Errors
/// Why none does.
pub fn load_library(settings: &Settings) -> Result<TensorRt, TensorRtError> {
    let folder = settings.library_dir.as_deref();
    let wanted = match settings.library {
        Some(flavour) => vec![flavour],
        None => Flavour::ALL.to_vec(),
    };
    let mut first_error = None;
    for flavour in wanted {
        match TensorRt::load(flavour, folder) {
            Ok(tensorrt) => return Ok(tensorrt),
            // One that was not built is no news where the other one is missing.
            Err(TensorRtError::NotBuilt(_)) if first_error.is_some() => {}
            Err(error) => {
                let told = first_error.take().filter(|told| !matches!(told, TensorRtError::NotBuilt(_)));
                first_error = Some(told.unwrap_or(error));
            }
        }
    }
    Err(first_error.unwrap_or(TensorRtError::NotBuilt(Flavour::Enterprise)))
}

/// The steps on this machine, as settings say.
pub(super) struct Here<'a> {
    /// The settings.
    pub settings: &'a Settings,
    /// The driver, once it was found.
    pub driver: Option<Driver>,
}

impl Steps for Here<'_> {
    type Library = TensorRt;

    fn driver(&mut self) -> Result<(), Trouble> {
        self.driver = Some(startup::driver()?);
        Ok(())
    }

    fn devices(&mut self) -> Result<Vec<DeviceInfo>, Trouble> {
        let all = self.driver.as_ref().map_or_else(|| Ok(Vec::new()), startup::devices)?;
        chosen(all, &self.settings.devices)
    }

    fn library(&mut self, _: &[DeviceInfo]) -> Result<TensorRt, Unavailable> {
        load_library(self.settings).map_err(|error| {
            let step = match error {
                TensorRtError::WrongFlavour { .. } | TensorRtError::Version { .. } => Step::Version,
                _ => Step::Library,
            };
            in_words(&error).at(step)
        })
    }
}

/// Those of the devices that are `wanted`, all if none is said. Those that cannot run the same plan as the first are left
/// out, which is said.
fn chosen(all: Vec<DeviceInfo>, wanted: &[usize]) -> Result<Vec<DeviceInfo>, Trouble> {
    if let Some(missing) = wanted.iter().find(|wanted| all.iter().all(|info| info.index != **wanted)) {
        let cause = format!("[tensorrt] devices names GPU {missing}, and the driver shows {}", all.len());
        return Err(Trouble::new(cause, "Number them from 0, as nvidia-smi lists them"));
    }
    let mut chosen: Vec<_> =
        all.into_iter().filter(|info| wanted.is_empty() || wanted.contains(&info.index)).collect();
    let Some(capability) = chosen.first().map(|info| info.capability) else { return Ok(chosen) };
    chosen.retain(|info| {
        let same = info.capability == capability;
        if !same {
            tracing::warn!(
                gpu = info.index,
                "not used: its compute capability is {}, that of the others is {capability}; run a server of its own \
                 on it, with [tensorrt] devices",
                info.capability
            );
        }
        same
    });
    Ok(chosen)
}

/// An error that names its own cure behind a semicolon.
pub(super) fn in_words(error: &dyn std::error::Error) -> Trouble {
    let text = error.to_string();
    let (cause, cure) = text.split_once("; ").unwrap_or((&text, "See docs/gpu.md"));
    Trouble::new(cause, cure)
}

#[cfg(test)]
mod tests {
    use super::super::NotOnGpu;
    use super::*;
    use crate::engine::flavour::Capability;

    fn device(index: usize, major: u8) -> DeviceInfo {
        let capability = Capability { major, minor: 0 };
        DeviceInfo { index, name: "GPU".into(), capability, memory: 1 << 30, bus: String::new() }
    }

    #[test]
    fn the_devices_that_are_wanted_and_alike_are_chosen() {
        let all = || vec![device(0, 8), device(1, 8), device(2, 9)];
        let indices = |wanted: &[usize]| {
            chosen(all(), wanted).unwrap().iter().map(|info| info.index).collect::<Vec<_>>()
        };
        assert_eq!(indices(&[]), [0, 1], "the third cannot run their plan");
        assert_eq!(indices(&[1]), [1]);
        assert_eq!(indices(&[2]), [2]);
        let error = chosen(all(), &[0, 7]).unwrap_err();
        assert!(error.cause.contains("names GPU 7, and the driver shows 3"), "{}", error.cause);
        assert!(chosen(Vec::new(), &[]).unwrap().is_empty());
    }

    #[test]
    fn an_error_that_names_its_cure_is_told_as_both() {
        let error = TensorRtError::NotBuilt(Flavour::Rtx);
        let trouble = in_words(&error);
        assert_eq!(trouble.cause, "this centerx was built without TensorRT-RTX");
        assert!(trouble.cure.starts_with("build it with the headers"), "{}", trouble.cure);
    }

    #[test]
    fn only_a_missing_driver_is_usual() {
        let reason = |step| NotOnGpu::from(Trouble::new("a", "b").at(step));
        assert!(reason(Step::Driver).usual && !reason(Step::Library).usual && !reason(Step::Plan).usual);
    }
}
