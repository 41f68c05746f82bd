//! The token that opens the console. It is shown once, when it is made; only its digest is kept.

use std::{
    io::{self, Read as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use aws_lc_rs::{
    constant_time::verify_slices_are_equal,
    digest::{SHA256, digest},
    rand,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use crate::private_file::{self, Draft};

/// SHA-256 of a token. A token is 256 random bits, so a slow hash is not needed.
pub(super) type Digest = [u8; 32];

/// The file with the digest, readable only by its owner. It is read for each request, so that a new
/// token takes effect immediately.
#[derive(Debug, Clone)]
pub struct TokenFile(PathBuf);

impl TokenFile {
    /// The file in a data folder.
    pub fn in_folder(folder: &Path) -> Self {
        Self(folder.join("console.token"))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Makes a token if none exists, and returns it.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn make_if_absent(&self) -> io::Result<Option<Zeroizing<String>>> {
        if self.0.exists() {
            return Ok(None);
        }
        let (token, draft) = self.draft()?;
        // If two processes start together, one wins, and none reads half a file.
        match draft.name(&self.0) {
            Ok(()) => Ok(Some(token)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes a new token: the old one is revoked, and all sessions are logged out.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn renew(&self) -> io::Result<Zeroizing<String>> {
        let (token, draft) = self.draft()?;
        draft.replace(&self.0)?;
        Ok(token)
    }

    fn draft(&self) -> io::Result<(Zeroizing<String>, Draft)> {
        let token = random_text()?;
        let content = format!("sha256 {}\n", URL_SAFE_NO_PAD.encode(sha256(&token)));
        let draft = Draft::write(&self.0, None, content.as_bytes())?;
        Ok((token, draft))
    }

    /// The digest of the current token; `None` without a valid file, for a reason that is logged.
    pub(super) fn digest(&self) -> Option<Digest> {
        match self.read() {
            Ok(digest) => Some(digest),
            Err(reason) => {
                let file = self.0.display();
                tracing::error!(
                    %file,
                    reason,
                    "no one can log in to the console: run `visavis console token`"
                );
                None
            }
        }
    }

    fn read(&self) -> Result<Digest, String> {
        let mut file = private_file::open(&self.0).map_err(|e| e.to_string())?;
        let found = file.metadata().map_err(|e| e.to_string())?;
        if private_file::exposed_mode(&self.0, &found) != 0 {
            let mode = found.permissions().mode() & 0o777;
            return Err(format!("it has mode {mode:o} instead of 600"));
        }
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(|e| e.to_string())?;
        let bytes = text.trim().strip_prefix("sha256 ");
        let bytes = bytes.and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
        bytes.and_then(|b| b.try_into().ok()).ok_or_else(|| "it holds no digest".to_owned())
    }
}

/// Whether a token is the one with that digest, in a time that does not depend on where they
/// differ.
pub(super) fn is_token(text: &str, good: &Digest) -> bool {
    verify_slices_are_equal(&sha256(text.trim()), good).is_ok()
}

/// 256 random bits as text.
pub(super) fn random_text() -> io::Result<Zeroizing<String>> {
    let mut bytes = Zeroizing::new([0_u8; 32]);
    rand::fill(bytes.as_mut()).map_err(|_| io::Error::other("no random numbers"))?;
    Ok(Zeroizing::new(URL_SAFE_NO_PAD.encode(bytes.as_slice())))
}

pub(super) fn sha256(text: &str) -> Digest {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
    bytes
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn a_token_is_made_once_and_a_new_one_takes_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let file = TokenFile::in_folder(folder.path());
        assert_eq!(file.digest(), None);
        let first = file.make_if_absent().unwrap().unwrap();
        assert!(file.make_if_absent().unwrap().is_none());
        let good = file.digest().unwrap();
        assert!(is_token(&first, &good) && is_token(&format!(" {}\n", *first), &good));
        assert!(!is_token("", &good) && !is_token(&first[1..], &good));
        let kept = fs::read_to_string(file.path()).unwrap();
        assert!(!kept.contains(first.as_str()), "{kept}");
        let second = file.renew().unwrap();
        assert!(!is_token(&first, &file.digest().unwrap()));
        assert!(is_token(&second, &file.digest().unwrap()));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no draft is left");
    }

    #[test]
    fn a_file_that_others_may_read_or_that_is_damaged_opens_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = TokenFile::in_folder(folder.path());
        file.renew().unwrap();
        assert_eq!(fs::metadata(file.path()).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(file.digest(), None);
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o600)).unwrap();
        for text in ["", "sha256 ", "sha256 AAAA", "md5 AAAA"] {
            fs::write(file.path(), text).unwrap();
            assert_eq!(file.digest(), None, "{text}");
        }
    }

    #[test]
    fn a_token_is_not_written_through_a_link_that_waits_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let (file, victim) = (TokenFile::in_folder(folder.path()), folder.path().join("victim"));
        fs::write(&victim, "kept").unwrap();
        let draft = format!("console.new.{}", std::process::id());
        symlink(&victim, folder.path().join(draft)).unwrap();
        file.renew().unwrap();
        fs::remove_file(file.path()).unwrap();
        symlink(&victim, file.path()).unwrap();
        file.renew().unwrap();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "kept");
        assert!(file.digest().is_some());
    }
}
