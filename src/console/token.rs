//! The token that opens the console until the first administrator exists. It is shown once, when it
//! is made; only its digest is kept.

use std::{
    fs,
    io::{self, Read as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use crate::{
    bearer::{BearerDigest, bearer_digest, random_bearer},
    private_file::{self, Draft},
};

/// What ends the line of a token that recovers.
const RECOVERY: &str = " recovery";

/// A token, as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) digest: BearerDigest,
    /// Whether it makes an administrator although one exists.
    pub(super) recovers: bool,
}

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
        let (token, draft) = self.draft(false)?;
        // If two processes start together, one wins, and none reads half a file.
        match draft.name(&self.0) {
            Ok(()) => Ok(Some(token)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes a new token: the old one is revoked, and its sessions end. With `recovers` it opens
    /// the console although an administrator exists, to make another one or to reset one.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn renew(&self, recovers: bool) -> io::Result<Zeroizing<String>> {
        let (token, draft) = self.draft(recovers)?;
        draft.replace(&self.0)?;
        Ok(token)
    }

    /// Removes the token, if one exists.
    ///
    /// # Errors
    /// When the file cannot be removed.
    pub fn remove(&self) -> io::Result<()> {
        match fs::remove_file(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn draft(&self, recovers: bool) -> io::Result<(Zeroizing<String>, Draft)> {
        let token = random_bearer().map_err(io::Error::other)?;
        let end = if recovers { RECOVERY } else { "" };
        let content = format!("sha256 {}{end}\n", URL_SAFE_NO_PAD.encode(bearer_digest(&token)));
        let draft = Draft::write(&self.0, None, content.as_bytes())?;
        Ok((token, draft))
    }

    /// The current token; `None` without a valid file, for a reason that is logged unless there is
    /// no file.
    pub(super) fn current(&self) -> Option<Token> {
        match self.read() {
            Ok(token) => token,
            Err(reason) => {
                let file = self.0.display();
                tracing::error!(
                    %file,
                    reason,
                    "the token of the console cannot be used: run `visavis console token`"
                );
                None
            }
        }
    }

    fn read(&self) -> Result<Option<Token>, String> {
        let mut file = match private_file::open(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(|e| e.to_string())?,
        };
        let found = file.metadata().map_err(|e| e.to_string())?;
        if private_file::exposed_mode(&self.0, &found) != 0 {
            let mode = found.permissions().mode() & 0o777;
            return Err(format!("it has mode {mode:o} instead of 600"));
        }
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(|e| e.to_string())?;
        let text = text.trim();
        let (text, recovers) = match text.strip_suffix(RECOVERY) {
            Some(text) => (text, true),
            None => (text, false),
        };
        let bytes = text.strip_prefix("sha256 ");
        let bytes = bytes.and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
        let digest = bytes.and_then(|b| b.try_into().ok()).ok_or("it holds no digest")?;
        Ok(Some(Token { digest, recovers }))
    }
}

/// Whether a token is the one with that digest, in a time that does not depend on where they
/// differ.
pub(super) fn is_token(text: &str, good: &BearerDigest) -> bool {
    verify_slices_are_equal(&bearer_digest(text.trim()), good).is_ok()
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn a_token_is_made_once_and_a_new_one_takes_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let file = TokenFile::in_folder(folder.path());
        assert_eq!(file.current(), None);
        let first = file.make_if_absent().unwrap().unwrap();
        assert!(file.make_if_absent().unwrap().is_none());
        let good = file.current().unwrap().digest;
        assert!(is_token(&first, &good) && is_token(&format!(" {}\n", *first), &good));
        assert!(!is_token("", &good) && !is_token(&first[1..], &good));
        let kept = fs::read_to_string(file.path()).unwrap();
        assert!(!kept.contains(first.as_str()), "{kept}");
        let second = file.renew(false).unwrap();
        assert!(!is_token(&first, &file.current().unwrap().digest));
        assert!(is_token(&second, &file.current().unwrap().digest));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no draft is left");
        assert!(!file.current().unwrap().recovers);
        let third = file.renew(true).unwrap();
        let current = file.current().unwrap();
        assert!(current.recovers && is_token(&third, &current.digest));
        file.remove().unwrap();
        file.remove().unwrap();
        assert_eq!(file.current(), None);
    }

    #[test]
    fn a_file_that_others_may_read_or_that_is_damaged_opens_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = TokenFile::in_folder(folder.path());
        file.renew(false).unwrap();
        assert_eq!(fs::metadata(file.path()).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(file.current(), None);
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o600)).unwrap();
        for text in ["", "sha256 ", "sha256 AAAA", "md5 AAAA"] {
            fs::write(file.path(), text).unwrap();
            assert_eq!(file.current(), None, "{text}");
        }
    }

    #[test]
    fn a_token_is_not_written_through_a_link_that_waits_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let (file, victim) = (TokenFile::in_folder(folder.path()), folder.path().join("victim"));
        fs::write(&victim, "kept").unwrap();
        let draft = format!("console.new.{}", std::process::id());
        symlink(&victim, folder.path().join(draft)).unwrap();
        file.renew(false).unwrap();
        fs::remove_file(file.path()).unwrap();
        symlink(&victim, file.path()).unwrap();
        file.renew(false).unwrap();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "kept");
        assert!(file.current().is_some());
    }
}
