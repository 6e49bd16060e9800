//! Which TensorRT, which version of it, and which generation of GPU.

use std::fmt;
use std::str::FromStr;

/// Which TensorRT. They share their interface but not their plans.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Flavour {
    /// TensorRT, `libnvinfer`: all GPUs from Turing on, plans built on the GPU that they run on.
    Enterprise,
    /// TensorRT for RTX, `libtensorrt_rtx`: plans for several generations of GPUs, built without one.
    Rtx,
}

impl Flavour {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Enterprise, Self::Rtx];

    /// How it is called on the command line and in plan files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enterprise => "enterprise",
            Self::Rtx => "rtx",
        }
    }

    /// NVIDIA's name for it.
    pub fn product(self) -> &'static str {
        match self {
            Self::Enterprise => "TensorRT",
            Self::Rtx => "TensorRT-RTX",
        }
    }

    /// The library that builds and runs, and the one that reads ONNX, without the version at the end.
    pub fn libraries(self) -> [&'static str; 2] {
        match self {
            Self::Enterprise => ["libnvinfer.so", "libnvonnxparser.so"],
            Self::Rtx => ["libtensorrt_rtx.so", "libtensorrt_onnxparser_rtx.so"],
        }
    }
}

impl fmt::Display for Flavour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Flavour {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|flavour| flavour.as_str() == text);
        found.ok_or_else(|| format!("{text:?} is neither enterprise nor rtx"))
    }
}

/// The generation of a GPU, as CUDA counts them: 8.9 is Ada.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs)]
pub struct Capability {
    pub major: u8,
    pub minor: u8,
}

impl Capability {
    /// One number, such as 89, as TensorRT and the names of kernels have it.
    pub fn number(self) -> i32 {
        i32::from(self.major) * 10 + i32::from(self.minor)
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl FromStr for Capability {
    type Err = String;

    /// Reads `8.9` and `89`.
    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = match text.split_once('.') {
            Some(parts) => Some(parts),
            None => text.len().checked_sub(1).filter(|&at| at > 0).and_then(|at| text.split_at_checked(at)),
        };
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        parsed
            .filter(|(major, minor)| digits(major) && minor.len() == 1 && digits(minor))
            .and_then(|(major, minor)| Some(Self { major: major.parse().ok()?, minor: minor.parse().ok()? }))
            .ok_or_else(|| format!("{text:?} is no compute capability, such as 8.9"))
    }
}

/// A version of TensorRT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs)]
pub struct Version {
    pub major: u32,
    pub minor: u32,
    pub patch: u32,
}

impl Version {
    /// Reads what `getInferLibVersion` returns, and tells the flavour by it: 110400 is enterprise 11.4.0, 10701 is
    /// RTX 1.7.1. Up to 9, the enterprise versions had a digit less: 8601 is 8.6.1.
    pub fn of_library(number: i32) -> (Flavour, Self) {
        let number = u32::try_from(number).unwrap_or(0);
        let (flavour, unit) = match number {
            0..10_000 => (Flavour::Enterprise, 1_000),
            10_000..100_000 => (Flavour::Rtx, 10_000),
            _ => (Flavour::Enterprise, 10_000),
        };
        (flavour, Self { major: number / unit, minor: number % unit / 100, patch: number % 100 })
    }

    /// Whether a library of this version keeps the interface of `headers`.
    pub fn serves(self, headers: Self) -> bool {
        self.major == headers.major && self >= headers
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(major: u32, minor: u32, patch: u32) -> Version {
        Version { major, minor, patch }
    }

    #[test]
    fn a_librarys_number_tells_flavour_and_version() {
        let cases = [
            (10_701, Flavour::Rtx, version(1, 7, 1)),
            (110_400, Flavour::Enterprise, version(11, 4, 0)),
            (101_602, Flavour::Enterprise, version(10, 16, 2)),
            (8_601, Flavour::Enterprise, version(8, 6, 1)),
            (-1, Flavour::Enterprise, version(0, 0, 0)),
        ];
        for (number, flavour, version) in cases {
            assert_eq!(Version::of_library(number), (flavour, version));
        }
    }

    #[test]
    fn a_library_may_be_newer_but_no_other_major_version() {
        let headers = version(11, 4, 0);
        assert!([version(11, 4, 0), version(11, 4, 1), version(11, 10, 0)].iter().all(|v| v.serves(headers)));
        assert!(![version(11, 3, 9), version(12, 0, 0), version(10, 9, 0)].iter().any(|v| v.serves(headers)));
    }

    #[test]
    fn capabilities_are_read_with_and_without_a_point() {
        let ada = Capability { major: 8, minor: 9 };
        assert_eq!(("8.9".parse(), "89".parse()), (Ok(ada), Ok(ada)));
        assert_eq!("120".parse(), Ok(Capability { major: 12, minor: 0 }));
        assert_eq!((ada.to_string().as_str(), ada.number()), ("8.9", 89));
        assert!("7.5".parse::<Capability>().unwrap() < ada && ada < "10.0".parse().unwrap());
        for odd in ["", "9", "8.", ".9", "8.90", "sm_89", "+8.9", "8.-", "ü", "9999", "8.9.0"] {
            assert!(odd.parse::<Capability>().is_err(), "{odd}");
        }
    }

    #[test]
    fn flavours_are_read_as_they_are_written() {
        for flavour in Flavour::ALL {
            assert_eq!(flavour.to_string().parse(), Ok(flavour));
        }
        assert!("RTX".parse::<Flavour>().is_err());
    }
}
