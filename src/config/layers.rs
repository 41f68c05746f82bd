//! Merges layers of settings: defaults, files, environment.

use std::collections::BTreeMap;

use toml::{Table, Value};

/// A wrong setting: its file, variable or key, and the problem.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct ConfigError {
    place: String,
    problem: String,
}

impl ConfigError {
    pub(super) fn new(place: &str, problem: String) -> Self {
        Self { place: place.to_owned(), problem }
    }

    pub(super) fn with_note(self, note: &str) -> Self {
        Self { problem: format!("{} ({note})", self.problem), ..self }
    }
}

/// Every variable that sets a key, with the path of the key.
pub(super) type Variables = BTreeMap<String, Vec<String>>;

/// Variables that are not settings: of the command line, of the tests, and of the client examples.
const NOT_SETTINGS: [&str; 6] = [
    "VISAVIS_CONFIG",
    "VISAVIS_SHARED",
    "VISAVIS_URL",
    "VISAVIS_CLIENT_ID",
    "VISAVIS_MERCHANT_PRIVATE_KEY",
    "VISAVIS_SERVER_PUBLIC_KEY",
];
/// Settings of the proxy in `deploy/`.
const PROXY: &str = "VISAVIS_PROXY_";
/// A name that differs by more changes is not suggested.
const MAX_EDIT_DISTANCE: usize = 3;

/// Tables of quality limits: each measure is a table of these, any of which may be missing.
const QUALITY: &str = "quality";
const LIMITS: [&str; 4] = ["fail_below", "warn_below", "fail_above", "warn_above"];

/// A table whose keys are the operator's own, each with a number.
const OWN_KEYS: &str = "compare.fmr_by_source";

pub(super) fn parse(name: &str, text: &str) -> Result<Table, ConfigError> {
    text.parse().map_err(|e: toml::de::Error| ConfigError::new(name, e.to_string()))
}

/// The variable of a setting: `http.listen` → `VISAVIS_HTTP_LISTEN`.
pub(super) fn variable(path: &str) -> String {
    format!("VISAVIS_{}", path.to_uppercase().replace('.', "_"))
}

/// The variables of every key that is not a table, and of every limit of a measure.
pub(super) fn variables(tree: &Table) -> Variables {
    let mut found = Variables::new();
    let mut add = |path: Vec<String>| {
        found.insert(variable(&path.join(".")), path);
    };
    let mut open = vec![(Vec::new(), tree)];
    while let Some((path, table)) = open.pop() {
        for (key, value) in table {
            let path = [path.as_slice(), std::slice::from_ref(key)].concat();
            match value {
                Value::Table(_) if is_measure(&path) => {
                    for limit in LIMITS {
                        add([&path[..], &[limit.to_owned()]].concat());
                    }
                }
                Value::Table(inner) if path.join(".") != OWN_KEYS => open.push((path, inner)),
                _ => add(path),
            }
        }
    }
    found
}

fn is_measure(path: &[String]) -> bool {
    path.len() == 3 && path[0] == QUALITY
}

/// Replaces settings of `base` by those of `over`. A key must exist in `base` and keep its type;
/// quality limits are replaced as a whole, so that a limit can be taken away.
pub(super) fn merge(base: &mut Table, over: Table, name: &str) -> Result<(), ConfigError> {
    merge_at(base, over, "", name)
}

fn merge_at(base: &mut Table, over: Table, path: &str, name: &str) -> Result<(), ConfigError> {
    for (key, value) in over {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        let wrong = |problem: String| Err(ConfigError::new(name, problem));
        let is_limit = path.matches('.').count() == 2;
        match (base.get_mut(&key), value) {
            (None, _) => {
                let known: Vec<_> = base.keys().map(String::as_str).collect();
                return wrong(format!("unknown key `{path}`; known here are {}", known.join(", ")));
            }
            (Some(Value::Table(inner)), Value::Table(outer)) if path == OWN_KEYS => {
                if let Some((key, _)) = outer.iter().find(|(_, value)| !is_number(value)) {
                    return wrong(format!("`{path}.{key}` must be a number"));
                }
                *inner = outer;
            }
            (Some(Value::Table(inner)), Value::Table(outer)) if !is_limit => {
                merge_at(inner, outer, &path, name)?;
            }
            (Some(Value::Float(old)), Value::Integer(new)) => *old = new as f64,
            // A port alone.
            (Some(Value::String(old)), Value::Integer(port)) if key == "listen" => {
                *old = port.to_string();
            }
            (Some(old), new) if old.same_type(&new) => *old = new,
            (Some(old), new) => {
                return wrong(format!("`{path}` must be {}, not {}", kind(old), kind(&new)));
            }
        }
    }
    Ok(())
}

