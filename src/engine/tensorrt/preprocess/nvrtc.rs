//! NVRTC, NVIDIA's run-time compiler: the kernel's source in, code for one GPU out. No GPU is needed for that.
//!
//! Bound by hand, because the bindings that there are load the library by its name alone, not from a folder.

#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::{Path, PathBuf};
use std::ptr::{null, null_mut};

use libloading::Library;

use super::{KernelError, SOURCE};

/// The environment variable that names the folder of NVRTC's library.
pub const FOLDER_VARIABLE: &str = "NVRTC_LIBRARY_DIR";

/// NVRTC 12 first: every driver that takes the code of 13 takes that of 12 too.
const NAMES: [&str; 3] = ["libnvrtc.so.12", "libnvrtc.so.13", "libnvrtc.so"];

type Program = *mut c_void;

const SUCCESS: c_int = 0;

/// The functions used, with the signatures of `nvrtc.h`. A result is a C enum; taken as a number, because a later
/// version may know more of them.
#[derive(Clone, Copy)]
struct Functions {
    version: unsafe extern "C" fn(*mut c_int, *mut c_int) -> c_int,
    architecture_count: unsafe extern "C" fn(*mut c_int) -> c_int,
    architectures: unsafe extern "C" fn(*mut c_int) -> c_int,
    create: unsafe extern "C" fn(
        *mut Program,
        *const c_char,
        *const c_char,
        c_int,
        *const *const c_char,
        *const *const c_char,
    ) -> c_int,
    compile: unsafe extern "C" fn(Program, c_int, *const *const c_char) -> c_int,
    destroy: unsafe extern "C" fn(*mut Program) -> c_int,
    log: Text,
    cubin: Text,
    ptx: Text,
    error: unsafe extern "C" fn(c_int) -> *const c_char,
}

/// A pair of functions that tell how long something of a program is, and what it is.
#[derive(Clone, Copy)]
struct Text {
    size: unsafe extern "C" fn(Program, *mut usize) -> c_int,
    bytes: unsafe extern "C" fn(Program, *mut c_char) -> c_int,
}

impl Functions {
    /// # Safety
    /// `library` must be NVRTC.
    unsafe fn find(library: &Library) -> Result<Self, libloading::Error> {
        // SAFETY: the signatures are those of nvrtc.h, and the caller vouches for the library.
        unsafe {
            let text = |size: &str, bytes: &str| {
                Ok::<_, libloading::Error>(Text { size: *library.get(size)?, bytes: *library.get(bytes)? })
            };
            Ok(Self {
                version: *library.get("nvrtcVersion")?,
                architecture_count: *library.get("nvrtcGetNumSupportedArchs")?,
                architectures: *library.get("nvrtcGetSupportedArchs")?,
                create: *library.get("nvrtcCreateProgram")?,
                compile: *library.get("nvrtcCompileProgram")?,
                destroy: *library.get("nvrtcDestroyProgram")?,
                log: text("nvrtcGetProgramLogSize", "nvrtcGetProgramLog")?,
                cubin: text("nvrtcGetCUBINSize", "nvrtcGetCUBIN")?,
                ptx: text("nvrtcGetPTXSize", "nvrtcGetPTX")?,
                error: *library.get("nvrtcGetErrorString")?,
            })
        }
    }

    /// NVRTC's name for a result.
    fn name(&self, result: c_int) -> String {
        // SAFETY: takes any number, and answers with a constant string of the library's.
        let text = unsafe { (self.error)(result) };
        if text.is_null() {
            return format!("error {result}");
        }
        // SAFETY: not null, so a C string, which lives as long as the library.
        unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
    }

    fn check(&self, result: c_int) -> Result<(), String> {
        if result == SUCCESS { Ok(()) } else { Err(self.name(result)) }
    }

    fn version(&self) -> Result<(c_int, c_int), String> {
        let (mut major, mut minor) = (0, 0);
        // SAFETY: both places are there to be written.
        self.check(unsafe { (self.version)(&raw mut major, &raw mut minor) })?;
        Ok((major, minor))
    }

