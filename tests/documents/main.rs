//! The texts of the repository: links and paths that exist, figures that a notebook has, and plain
//! words. Nothing here needs the program, so it is built and run in seconds: `cargo test --test
//! documents`.
#![expect(clippy::unwrap_used, reason = "a test may stop at the first broken assumption")]

mod figures;
mod links;
mod names;
mod quality;
mod rust;
mod words;

use std::{
    fs,
    path::{Path, PathBuf},
};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every file below a folder, or the file itself, by its path in the repository.
fn files(path: &str) -> Vec<String> {
    fn walk(path: &Path, found: &mut Vec<PathBuf>) {
        if !path.is_dir() {
            found.push(path.to_owned());
            return;
        }
        for entry in fs::read_dir(path).unwrap() {
            walk(&entry.unwrap().path(), found);
        }
    }
    let mut found = Vec::new();
    walk(&root().join(path), &mut found);
    let inside = |path: PathBuf| path.strip_prefix(root()).unwrap().display().to_string();
    let mut found: Vec<_> = found.into_iter().map(inside).collect();
    found.retain(|path| !path.contains("/secrets/") && !path.contains("/node_modules/"));
    found.retain(|path| !path.contains("/__pycache__/"));
    found.sort();
    found
}

/// Every document: what ends in `.md` where people look for it.
fn documents() -> Vec<String> {
    let folders = [
        "README.md",
        "SECURITY.md",
        "CHANGELOG.md",
        ".github",
        "docs",
        "models",
        "samples",
        "examples",
        "clients",
        "deploy",
        "tests/reference",
        "tests/upgrade",
    ];
    let found = folders.into_iter().flat_map(files);
    let is_document = |path: &String| Path::new(path).extension().is_some_and(|end| end == "md");
    // The card of a pack is copied beside its weights.
    let found: Vec<_> = found.filter(is_document).filter(|p| !is_copy(p)).collect();
    assert!(found.len() > 40, "{found:?}");
    found
}

fn is_copy(path: &str) -> bool {
    path.starts_with("models/") && path.matches('/').count() > 1
}

/// A document without its fenced blocks: other lines keep their numbers, from 1.
fn prose(text: &str) -> Vec<(usize, &str)> {
    let mut inside = false;
    let mut found = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim_start().starts_with("```") {
            inside = !inside;
        } else if !inside {
            found.push((number, line));
        }
    }
    found
}

/// A document without its fenced blocks.
fn prose_text(text: &str) -> String {
    prose(text).into_iter().map(|(_, line)| line.to_owned() + "\n").collect()
}

/// What stands between back ticks in a text.
fn code_spans(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}
