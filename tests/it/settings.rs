//! Every setting: the page and the JSON schema that follow from `config/default.toml` and the
//! ranges of the program, and each variable, tried.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::Path,
};

use serde_json::{Map, Value, json};
use visavis::config::{Config, DEFAULTS, MEASURE_RANGES, RANGES, RENAMED};

use crate::support::in_repository;

/// A key of the configuration as `config/default.toml` has it.
struct Setting {
    section: String,
    key: String,
    /// As it is written there.
    default: String,
    about: String,
}

/// Limits of a measure of quality.
const LIMITS: [&str; 4] = ["fail_below", "warn_below", "fail_above", "warn_above"];
/// Keys with a few words to choose from.
const CHOICES: [(&str, [&str; 2]); 3] = [
    ("compare.population", ["mixed", "within-group"]),
    ("compare.several_faces", ["largest", "refuse"]),
    ("log.format", ["text", "json"]),
];
/// Units, by how keys end.
const UNITS: [(&str, &str); 11] = [
    ("_bytes_per_s", "bytes per second"),
    ("_per_minute", "per minute"),
    ("_per_s", "per second"),
    ("_bytes", "bytes"),
    ("_ms", "ms"),
    ("_s", "s"),
    ("_deg", "degrees"),
    ("_px", "pixels"),
    ("_side", "pixels"),
    ("_pixels", "pixels"),
    ("_bits", "bits"),
];

/// The unit of a key.
pub fn unit(key: &str) -> &'static str {
    UNITS.iter().find(|(end, _)| key.ends_with(end)).map_or("", |(_, unit)| unit)
}

impl Setting {
    fn path(&self) -> String {
        format!("{}.{}", self.section, self.key)
    }

    fn is_measure(&self) -> bool {
        self.section.starts_with("quality.")
    }

    fn value(&self) -> toml::Value {
        format!("x = {}", self.default).parse::<toml::Table>().unwrap()["x"].clone()
    }

    /// The paths that variables set: that of the key, or those of the limits of a measure.
    fn paths(&self) -> Vec<String> {
        if self.is_measure() {
            LIMITS.iter().map(|limit| format!("{}.{limit}", self.path())).collect()
        } else {
            vec![self.path()]
        }
    }

    fn range(&self) -> Option<(f64, f64)> {
        let (ranges, key) = if self.is_measure() {
            (MEASURE_RANGES, self.key.clone())
        } else {
            (RANGES, self.path())
        };
        ranges.iter().find(|(of, ..)| **of == key).map(|(_, min, max)| (*min, *max))
    }

    fn choices(&self) -> Option<[&'static str; 2]> {
        CHOICES.iter().find(|(key, _)| *key == self.path()).map(|(_, choices)| *choices)
    }
}

fn variable(path: &str) -> String {
    format!("VISAVIS_{}", path.to_uppercase().replace('.', "_"))
}

/// The variable of every setting.
pub fn variables() -> BTreeSet<String> {
    parse().1.iter().flat_map(Setting::paths).map(|path| variable(&path)).collect()
}

/// What stands before sections, and all settings in their order.
fn parse() -> (BTreeMap<String, String>, Vec<Setting>) {
    let (mut sections, mut settings) = (BTreeMap::new(), Vec::<Setting>::new());
    let (mut section, mut comment) = (String::new(), Vec::new());
    for line in DEFAULTS.lines().skip_while(|line| !line.starts_with('[')) {
        if let Some(words) = line.strip_prefix("# ") {
            comment.push(words);
        } else if let Some(name) = line.strip_prefix('[') {
            name.trim_end_matches(']').clone_into(&mut section);
            sections.insert(section.clone(), comment.join(" "));
            comment.clear();
        } else if let Some((key, default)) = line.split_once(" = ") {
            let mut about = comment.join(" ");
            if let Some(same) = settings.iter().find(|of| about.is_empty() && of.key == key) {
                about.clone_from(&same.about);
            }
            let (section, key, default) = (section.clone(), key.to_owned(), default.to_owned());
            settings.push(Setting { section, key, default, about });
            comment.clear();
        }
    }
    (sections, settings)
}

/// Compares a file that is made from the settings, or writes it.
pub fn assert_fresh(name: &str, made: &str) {
    let path = in_repository(name);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, made).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == made,
        "{name}: run UPDATE_DOCS=1 cargo test --test it -- settings::the_ reasons::the_"
    );
}

/// A paragraph in lines of at most 100 columns.
fn wrapped(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().unwrap();
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() > 100 {
            lines.push(word.to_owned());
        } else {
            line.push(' ');
            line.push_str(word);
        }
    }
    lines.join("\n")
}

