//! The module graph of the service, as a test: what may import what, without circles between files,
//! and how long a file may be.
//!
//! A module without a row, or an import outside its row, fails with the file and the name. Blind
//! spots: an import through a macro, a re-export by a permitted module.
#![expect(clippy::unwrap_used, reason = "a test may stop at the first broken assumption")]

#[path = "architecture/circles.rs"]
mod circles;

use std::{collections::BTreeMap, fs, path::Path};

/// Every module under `src/`, and the modules and crates of this workspace that it may name.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("bearer", &[]),
    ("clock", &[]),
    ("csv", &[]),
    ("db", &["clock", "deadline", "private_file"]),
    ("deadline", &[]),
    ("oidc", &["bearer", "outgoing", "secret"]),
    ("outgoing", &[]),
    ("private_file", &[]),
    ("telemetry", &["compare", "outgoing"]),
    ("secret", &["private_file"]),
    ("sealing", &["private_file", "secret"]),
    ("shutdown", &[]),
    ("supervisor", &["shutdown"]),
    ("models", &["outgoing", "visavis_convert", "visavis_face"]),
    ("compare", &["visavis_face"]),
    ("clients", &["clock", "compare", "csv", "db", "sealing", "visavis_signing"]),
    ("accounts", &["bearer", "clients", "clock", "db", "sealing"]),
    ("queue", &["clock", "compare", "db", "sealing", "shutdown"]),
    (
        "worker",
        &["compare", "gate", "queue", "shutdown", "supervisor", "telemetry", "visavis_face"],
    ),
    ("gate", &["clients", "clock", "compare", "deadline", "queue", "visavis_signing"]),
    // Never `visavis_face`: a front end runs without models.
    (
        "http",
        &[
            "clients",
            "clock",
            "compare",
            "deadline",
            "gate",
            "queue",
            "supervisor",
            "telemetry",
            "visavis_signing",
            "worker",
        ],
    ),
    // As `http`: a front end without models has one too.
    (
        "console",
        &[
            "accounts",
            "bearer",
            "clients",
            "clock",
            "compare",
            "csv",
            "deadline",
            "gate",
            "http",
            "oidc",
            "private_file",
            "queue",
            "visavis_signing",
            "worker",
        ],
    ),
    ("config", &["compare", "db", "gate", "oidc", "secret", "telemetry", "visavis_face"]),
];

/// The crates below `crates/`.
const CRATES: [&str; 5] =
    ["visavis_convert", "visavis_evaluate", "visavis_face", "visavis_loadgen", "visavis_signing"];

/// The wiring may name everything.
const WIRING: [&str; 4] = ["main", "lib", "app", "cli"];

/// No file of production code is longer than this.
const LONGEST_FILE: usize = 400;

/// The code of a file: without comments, and without the tests at its foot.
fn code(text: &str) -> String {
    let production = text.lines().take_while(|line| *line != "#[cfg(test)]");
    production.map(|line| line.split("//").next().unwrap()).collect::<Vec<_>>().join(" ")
}

/// The heads of every `crate::a…` and `crate::{a…, b…}`, and every crate of this workspace.
fn imports(code: &str) -> Vec<String> {
    let names = code.split(|c: char| !c.is_alphanumeric() && c != '_');
    let mut found: Vec<_> = names.filter(|name| CRATES.contains(name)).map(str::to_owned).collect();
    for (at, mark) in code.match_indices("crate::") {
        let (mut depth, mut name) = (0_usize, String::new());
        for c in code[at + mark.len()..].chars() {
            match c {
                '{' => depth += 1,
                '}' if depth <= 1 => break,
                '}' => depth -= 1,
                ',' if depth == 1 => found.push(std::mem::take(&mut name)),
                c if depth <= 1 => name.push(c),
                _ => {}
            }
            if depth == 0 && !(c.is_alphanumeric() || c == '_') {
                break;
            }
        }
        found.push(name);
    }
    let head = |name: &String| -> String {
        name.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    found.iter().map(head).filter(|name| !name.is_empty()).collect()
}

fn walk(dir: &Path, visit: &mut impl FnMut(&Path, &str)) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, visit);
        } else if path.extension().is_some_and(|e| e == "rs") {
            visit(&path, &fs::read_to_string(&path).unwrap());
        }
    }
}

