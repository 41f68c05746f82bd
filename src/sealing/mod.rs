//! Encryption at rest of pictures, private keys and secrets.
//!
//! AES-256-GCM under a key that is derived from the master key for each value (HKDF-SHA-256 with a
//! random salt), so the number of values under one master key is not limited by the nonce. The
//! label is authenticated: a value sealed with one label cannot be opened with another.

mod key_file;
mod mac;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant, SystemTime},
};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf, rand,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

pub use self::{
    key_file::{prepare, promote, retire},
    mac::MacInput,
};

use crate::secret::SecretSource;

const KEY_LEN: usize = 32;
const SALT_LEN: usize = 16;
/// First byte of every sealed value: the version of the format.
const FORMAT_VERSION: u8 = 1;

/// Why a value could not be sealed or opened. Contains nothing of the value.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The key file is missing, unreadable, or of the wrong size.
    #[error("master key {path}: {reason}")]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// The key that a variable or a command gave cannot be used.
    #[error("master key from {from}: {reason}")]
    KeySource {
        /// The variable or command.
        from: String,
        /// What is wrong, and what to do.
        reason: &'static str,
    },
    /// A step of a rotation that does not follow from the one before it.
    #[error("master key {path}: {reason}")]
    Step {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// Wrong key, wrong label, or damaged bytes.
    #[error(
        "a sealed value does not open: it was sealed with another master key, or it is damaged"
    )]
    DoesNotOpen,
    /// The random number generator or the cipher failed.
    #[error("sealing failed")]
    Failed,
}

/// The master key, during a rotation with the next or the previous one; clones share them.
#[derive(Clone)]
pub struct MasterKey(Arc<KeyRing>);

/// The keys that open; the first one seals.
type Keys = Arc<[Zeroizing<[u8; KEY_LEN]>]>;

struct KeyRing {
    /// The file of the current key; `None` for a key that is in memory only.
    path: Option<PathBuf>,
    loaded: RwLock<LoadedKeys>,
}

/// The keys as they were last read.
struct LoadedKeys {
    keys: Keys,
    modified: Vec<Option<SystemTime>>,
    checked: Instant,
}

/// Interval of the check whether the files have changed: other processes follow within it.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);
/// Number of repeated reads if the files change during a read.
const MAX_READS: usize = 3;

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MasterKey")
    }
}

impl MasterKey {
    fn new(path: Option<PathBuf>, keys: Keys, modified: Vec<Option<SystemTime>>) -> Self {
        let loaded = RwLock::new(LoadedKeys { keys, modified, checked: Instant::now() });
        Self(Arc::new(KeyRing { path, loaded }))
    }

    /// A key that exists in memory only.
    ///
    /// # Errors
    /// [`SealError::Failed`] when the random number generator fails.
    pub fn random() -> Result<Self, SealError> {
        Ok(Self::new(None, [key_file::random()?].into(), Vec::new()))
    }

    /// Reads the key file, or creates it (mode 0600). The next and the previous key beside it open
    /// values as well; all files are read again when they change.
    ///
    /// # Errors
    /// [`SealError::KeyFile`] when it cannot be read or created, can be read by other users, or
    /// does not hold exactly 32 bytes.
    pub fn load_or_create(path: &Path) -> Result<Self, SealError> {
        key_file::create_if_missing(path)?;
        Self::load(path)
    }

    /// The same without creating a file.
    ///
    /// # Errors
    /// As [`Self::load_or_create`], and when there is no file.
    pub(crate) fn load(path: &Path) -> Result<Self, SealError> {
        let modified = key_file::modified_times(path);
        Ok(Self::new(Some(path.to_owned()), key_file::read_all(path)?, modified))
    }

    /// A key that does not come from a file: 32 bytes, or base64 or hexadecimal digits of them. It
    /// stays the same while the process runs.
    ///
    /// # Errors
    /// [`SealError::KeySource`].
    pub(crate) fn from_secret(from: &SecretSource, secret: &[u8]) -> Result<Self, SealError> {
        let text = secret.trim_ascii();
        let decoded = if secret.len() == KEY_LEN {
            Zeroizing::new(secret.to_vec())
        } else if text.len() == 2 * KEY_LEN {
            Zeroizing::new(hex::decode(text).unwrap_or_default())
        } else {
            Zeroizing::new(STANDARD.decode(text).unwrap_or_default())
        };
        let key = decoded.as_slice().try_into().map_err(|_| SealError::KeySource {
            from: from.to_string(),
            reason: "is not a key: give 32 bytes, or base64 or hexadecimal digits of them",
        })?;
        Ok(Self::new(None, [Zeroizing::new(key)].into(), Vec::new()))
    }

    /// Only the current key, which seals.
    #[must_use]
    pub(crate) fn current(&self) -> Self {
        Self::new(None, self.keys().iter().take(1).cloned().collect(), Vec::new())
    }

