//! The glossary, and the version.

use crate::{documents, files, read};

/// The terms of the glossary, each with its abbreviation in brackets, if it has one.
fn terms() -> Vec<(String, Option<String>)> {
    let text = read("docs/GLOSSARY.md");
    let rows = text.lines().filter(|line| line.starts_with("| ")).skip(2);
    rows.map(|row| {
        let term = row.split(" | ").next().unwrap().trim_start_matches("| ");
        match term.split_once(" (") {
            Some((term, short)) => (term.to_owned(), Some(short.trim_end_matches(')').to_owned())),
            None => (term.to_owned(), None),
        }
    })
    .collect()
}

#[test]
fn the_terms_of_the_glossary_are_in_order() {
    let letters = |term: String| term.to_lowercase().replace('/', "");
    let terms: Vec<_> = terms().into_iter().map(|(term, _)| letters(term)).collect();
    assert!(terms.len() > 50, "{terms:?}");
    assert!(terms.is_sorted(), "{terms:?}");
}

#[test]
fn every_term_of_the_glossary_is_used() {
    let others = documents().into_iter().filter(|name| name != "docs/GLOSSARY.md");
    let mut texts: Vec<_> = others.map(|name| read(&name)).collect();
    texts.extend(files("config").iter().map(|path| read(path)));
    let texts = texts.join("\n").to_lowercase();
    let texts = texts.split_whitespace().collect::<Vec<_>>().join(" ");
    for (term, short) in terms() {
        let is_used = |term: &str| texts.contains(&term.to_lowercase());
        let found = is_used(&term) || short.is_some_and(|short| is_used(&short));
        assert!(found, "no document says \"{term}\"");
    }
}

#[test]
fn the_newest_section_of_the_changelog_has_the_version_and_a_date() {
    let text = read("CHANGELOG.md");
    let headings: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    assert_eq!(headings[0], "Unreleased");
    let newest = format!("{} - ", env!("CARGO_PKG_VERSION"));
    assert!(headings[1].starts_with(&newest), "{}", headings[1]);
    for heading in &headings[1..] {
        let (_, date) = heading.split_once(" - ").unwrap_or_else(|| panic!("{heading}: no date"));
        assert_eq!(date.split('-').map(str::len).collect::<Vec<_>>(), [4, 2, 2], "{heading}");
    }
}

#[test]
fn the_archive_of_the_quick_start_has_the_version() {
    let archive = format!("visavis-{}-linux-x86_64.tar.gz", env!("CARGO_PKG_VERSION"));
    assert!(read("docs/START.md").contains(&archive), "{archive}");
}