/// Every source file of the service and its crates, by its path in the repository.
fn walk_all(visit: &mut impl FnMut(&str, &str)) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for folder in ["src", "crates"] {
        walk(&root.join(folder), &mut |path, text| {
            visit(path.strip_prefix(root).unwrap().to_str().unwrap(), text);
        });
    }
}

fn climbs(path: &str, code: &str) -> Option<String> {
    let climbs = code.contains("super::super");
    climbs.then(|| format!("{path}: say `crate::`, not `super::super::`"))
}

fn complaints(inside: &str, text: &str) -> Vec<String> {
    let module = inside.split('/').next().unwrap().trim_end_matches(".rs");
    if WIRING.contains(&module) {
        return Vec::new();
    }
    let rules: BTreeMap<_, _> = MAY_IMPORT.iter().copied().collect();
    let Some(allowed) = rules.get(module) else {
        return vec![format!("{inside}: no row for `{module}`")];
    };
    let code = code(text);
    let mut wrong = Vec::from_iter(climbs(inside, &code));
    for name in imports(&code) {
        if name != module && !allowed.contains(&name.as_str()) {
            wrong.push(format!("{inside}: must not import `{name}`"));
        }
    }
    wrong
}

#[test]
fn modules_import_only_what_they_may() {
    let mut wrong = Vec::new();
    walk_all(&mut |path, text| match path.strip_prefix("src/") {
        Some(inside) => wrong.extend(complaints(inside, text)),
        // What another crate may import is in its manifest.
        None => wrong.extend(climbs(path, &code(text))),
    });
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn the_list_of_crates_is_complete() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates");
    let folders = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let mut crates: Vec<_> =
        folders.map(|name| format!("visavis_{}", name.into_string().unwrap())).collect();
    crates.sort();
    assert_eq!(crates, CRATES);
}

#[test]
fn a_forbidden_import_is_found_in_every_form() {
    for text in [
        "use crate::config::Config;",
        "use crate::{\n    clock::Clock,\n    config::{Config, DEFAULTS},\n};",
        "use visavis_face::Engine;",
        "fn f() { visavis_face::engine(); }",
        "use super::super::clock;",
    ] {
        assert_eq!(complaints("http/x.rs", text).len(), 1, "{text}");
    }
    assert_eq!(complaints("unheard_of.rs", ""), ["unheard_of.rs: no row for `unheard_of`"]);
    assert!(complaints("http/x.rs", "//! see crate::config\nuse crate::clock::Clock;").is_empty());
    assert!(complaints("http/x.rs", "#[cfg(test)]\nuse crate::config::X;").is_empty());
}

/// `db` alone makes statements of `SQLx`; everybody else gives it names, texts and values.
fn makes_statements(code: &str) -> bool {
    ["sqlx::query", "sqlx::raw_sql", "QueryBuilder"].iter().any(|way| code.contains(way))
}

#[test]
fn statements_are_made_in_one_way() {
    let mut wrong = Vec::new();
    walk_all(&mut |path, text| {
        if !path.starts_with("src/db/") && makes_statements(&code(text)) {
            wrong.push(path.to_owned());
        }
    });
    assert!(wrong.is_empty(), "say `db.read` or `db.write`, not `sqlx::query`: {wrong:?}");
    assert!(makes_statements("sqlx::query(\"SELECT 1\").execute(&pool).await"));
}

#[test]
fn files_stay_short() {
    let mut wrong = Vec::new();
    walk_all(&mut |path, text| {
        let lines = text.lines().take_while(|line| *line != "#[cfg(test)]").count();
        if lines > LONGEST_FILE {
            wrong.push(format!("{path}: {lines} lines"));
        }
    });
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
