//! What goes wrong on a GPU, by what can be done about it.

use std::fmt;

/// What can be done about a failed call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The device has too little memory: a smaller batch may do.
    OutOfMemory,
    /// The context is spoiled: every call in it fails from now on, only a new one helps.
    Sticky,
    /// This call failed; the next one need not.
    Other,
}

/// CUDA's code for too little memory.
const OUT_OF_MEMORY: u32 = 2;

/// CUDA's codes after which a context is good for nothing. Those CUDA itself documents to leave the process in an
/// inconsistent state, the hardware's own failures, and the ones that say that there is no context any more.
const STICKY: [u32; 21] = [
    201, // INVALID_CONTEXT
    214, // ECC_UNCORRECTABLE
    220, // NVLINK_UNCORRECTABLE
    226, // CONTAINED: memory the hardware has fenced off
    700, // ILLEGAL_ADDRESS
    702, // LAUNCH_TIMEOUT
    709, // CONTEXT_IS_DESTROYED
    710, // ASSERT
    714, // HARDWARE_STACK_ERROR
    715, // ILLEGAL_INSTRUCTION
    716, // MISALIGNED_ADDRESS
    717, // INVALID_ADDRESS_SPACE
    718, // INVALID_PC
    719, // LAUNCH_FAILED
    721, // TENSOR_MEMORY_LEAK
    806, // MPS_RPC_FAILURE
    807, // MPS_SERVER_NOT_READY
    810, // MPS_CLIENT_TERMINATED
    909, // TIMEOUT
    911, // EXTERNAL_DEVICE
    999, // UNKNOWN: what a driver says of a device that fell off its bus
];

/// Words by which TensorRT's log tells a lack of memory.
const MEMORY_WORDS: [&str; 3] = ["out of memory", "outofmemory", "memory allocation"];

/// Words by which TensorRT's log tells a spoiled context.
const STICKY_WORDS: [&str; 6] = [
    "illegal memory access",
    "illegal address",
    "unspecified launch failure",
    "misaligned address",
    "illegal instruction",
    "uncorrectable",
];

impl ErrorKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::OutOfMemory, Self::Sticky, Self::Other];

    /// The kind of one of CUDA's codes (`CUresult`).
    pub fn of_code(code: u32) -> Self {
        match code {
            OUT_OF_MEMORY => Self::OutOfMemory,
            code if STICKY.contains(&code) => Self::Sticky,
            _ => Self::Other,
        }
    }

    /// The kind by TensorRT's words, which gives no codes.
    pub fn of_words(words: &str) -> Self {
        let words = words.to_lowercase();
        let has = |known: &[&str]| known.iter().any(|known| words.contains(known));
        if has(&STICKY_WORDS) {
            Self::Sticky
        } else if has(&MEMORY_WORDS) {
            Self::OutOfMemory
        } else {
            Self::Other
        }
    }

    /// Its name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OutOfMemory => "out_of_memory",
            Self::Sticky => "sticky",
            Self::Other => "other",
        }
    }
}

/// A call to CUDA or TensorRT that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{call} failed: {message}")]
pub struct DeviceError {
    /// What can be done about it.
    pub kind: ErrorKind,
    /// What was called, such as `cuMemAlloc`.
    pub call: &'static str,
    /// What it said, CUDA's name of the error first.
    pub message: String,
}

impl DeviceError {
    /// An error of CUDA's: `code` is its number, `name` its name.
    pub fn cuda(call: &'static str, code: u32, name: impl fmt::Display) -> Self {
        Self { kind: ErrorKind::of_code(code), call, message: format!("{name} ({code})") }
    }

    /// An error of TensorRT's, which tells its kind by its words.
    pub fn tensorrt(call: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { kind: ErrorKind::of_words(&message), call, message }
    }

