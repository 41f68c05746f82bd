//! What runs elsewhere on every change: nothing in it can be exchanged by others, and it may do no
//! more than it must.

use std::{collections::BTreeSet, fs};

use crate::deploy::files;

/// Names and texts of the workflows, with the lines that say something.
fn workflows() -> Vec<(String, Vec<String>)> {
    let read = |path: std::path::PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
        (path.display().to_string(), lines.map(str::to_owned).collect())
    };
    files(".github/workflows").into_iter().map(read).collect()
}

#[test]
fn every_action_is_pinned_by_its_commit_and_says_which_version_that_is() {
    let mut pinned = 0;
    for (name, lines) in workflows() {
        for line in lines.iter().filter(|line| line.contains("uses:")) {
            let (_, action) = line.split_once("uses: ").unwrap();
            let (action, version) =
                action.split_once(" # v").unwrap_or_else(|| panic!("{name}: {line}"));
            let (_, commit) = action.split_once('@').unwrap_or_else(|| panic!("{name}: {line}"));
            let is_hash = commit.len() == 40
                && commit.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
            assert!(is_hash, "{name}: {line}");
            assert_eq!(version.split('.').count(), 3, "{name}: {line}");
            pinned += 1;
        }
    }
    assert!(pinned > 10, "{pinned}");
}

#[test]
fn every_job_says_what_it_may_and_the_rest_is_forbidden() {
    for (name, lines) in workflows() {
        assert!(lines.contains(&"permissions: {}".to_owned()), "{name}");
        let jobs = lines.iter().position(|line| line == "jobs:").unwrap();
        let of_job = |line: &&String| line.starts_with("    ") && !line.starts_with("     ");
        let count = |word: &str| {
            lines[jobs..].iter().filter(of_job).filter(|line| line.trim().starts_with(word)).count()
        };
        let started = count("runs-on:");
        assert!(started > 0, "{name}");
        assert_eq!(
            (started, started),
            (count("permissions:"), count("timeout-minutes:")),
            "{name}"
        );
        for line in &lines {
            assert!(
                !line.contains("write-all") && !line.contains("pull_request_target"),
                "{name}: {line}"
            );
            // A shell would run what someone else has written into a title or a branch.
            let in_shell = line.contains("run:") || line.starts_with("          ");
            assert!(!in_shell || !line.contains("github.event"), "{name}: {line}");
            if line.contains("actions/checkout@") {
                let next = lines.iter().skip_while(|other| *other != line).nth(1).unwrap();
                assert!(next.contains("persist-credentials: false"), "{name}: {next}");
            }
        }
    }
}

/// Its token would sign whatever a dependency of the build makes of it.
#[test]
fn no_job_that_attests_builds_or_checks_out() {
    let mut attesting = 0;
    for (name, lines) in workflows() {
        let is_head = |line: &str| line.starts_with("  ") && !line.starts_with("   ");
        for job in lines.split(|line| is_head(line)) {
            if !job.iter().any(|line| line.contains("id-token: write")) {
                continue;
            }
            attesting += 1;
            for line in job.iter().filter(|line| line.contains("uses: ")) {
                let allowed = [
                    "actions/attest-build-provenance@",
                    "actions/attest-sbom@",
                    "actions/deploy-pages@",
                    "docker/login-action@",
                ];
                assert!(allowed.iter().any(|action| line.contains(action)), "{name}: {line}");
            }
            for line in job.iter().map(|line| line.trim().trim_start_matches("- ")) {
                let builds = ["run: make", "cargo", "pip", "container:", "apt-get"];
                assert!(!builds.iter().any(|word| line.contains(word)), "{name}: {line}");
            }
        }
    }
    assert_eq!(attesting, 3, "the archive, the images and the pages");
}

#[test]
fn every_package_of_pypi_that_make_installs_is_pinned_by_its_digests() {
    let makefile = fs::read_to_string(crate::support::in_repository("Makefile")).unwrap();
    let installs: Vec<_> = makefile.lines().filter(|line| line.contains("pip install")).collect();
    assert_eq!(installs.len(), 3, "{installs:?}");
    for line in installs {
        let (_, file) =
            line.split_once(" --require-hashes -r ").unwrap_or_else(|| panic!("{line}"));
        let lock = fs::read_to_string(crate::support::in_repository(file)).unwrap();
        let pins = lock.replace(" \\\n", " ");
        let pins: Vec<_> = pins.lines().filter(|line| !line.starts_with('#')).collect();
        assert!(pins.len() > 9, "{file}");
        for pin in pins {
            assert!(pin.contains("==") && pin.contains("--hash=sha256:"), "{file}: {pin}");
        }
        // What people wrote is what was pinned.
        let wanted =
            fs::read_to_string(crate::support::in_repository(&file.replace(".txt", ".in")));
        for name in wanted.unwrap().lines().filter(|line| !line.starts_with('#')) {
            let (name, version) = name.split_once("==").unwrap();
            let name = name.split('[').next().unwrap().to_lowercase();
            assert!(lock.contains(&format!("\n{name}=={version} \\\n")), "{file}: {name}");
        }
    }
}

/// Commands of the workflows are those that people have.
#[test]
fn every_make_target_that_is_named_exists() {
    let makefile = fs::read_to_string(crate::support::in_repository("Makefile")).unwrap();
    let mut named = BTreeSet::new();
    for (name, lines) in workflows() {
        for line in &lines {
            let command = line.split_once("run: ").and_then(|(_, line)| line.split_once("make "));
            let Some((before, command)) = command else { continue };
            assert!(before.is_empty() || before.starts_with("sudo env "), "{name}: {line}");
            let target = command.split(' ').next().unwrap();
            assert!(makefile.contains(&format!("\n{target}:")), "{name}: {line}");
            named.insert(target.to_owned());
        }
    }
    for check in ["deploy-check", "image-check", "compose-check", "pods-check", "release"] {
        assert!(named.contains(check), "no workflow runs {check}: {named:?}");
    }
}

#[test]
fn every_break_of_make_mutations_has_its_place_in_the_source() {
    let checked = std::process::Command::new("bash")
        .arg(crate::support::in_repository("scripts/mutations"))
        .env("CHECK", "1")
        .env("CARGO_TARGET_DIR", std::env::temp_dir())
        .output()
        .unwrap();
    let stale = String::from_utf8_lossy(&checked.stdout);
    assert!(checked.status.success() && stale.is_empty(), "{stale}");
}
