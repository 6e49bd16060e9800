//! A device's context: there while someone works in it, thrown away when it is spoiled.
//!
//! All lanes on a device share its primary context, which is what TensorRT's own calls use as well. After a sticky
//! error every call in it fails, so every lane there fails, is given back by its thread, and is opened anew. The
//! last one to leave throws the context away; only then a new one is made. Until then opening is refused, and tried
//! again by the lane's thread: throwing the context away earlier would take memory from under the lanes that are
//! still there.

#![allow(unsafe_code)]

use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use super::api::{Device, DeviceInfo, MemoryInfo};
use super::error::{DeviceError, ErrorKind};
use super::metrics::Metrics;

/// A GPU and its present context, if any. One a device and process, shared by all models.
pub struct Gpu {
    device: Arc<dyn Device>,
    metrics: Metrics,
    present: Arc<Present>,
}

#[derive(Default)]
struct Present {
    state: Mutex<State>,
    closed: Condvar,
}

#[derive(Default)]
struct State {
    /// From retaining the context until it was released.
    open: bool,
    context: Weak<Retained>,
}

impl Present {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change is an assignment or two that cannot panic halfway.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gpu {
    /// A device nobody works on yet.
    pub fn new(device: Arc<dyn Device>, metrics: Metrics) -> Arc<Self> {
        Arc::new(Self { device, metrics, present: Arc::default() })
    }

    /// What is known of it.
    pub fn info(&self) -> &DeviceInfo {
        self.device.info()
    }

    /// Its context, for as long as the result is kept; a new one if there is none.
    ///
    /// # Errors
    /// No context can be made, or the present one is lost and still in use.
    pub fn retain(&self) -> Result<Arc<Retained>, DeviceError> {
        let mut state = self.present.lock();
        loop {
            if let Some(context) = state.context.upgrade() {
                // Before `context`, which may be the last and then takes the lock.
                drop(state);
                return context.still_good().map(|()| context);
            }
            if !state.open {
                break;
            }
            state = self.present.closed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        self.device.retain().inspect_err(|error| self.metrics.count_error(error.kind))?;
        let context = Arc::new(Retained {
            device: Arc::clone(&self.device),
            metrics: self.metrics.clone(),
            present: Arc::clone(&self.present),
            lost: OnceLock::new(),
        });
        *state = State { open: true, context: Arc::downgrade(&context) };
        Ok(context)
    }

    /// Its memory now; none while nobody works on it or its context is lost.
    pub fn memory(&self) -> Option<MemoryInfo> {
        let context = self.present.lock().context.upgrade()?;
        context.enter().and_then(Device::memory).ok()
    }

    /// The part of the last moments in which it computed, 0 to 1; none where that is not known.
    pub fn utilization(&self) -> Option<f64> {
        self.device.utilization()
    }
}

/// A device's context, kept.
pub struct Retained {
    device: Arc<dyn Device>,
    metrics: Metrics,
    present: Arc<Present>,
    lost: OnceLock<DeviceError>,
}

impl Retained {
    /// What is known of the device.
    pub fn info(&self) -> &DeviceInfo {
        self.device.info()
    }

    /// Where errors and times of the device are counted.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Makes the context the calling thread's. Comes before everything that is done in it.
    ///
    /// # Errors
    /// It is lost.
    pub fn enter(&self) -> Result<&dyn Device, DeviceError> {
        self.still_good()?;
        self.check(self.device.make_current())?;
        Ok(&*self.device)
    }

    /// Counts an error and loses the context to a sticky one. For the result of everything done in it.
    ///
    /// # Errors
    /// That of `result`.
    pub fn check<T>(&self, result: Result<T, DeviceError>) -> Result<T, DeviceError> {
        result.inspect_err(|error| {
            self.metrics.count_error(error.kind);
            if error.kind == ErrorKind::Sticky {
                self.lose(error);
            }
        })
    }

    /// From now on nothing is done in the context any more, not even freeing: its end frees everything.
    pub fn lose(&self, cause: &DeviceError) {
        if self.lost.set(cause.clone()).is_ok() {
            let DeviceInfo { index, name, .. } = self.info();
            tracing::error!("GPU {index} ({name}) has lost its context: {cause}; it gets a new one");
        }
    }

    /// Whether the context is spoiled.
    pub fn is_lost(&self) -> bool {
        self.lost.get().is_some()
    }

    fn still_good(&self) -> Result<(), DeviceError> {
        let Some(cause) = self.lost.get() else { return Ok(()) };
        let message = format!(
            "{}; its context is lost, and a new one is made when all lanes have left it",
            cause.message
        );
        Err(DeviceError { kind: ErrorKind::Sticky, call: cause.call, message })
    }

    /// Frees something by `free`, unless the context is lost and frees it with its end.
    pub(super) fn dispose(&self, free: impl FnOnce(&dyn Device) -> Result<(), DeviceError>) {
        let freed = self.enter().and_then(|device| self.check(free(device)));
        if let Err(error) = freed.as_ref().map_err(|error| error.to_string()) {
            tracing::debug!("freed with the context only: {error}");
        }
    }

    /// Makes the context the thread's although it may be lost: for what has to be dropped in it.
    pub(super) fn enter_anyway(&self) -> &dyn Device {
        if let Err(error) = self.device.make_current() {
            tracing::debug!("something is dropped outside its context: {error}");
        }
        &*self.device
    }
}

impl Drop for Retained {
    fn drop(&mut self) {
        let mut state = self.present.lock();
        // SAFETY: everything made in the context keeps this alive, so nothing is left; a lost context's handles
        // and memory are forgotten by their owners, which are gone as well.
        let ended = unsafe {
            let reset = if self.is_lost() { self.device.reset() } else { Ok(()) };
            reset.and(self.device.release())
        };
        if let Err(error) = ended {
            tracing::warn!("GPU {} does not let its context go: {error}", self.info().index);
        }
        state.open = false;
        drop(state);
        self.present.closed.notify_all();
    }
}
