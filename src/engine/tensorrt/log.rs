//! What TensorRT says. It tells why something failed in its log alone, so that is where errors get their cause from.

#![allow(unsafe_code)]

use std::cell::RefCell;
use std::ffi::{CStr, c_char, c_void};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::engine::flavour::Flavour;

/// Stands in what is said when there is no CUDA to clean up with.
const CLEAN_UP: &str = "catchCudaError";

/// An error line, and when it came: lines are counted, over all logs.
#[derive(Clone, Debug)]
struct Line {
    number: u64,
    text: String,
}

/// The last error line, and the last one of those of [`CLEAN_UP`], which come after the cause where there is no driver.
#[derive(Clone, Debug)]
struct Last {
    cause: Line,
    clean_up: Line,
}

impl Last {
    const NONE: Self = {
        const NONE: Line = Line { number: 0, text: String::new() };
        Self { cause: NONE, clean_up: NONE }
    };

    fn keep(&mut self, number: u64, text: &str) {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let (clean_up, cause): (Vec<_>, Vec<_>) = lines.partition(|line| line.contains(CLEAN_UP));
        if cause.is_empty() {
            self.clean_up = Line { number, text: clean_up.join("; ") };
        } else {
            self.cause = Line { number, text: cause.join("; ") };
        }
    }
}

static LINES: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// What was last heard on this thread, most likely the cause of what fails here.
    static OWN: RefCell<Last> = const { RefCell::new(Last::NONE) };
}

/// Hears TensorRT's lines. There is one a flavour for the life of the process, as TensorRT keeps the first logger it
/// is given for as long as it has any object.
#[derive(Debug)]
pub(super) struct Log {
    flavour: Flavour,
    last: Mutex<Last>,
}

impl Log {
    pub(super) const fn new(flavour: Flavour) -> Self {
        Self { flavour, last: Mutex::new(Last::NONE) }
    }

    /// Begins something that may fail.
    pub(super) fn attempt(&'static self) -> Attempt {
        Attempt { log: self, since: LINES.load(Ordering::SeqCst) }
    }

    fn hear(&self, severity: i32, line: &str) {
        let flavour = self.flavour.product();
        match severity {
            ..=1 if line.contains(CLEAN_UP) => tracing::debug!("{flavour}: {line}"),
            // What fails because of it is told as an error once more.
            ..=1 => tracing::warn!("{flavour}: {line}"),
            2 => tracing::info!("{flavour}: {line}"),
            3 => tracing::debug!("{flavour}: {line}"),
            _ => tracing::trace!("{flavour}: {line}"),
        }
        if severity <= 1 && !line.trim().is_empty() {
            self.keep(line);
        }
    }

    fn keep(&self, text: &str) {
        let number = LINES.fetch_add(1, Ordering::SeqCst) + 1;
        // A thread that ends may log when its own storage is gone already.
        let _ = OWN.try_with(|own| own.borrow_mut().keep(number, text));
        self.last.lock().unwrap_or_else(PoisonError::into_inner).keep(number, text);
    }
}

/// Something that may fail has begun.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attempt {
    log: &'static Log,
    since: u64,
}

impl Attempt {
    /// The last error line since: of this thread, or else of any.
    pub(super) fn cause(self) -> String {
        let own = OWN.with(|own| own.borrow().clone());
        let any = self.log.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let lines = [own.cause, any.cause, own.clean_up, any.clean_up];
        let line = lines.into_iter().find(|line| line.number > self.since);
        line.map_or_else(|| "TensorRT did not say why".to_owned(), |line| line.text)
    }
}

/// What the shim's logger calls.
///
/// # Safety
/// `user` is null or a [`Log`] that lives for ever, `text` is null or a string that ends with a zero.
pub(super) unsafe extern "C" fn hear(user: *mut c_void, severity: i32, text: *const c_char) {
    if user.is_null() || text.is_null() || (severity > 3 && !tracing::enabled!(tracing::Level::TRACE)) {
        return;
    }
    // SAFETY: by the contract it is a `&'static Log`.
    let log = unsafe { &*user.cast::<Log>() };
    // SAFETY: by the contract it ends with a zero, and it lives while this runs.
    log.hear(severity, &unsafe { CStr::from_ptr(text) }.to_string_lossy());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn say(log: &'static Log, severity: i32, line: &CStr) {
        // SAFETY: the log lives for ever and the line ends with a zero.
        unsafe { hear(std::ptr::from_ref(log).cast_mut().cast(), severity, line.as_ptr()) };
    }

    #[test]
    fn the_last_error_since_the_attempt_began_is_its_cause() {
        static LOG: Log = Log::new(Flavour::Rtx);
        let log = &LOG;
        say(log, 1, c"long ago");
        let attempt = log.attempt();
        assert_eq!(attempt.cause(), "TensorRT did not say why");
        say(log, 1, c"first");
        say(log, 0, c" the bug \n");
        say(log, 2, c"a warning");
        say(log, 4, c"chatter");
        assert_eq!(attempt.cause(), "the bug");
        assert_eq!(log.attempt().cause(), "TensorRT did not say why");
    }

    #[test]
    fn what_a_missing_driver_says_while_all_is_freed_is_not_the_cause() {
        static LOG: Log = Log::new(Flavour::Rtx);
        let attempt = LOG.attempt();
        say(&LOG, 1, c"[checkMacros.cpp::catchCudaError::250] cudaError 35");
        assert_eq!(attempt.cause(), "[checkMacros.cpp::catchCudaError::250] cudaError 35");
        say(
            &LOG,
            1,
            c"Compute capability is invalid\n[checkMacros.cpp::catchCudaError::250] cudaError 35\n or odd\n",
        );
        say(&LOG, 1, c"[checkMacros.cpp::catchCudaError::250] cudaError 35");
        assert_eq!(attempt.cause(), "Compute capability is invalid; or odd");
    }

    #[test]
    fn what_the_own_thread_heard_counts_before_what_others_did() {
        static LOG: Log = Log::new(Flavour::Rtx);
        let log = &LOG;
        let attempt = log.attempt();
        let others = |line: &'static CStr| std::thread::spawn(move || say(log, 1, line)).join().unwrap();
        others(c"a helper thread of TensorRT");
        assert_eq!(attempt.cause(), "a helper thread of TensorRT");
        say(log, 1, c"own");
        others(c"another build");
        assert_eq!(attempt.cause(), "own");
    }

    #[test]
    fn lines_that_are_no_text_do_no_harm() {
        static LOG: Log = Log::new(Flavour::Rtx);
        let log = &LOG;
        let attempt = log.attempt();
        // SAFETY: null is allowed for both.
        unsafe {
            hear(std::ptr::null_mut(), 1, c"nobody".as_ptr());
            hear(std::ptr::from_ref(log).cast_mut().cast(), 1, std::ptr::null());
        }
        say(log, 1, c" \n");
        assert_eq!(attempt.cause(), "TensorRT did not say why");
        say(log, 1, c"\xff is odd");
        assert_eq!(attempt.cause(), "\u{fffd} is odd");
    }
}
