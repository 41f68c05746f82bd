//! Files for one user only: the master key, the console's token, the lock, the embedded database.
//!
//! An operator may run commands as root in a folder that belongs to the account of the service.
//! Links that this account created there must not make root write to other files or change their
//! owner.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown},
    path::{Path, PathBuf},
};

use rustix::process::{getegid, getgroups};
use uuid::Uuid;

const OWNER_ONLY_MODE: u32 = 0o600;
const SHARED_MODE: u32 = 0o660;
/// Does not wait for a pipe, which is refused because it is not a regular file.
const OPEN_FLAGS: i32 = libc::O_NOFOLLOW | libc::O_NONBLOCK;

/// Creates a file with mode 0600 regardless of the umask, never over another file or through a
/// link.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`] when the name is taken, by a link too.
pub(crate) fn create_new(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true).mode(OWNER_ONLY_MODE);
    let file = options.custom_flags(libc::O_NOFOLLOW).open(path)?;
    // A strict umask takes permissions from the owner too.
    match file.set_permissions(fs::Permissions::from_mode(OWNER_ONLY_MODE)) {
        // On a volume without modes; the mode is checked when the file is used.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(file),
        result => result.map(|()| file),
    }
}

/// The same for a file of the service, which gets the owner of its folder.
///
/// # Errors
/// As [`create_new`].
pub(crate) fn create_for_service(path: &Path) -> io::Result<File> {
    let file = create_new(path)?;
    give_to_owner_of(&file, folder(path))?;
    Ok(file)
}

/// Opens a file of the service to write, and creates it if it is missing. Keeps its content.
///
/// # Errors
/// When it is a link, not a regular file, or has several names (hard links).
pub(crate) fn open_or_create(path: &Path) -> io::Result<File> {
    match create_for_service(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        result => return result,
    }
    let file = open_without_link(OpenOptions::new().read(true).write(true), path)?;
    check_own_file(&file)?;
    Ok(file)
}

/// Opens a file to read it. A link is followed if it belongs to root, as on mounted secrets, or to
/// the owner of the file.
///
/// # Errors
/// When it is not a regular file, or a link of another user.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let (opened, named) = (file.metadata()?, fs::symlink_metadata(path)?);
    if !opened.is_file() {
        return Err(io::Error::other("it is not a regular file; replace it by one"));
    }
    if named.is_symlink() {
        check_link(&named, &opened)?;
    } else if (named.dev(), named.ino()) != (opened.dev(), opened.ino()) {
        return Err(io::Error::other("it was replaced while it was opened; try again"));
    }
    Ok(file)
}

/// The checks of [`open`] for a file that another library opens by its name.
///
/// # Errors
/// When it is a link of another user.
pub(crate) fn check_name(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(named) if named.is_symlink() => check_link(&named, &fs::metadata(path)?),
        _ => Ok(()),
    }
}

/// Permissions of other users on a file of the service, as bits of the mode that it should not
/// have; 0 if the file does not exist. A folder that its group may write is shared on purpose, as
/// volumes of Kubernetes with `fsGroup` are.
pub(crate) fn excess_mode(path: &Path) -> u32 {
    let Some(found) = fs::symlink_metadata(path).ok().filter(fs::Metadata::is_file) else {
        return 0;
    };
    let allowed = if is_shared(path) { SHARED_MODE } else { OWNER_ONLY_MODE };
    found.mode() & 0o777 & !allowed
}

fn is_shared(path: &Path) -> bool {
    fs::metadata(folder(path)).is_ok_and(|folder| folder.mode() & 0o020 != 0)
}

