//! Takes the wanted files out of an archive. Paths in the archive are only compared, never written to.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// A file to take out of an archive.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    /// Its path in the archive.
    pub path: &'static str,
    /// The name it gets in the folder.
    pub name: &'static str,
}

/// Why a file was not taken out.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The archive cannot be read.
    #[error("{} cannot be unpacked: {problem}", archive.display())]
    Broken {
        /// The archive.
        archive: PathBuf,
        /// Why.
        problem: String,
    },
    /// It lacks a file.
    #[error("{} does not hold {path}", archive.display())]
    Missing {
        /// The archive.
        archive: PathBuf,
        /// The file.
        path: &'static str,
    },
}

/// The largest file that is taken out; the greatest pinned one has 35 MB.
const MAX_BYTES: u64 = 1 << 28;

fn broken(archive: &Path) -> impl Fn(&dyn std::fmt::Display) -> UnpackError {
    |problem| UnpackError::Broken { archive: archive.to_owned(), problem: problem.to_string() }
}

/// Takes `wanted` out of a `.tgz`.
pub(super) fn tgz(archive: &Path, wanted: &[Wanted], into: &Path) -> Result<(), UnpackError> {
    let broken = broken(archive);
    let file = File::open(archive).map_err(|e| broken(&e))?;
    let mut entries = tar::Archive::new(flate2::read::GzDecoder::new(io::BufReader::new(file)));
    let mut left: Vec<_> = wanted.to_vec();
    for entry in entries.entries().map_err(|e| broken(&e))? {
        let mut entry = entry.map_err(|e| broken(&e))?;
        let path = entry.path_bytes();
        let Some(at) = left.iter().position(|file| file.path.as_bytes() == &*path) else { continue };
        let file = left.swap_remove(at);
        write(&mut entry, &into.join(file.name)).map_err(|e| broken(&e))?;
        if left.is_empty() {
            break;
        }
    }
    let missing = |file: &Wanted| UnpackError::Missing { archive: archive.to_owned(), path: file.path };
    left.first().map_or(Ok(()), |file| Err(missing(file)))
}

/// Takes `wanted` out of a wheel, which is a zip file.
pub(super) fn wheel(archive: &Path, wanted: &[Wanted], into: &Path) -> Result<(), UnpackError> {
    let broken = broken(archive);
    let file = File::open(archive).map_err(|e| broken(&e))?;
    let mut zip = zip::ZipArchive::new(io::BufReader::new(file)).map_err(|e| broken(&e))?;
    for file in wanted {
        let mut entry = zip.by_name(file.path).map_err(|error| match error {
            zip::result::ZipError::FileNotFound => {
                UnpackError::Missing { archive: archive.to_owned(), path: file.path }
            }
            error => broken(&error),
        })?;
        write(&mut entry, &into.join(file.name)).map_err(|e| broken(&e))?;
    }
    Ok(())
}

fn write(from: &mut dyn Read, to: &Path) -> io::Result<()> {
    let mut file = File::create(to)?;
    let copied = io::copy(&mut from.take(MAX_BYTES + 1), &mut file)?;
    if copied > MAX_BYTES {
        return Err(io::Error::other(format!("{} is larger than {MAX_BYTES} bytes", to.display())));
    }
    file.flush()?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WANTED: [Wanted; 1] = [Wanted { path: "package/a/b.bin", name: "b" }];

    fn tgz_of(path: &str, content: &[u8]) -> Vec<u8> {
        let mut tar =
            tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        // As bytes, past the builder's own check of the path.
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_cksum();
        tar.append(&header, content).unwrap();
        tar.into_inner().unwrap().finish().unwrap()
    }

    fn zip_of(path: &str, content: &[u8]) -> Vec<u8> {
        let mut zip = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
        zip.start_file(path, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(content).unwrap();
        zip.finish().unwrap().into_inner()
    }

    fn unpacked(
        bytes: &[u8],
        unpack: fn(&Path, &[Wanted], &Path) -> Result<(), UnpackError>,
    ) -> Result<Vec<u8>, UnpackError> {
        let folder = tempfile::tempdir().unwrap();
        let archive = folder.path().join("archive");
        std::fs::write(&archive, bytes).unwrap();
        unpack(&archive, &WANTED, folder.path())?;
        Ok(std::fs::read(folder.path().join("b")).unwrap())
    }

    #[test]
    fn wanted_files_are_taken_out() {
        assert_eq!(unpacked(&tgz_of("package/a/b.bin", b"abc"), tgz).unwrap(), b"abc");
        assert_eq!(unpacked(&zip_of("package/a/b.bin", b"abc"), wheel).unwrap(), b"abc");
    }

    #[test]
    fn archives_without_them_are_told_and_other_paths_never_written() {
        for path in ["package/../../evil", "/etc/evil", "package/a/c.bin"] {
            assert!(matches!(unpacked(&tgz_of(path, b"abc"), tgz), Err(UnpackError::Missing { .. })));
            assert!(matches!(unpacked(&zip_of(path, b"abc"), wheel), Err(UnpackError::Missing { .. })));
        }
    }

    #[test]
    fn what_is_no_archive_is_told() {
        let cut = &tgz_of("package/a/b.bin", &[7; 5000])[..20];
        for bytes in [b"hello".as_slice(), cut] {
            assert!(matches!(unpacked(bytes, tgz), Err(UnpackError::Broken { .. })));
            assert!(matches!(unpacked(bytes, wheel), Err(UnpackError::Broken { .. })));
        }
    }
}
