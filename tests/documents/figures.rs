//! Figures: those that pages for readers show are in a notebook, and notebooks say when they were
//! measured.

use std::collections::BTreeSet;

use crate::{files, prose_text, read};

/// The numbers of a text, without those in code, links and dates.
fn numbers(text: &str) -> BTreeSet<String> {
    let lines = prose_text(text);
    let outside_code: String = lines.split('`').step_by(2).collect();
    let words = outside_code.split(|c: char| c.is_whitespace() || "|()[]/:;×".contains(c));
    let words = words.map(|word| word.trim_matches(|c: char| !c.is_ascii_alphanumeric()));
    let is_number = |word: &&str| {
        word.starts_with(|c: char| c.is_ascii_digit())
            && word.chars().all(|c| c.is_ascii_digit() || ".,-e".contains(c))
            && !word.starts_with("2026-")
    };
    words.filter(is_number).map(str::to_owned).collect()
}

/// Small counts that are words rather than measurements.
fn is_small(number: &str) -> bool {
    number.parse::<u32>().is_ok_and(|number| number < 10)
}

#[test]
fn every_figure_of_what_to_expect_is_in_a_notebook() {
    for (page, sources) in [
        (
            "docs/PERFORMANCE.md",
            &["docs/lab/performance.md", "docs/SCALING.md", "docs/decisions/0019-bfloat16.md"][..],
        ),
        ("docs/ACCURACY.md", &["docs/lab/accuracy.md", "models/omz.md", "docs/MOVING.md"]),
    ] {
        let known: BTreeSet<_> = sources.iter().flat_map(|source| numbers(&read(source))).collect();
        let shown = numbers(&read(page));
        let missing: Vec<_> = shown.difference(&known).filter(|number| !is_small(number)).collect();
        assert!(shown.len() > 30, "{page}: {shown:?}");
        assert!(missing.is_empty(), "{page}: {missing:?} are in none of {sources:?}");
    }
}

#[test]
fn each_number_on_the_front_page_is_on_the_page_that_it_links_to() {
    let readme = read("README.md");
    let rows: Vec<_> = readme.lines().filter(|line| line.starts_with("| **")).collect();
    assert_eq!(rows.len(), 3, "{rows:?}");
    for row in rows {
        let number = row.split("**").nth(1).unwrap();
        let date = &row[row.find("2026-").unwrap()..][..10];
        let (_, target) = row.rsplit_once("](").unwrap();
        let page = read(target.split_once(')').unwrap().0);
        assert!(page.contains(number) && page.contains(date), "{row}");
    }
}

#[test]
fn every_section_of_a_notebook_with_a_table_of_measurements_has_a_date() {
    for page in files("docs/lab") {
        let text = read(&page);
        for section in text.split("\n## ").skip(1) {
            let (title, body) = section.split_once('\n').unwrap();
            let is_measured = body.contains("| --- |") && title != "How to measure";
            assert!(!is_measured || body.contains("2026-"), "{page}: \"{title}\" has no date");
        }
    }
}

/// What a buyer reads in three minutes.
const WORDS: usize = 700;

#[test]
fn pages_on_what_to_expect_are_short() {
    for page in ["docs/PERFORMANCE.md", "docs/ACCURACY.md", "README.md"] {
        let words = read(page).split_whitespace().filter(|word| *word != "|").count();
        assert!(words <= WORDS, "{page} has {words} words");
    }
    let lines = read("README.md").lines().count();
    assert!(lines <= 100, "README.md has {lines} lines, more than a screen and a half");
}
