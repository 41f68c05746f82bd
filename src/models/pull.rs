//! Installs a pack on this machine: fetch, verify, convert, verify again, rename.

use std::{fs, io, path::Path};

use visavis_convert::{Options, to_onnx};
use visavis_face::{manifest::Weights, sha256_hex};

use super::{error::PullError, fetch::Fetcher};

/// The state of a weights file on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileState {
    /// It does not exist.
    Missing,
    /// It exists with the pinned digest.
    Verified,
    /// It exists with another digest.
    Wrong,
}

/// Reads the file of `weights` in `folder` and verifies its digest.
///
/// # Errors
/// [`PullError::File`] when it exists and cannot be read.
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
/// and renames it into `folder`. Another process sees either no file or the complete file.
/// `progress` receives the bytes of each source by its index.
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
