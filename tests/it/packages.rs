//! Nets from packages: pinned, checked, and with a second source. No test here
//! uses a network.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use visavis_face::manifest::Manifest;

use crate::{
    setup::script,
    support::{Ran, Run as _, in_repository, left_out},
};

/// Makes a wheel and two archives as npm packs them, each with one net, and a lock with two packs.
const MAKE: &str = r#"
import hashlib, io, sys, tarfile, zipfile

def pinned(content):
    return hashlib.sha256(content).hexdigest()

def member(inside, mirror, content):
    return f"member {inside} {mirror} {len(content)} {pinned(content)}"

wheel = "detector-1.0-cp311-cp311-manylinux2014_x86_64.whl"
with zipfile.ZipFile(wheel, "w") as file:
    file.writestr("detector/net.so", b"detector")
    file.writestr("detector-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: \
        detector\nVersion: 1.0\n")
    file.writestr("detector-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: \
        cp311-cp311-manylinux2014_x86_64\n")
lock = ["pack one detector first", "pack two detector second",
        f"archive pypi detector 1.0 {pinned(open(wheel, 'rb').read())}",
        member("detector/net.so", "detector/net.so", b"detector")]
for name in ["first", "second"]:
    with tarfile.open(f"{name}.tgz", "w:gz") as file:
        for inside in ["package/net", "package/../../net"]:
            entry = tarfile.TarInfo(inside)
            entry.size = len(name)
            file.addfile(entry, io.BytesIO(name.encode()))
    lock += [f"archive npm {name} 1.0.0 {pinned(open(name + '.tgz', 'rb').read())}",
             member("package/net", f"{name}/net", name.encode())]
open("lock", "w").write("\n".join(lock) + "\n")
print(sys.executable)
"#;

/// A folder that is all the registries there are, and a mirror to fill.
struct Registries {
    folder: tempfile::TempDir,
    path: PathBuf,
}