    /// The architectures that code can be made for, such as 89, ascending.
    fn architectures(&self) -> Result<Vec<u32>, String> {
        let mut count = 0;
        // SAFETY: the place is there to be written.
        self.check(unsafe { (self.architecture_count)(&raw mut count) })?;
        let mut known: Vec<c_int> = vec![0; usize::try_from(count).unwrap_or_default()];
        // SAFETY: as many places as the library has just asked for.
        self.check(unsafe { (self.architectures)(known.as_mut_ptr()) })?;
        let mut known: Vec<u32> = known.into_iter().filter_map(|one| one.try_into().ok()).collect();
        known.sort_unstable();
        Ok(known)
    }
}

/// The kernel, compiled.
#[derive(Clone, PartialEq, Eq)]
pub struct Image {
    bytes: Vec<u8>,
    kind: ImageKind,
    target: String,
}

impl Image {
    /// What the driver loads: an ELF file, or text that ends with a zero byte.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Which of the two.
    pub fn kind(&self) -> ImageKind {
        self.kind
    }

    /// What it was made for, such as `sm_89`.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// One that only a fake driver takes.
    #[cfg(test)]
    pub(in crate::engine::tensorrt) fn fake(bytes: &[u8]) -> Self {
        Self { bytes: [bytes, b"\0"].concat(), kind: ImageKind::Cubin, target: "sm_89".into() }
    }
}

/// What kind of code an [`Image`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageKind {
    /// Machine code for one architecture.
    Cubin,
    /// Text that the driver compiles when it is loaded, for GPUs that this NVRTC does not know yet.
    Ptx,
}

impl std::fmt::Debug for Image {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Image({:?} for {}, {} bytes)", self.kind, self.target, self.bytes.len())
    }
}

/// NVRTC's library, loaded.
pub struct Nvrtc {
    functions: Functions,
    version: (c_int, c_int),
    architectures: Vec<u32>,
    // Last, so that it outlives what was found in it.
    _library: Library,
}

impl std::fmt::Debug for Nvrtc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Nvrtc({}, {:?})", self.version(), self.architectures)
    }
}

impl Nvrtc {
    /// Loads NVRTC from the folder that `NVRTC_LIBRARY_DIR` names, or else the system's.
    ///
    /// # Errors
    /// As [`Nvrtc::load`].
    pub fn from_environment() -> Result<Self, KernelError> {
        let folder = std::env::var_os(FOLDER_VARIABLE).filter(|folder| !folder.is_empty());
        Self::load(folder.as_ref().map(Path::new))
    }

    /// Loads NVRTC from a folder, or the system's.
    ///
    /// # Errors
    /// There is none, or what is there is not NVRTC.
    pub fn load(folder: Option<&Path>) -> Result<Self, KernelError> {
        let refuse = |cause| KernelError::Library { cause };
        let (library, path) = open(folder).map_err(refuse)?;
        let name = |cause: String| refuse(format!("{}: {cause}", path.display()));
        // SAFETY: a library of NVRTC's name is taken to be NVRTC; another lacks the functions.
        let functions = unsafe { Functions::find(&library) }.map_err(|error| refuse(words(&error)))?;
        let version = functions.version().map_err(name)?;
        let architectures = functions.architectures().map_err(name)?;
        tracing::debug!(path = %path.display(), ?version, ?architectures, "loaded NVRTC");
        Ok(Self { functions, version, architectures, _library: library })
    }

    /// Its version, such as `12.9`.
    pub fn version(&self) -> String {
        format!("{}.{}", self.version.0, self.version.1)
    }

    /// Compiles the kernel for a GPU of compute capability (major, minor).
    ///
    /// # Errors
    /// A GPU too old for this NVRTC, or a failed compilation.
    pub fn compile(&self, capability: (u8, u8)) -> Result<Image, KernelError> {
        self.compile_source(SOURCE, capability)
    }

    /// Compiles any source.
    ///
    /// # Errors
    /// As [`Nvrtc::compile`]; with the compiler's messages where it refuses the source.
    pub fn compile_source(&self, source: &CStr, capability: (u8, u8)) -> Result<Image, KernelError> {
        let (kind, target) = self.target(capability)?;
        let refuse = |(cause, log): (String, String)| {
            let target = target.clone();
            KernelError::Compile { nvrtc: self.version(), target, cause, log }
        };
        let program =
            OpenProgram::new(&self.functions, source).map_err(|cause| refuse((cause, String::new())))?;
        let made = program.compile(&target).and_then(|()| {
            let text = if kind == ImageKind::Cubin { self.functions.cubin } else { self.functions.ptx };
            program.text(text)
        });
        match made {
            Ok(bytes) => Ok(Image { bytes, kind, target }),
            Err(cause) => Err(refuse((cause, program.log()))),
        }
    }

