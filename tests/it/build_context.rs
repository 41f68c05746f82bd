//! `.dockerignore` against what an image is built from: what it keeps out is missing only after the
//! dependencies are compiled, and no test but a build of the image would see that.

use std::{
    collections::BTreeSet, fs, os::unix::fs::MetadataExt as _, path::Path, process::Command,
};

use crate::{
    deploy::{files, text},
    support::{Run as _, in_repository, left_out_everywhere},
};

/// Whether Docker's pattern without `!` matches this very path: `*` and `?` stop at a slash, `**`
/// does not.
fn matches(pattern: &[u8], path: &[u8]) -> bool {
    match (pattern, path) {
        ([], []) => true,
        ([b'*', b'*', b'/', rest @ ..], _) if matches(rest, path) => true,
        ([b'*', b'*', ..], [_, after @ ..]) if matches(pattern, after) => true,
        ([b'*', b'*', rest @ ..], _) => matches(rest, path),
        ([b'*', ..], [first, after @ ..]) if *first != b'/' && matches(pattern, after) => true,
        ([b'*', rest @ ..], _) => matches(rest, path),
        ([b'?', rest @ ..], [first, after @ ..]) => *first != b'/' && matches(rest, after),
        ([wanted, rest @ ..], [first, after @ ..]) => wanted == first && matches(rest, after),
        _ => false,
    }
}

/// Whether Docker keeps a path out of the build context. The last pattern that matches the path or
/// a folder that it is in decides; slashes at both ends of a pattern are dropped, so that none
/// means folders alone.
fn is_ignored(ignore: &str, path: &str) -> bool {
    let folders = path.match_indices('/').map(|(end, _)| &path[..end]);
    let all: Vec<_> = folders.chain([path]).collect();
    let mut ignored = false;
    for line in ignore.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')) {
        let (pattern, keeps) = line.strip_prefix('!').map_or((line, false), |rest| (rest, true));
        let pattern = pattern.trim_matches('/').as_bytes();
        if all.iter().any(|path| matches(pattern, path.as_bytes())) {
            ignored = !keeps;
        }
    }
    ignored
}

