//! Sealing what rests in the database: pictures, private keys, secrets.
//!
//! AES-256-GCM under a key that is drawn from the master key for each sealed value (HKDF-SHA-256 with
//! a random salt), so the number of values under one master key is not limited by the nonce. The label
//! is bound in: a value sealed as one thing cannot be opened as another.

use std::{
    fs, io,
    io::Write as _,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf, rand,
};
use zeroize::Zeroizing;

const KEY_LEN: usize = 32;
const SALT_LEN: usize = 16;
/// First byte of every sealed value, for the day when the form changes.
const FORM: u8 = 1;

/// Why something could not be sealed or opened. Says nothing about the content.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The key file is missing, unreadable, or of the wrong size.
    #[error("master key {path}: {reason}")]
    KeyFile {
        /// Where it is.
        path: PathBuf,
        /// What is wrong with it, and the cure.
        reason: String,
    },
    /// Wrong key, wrong label, or damaged bytes.
    #[error(
        "a sealed value does not open: the master key is not the one it was sealed with, or it is damaged"
    )]
    DoesNotOpen,
    /// The random number generator or the cipher failed.
    #[error("sealing failed")]
    Failed,
}

/// The key that everything at rest is sealed under; clones share it.
#[derive(Clone)]
pub struct MasterKey(Arc<Zeroizing<[u8; KEY_LEN]>>);

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MasterKey")
    }
}

impl MasterKey {
    /// A key that exists in memory only.
    ///
    /// # Errors
    /// [`SealError::Failed`] when there are no random numbers.
    pub fn random() -> Result<Self, SealError> {
        let mut bytes = Zeroizing::new([0; KEY_LEN]);
        rand::fill(bytes.as_mut()).map_err(|_| SealError::Failed)?;
        Ok(Self(Arc::new(bytes)))
    }

    /// Reads the key file, or makes one (mode 0600) if there is none.
    ///
    /// # Errors
    /// [`SealError::KeyFile`] when it cannot be read or made, can be read by other users, or does not
    /// hold exactly 32 bytes.
    pub fn load_or_create(path: &Path) -> Result<Self, SealError> {
        match Self::create(path) {
            Ok(key) => Ok(key),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Self::load(path),
            Err(error) => Err(wrong(path, format!("cannot be made: {error}"))),
        }
    }

    /// Writes the new key to a file of its own and then gives it its name, so that of two processes
    /// that start together one wins and no one ever reads half a key.
    fn create(path: &Path) -> io::Result<Self> {
        if path.exists() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let key = Self::random().map_err(io::Error::other)?;
        let draft = path.with_extension(format!("new.{}", std::process::id()));
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&draft)?;
        file.write_all(key.0.as_ref().as_ref())?;
        file.sync_all()?;
        let named = fs::hard_link(&draft, path);
        fs::remove_file(&draft)?;
        named.map(|()| key)
    }

    fn load(path: &Path) -> Result<Self, SealError> {
        let unreadable = |e: io::Error| wrong(path, format!("cannot be read: {e}"));
        let mode = fs::metadata(path).map_err(unreadable)?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(wrong(path, format!("has mode {:o}; run chmod 600 on it", mode & 0o777)));
        }
        let bytes = Zeroizing::new(fs::read(path).map_err(unreadable)?);
        let key: [u8; KEY_LEN] = bytes.as_slice().try_into().map_err(|_| {
            wrong(path, format!("holds {} bytes instead of {KEY_LEN}", bytes.len()))
        })?;
        Ok(Self(Arc::new(Zeroizing::new(key))))
    }

    /// Seals `plain` as a `label`, which names what and whose it is.
    ///
    /// # Errors
    /// [`SealError::Failed`] when there are no random numbers.
    pub fn seal(&self, label: &str, plain: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut head = [0_u8; SALT_LEN + NONCE_LEN];
        rand::fill(&mut head).map_err(|_| SealError::Failed)?;
        let (salt, nonce) = head.split_at(SALT_LEN);
        let mut sealed = Vec::with_capacity(1 + head.len() + plain.len() + AES_256_GCM.tag_len());
        sealed.push(FORM);
        sealed.extend_from_slice(&head);
        sealed.extend_from_slice(plain);
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError::Failed)?;
        let tag = self
            .derived(salt, label)?
            .seal_in_place_separate_tag(
                nonce,
                Aad::from(label.as_bytes()),
                &mut sealed[1 + head.len()..],
            )
            .map_err(|_| SealError::Failed)?;
        sealed.extend_from_slice(tag.as_ref());
        Ok(sealed)
    }

    /// Opens what [`seal`](Self::seal) made with the same label.
    ///
    /// # Errors
    /// [`SealError::DoesNotOpen`].
    pub fn open(&self, label: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let wrong = SealError::DoesNotOpen;
        let Some((&FORM, rest)) = sealed.split_first() else { return Err(wrong) };
        let (Some(salt), Some(nonce), Some(body)) = (
            rest.get(..SALT_LEN),
            rest.get(SALT_LEN..SALT_LEN + NONCE_LEN),
            rest.get(SALT_LEN + NONCE_LEN..),
        ) else {
            return Err(wrong);
        };
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError::DoesNotOpen)?;
        let mut plain = Zeroizing::new(body.to_vec());
        let length = self
            .derived(salt, label)?
            .open_in_place(nonce, Aad::from(label.as_bytes()), &mut plain)
            .map_err(|_| SealError::DoesNotOpen)?
            .len();
        plain.truncate(length);
        Ok(plain)
    }

    fn derived(&self, salt: &[u8], label: &str) -> Result<LessSafeKey, SealError> {
        let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, salt);
        let info = [label.as_bytes()];
        let extracted = salt.extract(self.0.as_ref().as_ref());
        let key = extracted.expand(&info, &AES_256_GCM).map_err(|_| SealError::Failed)?;
        Ok(LessSafeKey::new(UnboundKey::from(key)))
    }
}

fn wrong(path: &Path, reason: String) -> SealError {
    SealError::KeyFile { path: path.to_path_buf(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_opens_under_its_label_and_no_other() {
        let key = MasterKey::random().unwrap();
        let sealed = key.seal("a", b"a face").unwrap();
        assert_eq!(key.open("a", &sealed).unwrap().as_slice(), b"a face");
        assert!(key.open("b", &sealed).is_err());
        assert!(MasterKey::random().unwrap().open("a", &sealed).is_err());
        assert!(!sealed.windows(6).any(|w| w == b"a face"));
    }

    #[test]
    fn a_changed_bit_anywhere_does_not_open() {
        let key = MasterKey::random().unwrap();
        let sealed = key.seal("a", b"face").unwrap();
        for i in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[i] ^= 1;
            assert!(key.open("a", &damaged).is_err(), "byte {i}");
        }
        assert!(key.open("a", &sealed[..20]).is_err());
        assert!(key.open("a", b"").is_err());
    }

    #[test]
    fn a_key_file_is_made_once_and_refused_when_others_may_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.key");
        let sealed = MasterKey::load_or_create(&path).unwrap().seal("a", b"x").unwrap();
        let again = MasterKey::load_or_create(&path).unwrap();
        assert_eq!(again.open("a", &sealed).unwrap().as_slice(), b"x");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let error = MasterKey::load_or_create(&path).unwrap_err().to_string();
        assert!(error.contains("chmod 600"), "{error}");
    }
}
