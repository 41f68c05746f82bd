//! Every reason and every measure of quality is described wherever people read about it.

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

/// `FaceTooSmall` becomes `FACE_TOO_SMALL`.
fn code(variant: &str) -> String {
    let mut code = String::new();
    for letter in variant.chars() {
        if letter.is_uppercase() && !code.is_empty() {
            code.push('_');
        }
        code.extend(letter.to_uppercase());
    }
    code
}

#[test]
fn every_reason_is_described_everywhere() {
    let reasons = members("crates/face/src/quality/reasons.rs", "pub enum ReasonCode {");
    assert!(reasons.len() >= 22, "{reasons:?}");
    let texts = read("src/console/assets/texts.js");
    let (_, sentences) = texts.split_once("\n  reasons: {").unwrap();
    for reason in reasons.iter().map(|variant| code(variant)) {
        assert!(read("docs/API.md").contains(&format!("`{reason}`")), "{reason}: docs/API.md");
        let quoted = format!("\"{reason}\"");
        assert!(read("src/http/openapi.json").contains(&quoted), "{reason}: openapi.json");
        assert!(sentences.contains(&format!(" {reason}: \"")), "{reason}: texts.js");
    }
}

#[test]
fn every_measure_has_a_name_on_the_page() {
    let measures = members("crates/face/src/quality/limits.rs", "pub struct QualityLimits {");
    assert!(measures.len() >= 22, "{measures:?}");
    let texts = read("src/console/assets/texts.js");
    let (_, names) = texts.split_once("\n  measures: {").unwrap();
    let (names, _) = names.split_once("\n  },").unwrap();
    for measure in measures {
        assert!(names.contains(&format!(" {measure}: [\"")), "{measure}: texts.js");
    }
}