/// A path without `..` and without what is before the repository.
fn normal(path: &Path) -> String {
    let mut parts: Vec<_> = Vec::new();
    let relative = path.strip_prefix(in_repository("")).unwrap_or(path);
    for part in relative.iter().map(|part| part.to_str().unwrap()) {
        match part {
            ".." => drop(parts.pop()),
            "." => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}

fn below(folder: &str) -> Vec<String> {
    files(folder).iter().map(|file| normal(file)).collect()
}

/// What the code takes into the program while it is compiled.
fn included() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for file in ["src", "crates"].into_iter().flat_map(files) {
        let Ok(code) = fs::read_to_string(&file) else { continue };
        for (mark, from) in [
            ("include_str!(\"", file.parent().unwrap()),
            ("include_bytes!(\"", file.parent().unwrap()),
            ("steps!(\"", Path::new("migrations")),
        ] {
            for (at, _) in code.match_indices(mark) {
                let name = code[at + mark.len()..].split('"').next().unwrap();
                let path = normal(&from.join(name));
                let inside = in_repository(&path);
                if Path::new(&inside).is_dir() {
                    found.extend(below(&path));
                } else {
                    found.insert(path);
                }
            }
        }
    }
    found
}

/// What cargo looks for before it compiles anything, and what the image's own steps take from the
/// context.
fn asked_for() -> BTreeSet<String> {
    let mut found: BTreeSet<_> =
        ["Cargo.toml", "Cargo.lock", "rust-toolchain.toml"].map(str::to_owned).into();
    let manifest: toml::Table = text("Cargo.toml").parse().unwrap();
    for (kind, folder) in [("bench", "benches"), ("test", "tests")] {
        for target in manifest[kind].as_array().unwrap() {
            let in_folder = || format!("{folder}/{}.rs", target["name"].as_str().unwrap());
            let path = target.get("path").and_then(|path| path.as_str());
            found.insert(path.map_or_else(in_folder, str::to_owned));
        }
    }
    for image in ["Dockerfile", "deploy/Dockerfile.cuda"] {
        let image = text(image);
        for line in image.lines().filter_map(|line| line.strip_prefix("COPY ")) {
            if let Some(built) = line.strip_prefix("--from=build /src/") {
                let name = built.split(' ').next().unwrap();
                // Whatever is not built or fetched in the image comes from the context.
                let made = ["target/", "runtime", "stage"];
                if !made.iter().any(|made| name.starts_with(made)) {
                    found.insert(name.to_owned());
                }
                continue;
            }
            // The authorities of the image that builds.
            if line.starts_with("--from=build /etc/ssl/") {
                continue;
            }
            let mut names: Vec<_> = line.split(' ').collect();
            names.pop();
            for name in names.into_iter().filter(|name| *name != ".") {
                if Path::new(&in_repository(name)).is_dir() {
                    found.extend(below(name));
                } else {
                    found.insert(name.to_owned());
                }
            }
        }
    }
    found
}

#[test]
fn everything_that_an_image_is_built_from_is_in_the_build_context() {
    let ignore = text(".dockerignore");
    let included = included();
    assert!(included.contains("models/manifest.toml"), "{included:?}");
    assert!(included.contains("migrations/sqlite/0001_jobs.sql"), "{included:?}");
    let asked_for = asked_for();
    assert!(asked_for.contains("scripts/fetch-runtime"), "{asked_for:?}");
    let code: Vec<_> = ["src", "crates"].into_iter().flat_map(below).collect();
    for path in included.iter().chain(&asked_for).chain(&code) {
        assert!(Path::new(&in_repository(path)).exists(), "{path} does not exist");
        assert!(!is_ignored(&ignore, path), ".dockerignore keeps {path} out of the image");
    }
}

/// By the builder itself, not by what is known of it here.
#[test]
fn a_builder_gets_what_it_compiles_and_an_image_describes_itself() {
    let is_there = |program: &str| Command::new(program).arg("--version").output().is_ok();
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    if !is_root || !["buildah", "podman", "runc", "debootstrap"].into_iter().all(is_there) {
        left_out_everywhere("the build context of the image: run it as root, with buildah");
        return;
    }
    let mut check = Command::new(in_repository("scripts/image-check"));
    let ran = check.arg("context").ran();
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("the build context is complete"), "{}", ran.out);
    assert!(ran.out.contains("health check and labels are as they should be"), "{}", ran.out);
}

#[test]
fn what_is_large_or_secret_stays_out_of_the_build_context() {
    let ignore = text(".dockerignore");
    for path in [
        ".git/config",
        "target/release/visavis",
        "models/omz/pack.toml",
        "models/omz/yunet_s_dynamic.onnx",
        "runtime/libonnxruntime.so",
        "data/master.key",
        "deploy/secrets/master/master.key",
        "dist/visavis.tar.gz",
    ] {
        assert!(is_ignored(&ignore, path), "{path} would be sent to the builder");
    }
}

/// The trailing slash is moby#32533, which is open.
#[test]
fn patterns_are_read_as_docker_reads_them() {
    for (ignore, path, ignored) in [
        ("models/*/", "models/manifest.toml", true),
        ("models/*\n!models/*.toml", "models/manifest.toml", false),
        ("models/*\n!models/*.toml", "models/omz/pack.toml", true),
        ("!models/*.toml\nmodels/*", "models/manifest.toml", true),
        ("target", "target/debug/visavis", true),
        ("target", "fuzz/target", false),
        ("/target/", "target/debug/visavis", true),
        ("**/target", "fuzz/target/debug", true),
        ("*.md", "docs/API.md", false),
        ("**/*.md", "docs/API.md", true),
        ("**/*.md", "README.md", true),
        ("d?ta", "data/master.key", true),
        ("# data\n\n", "data", false),
    ] {
        assert_eq!(is_ignored(ignore, path), ignored, "{path} by {ignore:?}");
    }
}
