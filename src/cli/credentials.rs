//! The file with the credentials of a client.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Error, Result, anyhow};
use visavis_signing::Credentials;
use zeroize::Zeroizing;

use crate::private_file;

/// Reads the file.
pub(super) fn read(path: &Path) -> Result<Credentials> {
    let text = Zeroizing::new(
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?,
    );
    serde_json::from_str(&text).with_context(|| {
        format!("{} is not a credentials file of `visavis client add --out`", path.display())
    })
}

/// A new file for credentials, with mode 0600. It is created before the keys are stored, because
/// they cannot be shown again afterwards, and deleted if storing fails.
pub(super) struct NewFile {
    path: PathBuf,
    empty: Option<fs::File>,
}

impl NewFile {
    /// Creates it. An existing file is never overwritten.
    pub(super) fn create(path: &Path) -> Result<Self> {
        let file = private_file::create_new(path).map_err(|error| not_created(path, error))?;
        Ok(Self { path: path.to_owned(), empty: Some(file) })
    }

    /// Writes the credentials, and returns the path.
    pub(super) fn fill(mut self, credentials: &Credentials) -> Result<PathBuf> {
        let text = Zeroizing::new(serde_json::to_string_pretty(credentials)?);
        if let Some(file) = &mut self.empty {
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
        }
        self.empty = None;
        Ok(self.path.clone())
    }
}

/// The error of a file that could not be created.
pub(super) fn not_created(path: &Path, error: io::Error) -> Error {
    let path = path.display();
    if error.kind() == io::ErrorKind::AlreadyExists {
        return anyhow!(
            "cannot create {path}: the file already exists; choose another one with --out"
        );
    }
    Error::new(error).context(format!("cannot create {path}"))
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if self.empty.is_some() {
            // The error that prevented writing is reported; this one would hide it.
            let _ = fs::remove_file(&self.path);
        }
    }
}