/// Permissions of other users on a secret, as bits of the mode that it must not have. The group may
/// read and write if it is a group of this process, as Kubernetes sets it on volumes with
/// `fsGroup`, or if it shares the folder.
pub(crate) fn exposed_mode(path: &Path, found: &fs::Metadata) -> u32 {
    let is_own = getegid().as_raw() == found.gid()
        || getgroups().is_ok_and(|groups| groups.iter().any(|group| group.as_raw() == found.gid()));
    let allowed = if is_own || is_shared(path) { SHARED_MODE } else { OWNER_ONLY_MODE };
    found.mode() & 0o077 & !allowed
}

/// Removes those bits from a file. Not while `SQLite` has it open in this process, because closing
/// the file would release its locks.
///
/// # Errors
/// When it belongs to another user, or as [`open_or_create`].
pub(crate) fn close_to_others(path: &Path) -> io::Result<()> {
    let excess = excess_mode(path);
    let file = open_without_link(OpenOptions::new().read(true), path)?;
    check_own_file(&file)?;
    let mode = file.metadata()?.mode() & 0o7777;
    file.set_permissions(fs::Permissions::from_mode(mode & !excess))
}

fn check_link(link: &fs::Metadata, file: &fs::Metadata) -> io::Result<()> {
    if link.uid() == 0 || link.uid() == file.uid() {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "it is a link of user {} to a file of user {}; remove the link",
        link.uid(),
        file.uid()
    )))
}

fn open_without_link(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    options.custom_flags(OPEN_FLAGS).open(path).map_err(|error| match error.raw_os_error() {
        Some(libc::ELOOP) => io::Error::other("it is a link; remove it"),
        _ => error,
    })
}

fn check_own_file(file: &File) -> io::Result<()> {
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(io::Error::other("it is not a regular file; remove it"));
    }
    if found.nlink() != 1 {
        return Err(io::Error::other("it has further names (hard links); remove it"));
    }
    Ok(())
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// An operator may be root while the service is not, and the service has to read the file. The file
/// must be new.
fn give_to_owner_of(file: &File, like: &Path) -> io::Result<()> {
    let (own, like) = (file.metadata()?, fs::metadata(like)?);
    if own.uid() == like.uid() {
        return Ok(());
    }
    match fchown(file, Some(like.uid()), Some(like.gid())) {
        // Only root can change the owner; another user has access to the folder.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        result => result,
    }
}

/// A file under a random name until it is complete and is renamed.
pub(crate) struct Draft {
    path: PathBuf,
    is_renamed: bool,
}

impl Draft {
    /// Writes it to the disk beside `target`, with the owner of `like`: the file that it replaces,
    /// or the folder.
    ///
    /// # Errors
    /// When it cannot be written; nothing is left then.
    pub(crate) fn write(target: &Path, like: Option<&Path>, content: &[u8]) -> io::Result<Self> {
        let mut name = target.as_os_str().to_owned();
        name.push(format!(".draft.{}", Uuid::new_v4().simple()));
        let path = PathBuf::from(name);
        let mut file = create_new(&path)?;
        let draft = Self { path, is_renamed: false };
        file.write_all(content)?;
        give_to_owner_of(&file, like.unwrap_or_else(|| folder(target)))?;
        file.sync_all()?;
        Ok(draft)
    }

    /// Gives it its name; of two processes one succeeds.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] when the name is taken.
    pub(crate) fn name(self, target: &Path) -> io::Result<()> {
        fs::hard_link(&self.path, target)
    }