fn page() -> String {
    let (sections, settings) = parse();
    let mut text = "\
# Configuration

Generated from `config/default.toml`, which is compiled into the program. Precedence, highest first:
environment variables, a file of your own (`--config FILE` or `VISAVIS_CONFIG`), `visavis.toml`
beside the program, which names the installed model pack, and the defaults. Unknown keys and
variables are refused; `visavis check` prints the effective settings. `config/schema.json` is a JSON
schema of the file.

In a variable, separate the items of a list with spaces. A number may be written as `1e-5`.
"
    .to_owned();
    let mut section = "";
    for setting in &settings {
        if setting.section != section {
            section = &setting.section;
            write!(text, "\n## {section}\n\n").unwrap();
            let about = &sections[section];
            if !about.is_empty() {
                write!(text, "{}\n\n", wrapped(about)).unwrap();
            }
            text.push_str(
                "| key and variable | default | unit | range | description |\n| --- | \
                           --- | --- | --- | --- |\n",
            );
        }
        let variables = setting.paths();
        let variables = variables.iter().map(|path| format!("<br>`{}`", variable(path)));
        let range = match (setting.range(), setting.choices()) {
            (Some((min, max)), _) => format!("{min} to {max}"),
            (None, Some([one, other])) => format!("`{one}` or `{other}`"),
            (None, None) if setting.value().is_bool() => "`true` or `false`".to_owned(),
            (None, None) => String::new(),
        };
        let about = setting.about.replace('|', "\\|").replace('<', "&lt;");
        let (key, variables) = (&setting.key, variables.collect::<String>());
        let (default, unit) = (&setting.default, unit(&setting.key));
        writeln!(text, "| `{key}`{variables} | `{default}` | {unit} | {range} | {about} |")
            .unwrap();
    }
    let about = wrapped(
        "This version accepts these names too, in a file and as variables; `visavis check` and the \
         log show a warning. Both names of a setting with different values in one file, or in the \
         environment, are an error.",
    );
    write!(text, "\n## Deprecated names\n\n{about}\n\n| old name | new name |\n| --- | --- |\n")
        .unwrap();
    for (old, new) in RENAMED {
        writeln!(text, "| `{old}` | `{new}` |").unwrap();
    }
    text
}

#[test]
fn the_page_of_settings_is_made_from_the_defaults_and_describes_each() {
    for setting in parse().1 {
        assert!(!setting.about.is_empty(), "{} has no description", setting.path());
        let value = setting.value();
        let is_number = value.is_integer() || value.is_float() || setting.is_measure();
        assert_eq!(setting.range().is_some(), is_number, "{} has no range", setting.path());
    }
    assert_fresh("docs/CONFIGURATION.md", &page());
}

/// The schema of one setting.
fn schema_of(setting: &Setting) -> Value {
    let value = setting.value();
    let number = |kind: &str| {
        let (min, max) = setting.range().unwrap();
        // As text, so that whole numbers are written as such.
        let bound = |of: f64| serde_json::from_str::<Value>(&of.to_string()).unwrap();
        json!({ "type": kind, "minimum": bound(min), "maximum": bound(max) })
    };
    let mut schema = match &value {
        _ if setting.is_measure() => {
            let limits = LIMITS.map(|limit| (limit.to_owned(), number("number")));
            json!({ "type": "object", "additionalProperties": false, "properties": Map::from_iter(limits) })
        }
        toml::Value::Integer(_) => number("integer"),
        toml::Value::Float(_) => number("number"),
        toml::Value::Boolean(_) => json!({ "type": "boolean" }),
        toml::Value::Array(_) => json!({ "type": "array", "items": { "type": "string" } }),
        toml::Value::Table(_) => {
            let (_, min, max) = RANGES.iter().find(|(key, ..)| *key == "compare.fmr").unwrap();
            let rate = json!({ "type": "number", "minimum": min, "maximum": max });
            json!({ "type": "object", "additionalProperties": rate })
        }
        // A port alone may be a number.
        _ if setting.key == "listen" => json!({ "type": ["string", "integer"] }),
        _ => json!({ "type": "string" }),
    };
    if let Some(choices) = setting.choices() {
        schema["enum"] = json!(choices);
    }
    let unit = unit(&setting.key);
    let unit = if unit.is_empty() { String::new() } else { format!(" Unit: {unit}.") };
    schema["description"] = json!(format!("{}{unit}", setting.about));
    schema["default"] = serde_json::to_value(value).unwrap();
    schema
}

