//! A data folder that belongs to root and a group, as Kubernetes makes volumes with `fsGroup` and
//! `OpenShift` all of them.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown},
    path::Path,
    process::Command,
};

use crate::support::{Ran, Run as _, program};

/// The user and the group of a pod.
const ID: u32 = 12_345;

/// Whether this test can make files of other users.
fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// Runs the program as a user with this group, and further ones.
fn as_user(group: u32, groups: &str, arguments: &[&str], folder: &Path) -> Ran {
    let program = program();
    let mut command = Command::new("setpriv");
    command.arg(format!("--reuid={ID}")).arg(format!("--regid={group}"));
    command.arg(if groups.is_empty() {
        "--clear-groups".to_owned()
    } else {
        format!("--groups={groups}")
    });
    command.arg("--").arg(program.get_program()).args(arguments).arg("--data").arg(folder);
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.ran()
}

fn set(path: &Path, group: u32, mode: u32) {
    chown(path, Some(0), Some(group)).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// A folder that the user can reach.
fn volume() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

#[test]
fn a_volume_of_root_and_the_group_of_a_pod_is_used_and_its_files_may_be_the_groups() {
    if !is_root() {
        return;
    }
    for (group, groups) in [(ID, ""), (0, "0,12345")] {
        let folder = volume();
        let data = folder.path().join("data");
        fs::create_dir(&data).unwrap();
        set(&data, ID, 0o2770);
        let added = as_user(group, groups, &["client", "add", "app", "--out", "-"], &data);
        assert_eq!(added.code, 0, "{}", added.err);
        assert_eq!(as_user(group, groups, &["console", "token"], &data).code, 0);
        // As the next mount of the volume leaves them.
        for file in fs::read_dir(&data).unwrap() {
            set(&file.unwrap().path(), ID, 0o660);
        }
        for command in [&["client", "list"][..], &["client", "disable", "app"], &["audit"]] {
            let ran = as_user(group, groups, command, &data);
            assert_eq!(ran.code, 0, "{command:?}: {}", ran.err);
        }
        let checked = as_user(group, groups, &["check"], &data).out;
        for found in ["ok   permissions: ", "ok   folders: ", "ok   data: "] {
            assert!(checked.contains(found), "{found}: {checked}");
        }
    }
}

#[test]
fn a_key_that_other_users_or_a_foreign_group_can_read_is_refused() {
    if !is_root() {
        return;
    }
    let folder = volume();
    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    set(&data, ID, 0o2770);
    assert_eq!(as_user(ID, "", &["client", "add", "app", "--out", "-"], &data).code, 0);
    let key = data.join("master.key");
    for (mode, is_taken) in [(0o660, true), (0o640, true), (0o644, false), (0o666, false)] {
        set(&key, ID, mode);
        let ran = as_user(ID, "", &["client", "list"], &data);
        assert_eq!(ran.code == 0, is_taken, "{mode:o}: {}", ran.err);
        let reported = format!("has mode {mode:o}: run chmod 600 on it");
        assert!(is_taken || ran.err.contains(&reported), "{}", ran.err);
    }
    // The folder is one user's own, and the group is that of someone else.
    chown(&data, Some(ID), Some(ID)).unwrap();
    fs::set_permissions(&data, fs::Permissions::from_mode(0o755)).unwrap();
    chown(&key, Some(ID), Some(ID + 1)).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    let ran = as_user(ID, "", &["client", "list"], &data);
    assert!(ran.code != 0 && ran.err.contains("has mode 640"), "{}", ran.err);
}

#[test]
fn a_folder_that_the_user_of_the_service_cannot_write_is_found_before_a_start() {
    if !is_root() {
        return;
    }
    let folder = volume();
    let data = folder.path().join("data");
    for (mode, found) in [(0o2750, "FAIL folders: "), (0o2770, "ok   folders: ")] {
        if !data.exists() {
            fs::create_dir(&data).unwrap();
        }
        set(&data, ID, mode);
        let checked = as_user(ID, "", &["check"], &data).out;
        let line = checked.lines().find(|line| line.contains(" folders: ")).unwrap();
        assert!(line.starts_with(found), "{mode:o}: {line}");
        let reported = format!("{} is not writable for this user", data.display());
        assert_eq!(line.contains(&reported), mode == 0o2750, "{line}");
    }
}