fn is_number(value: &Value) -> bool {
    matches!(value, Value::Float(_) | Value::Integer(_))
}

/// Whether Kubernetes sets such a variable in every pod for a Service, or Docker for linked
/// containers:
/// `…_SERVICE_HOST`, `…_SERVICE_PORT`, `…_SERVICE_PORT_HTTP`, `…_PORT` and `…_PORT_80_TCP_ADDR`.
fn is_service_link(name: &str, text: &str) -> bool {
    let has_address = ["tcp://", "udp://", "sctp://"].iter().any(|scheme| text.starts_with(scheme));
    if name.ends_with("_SERVICE_HOST") || (name.ends_with("_PORT") && has_address) {
        return true;
    }
    if let Some((_, port)) = name.split_once("_SERVICE_PORT") {
        return port.is_empty() || port.starts_with('_');
    }
    name.match_indices("_PORT_").any(|(at, mark)| is_linked_port(&name[at + mark.len()..]))
}

/// `80_TCP`, `80_TCP_ADDR` …
fn is_linked_port(text: &str) -> bool {
    let Some((port, protocol)) = text.split_once('_') else { return false };
    let is_protocol = ["TCP", "UDP", "SCTP"].iter().any(|known| protocol.starts_with(known));
    is_protocol && port.parse::<u16>().is_ok()
}

/// Sets keys from variables; the text is read as the type of the default.
pub(super) fn apply_environment(
    tree: &mut Table,
    known: &Variables,
    environment: BTreeMap<String, String>,
) -> Result<(), ConfigError> {
    for (name, text) in environment {
        let Some(path) = known.get(&name) else {
            if NOT_SETTINGS.contains(&name.as_str())
                || name.starts_with(PROXY)
                || is_service_link(&name, &text)
            {
                continue;
            }
            let cure = match nearest(&name, known.keys()) {
                Some(near) => format!("did you mean {near}?"),
                None => "unset it, or see docs/CONFIGURATION.md for those that exist".to_owned(),
            };
            return Err(ConfigError::new(&name, format!("unknown environment variable: {cure}")));
        };
        let wrong = |expected: String| ConfigError::new(&name, format!("must be {expected}"));
        let Some((key, table)) = slot(tree, path) else { continue };
        match table.get_mut(key) {
            Some(value) if !is_measure(&path[..path.len() - 1]) => {
                *value = typed(value, &text).ok_or_else(|| wrong(expected(value)))?;
            }
            _ if text.trim().is_empty() => drop(table.remove(key)),
            _ => {
                let limit = text.trim().parse().ok().filter(|limit: &f64| limit.is_finite());
                let limit = limit.ok_or_else(|| wrong("a number, or nothing".to_owned()))?;
                table.insert(key.clone(), Value::Float(limit));
            }
        }
    }
    Ok(())
}

fn expected(like: &Value) -> String {
    match like {
        Value::Table(_) => "pairs CODE=RATE with spaces between".to_owned(),
        other => kind(other).to_owned(),
    }
}

/// The name of a type of TOML.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "a string",
        Value::Integer(_) => "a whole number",
        Value::Float(_) => "a number",
        Value::Boolean(_) => "true or false",
        Value::Datetime(_) => "a date",
        Value::Array(_) => "an array",
        Value::Table(_) => "a table",
    }
}

/// The table that has, or may have, a key.
fn slot<'a>(tree: &'a mut Table, path: &'a [String]) -> Option<(&'a String, &'a mut Table)> {
    let (last, tables) = path.split_last()?;
    let mut table = tree;
    for key in tables {
        table = table.get_mut(key)?.as_table_mut()?;
    }
    Some((last, table))
}

fn typed(like: &Value, text: &str) -> Option<Value> {
    Some(match like {
        Value::String(_) => Value::String(text.to_owned()),
        Value::Integer(_) => Value::Integer(text.trim().parse().ok()?),
        Value::Float(_) => Value::Float(text.trim().parse().ok()?),
        Value::Boolean(_) => Value::Boolean(text.trim().parse().ok()?),
        Value::Array(_) => {
            Value::Array(text.split_whitespace().map(|s| Value::String(s.to_owned())).collect())
        }
        Value::Table(_) => {
            let pair = |pair: &str| {
                let (key, number) = pair.split_once('=')?;
                Some((key.to_owned(), Value::Float(number.parse().ok()?)))
            };
            Value::Table(text.split_whitespace().map(pair).collect::<Option<_>>()?)
        }
        Value::Datetime(_) => return None,
    })
}

/// The known name that is most similar, if it is similar enough.
fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a String>) -> Option<&'a String> {
    let distances = known.map(|other| (strsim::osa_distance(name, other), other));
    let (distance, near) = distances.min()?;
    (distance <= MAX_EDIT_DISTANCE).then_some(near)
}