fn schema() -> Value {
    let (sections, settings) = parse();
    let mut root = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Configuration of Visavis",
        "type": "object",
        "additionalProperties": false,
        "properties": {},
    });
    for setting in &settings {
        let mut table = &mut root;
        let mut path = String::new();
        for name in setting.section.split('.') {
            path = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
            table = &mut table["properties"][name];
            if table.is_null() {
                *table =
                    json!({ "type": "object", "additionalProperties": false, "properties": {} });
                if let Some(about) = sections.get(&path).filter(|about| !about.is_empty()) {
                    table["description"] = json!(about);
                }
            }
        }
        let schema = schema_of(setting);
        let path = setting.path();
        for (old, _) in RENAMED.iter().filter(|(_, new)| *new == path) {
            let (_, key) = old.rsplit_once('.').unwrap();
            let mut alias = schema.clone();
            alias["description"] = json!(format!("Deprecated: use {path}."));
            alias["deprecated"] = json!(true);
            table["properties"][key] = alias;
        }
        table["properties"][&setting.key] = schema;
    }
    root
}

fn to_json(text: &str) -> Value {
    serde_json::to_value(text.parse::<toml::Table>().unwrap()).unwrap()
}

#[test]
fn the_json_schema_is_made_from_the_defaults_takes_them_and_no_key_that_does_not_exist() {
    let schema = schema();
    assert_fresh(
        "config/schema.json",
        &format!("{}\n", serde_json::to_string_pretty(&schema).unwrap()),
    );
    assert!(jsonschema::meta::is_valid(&schema));
    let validator = jsonschema::validator_for(&schema).unwrap();
    if let Err(error) = validator.validate(&to_json(DEFAULTS)) {
        panic!("{}: {error}", error.instance_path());
    }
    for (text, is_valid) in [
        ("[http]\nfreshness_s = 60\n", true),
        ("[http]\npatience_ms = 60\n", true),
        ("[http]\npatience_ms = 0\n", false),
        ("[quality.selfie]\nroll_deg = { fail_above = 30 }\n", true),
        ("[compare]\nfmr_by_source = { 00000001003 = 1e-4 }\n", true),
        ("[http]\nlisten = 8080\n[admin]\nlisten = \"localhost:9464\"\n", true),
        ("[http]\nfreshnes_s = 60\n", false),
        ("[htp]\n", false),
        ("[quality.selfie]\nroll_deg = { fail_over = 30 }\n", false),
        ("[http]\nfreshness_s = \"soon\"\n", false),
        ("[http]\nmax_streams = 0\n", false),
        ("[log]\nformat = \"JSON\"\n", false),
        ("[compare]\nfmr_by_source = { X = 80 }\n", false),
    ] {
        assert_eq!(validator.is_valid(&to_json(text)), is_valid, "{text}");
        assert_eq!(load(Some(text), &[]).is_ok(), is_valid, "the program too: {text}");
    }
}

pub fn load(file: Option<&str>, variables: &[(&str, &str)]) -> Result<Config, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("visavis.toml");
    if let Some(text) = file {
        fs::write(&path, text).unwrap();
    }
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let files: &[&Path] = if file.is_some() { &[&path] } else { &[] };
    Config::load(files.iter().copied(), variables).map_err(|error| error.to_string())
}

/// Values that no rule for a type gives, as in a variable and as in a file.
const VALUES: [(&str, &str, &str); 24] = [
    ("data.key_command", "vault read", "[\"vault\", \"read\"]"),
    ("database.password_command", "vault read", "[\"vault\", \"read\"]"),
    ("database.url", "postgres://host/name", "\"postgres://host/name\""),
    ("database.urls", "postgres://a/x postgres://b/x", "[\"postgres://a/x\", \"postgres://b/x\"]"),
    ("database.shards", "0", "\"0\""),
    ("database.connections", "2", "2"),
    ("http.listen", "localhost:1", "\"localhost:1\""),
    ("http.trusted_proxies", "10.0.0.0/8 ::1", "[\"10.0.0.0/8\", \"::1\"]"),
    ("admin.listen", "", "\"\""),
    ("admin.hosts", "a b", "[\"a\", \"b\"]"),
    ("admin.login_proxies", "10.0.0.0/8 ::1", "[\"10.0.0.0/8\", \"::1\"]"),
    ("admin.viewer_groups", "a b", "[\"a\", \"b\"]"),
    ("admin.operator_groups", "a b", "[\"a\", \"b\"]"),
    ("admin.administrator_groups", "a b", "[\"a\", \"b\"]"),
    ("memory.pixels_bytes", "67108864", "67108864"),
    ("runtime.device", "cpu-batched", "\"cpu-batched\""),
    ("compare.fmr", "1e-4", "1e-4"),
    ("compare.document_fmr", "1e-4", "1e-4"),
    ("compare.fmr_by_source", "A=1e-3 B=1e-4", "{ A = 1e-3, B = 1e-4 }"),
    ("oidc.client_secret_command", "vault read", "[\"vault\", \"read\"]"),
    ("oidc.scopes", "a b", "[\"a\", \"b\"]"),
    ("oidc.issuer", "https://login.example", "\"https://login.example\""),
    ("queue.client_share", "0.5", "0.5"),
    ("log.level", "debug", "\"debug\""),
];

