//! The file with everything that an app needs to call.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use visavis_signing::Credentials;
use zeroize::Zeroizing;

use crate::private_file;

/// Reads the file.
pub(super) fn read(path: &Path) -> Result<Credentials> {
    let text = Zeroizing::new(
        fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?,
    );
    serde_json::from_str(&text).with_context(|| {
        format!("{} is not a file that `visavis client add --out` writes", path.display())
    })
}

/// A file for credentials that its owner alone can read, never over another one. It is made before the
/// keys are stored, because afterwards nobody could show them again; it goes if they are not.
pub(super) struct NewFile {
    path: PathBuf,
    empty: Option<fs::File>,
}

impl NewFile {
    /// Makes it.
    pub(super) fn create(path: &Path) -> Result<Self> {
        let file = private_file::create_new(path).with_context(|| {
            format!("{} cannot be made; name a file that is not there yet", path.display())
        })?;
        Ok(Self { path: path.to_owned(), empty: Some(file) })
    }

    /// Fills it, and returns where it is.
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

impl Drop for NewFile {
    fn drop(&mut self) {
        if self.empty.is_some() {
            // The reason why it was not filled is told; this one would only hide it.
            let _ = fs::remove_file(&self.path);
        }
    }
}
