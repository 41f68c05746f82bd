//! Links between documents, and paths and tests that documents name.

use std::{collections::BTreeSet, path::Path};

use crate::{code_spans, documents, files, prose, prose_text, read, root};

/// Targets of links, without those on other hosts.
fn links(text: &str) -> Vec<&str> {
    let targets = text.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0));
    targets.filter(|target| !target.contains("://")).collect()
}

/// The anchor that a heading gets in the site and on code hosts.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase();
    let kept = kept.chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn anchors(text: &str) -> BTreeSet<String> {
    let headings = prose(text).into_iter().filter(|(_, line)| line.starts_with('#'));
    headings.map(|(_, line)| anchor(line.trim_start_matches('#').trim())).collect()
}

#[test]
fn every_link_leads_to_a_file_and_a_heading_that_exist() {
    let mut broken = Vec::new();
    for name in documents() {
        let text = read(&name);
        let folder = root().join(&name).parent().unwrap().to_owned();
        for link in links(&text) {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { root().join(&name) } else { folder.join(file) };
            let is_there = target.exists()
                && (heading.is_empty()
                    || anchors(&std::fs::read_to_string(&target).unwrap()).contains(heading));
            if !is_there {
                broken.push(format!("{name}: {link}"));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn every_page_is_in_the_summary_and_links_only_to_pages_of_the_site() {
    let summary = read("docs/SUMMARY.md");
    let listed: BTreeSet<_> = links(&summary).into_iter().map(str::to_owned).collect();
    let pages = files("docs").into_iter().filter_map(|path| {
        let page = path.strip_prefix("docs/")?.to_owned();
        (Path::new(&page).extension()? == "md" && page != "SUMMARY.md").then_some(page)
    });
    let pages: BTreeSet<_> = pages.collect();
    assert_eq!(listed, pages);
    for page in pages {
        let depth = page.matches('/').count();
        for link in links(&read(&format!("docs/{page}"))) {
            assert!(link.matches("../").count() <= depth, "{page}: {link} is not of the site");
        }
    }
}

/// Folders whose paths documents give in full.
const FOLDERS: [&str; 14] = [
    "benches/",
    "clients/node/",
    "clients/python/",
    "config/",
    "crates/",
    "deploy/",
    "docs/",
    "examples/",
    "migrations/",
    "models/",
    "samples/",
    "scripts/",
    "src/",
    "tests/",
];
/// Made on a machine and not committed; the placeholder of recipes; a path in another package.
const NOT_KEPT: [&str; 3] = ["deploy/secrets", "NAME", "tests/test_images"];

#[test]
fn every_path_that_a_document_names_exists() {
    let mut missing = Vec::new();
    // A changelog names what was there.
    for name in documents().into_iter().filter(|name| name != "CHANGELOG.md") {
        for span in code_spans(&prose_text(&read(&name))) {
            let is_path = FOLDERS.iter().any(|folder| span.starts_with(folder))
                && span.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
            if is_path
                && !NOT_KEPT.iter().any(|word| span.contains(word))
                && !root().join(span).exists()
            {
                missing.push(format!("{name}: {span}"));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

/// `gate/turns.rs` is a file of some folder of sources; decisions name files of their time.
#[test]
fn every_source_file_that_a_document_names_exists() {
    let sources: Vec<_> = ["src", "crates", "tests", "benches", "examples"]
        .iter()
        .flat_map(|folder| files(folder))
        .filter(|path| Path::new(path).extension().is_some_and(|end| end == "rs"))
        .collect();
    let (mut missing, mut count) = (Vec::new(), 0);
    let is_record = |name: &String| name.starts_with("docs/decisions") || name == "CHANGELOG.md";
    for name in documents().into_iter().filter(|name| !is_record(name)) {
        for span in code_spans(&prose_text(&read(&name))) {
            let is_file = Path::new(span).extension().is_some_and(|end| end == "rs")
                && !span.contains("NAME")
                && span.chars().all(|c| c.is_ascii_alphanumeric() || "/._".contains(c));
            if is_file {
                count += 1;
                let end = format!("/{span}");
                if !sources.iter().any(|path| path == span || path.ends_with(&end)) {
                    missing.push(format!("{name}: {span}"));
                }
            }
        }
    }
    assert!(count > 30, "{count}");
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn the_tests_that_contributing_names_exist() {
    let sources: String = ["tests", "src", "crates"]
        .iter()
        .flat_map(|folder| files(folder))
        .filter(|path| Path::new(path).extension().is_some_and(|end| end == "rs"))
        .map(|path| read(&path))
        .collect();
    let text = prose_text(&read("docs/CONTRIBUTING.md"));
    let names: Vec<_> = code_spans(&text)
        .into_iter()
        .filter(|span| span.matches('_').count() > 3 && !span.contains('/'))
        .collect();
    assert!(names.len() >= 6, "{names:?}");
    for name in names {
        assert!(sources.contains(&format!("fn {name}(")), "{name} is no test");
    }
}

#[test]
fn the_front_page_starts_the_container_as_the_dockerfile_says() {
    let (readme, dockerfile) = (read("README.md"), read("Dockerfile"));
    let lines: Vec<_> = readme.lines().filter(|line| line.starts_with("docker ")).collect();
    assert!(lines.len() >= 3, "{lines:?}");
    for line in lines {
        assert!(dockerfile.contains(line), "the Dockerfile has another line than `{line}`");
    }
}