impl Registries {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let made = Command::new("python3").args(["-c", MAKE]).current_dir(folder.path()).ran();
        assert_eq!(made.code, 0, "{}", made.err);
        let path = folder.path().join("bin");
        fs::create_dir(&path).unwrap();
        let registries = Self { folder, path };
        registries.tool("python3", &format!("exec '{}' \"$@\"", made.out.trim()));
        let archives = registries.folder.path().display().to_string();
        let npm = format!(
            "for package; do :; done\n\
             if [ ! -e '{archives}'/\"${{package%@*}}.tgz\" ]; then echo \"404 $package\"; exit 1; \
             fi\n\
             exec /bin/cp '{archives}'/\"${{package%@*}}.tgz\" .\n"
        );
        registries.tool("npm", &npm);
        registries
    }

    fn tool(&self, name: &str, text: &str) {
        let file = self.path.join(name);
        fs::write(&file, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Replaces words of the lock.
    fn pin(&self, from: &str, to: &str) {
        let lock = fs::read_to_string(self.at("lock")).unwrap();
        assert!(lock.contains(from), "{lock}");
        fs::write(self.at("lock"), lock.replace(from, to)).unwrap();
    }

    fn digest(&self, name: &str) -> String {
        visavis_face::sha256_hex(&fs::read(self.at(name)).unwrap())
    }

    fn fetch(&self, variables: &[(&str, &str)]) -> Ran {
        let mut command = script("fetch-packages", "");
        command.arg(self.at("mirror")).arg(self.at("lock")).env("PATH", &self.path);
        // pip itself, with this folder as its index.
        command.env("PIP_NO_INDEX", "1").env("PIP_FIND_LINKS", self.folder.path());
        command.env("PIP_CONFIG_FILE", "/dev/null").envs(variables.iter().copied()).ran()
    }

    /// What it prints for a pack.
    fn printed(&self, pack: &str) -> String {
        format!("{pack} {}\n", self.at("mirror").canonicalize().unwrap().display())
    }

    /// Files of the mirror.
    fn mirror(&self) -> BTreeSet<String> {
        fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
            for entry in fs::read_dir(folder).into_iter().flatten() {
                let path = entry.unwrap().path();
                if path.is_dir() { walk(&path, found) } else { found.push(path) }
            }
        }
        let (mirror, mut found) = (self.at("mirror"), Vec::new());
        walk(&mirror, &mut found);
        let inside = found.iter().map(|path| path.strip_prefix(&mirror).unwrap());
        inside.map(|path| path.display().to_string()).collect()
    }
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn pinned_members_become_a_mirror_and_are_not_fetched_twice() {
    let registries = Registries::new();
    let fetched = registries.fetch(&[]);
    assert_eq!((fetched.code, fetched.out), (0, registries.printed("one")), "{}", fetched.err);
    assert_eq!(registries.mirror(), names(&["detector/net.so", "first/net"]));
    assert_eq!(fs::read(registries.at("mirror/first/net")).unwrap(), b"first");

    fs::remove_file(registries.path.join("npm")).unwrap();
    let again = registries.fetch(&[]);
    assert_eq!((again.code, &*again.out, &*again.err), (0, &*registries.printed("one"), ""));

    // A file that was changed is fetched again.
    fs::write(registries.at("mirror/detector/net.so"), "other").unwrap();
    assert_eq!(registries.fetch(&[]).code, 0);
    assert_eq!(fs::read(registries.at("mirror/detector/net.so")).unwrap(), b"detector");
}

#[test]
fn a_mirror_that_has_the_members_is_enough() {
    let registries = Registries::new();
    assert_eq!(registries.fetch(&[]).code, 0);
    fs::rename(registries.at("mirror"), registries.at("copy")).unwrap();
    let copy = registries.at("copy").display().to_string();
    let found = registries.fetch(&[("VISAVIS_MODEL_MIRROR", &copy)]);
    assert_eq!((found.code, found.out, &*found.err), (0, format!("one {copy}\n"), ""));
    assert!(!registries.at("mirror").exists());
}

#[test]
fn without_npm_it_says_which_package_brings_it() {
    let registries = Registries::new();
    fs::remove_file(registries.path.join("npm")).unwrap();
    let stopped = registries.fetch(&[]);
    assert_eq!((stopped.code, stopped.out.as_str()), (3, ""), "{}", stopped.err);
    assert!(stopped.err.contains("npm is missing"), "{}", stopped.err);
    assert!(stopped.err.contains("apt-get install npm"), "{}", stopped.err);
}

#[test]
fn a_package_that_is_gone_or_another_one_has_a_second_source() {
    let registries = Registries::new();
    registries.pin(&registries.digest("first.tgz"), &"0".repeat(64));
    let other = registries.fetch(&[]);
    assert_eq!((other.code, other.out), (0, registries.printed("two")), "{}", other.err);
    assert!(other.err.contains("first 1.0.0 cannot be fetched from npm"), "{}", other.err);
    assert!(other.err.contains(&format!("pinned is {}", "0".repeat(64))), "{}", other.err);
    assert_eq!(registries.mirror(), names(&["detector/net.so", "second/net"]));

    let registries = Registries::new();
    fs::remove_file(registries.at("first.tgz")).unwrap();
    let gone = registries.fetch(&[]);
    assert_eq!((gone.code, gone.out), (0, registries.printed("two")), "{}", gone.err);
    assert!(gone.err.contains("404 first@1.0.0"), "{}", gone.err);
}

#[test]
fn a_pack_that_is_asked_for_is_not_exchanged_for_its_second_source() {
    let registries = Registries::new();
    fs::remove_file(registries.at("first.tgz")).unwrap();
    let stopped = registries.fetch(&[("PACK", "one")]);
    assert_eq!((stopped.code, stopped.out.as_str()), (1, ""), "{}", stopped.err);
    assert!(stopped.err.contains("the pack one is not available"), "{}", stopped.err);
    let second = registries.fetch(&[("PACK", "two")]);
    assert_eq!((second.code, second.out), (0, registries.printed("two")), "{}", second.err);
}

#[test]
fn a_wheel_or_a_member_with_another_digest_is_refused() {
    for name in ["detector-1.0-cp311-cp311-manylinux2014_x86_64.whl", "mirror/detector/net.so"] {
        let registries = Registries::new();
        assert_eq!(registries.fetch(&[]).code, 0);
        registries.pin(&registries.digest(name), &"0".repeat(64));
        fs::remove_dir_all(registries.at("mirror")).unwrap();
        let refused = registries.fetch(&[]);
        assert_eq!((refused.code, refused.out.as_str()), (1, ""), "{}", refused.err);
        assert!(
            refused.err.contains("detector 1.0 cannot be fetched from pypi"),
            "{}",
            refused.err
        );
        assert!(!registries.mirror().contains("detector/net.so"));
    }
}

#[test]
fn the_licence_of_a_package_is_delivered_with_its_nets() {
    if !Path::new(&in_repository("models/packages/yuface/LICENSE")).exists() {
        return left_out("the licences of packages: models/packages has none");
    }
    let folder = tempfile::tempdir().unwrap();
    let licences = |pack: &str, mirror: &Path| {
        let mut command = Command::new("python3");
        command.arg(in_repository("scripts/sources.py")).args(["licences", pack]);
        command.arg(folder.path()).env("VISAVIS_MODEL_MIRROR", mirror).ran()
    };
    let file = folder.path().join("LICENSE.yuface");
    let of_default = licences("omz", Path::new("/nowhere"));
    assert_eq!(of_default.code, 0, "{}", of_default.err);
    assert!(!file.exists(), "a pack of no packages");
    let found = licences("mobilefacenet", Path::new("/nowhere"));
    assert_eq!(found.code, 0, "{}", found.err);
    assert!(fs::read_to_string(&file).unwrap().contains("BSD License"));
}

/// What is fetched is what the pack is then pulled from.
#[test]
fn members_are_the_sources_that_the_manifest_names() {
    let lock = fs::read_to_string(in_repository("models/packages.lock")).unwrap();
    let lines: Vec<Vec<_>> = lock.lines().map(|line| line.split(' ').collect()).collect();
    let manifest = Manifest::load(Path::new("/nowhere")).unwrap();
    assert!(manifest.packs.contains_key("mobilefacenet"));
    for words in lines.iter().filter(|words| words[0] == "pack") {
        let Some(pack) = manifest.packs.get(words[1]) else { continue };
        let own = pack.own_weights();
        let sources = own.iter().flat_map(|(_, net)| &net.sources);
        let sources: BTreeSet<_> =
            sources.map(|s| (s.mirror.clone(), s.bytes.to_string(), s.sha256.clone())).collect();
        let mut members = BTreeSet::new();
        for archive in &words[2..] {
            let of_it = lines.iter().skip_while(|w| !(w[0] == "archive" && w[2] == *archive));
            let of_it = of_it.skip(1).take_while(|w| w[0] == "member");
            let of_it = of_it.filter(|w| !w[2].ends_with("/LICENSE"));
            members.extend(of_it.map(|w| (w[2].to_owned(), w[3].to_owned(), w[4].to_owned())));
        }
        assert_eq!(members, sources, "{}", words[1]);
    }
}
