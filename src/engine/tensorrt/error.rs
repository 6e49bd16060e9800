//! Why TensorRT does not do what is wanted.

use std::path::PathBuf;

use crate::engine::flavour::{Capability, Flavour, Version};

/// Why TensorRT does not do what is wanted. `cause` is what TensorRT itself said last.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs)]
pub enum TensorRtError {
    /// The flavour's headers were not there at build time.
    #[error(
        "this centerx was built without {}; build it with the headers of {} there (scripts/tensorrt-headers.sh \
         fetches them), or use the other flavour",
        .0.product(), .0.product()
    )]
    NotBuilt(Flavour),
    /// There is no library, or one that the loader refuses.
    #[error(
        "{} cannot be loaded{}: {cause}; install {} {wanted} or a newer {}.x, or let TENSORRT_LIBRARY_DIR name the \
         folder with {library}",
        flavour.product(), in_folder(folder), flavour.product(), wanted.major
    )]
    Load { flavour: Flavour, library: String, folder: Option<PathBuf>, wanted: Version, cause: String },
    /// Something else by its name.
    #[error("{library} is not {}: it has no {symbol}; let TENSORRT_LIBRARY_DIR name the folder with the real one", flavour.product())]
    NotTensorRt { flavour: Flavour, library: String, symbol: &'static str },
    /// The other flavour.
    #[error(
        "{library} is {} {version}, but {} was asked for; ask for {}, or let TENSORRT_LIBRARY_DIR name the folder with \
         the other one",
        found.product(), wanted.product(), found.product()
    )]
    WrongFlavour { library: String, found: Flavour, version: Version, wanted: Flavour },
    /// Too old, or of another major version.
    #[error(
        "{library} is version {found}, but this centerx was built for {wanted} and needs that or a newer {}.x; install \
         it, or build centerx with the headers of {found}",
        wanted.major
    )]
    Version { library: String, found: Version, wanted: Version },
    /// A runtime without the part that builds.
    #[error("{library} runs plans but builds none; install the full {}", flavour.product())]
    NoBuilder { library: String, flavour: Flavour },
    /// TensorRT cannot begin to build.
    #[error("{} cannot build here: {cause}", flavour.product())]
    Builder { flavour: Flavour, cause: String },
    /// The ONNX file is none, or has what TensorRT does not take.
    #[error("{} does not take the model: {cause}", flavour.product())]
    Parse { flavour: Flavour, cause: String },
    /// The ONNX file computes nothing.
    #[error("the model has no outputs: it is no ONNX model, or one that computes nothing; export it again")]
    NoOutputs,
    /// No plan for these GPUs.
    #[error(
        "{} builds no plan for compute capability {}: {cause}; TensorRT-RTX has 7.5, 8.0, 8.6, 8.9, 12.0 and 12.1, for \
         others, such as 9.0 (H100), build with TensorRT on the GPU itself",
        flavour.product(), list(capabilities)
    )]
    Capability { flavour: Flavour, capabilities: Vec<Capability>, cause: String },
    /// Shapes that do not fit the model or one another.
    #[error("the profiles do not fit the model: {cause}")]
    Profile { cause: String },
    /// The build failed.
    #[error("{} failed to build the plan: {cause}", flavour.product())]
    Build { flavour: Flavour, cause: String },
    /// Whoever watched the progress did not want to go on.
    #[error("the build was cancelled")]
    Cancelled,
    /// No driver or no GPU, most often.
    #[error(
        "{} {version} cannot run here: {cause}; see that nvidia-smi shows a GPU and a driver new enough for this version",
        flavour.product()
    )]
    Runtime { flavour: Flavour, version: Version, cause: String },
    /// The plan is damaged, or was built for another GPU or version.
    #[error("{} {version} does not take the plan: {cause}; build it again on this machine", flavour.product())]
    Plan { flavour: Flavour, version: Version, cause: String },
    /// No such profile in the plan.
    #[error("the plan has no profile {profile}, it has {count}")]
    NoProfile { profile: usize, count: usize },
    /// No such tensor in the plan.
    #[error("the plan has no tensor {name:?}, it has {have}")]
    NoTensor { name: String, have: String },
    /// An execution context cannot be made.
    #[error("the plan cannot be made ready to run: {cause}")]
    Context { cause: String },
    /// The tensor cannot have that shape.
    #[error("{name} cannot be {dims:?} in this profile: {cause}")]
    Shape { name: String, dims: Vec<i64>, cause: String },
    /// The tensor cannot be there.
    #[error("the memory for {name} was refused: {cause}")]
    Address { name: String, cause: String },
    /// The work was not taken up.
    #[error("the GPU was given no work: {cause}")]
    Enqueue { cause: String },
}

fn in_folder(folder: &Option<PathBuf>) -> String {
    folder.as_ref().map_or_else(String::new, |folder| format!(" from {}", folder.display()))
}

fn list(capabilities: &[Capability]) -> String {
    capabilities.iter().map(Capability::to_string).collect::<Vec<_>>().join(", ")
}