    /// The keys, read again if the files have changed.
    fn keys(&self) -> Keys {
        let ring = &self.0;
        let loaded = ring.loaded.read().unwrap_or_else(PoisonError::into_inner);
        let Some(path) = ring.path.as_ref().filter(|_| loaded.checked.elapsed() > CHECK_INTERVAL)
        else {
            return Arc::clone(&loaded.keys);
        };
        drop(loaded);
        let mut modified = key_file::modified_times(path);
        let mut loaded = ring.loaded.write().unwrap_or_else(PoisonError::into_inner);
        loaded.checked = Instant::now();
        if loaded.modified != modified {
            let mut found = key_file::read_all(path);
            // Changed during the read: read again.
            for _ in 0..MAX_READS {
                let now = key_file::modified_times(path);
                if now == modified {
                    break;
                }
                (modified, found) = (now, key_file::read_all(path));
            }
            match found {
                Ok(keys) => {
                    (loaded.keys, loaded.modified) = (keys, modified);
                    tracing::info!("reloaded the master key files");
                }
                // During a rotation: the keys of the last read are used until the next check.
                Err(error) => tracing::warn!(%error, "cannot reload the master key files"),
            }
        }
        Arc::clone(&loaded.keys)
    }

    /// Seals `plain` under a `label`, which names its kind and owner.
    ///
    /// # Errors
    /// [`SealError::Failed`] when the random number generator fails.
    pub fn seal(&self, label: &str, plain: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut head = [0_u8; SALT_LEN + NONCE_LEN];
        rand::fill(&mut head).map_err(|_| SealError::Failed)?;
        let (salt, nonce) = head.split_at(SALT_LEN);
        let mut sealed = Vec::with_capacity(1 + head.len() + plain.len() + AES_256_GCM.tag_len());
        sealed.push(FORMAT_VERSION);
        sealed.extend_from_slice(&head);
        sealed.extend_from_slice(plain);
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError::Failed)?;
        let keys = self.keys();
        let tag = derived(keys.first().ok_or(SealError::Failed)?, salt, label)?
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
    pub(crate) fn open(&self, label: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let wrong = SealError::DoesNotOpen;
        let Some((&FORMAT_VERSION, rest)) = sealed.split_first() else { return Err(wrong) };
        let (Some(salt), Some(nonce), Some(body)) = (
            rest.get(..SALT_LEN),
            rest.get(SALT_LEN..SALT_LEN + NONCE_LEN),
            rest.get(SALT_LEN + NONCE_LEN..),
        ) else {
            return Err(wrong);
        };
        for key in self.keys().iter() {
            let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError::Failed)?;
            let mut plain = Zeroizing::new(body.to_vec());
            let label_bytes = Aad::from(label.as_bytes());
            let opened = derived(key, salt, label)?.open_in_place(nonce, label_bytes, &mut plain);
            if let Ok(length) = opened.map(|opened| opened.len()) {
                plain.truncate(length);
                return Ok(plain);
            }
        }
        Err(SealError::DoesNotOpen)
    }
}

fn derived(key: &[u8; KEY_LEN], salt: &[u8], label: &str) -> Result<LessSafeKey, SealError> {
    let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, salt);
    let info = [label.as_bytes()];
    let extracted = salt.extract(key);
    let key = extracted.expand(&info, &AES_256_GCM).map_err(|_| SealError::Failed)?;
    Ok(LessSafeKey::new(UnboundKey::from(key)))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

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
    fn what_is_sealed_is_copied_once() {
        let (key, photo) = (MasterKey::random().unwrap(), vec![7; 1 << 20]);
        let taken = allocation_counter::measure(|| drop(key.seal("a", &photo).unwrap()));
        assert!(usize::try_from(taken.bytes_total).unwrap() <= photo.len() + 4_096, "{taken:?}");
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

    #[test]
    fn the_key_is_changed_in_three_steps_and_everything_opens_all_the_while() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.key");
        let load = || MasterKey::load_or_create(&path).unwrap();
        let first = load().seal("a", b"x").unwrap();
        assert!(promote(&path).is_err() && retire(&path).is_err(), "nothing is prepared");

        prepare(&path).unwrap();
        assert!(prepare(&path).is_err(), "once");
        assert!(load().current().open("a", &load().seal("a", b"y").unwrap()).is_ok());
        promote(&path).unwrap();
        let second = load().seal("a", b"z").unwrap();
        assert!(load().open("a", &first).is_ok() && load().open("a", &second).is_ok());
        assert!(load().current().open("a", &first).is_err(), "under the key that was");

        retire(&path).unwrap();
        assert!(load().open("a", &first).is_err() && load().open("a", &second).is_ok());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no key is left lying about");
    }

    #[test]
    fn a_process_that_runs_reloads_the_new_key_by_itself() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.key");
        let running = MasterKey::load_or_create(&path).unwrap();
        prepare(&path).unwrap();
        promote(&path).unwrap();
        let new = MasterKey::load_or_create(&path).unwrap().seal("a", b"x").unwrap();
        assert!(running.open("a", &new).is_err(), "not reloaded yet");
        running.0.loaded.write().unwrap().checked -= CHECK_INTERVAL + Duration::from_secs(1);
        assert!(running.open("a", &new).is_ok());
    }
}