    /// The best that this NVRTC makes for a GPU: its machine code, or text for the newest one before it.
    fn target(&self, (major, minor): (u8, u8)) -> Result<(ImageKind, String), KernelError> {
        let wanted = u32::from(major) * 10 + u32::from(minor);
        match self.architectures.iter().rev().find(|&&known| known <= wanted) {
            Some(&known) if known == wanted => Ok((ImageKind::Cubin, format!("sm_{known}"))),
            Some(known) => Ok((ImageKind::Ptx, format!("compute_{known}"))),
            None => Err(KernelError::Capability {
                nvrtc: self.version(),
                capability: format!("{major}.{minor}"),
                oldest: self
                    .architectures
                    .first()
                    .map_or("none".into(), |&one| format!("{}.{}", one / 10, one % 10)),
            }),
        }
    }
}

/// Opens the first library of NVRTC's names.
fn open(folder: Option<&Path>) -> Result<(Library, PathBuf), String> {
    let mut causes = Vec::new();
    for name in NAMES {
        let path = folder.map_or_else(|| PathBuf::from(name), |folder| folder.join(name));
        if folder.is_some() && !path.exists() {
            continue;
        }
        // SAFETY: NVRTC's own initialisation needs nothing from its caller.
        match unsafe { Library::new(path.as_path()) } {
            Ok(library) => return Ok((library, path)),
            Err(error) => causes.push(words(&error)),
        }
    }
    match (causes.into_iter().next(), folder) {
        (Some(cause), _) => Err(cause),
        (None, Some(folder)) => Err(format!("there is no {} in {}", NAMES[0], folder.display())),
        (None, None) => Err("no name to try".into()),
    }
}

/// The loader's own words, which name the file; the error itself says no more than which call failed.
fn words(error: &libloading::Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}

/// A program of NVRTC's, destroyed at the end. Borrows the source, which the library may refer to.
struct OpenProgram<'a> {
    functions: &'a Functions,
    program: Program,
    _source: &'a CStr,
}

impl<'a> OpenProgram<'a> {
    fn new(functions: &'a Functions, source: &'a CStr) -> Result<Self, String> {
        let mut program = null_mut();
        let name = c"kernel.cu".as_ptr();
        // SAFETY: C strings, and no headers, whose arrays may then be null.
        let result =
            unsafe { (functions.create)(&raw mut program, source.as_ptr(), name, 0, null(), null()) };
        functions.check(result)?;
        Ok(Self { functions, program, _source: source })
    }

    fn compile(&self, target: &str) -> Result<(), String> {
        let architecture = CString::new(format!("--gpu-architecture={target}")).map_err(|e| e.to_string())?;
        let options = [architecture.as_ptr(), c"--std=c++17".as_ptr()];
        // SAFETY: the program is open, and the options are as many C strings as is said.
        let result =
            unsafe { (self.functions.compile)(self.program, options.len() as c_int, options.as_ptr()) };
        self.functions.check(result)
    }

    /// Something of the program, whole.
    fn text(&self, text: Text) -> Result<Vec<u8>, String> {
        let mut size = 0;
        // SAFETY: the program is open, and the place is there to be written.
        self.functions.check(unsafe { (text.size)(self.program, &raw mut size) })?;
        let mut bytes = vec![0u8; size];
        // SAFETY: the program is open, and there are as many bytes as it has just asked for.
        self.functions.check(unsafe { (text.bytes)(self.program, bytes.as_mut_ptr().cast()) })?;
        Ok(bytes)
    }

    /// The compiler's messages.
    fn log(&self) -> String {
        let bytes = self.text(self.functions.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).trim_end_matches(['\0', '\n']).to_owned()
    }
}

impl Drop for OpenProgram<'_> {
    fn drop(&mut self) {
        // SAFETY: open until here, and not used after.
        unsafe { (self.functions.destroy)(&raw mut self.program) };
    }
}
