//! Sealing what rests in the database: pictures, private keys, secrets.
//!
//! AES-256-GCM under a key that is drawn from the master key for each sealed value (HKDF-SHA-256 with
//! a random salt), so the number of values under one master key is not limited by the nonce. The label
//! is bound in: a value sealed as one thing cannot be opened as another.

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
use zeroize::Zeroizing;

pub use self::{
    key_file::{prepare, promote, retire},
    mac::MacInput,
};

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

/// The key that everything at rest is sealed under, and those beside it while it is being changed for another;
/// clones share them.
#[derive(Clone)]
pub struct MasterKey(Arc<KeyRing>);

/// What opens; the first one seals.
type Keys = Arc<[Zeroizing<[u8; KEY_LEN]>]>;

struct KeyRing {
    /// Where they came from; `None` for a key that is in memory only.
    path: Option<PathBuf>,
    read: RwLock<Read>,
}

/// The files as they were last read.
struct Read {
    keys: Keys,
    stamp: Vec<Option<SystemTime>>,
    looked: Instant,
}

/// How often to look whether the files have changed: so long the other processes take to follow.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How often to read them again when they change under the reading.
const LOOKS: usize = 3;

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MasterKey")
    }
}

impl MasterKey {
    fn of(path: Option<PathBuf>, keys: Keys, stamp: Vec<Option<SystemTime>>) -> Self {
        let read = RwLock::new(Read { keys, stamp, looked: Instant::now() });
        Self(Arc::new(KeyRing { path, read }))
    }

    /// A key that exists in memory only.
    ///
    /// # Errors
    /// [`SealError::Failed`] when there are no random numbers.
    pub fn random() -> Result<Self, SealError> {
        Ok(Self::of(None, [key_file::random()?].into(), Vec::new()))
    }

    /// Reads the key file, or makes one (mode 0600) if there is none. The files of a key that is to come and of
    /// one that was, beside it, open as well; all of them are read again when they change.
    ///
    /// # Errors
    /// [`SealError::KeyFile`] when it cannot be read or made, can be read by other users, or does not
    /// hold exactly 32 bytes.
    pub fn load_or_create(path: &Path) -> Result<Self, SealError> {
        key_file::create_if_missing(path)?;
        Self::load(path)
    }

    /// The same without making a file.
    ///
    /// # Errors
    /// As [`Self::load_or_create`], and when there is no file.
    pub fn load(path: &Path) -> Result<Self, SealError> {
        let stamp = key_file::stamp(path);
        Ok(Self::of(Some(path.to_owned()), key_file::read_all(path)?, stamp))
    }

    /// The key that seals, alone.
    #[must_use]
    pub fn current(&self) -> Self {
        Self::of(None, self.keys().iter().take(1).cloned().collect(), Vec::new())
    }

    /// The keys, read again if the files have changed.
    fn keys(&self) -> Keys {
        let ring = &self.0;
        let read = ring.read.read().unwrap_or_else(PoisonError::into_inner);
        let Some(path) = ring.path.as_ref().filter(|_| read.looked.elapsed() > LOOK_EVERY) else {
            return Arc::clone(&read.keys);
        };
        drop(read);
        let mut stamp = key_file::stamp(path);
        let mut read = ring.read.write().unwrap_or_else(PoisonError::into_inner);
        read.looked = Instant::now();
        if read.stamp != stamp {
            let mut found = key_file::read_all(path);
            // Read in the middle of a change: once more.
            for _ in 0..LOOKS {
                let now = key_file::stamp(path);
                if now == stamp {
                    break;
                }
                (stamp, found) = (now, key_file::read_all(path));
            }
            match found {
                Ok(keys) => {
                    (read.keys, read.stamp) = (keys, stamp);
                    tracing::info!("the master key files have changed and were read again");
                }
                // Halfway through a change: what was read before goes on, and the next look is soon.
                Err(error) => tracing::warn!(%error, "the master key files cannot be read again"),
            }
        }
        Arc::clone(&read.keys)
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
    fn a_process_that_runs_takes_up_the_new_key_by_itself() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.key");
        let running = MasterKey::load_or_create(&path).unwrap();
        prepare(&path).unwrap();
        promote(&path).unwrap();
        let new = MasterKey::load_or_create(&path).unwrap().seal("a", b"x").unwrap();
        assert!(running.open("a", &new).is_err(), "not looked at again yet");
        running.0.read.write().unwrap().looked -= LOOK_EVERY + Duration::from_secs(1);
        assert!(running.open("a", &new).is_ok());
    }
}
