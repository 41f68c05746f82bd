//! The files of the master key. During a rotation the next key (`.next`) or the previous one
//! (`.old`) is beside it. Each file holds exactly 32 bytes and is readable only by its owner.

use std::{
    fs,
    io::{self, Read as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::SystemTime,
};

use aws_lc_rs::rand;
use zeroize::Zeroizing;

use super::{KEY_LEN, Keys, SealError};
use crate::private_file::{self, Draft};

type Key = Zeroizing<[u8; KEY_LEN]>;

pub(super) fn random() -> Result<Key, SealError> {
    let mut bytes = Zeroizing::new([0; KEY_LEN]);
    rand::fill(bytes.as_mut()).map_err(|_| SealError::Failed)?;
    Ok(bytes)
}

fn beside(path: &Path, what: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(what);
    PathBuf::from(name)
}

fn next(path: &Path) -> PathBuf {
    beside(path, ".next")
}

fn old(path: &Path) -> PathBuf {
    beside(path, ".old")
}

/// The modification time of each file.
pub(super) fn modified_times(path: &Path) -> Vec<Option<SystemTime>> {
    let changed = |path: PathBuf| fs::metadata(path).and_then(|file| file.modified()).ok();
    [path.to_owned(), next(path), old(path)].into_iter().map(changed).collect()
}

/// The key that seals, then further keys that open.
pub(super) fn read_all(path: &Path) -> Result<Keys, SealError> {
    let mut keys = vec![read(path)?];
    for further in [next(path), old(path)] {
        if further.exists() {
            keys.push(read(&further)?);
        }
    }
    Ok(keys.into())
}

/// Creates the file if it does not exist.
pub(super) fn create_if_missing(path: &Path) -> Result<(), SealError> {
    match create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(wrong(path, format!("cannot be created: {error}")))
        }
        _ => Ok(()),
    }
}

/// Writes the new key to a draft and then renames it, so that of two processes that start together
/// one wins and none reads half a key.
fn create(path: &Path) -> io::Result<()> {
    if path.exists() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    let key = random().map_err(io::Error::other)?;
    // The next key gets the owner of the current one.
    let present = path.with_extension("");
    let like = path.extension().is_some_and(|end| end == "next").then_some(present.as_path());
    Draft::write(path, like, key.as_ref())?.name(path)?;
    sync_folder(path)
}

/// A new name is durable only after its folder was synced.
fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) => fs::File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

fn read(path: &Path) -> Result<Key, SealError> {
    let unreadable = |e: io::Error| wrong(path, format!("cannot be read: {e}"));
    let mut file = private_file::open(path).map_err(unreadable)?;
    let found = file.metadata().map_err(unreadable)?;
    if private_file::exposed_mode(path, &found) != 0 {
        let mode = found.permissions().mode() & 0o777;
        return Err(wrong(path, format!("has mode {mode:o}: run chmod 600 on it")));
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(2 * KEY_LEN));
    file.read_to_end(&mut bytes).map_err(unreadable)?;
    let key: [u8; KEY_LEN] = bytes
        .as_slice()
        .try_into()
        .map_err(|_| wrong(path, format!("holds {} bytes instead of {KEY_LEN}", bytes.len())))?;
    Ok(Zeroizing::new(key))
}

/// Creates the next key; returns its file.
///
/// # Errors
/// [`SealError::Step`] when it exists already, or the previous rotation is not finished;
/// [`SealError::KeyFile`] when it cannot be created.
pub fn prepare(path: &Path) -> Result<PathBuf, SealError> {
    if old(path).exists() {
        return Err(wrong_step(
            path,
            "was rotated, and the previous key still exists: run `visavis key retire` first",
        ));
    }
    let next = next(path);
    match create(&next) {
        Ok(()) => Ok(next),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(wrong_step(&next, "exists already: continue with `visavis key rotate`"))
        }
        Err(error) => Err(wrong(&next, format!("cannot be created: {error}"))),
    }
}

/// Makes the next key the current one. Does nothing if that was done and the previous key still
/// exists, so that an interrupted rotation can be repeated.
///
/// # Errors
/// [`SealError::Step`] when no next key exists; [`SealError::KeyFile`] when it cannot be used.
pub fn promote(path: &Path) -> Result<(), SealError> {
    let (next, old) = (next(path), old(path));
    if !next.exists() && old.exists() {
        return Ok(());
    }
    if !next.exists() {
        return Err(wrong_step(path, "has no next key: run `visavis key prepare` first"));
    }
    let failed = |e: io::Error| wrong(path, format!("cannot be replaced by the next key: {e}"));
    read(&next)?;
    // The current key is saved before it is replaced. Between the two steps both files hold it.
    if !old.exists() {
        fs::hard_link(path, &old).map_err(failed)?;
    }
    fs::rename(&next, path).and_then(|()| sync_folder(path)).map_err(failed)
}

/// Deletes the previous key.
///
/// # Errors
/// [`SealError::Step`] when none exists; [`SealError::KeyFile`] when it cannot be deleted.
pub fn retire(path: &Path) -> Result<(), SealError> {
    let old = old(path);
    if !old.exists() {
        return Err(wrong_step(path, "has no previous key to retire"));
    }
    let deleted = fs::remove_file(&old).and_then(|()| sync_folder(path));
    deleted.map_err(|e| wrong(&old, format!("cannot be deleted: {e}")))
}

fn wrong_step(path: &Path, reason: &str) -> SealError {
    SealError::Step { path: path.to_path_buf(), reason: reason.to_owned() }
}

fn wrong(path: &Path, reason: impl Into<String>) -> SealError {
    SealError::KeyFile { path: path.to_path_buf(), reason: reason.into() }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_key_is_not_written_through_a_link_that_waits_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let (path, victim) = (folder.path().join("master.key"), folder.path().join("victim"));
        fs::write(&victim, "kept").unwrap();
        for name in ["master.key", "master.key.next"] {
            let draft = format!("{name}.draft.{}", std::process::id());
            symlink(&victim, folder.path().join(draft)).unwrap();
        }
        create_if_missing(&path).unwrap();
        prepare(&path).unwrap();
        promote(&path).unwrap();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "kept");
        assert_eq!(read_all(&path).unwrap().len(), 2);
    }

    #[test]
    fn a_key_is_read_through_the_links_of_a_mounted_secret() {
        let folder = tempfile::tempdir().unwrap();
        let name = |name: &str| folder.path().join(name);
        fs::create_dir(name("..version")).unwrap();
        create_if_missing(&name("..version/master.key")).unwrap();
        symlink("..version", name("..data")).unwrap();
        symlink("..data/master.key", name("master.key")).unwrap();
        create_if_missing(&name("master.key")).unwrap();
        assert_eq!(read_all(&name("master.key")).unwrap().len(), 1);
    }
}