    /// The graver of two errors of one run: the context's end before a lack of memory before anything else.
    #[must_use]
    pub fn or_worse(self, other: Self) -> Self {
        let gravity = |error: &Self| match error.kind {
            ErrorKind::Sticky => 2,
            ErrorKind::OutOfMemory => 1,
            ErrorKind::Other => 0,
        };
        if gravity(&other) > gravity(&self) { other } else { self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cudarc::driver::sys::CUresult;

    #[test]
    fn the_kind_of_each_code_that_matters() {
        use CUresult::*;
        let kind = |code: CUresult| ErrorKind::of_code(code as u32);
        assert_eq!(kind(CUDA_ERROR_OUT_OF_MEMORY), ErrorKind::OutOfMemory);
        let sticky = [
            CUDA_ERROR_INVALID_CONTEXT,
            CUDA_ERROR_ECC_UNCORRECTABLE,
            CUDA_ERROR_NVLINK_UNCORRECTABLE,
            CUDA_ERROR_CONTAINED,
            CUDA_ERROR_ILLEGAL_ADDRESS,
            CUDA_ERROR_LAUNCH_TIMEOUT,
            CUDA_ERROR_CONTEXT_IS_DESTROYED,
            CUDA_ERROR_ASSERT,
            CUDA_ERROR_HARDWARE_STACK_ERROR,
            CUDA_ERROR_ILLEGAL_INSTRUCTION,
            CUDA_ERROR_MISALIGNED_ADDRESS,
            CUDA_ERROR_INVALID_ADDRESS_SPACE,
            CUDA_ERROR_INVALID_PC,
            CUDA_ERROR_LAUNCH_FAILED,
            CUDA_ERROR_TENSOR_MEMORY_LEAK,
            CUDA_ERROR_MPS_RPC_FAILURE,
            CUDA_ERROR_MPS_SERVER_NOT_READY,
            CUDA_ERROR_MPS_CLIENT_TERMINATED,
            CUDA_ERROR_TIMEOUT,
            CUDA_ERROR_EXTERNAL_DEVICE,
            CUDA_ERROR_UNKNOWN,
        ];
        sticky.iter().for_each(|&code| assert_eq!(kind(code), ErrorKind::Sticky, "{code:?}"));
        let mut codes = sticky.map(|code| code as u32);
        codes.sort_unstable();
        assert_eq!(codes, STICKY, "the table and its names");
        let passing = [
            CUDA_ERROR_INVALID_VALUE,
            CUDA_ERROR_NOT_READY,
            CUDA_ERROR_INVALID_HANDLE,
            CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES,
            CUDA_ERROR_STREAM_CAPTURE_INVALIDATED,
            CUDA_ERROR_NO_DEVICE,
        ];
        passing.iter().for_each(|&code| assert_eq!(kind(code), ErrorKind::Other, "{code:?}"));
    }

    #[test]
    fn tensorrt_tells_by_words() {
        let kind = |words| DeviceError::tensorrt("enqueueV3", words).kind;
        assert_eq!(kind("Error Code 1: Cuda Runtime (out of memory)"), ErrorKind::OutOfMemory);
        assert_eq!(
            kind("[defaultAllocator.cpp::allocate] Error Code 1: OutOfMemory"),
            ErrorKind::OutOfMemory
        );
        assert_eq!(kind("Cuda Runtime (an illegal memory access was encountered)"), ErrorKind::Sticky);
        assert_eq!(kind("IExecutionContext::enqueueV3: shape not set"), ErrorKind::Other);
    }

    #[test]
    fn the_graver_error_of_a_run_is_told() {
        let error = |kind| DeviceError { kind, call: "a", message: String::new() };
        let [memory, sticky, other] = ErrorKind::ALL.map(error);
        assert_eq!(other.clone().or_worse(sticky.clone()), sticky);
        assert_eq!(sticky.clone().or_worse(memory.clone()), sticky);
        assert_eq!(other.or_worse(memory.clone()), memory);
    }
}
