//! `deploy/` against the program, as far as that can be read off the files; `make deploy-check` reads them with the
//! programs that they are for, and runs them.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use toml::{Table, Value};
use visavis::config::DEFAULTS;

use crate::support::{in_repository, visavis};

fn text(name: &str) -> String {
    fs::read_to_string(in_repository(name)).unwrap()
}

/// All files below a folder of the repository, without what is not kept in it.
pub fn files(folder: &str) -> Vec<PathBuf> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true if path.ends_with("secrets") => {}
                true => walk(&path, found),
                false => found.push(path),
            }
        }
    }
    let mut found = Vec::new();
    walk(Path::new(&in_repository(folder)), &mut found);
    assert!(!found.is_empty(), "{folder} is empty");
    found
}

/// The words of a text that begin so and go on with capitals, digits and underscores.
fn variables(text: &str) -> BTreeSet<String> {
    let in_name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    let words = text.split(|c: char| !in_name(c));
    words.filter(|word| word.starts_with("VISAVIS_")).map(str::to_owned).collect()
}

/// The variable of every setting.
pub fn settings() -> BTreeSet<String> {
    fn walk(path: &str, table: &Table, found: &mut BTreeSet<String>) {
        for (key, value) in table {
            let path = format!("{path}_{}", key.to_uppercase());
            match value {
                Value::Table(inner) if !inner.is_empty() => walk(&path, inner, found),
                _ => drop(found.insert(path)),
            }
        }
    }
    let mut found = BTreeSet::new();
    walk("VISAVIS", &DEFAULTS.parse().unwrap(), &mut found);
    found
}

#[test]
fn every_variable_that_is_set_in_deploy_is_a_setting() {
    let known = settings();
    let mut seen = 0;
    for file in files("deploy") {
        let Ok(text) = fs::read_to_string(&file) else { continue };
        for name in variables(&text) {
            // The proxy's own, a build argument, and how a pattern in a schema begins.
            let other = name.starts_with("VISAVIS_PROXY_") || name == "VISAVIS_";
            assert!(other || known.contains(&name), "{}: {name} is no setting", file.display());
            seen += 1;
        }
    }
    assert!(seen > 10, "{seen}");
}

#[test]
fn every_image_that_is_not_built_here_is_pinned_by_its_digest_and_every_container_is_shut_in() {
    let compose = text("deploy/compose.yaml");
    let images: Vec<_> = compose.lines().filter_map(|l| l.trim().strip_prefix("image: ")).collect();
    assert!(images.len() > 4, "{images:?}");
    for image in images.iter().filter(|image| **image != "visavis") {
        let digest = image.split_once("@sha256:").map(|(_, digest)| digest.len());
        assert_eq!(digest, Some(64), "{image}");
    }
    let (_, services) = compose.split_once("\nservices:\n").unwrap();
    let (services, _) = services.split_once("\nnetworks:\n").unwrap();
    let bases = ["<<: *hardened", "<<: *visavis", "<<: *front", ": *front"];
    let mut lines = services.lines().filter(|line| !line.trim_start().starts_with('#')).peekable();
    let mut counted = 0;
    while let Some(line) = lines.next() {
        if line.starts_with("  ") && !line.starts_with("   ") {
            let next = lines.peek().copied().unwrap_or_default();
            let shut_in = bases.iter().any(|base| line.ends_with(base) || next.ends_with(base));
            assert!(shut_in, "{line}: {next}");
            counted += 1;
        }
    }
    assert_eq!(counted, 8, "all services were looked at");
    for needed in ["read_only: true", "cap_drop: [ALL]", "no-new-privileges:true"] {
        let hardened = compose.split("x-visavis").next().unwrap();
        assert!(hardened.contains(needed), "{needed}");
    }
}

#[test]
fn the_units_are_shut_in_and_start_commands_that_exist() {
    let sandbox = [
        "User=visavis",
        "NoNewPrivileges=yes",
        "CapabilityBoundingSet=",
        "ProtectSystem=strict",
        "ProtectHome=yes",
        "PrivateTmp=yes",
        "PrivateDevices=yes",
        "PrivateUsers=yes",
        "ProtectKernelTunables=yes",
        "ProtectKernelModules=yes",
        "ProtectControlGroups=yes",
        "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX",
        "RestrictNamespaces=yes",
        "LockPersonality=yes",
        "MemoryDenyWriteExecute=yes",
        "SystemCallFilter=@system-service",
        "SystemCallFilter=~@privileged @resources",
        "UMask=0077",
        "Restart=on-failure",
        "LimitCORE=0",
    ];
    for (unit, command) in [("visavis", "serve"), ("visavis-worker", "work")] {
        let unit = text(&format!("deploy/systemd/{unit}.service"));
        let lines: Vec<_> = unit.lines().collect();
        for option in sandbox {
            assert!(lines.contains(&option), "{option} is missing:\n{unit}");
        }
        assert!(lines.contains(&format!("ExecStart=/opt/visavis/visavis {command}").as_str()));
        assert_eq!(visavis(&[command, "--help"]).code, 0);
    }
}

/// Whoever raises the version raises it everywhere.
#[test]
fn the_chart_is_of_this_version() {
    let chart = text("deploy/helm/visavis/Chart.yaml");
    assert!(chart.contains(&format!("\nappVersion: {}\n", env!("CARGO_PKG_VERSION"))), "{chart}");
}
