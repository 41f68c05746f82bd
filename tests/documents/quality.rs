//! Every measure of quality has a name where people read about it.

use crate::read;

/// The names of the variants or fields between `open` and the next line that is a brace.
fn members(path: &str, open: &str) -> Vec<String> {
    let text = read(path);
    let (_, body) = text.split_once(open).unwrap_or_else(|| panic!("{path}: {open}"));
    let lines = body.lines().take_while(|line| *line != "}").map(str::trim);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with(['/', '#']));
    let name = |line: &str| {
        let name = line.split([':', ',']).next().unwrap();
        name.rsplit(' ').next().unwrap().to_owned()
    };
    lines.map(name).collect()
}

#[test]
fn every_measure_has_a_name_on_the_page() {
    let measures = members("crates/face/src/quality/limits.rs", "pub struct QualityLimits {");
    assert!(measures.len() >= 22, "{measures:?}");
    let texts = read("src/console/assets/texts.en.js");
    let (_, names) = texts.split_once("\n  measures: {").unwrap();
    let (names, _) = names.split_once("\n  },").unwrap();
    for measure in measures {
        assert!(names.contains(&format!(" {measure}: [\"")), "{measure}: texts.en.js");
    }
}
