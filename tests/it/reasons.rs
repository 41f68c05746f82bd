//! The reasons of quality, explained in the documents as in the program.

use std::{collections::BTreeSet, fmt::Write as _, fs};

use visavis::{
    compare::{Component, ReasonCode, components},
    config::{DEFAULTS, MEASURE_RANGES},
};
use visavis_face::quality::Measures;

use crate::{
    settings::{assert_fresh, unit},
    support::in_repository,
};

/// Every measure.
fn measures() -> Vec<Component> {
    let measures = components(&Measures {
        unified: Some(0.0),
        yaw_deg: Some(0.0),
        pitch_deg: Some(0.0),
        eyes_open: Some(0.0),
        eyes_covered: Some(0.0),
        eyes_glare: Some(0.0),
        mouth_covered: Some(0.0),
        side_covered: Some(0.0),
        sharpness: Some(0.0),
        noise: Some(0.0),
        illumination_uniformity: Some(0.0),
        unnatural_colour: Some(0.0),
        ..Measures::default()
    });
    assert_eq!(measures.len(), MEASURE_RANGES.len(), "a measure is missing here");
    measures
}

/// Every reason, in the order of the program.
fn reasons() -> BTreeSet<ReasonCode> {
    let sides = measures().into_iter().flat_map(|measure| [measure.below, measure.above]);
    sides.chain([ReasonCode::Other]).collect()
}

/// The default limits of a measure that cause a reason.
fn limits(measure: &Component, code: ReasonCode, kind: &str) -> String {
    let defaults: toml::Table = DEFAULTS.parse().unwrap();
    let limits = &defaults["quality"][kind][measure.measure];
    let sides = [("below", measure.below), ("above", measure.above)];
    let names = sides.into_iter().filter(|(_, caused)| *caused == code).flat_map(|(side, _)| {
        [("FAIL", format!("fail_{side}"), side), ("warning", format!("warn_{side}"), side)]
    });
    let set = names.filter_map(|(weight, limit, side)| {
        limits.get(limit).map(|value| format!("{weight} {side} {value}"))
    });
    let set: Vec<_> = set.collect();
    if set.is_empty() { "–".to_owned() } else { set.join(", ") }
}

/// The name of a measure with its unit, or with the end of its range if that says more.
fn named(measure: &Component) -> String {
    let name = measure.measure;
    let (_, _, most) = MEASURE_RANGES.iter().find(|(of, ..)| *of == name).unwrap();
    match unit(name) {
        "" if ["1", "100"].contains(&most.to_string().as_str()) => {
            format!("`{name}` (0 to {most})")
        }
        "" => format!("`{name}`"),
        unit => format!("`{name}` ({unit})"),
    }
}

fn table() -> String {
    let mut table = "| code | the photo | ask for | measure | selfie | document |\n\
                     | --- | --- | --- | --- | --- | --- |\n"
        .to_owned();
    for code in reasons() {
        let measures = measures();
        let measures: Vec<_> =
            measures.iter().filter(|m| [m.below, m.above].contains(&code)).collect();
        let join = |texts: Vec<String>| {
            let all_absent = texts.iter().all(|text| text == "–");
            if all_absent { "–".to_owned() } else { texts.join("<br>") }
        };
        let [selfie, document] = ["selfie", "document"]
            .map(|kind| join(measures.iter().map(|m| limits(m, code, kind)).collect()));
        let (code, names) = (code, join(measures.iter().map(|m| named(m)).collect()));
        let (name, problem, remedy) = (code.name(), code.problem(), code.remedy());
        writeln!(table, "| `{name}` | {problem} | {remedy} | {names} | {selfie} | {document} |")
            .unwrap();
    }
    table
}

/// `text` with what is between the first `from` and the next `to` replaced.
fn replaced(text: &str, from: &str, to: &str, by: &str) -> String {
    let (before, rest) = text.split_once(from).unwrap_or_else(|| panic!("{from}"));
    let (_, after) = rest.split_once(to).unwrap_or_else(|| panic!("{to}"));
    format!("{before}{from}{by}{to}{after}")
}

#[test]
fn the_reasons_are_explained_alike_in_both_documents() {
    let page = fs::read_to_string(in_repository("docs/API.md")).unwrap();
    let table = table();
    assert_fresh("docs/API.md", &replaced(&page, "## Quality reasons\n\n", "\n\n", table.trim()));

    let document = fs::read_to_string(in_repository("src/http/openapi.json")).unwrap();
    let mut about = "A quality problem of a photo.\n".to_owned();
    let mut codes = String::new();
    for code in reasons() {
        let (name, problem, remedy) = (code.name(), code.problem(), code.remedy());
        write!(about, "\n- `{name}`: the photo {problem}. {remedy}").unwrap();
        let comma = if codes.is_empty() { "" } else { "," };
        write!(codes, "{comma}\n          \"{name}\"").unwrap();
    }
    let about = serde_json::to_string(&about).unwrap();
    let start = "\"QualityReason\": {\n        \"type\": \"string\",\n        \"description\": ";
    let document = replaced(&document, start, ",\n        \"enum\": [", &about);
    let start = format!("{start}{about},\n        \"enum\": [");
    assert_fresh("src/http/openapi.json", &replaced(&document, &start, "\n        ]", &codes));
}