    /// Replaces the file that has its name.
    ///
    /// # Errors
    /// When it cannot be renamed.
    pub(crate) fn replace(mut self, target: &Path) -> io::Result<()> {
        fs::rename(&self.path, target)?;
        self.is_renamed = true;
        Ok(())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.is_renamed {
            // Under its own name the file stays, and an error of the draft is reported already.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{lchown, symlink};

    use super::*;

    const SERVICE_UID: u32 = 65_532;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    fn is_root() -> bool {
        fs::metadata("/proc/self").unwrap().uid() == 0
    }

    #[test]
    fn nothing_is_made_through_a_link_or_over_another_file() {
        let folder = tempfile::tempdir().unwrap();
        let victim = folder.path().join("victim");
        let name = folder.path().join("name");
        fs::write(&victim, "kept").unwrap();
        for target in [&victim, &folder.path().join("missing")] {
            symlink(target, &name).unwrap();
            assert_eq!(create_new(&name).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
            let refused = open_or_create(&name).unwrap_err().to_string();
            assert_eq!(refused, "it is a link; remove it");
            fs::remove_file(&name).unwrap();
        }
        fs::hard_link(&victim, &name).unwrap();
        assert!(open_or_create(&name).unwrap_err().to_string().contains("further names"));
        fs::remove_file(&name).unwrap();
        fs::create_dir(&name).unwrap();
        assert!(open_or_create(&name).is_err());
        assert_eq!(fs::read_to_string(&victim).unwrap(), "kept");
        assert!(!folder.path().join("missing").exists());
    }

    #[test]
    fn an_existing_file_is_opened_with_its_content() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        open_or_create(&path).unwrap().write_all(b"kept").unwrap();
        assert_eq!(mode(&path), 0o600);
        drop(open_or_create(&path).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), "kept");
    }

    #[test]
    fn a_file_that_others_may_open_is_closed_to_them_and_to_a_group_unless_the_folder_is_the_groups()
     {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let set = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        assert_eq!(excess_mode(&path), 0, "there is none");
        fs::write(&path, "").unwrap();
        for (folder_mode, found, excess) in
            [(0o755, 0o666, 0o066), (0o700, 0o600, 0), (0o2770, 0o664, 0o004), (0o755, 0o400, 0)]
        {
            set(folder.path(), folder_mode);
            set(&path, found);
            assert_eq!(excess_mode(&path), excess, "{folder_mode:o} {found:o}");
            close_to_others(&path).unwrap();
            assert_eq!(mode(&path), found & !excess);
        }
    }

    #[test]
    fn a_draft_gets_its_name_once_or_replaces_the_file_and_is_gone_then() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        Draft::write(&path, None, b"first").unwrap().name(&path).unwrap();
        let taken = Draft::write(&path, None, b"second").unwrap().name(&path).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).unwrap(), "first");
        Draft::write(&path, None, b"third").unwrap().replace(&path).unwrap();
        assert_eq!((fs::read_to_string(&path).unwrap().as_str(), mode(&path)), ("third", 0o600));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no draft is left");
    }

    #[test]
    fn a_link_is_read_if_root_or_the_owner_of_the_file_laid_it() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        fs::write(&file, "content").unwrap();
        symlink(&file, &link).unwrap();
        assert!(open(&link).is_ok() && open(&file).is_ok() && check_name(&link).is_ok());
        assert!(open(folder.path()).is_err());
        if !is_root() {
            return;
        }
        lchown(&link, Some(SERVICE_UID), None).unwrap();
        let refused = open(&link).unwrap_err().to_string();
        assert_eq!(refused, "it is a link of user 65532 to a file of user 0; remove the link");
        assert!(check_name(&link).is_err());
        lchown(&file, Some(SERVICE_UID), None).unwrap();
        assert!(open(&link).is_ok() && check_name(&link).is_ok());
    }

    #[test]
    fn what_root_makes_in_the_folder_of_the_service_belongs_to_the_service() {
        if !is_root() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        lchown(folder.path(), Some(SERVICE_UID), Some(SERVICE_UID)).unwrap();
        let path = |name: &str| folder.path().join(name);
        drop(open_or_create(&path("lock")).unwrap());
        Draft::write(&path("key"), None, b"").unwrap().name(&path("key")).unwrap();
        drop(create_new(&path("of the operator")).unwrap());
        let owner = |name: &str| fs::metadata(path(name)).unwrap().uid();
        let owners = ["lock", "key", "of the operator"].map(owner);
        assert_eq!(owners, [SERVICE_UID, SERVICE_UID, 0]);
    }
}