/// No measure has this limit by default, and all take it.
const LIMIT: f64 = 0.375;

/// Another value than the default, as in a variable and as in a file.
fn other_value(setting: &Setting, path: &str) -> (String, String) {
    if let Some((_, text, toml)) = VALUES.iter().find(|(key, ..)| *key == path) {
        return ((*text).to_owned(), (*toml).to_owned());
    }
    if let Some(choices) = setting.choices() {
        return (choices[1].to_owned(), format!("\"{}\"", choices[1]));
    }
    let text = match setting.value() {
        _ if setting.is_measure() => LIMIT.to_string(),
        toml::Value::Integer(number) => (number + 1).to_string(),
        toml::Value::Boolean(is_on) => (!is_on).to_string(),
        toml::Value::String(_) => return ("other".to_owned(), "\"other\"".to_owned()),
        value => panic!("{path}: {value}"),
    };
    (text.clone(), text)
}

#[test]
fn every_variable_on_the_page_sets_what_the_file_sets() {
    let default = load(None, &[]).unwrap();
    let page = fs::read_to_string(in_repository("docs/CONFIGURATION.md")).unwrap();
    let mut names = crate::deploy::variables(&page);
    names.remove("VISAVIS_CONFIG");
    for setting in parse().1 {
        for path in setting.paths() {
            let (text, toml) = other_value(&setting, &path);
            let name = variable(&path);
            // Certificate and key are given together.
            let together: &[_] = match path.as_str() {
                "admin.user_header" => {
                    &[("VISAVIS_ADMIN_GROUPS_HEADER", "x"), ("VISAVIS_ADMIN_LOGIN_PROXIES", "::1")]
                }
                "oidc.issuer" => {
                    &[("VISAVIS_OIDC_CLIENT_ID", "x"), ("VISAVIS_ADMIN_VIEWER_GROUPS", "x")]
                }
                "tls.cert_file" => &[("VISAVIS_TLS_KEY_FILE", "x")],
                "tls.key_file" => &[("VISAVIS_TLS_CERT_FILE", "x")],
                _ => &[],
            };
            let variables = [&[(name.as_str(), text.as_str())], together].concat();
            let by_variable = load(None, &variables).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert!(by_variable != default, "{name} is not taken");
            let (table, key) = path.rsplit_once('.').unwrap();
            let file = if setting.is_measure() {
                // The other limits of the measure stay.
                let mut limits = setting.value();
                limits.as_table_mut().unwrap().insert(key.to_owned(), toml::Value::Float(LIMIT));
                format!("[{}]\n{} = {limits}\n", setting.section, setting.key)
            } else {
                format!("[{table}]\n{key} = {toml}\n")
            };
            assert!(load(Some(&file), together).unwrap() == by_variable, "{name}");
            assert!(names.remove(&name), "{name} is not on the page");
        }
    }
    assert!(names.is_empty(), "{names:?} are no settings");
}

#[test]
fn an_empty_variable_takes_a_limit_of_quality_away() {
    let without = load(None, &[("VISAVIS_QUALITY_SELFIE_YAW_DEG_FAIL_ABOVE", "")]).unwrap();
    assert_eq!(without.quality.selfie.yaw_deg.fail_above, None);
    assert_eq!(without.quality.selfie.yaw_deg.warn_above, Some(35.0));
    for wrong in ["much", "nan", "inf"] {
        let error = load(None, &[("VISAVIS_QUALITY_SELFIE_ROLL_DEG_FAIL_ABOVE", wrong)]);
        assert!(error.unwrap_err().contains("must be a number, or nothing"), "{wrong}");
    }
}

#[test]
fn a_number_outside_of_its_range_is_refused_with_the_range() {
    for setting in parse().1 {
        let Some((min, max)) = setting.range() else { continue };
        for path in setting.paths() {
            for value in [min - 1.0, max + 1.0] {
                let refused = load(None, &[(&variable(&path), &value.to_string())]);
                let reported = format!("{path}: must be from {min} to {max}, not {value}");
                assert_eq!(refused.unwrap_err(), reported);
            }
        }
    }
}
