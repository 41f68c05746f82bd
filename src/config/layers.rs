//! Laying one tree of settings over another.

use std::collections::BTreeMap;

use toml::{Table, Value};

/// A setting that is wrong, and where it stands.
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
}

/// Every variable that sets a key, with the path of the key.
pub(super) type Variables = BTreeMap<String, Vec<String>>;

/// Variables that are not settings.
const NOT_SETTINGS: [&str; 2] = ["VISAVIS_CONFIG", "VISAVIS_SHARED"];

/// A table whose keys are the operator's own, each with a number.
const OWN_KEYS: &str = "compare.fmr_by_source";

pub(super) fn parse(name: &str, text: &str) -> Result<Table, ConfigError> {
    text.parse().map_err(|e: toml::de::Error| ConfigError::new(name, e.to_string()))
}

/// `http.patience_ms` → `VISAVIS_HTTP_PATIENCE_MS`, for every key that is not a table.
pub(super) fn variables(tree: &Table) -> Variables {
    let mut found = Variables::new();
    let mut open = vec![(Vec::new(), tree)];
    while let Some((path, table)) = open.pop() {
        for (key, value) in table {
            let path = [path.as_slice(), std::slice::from_ref(key)].concat();
            match value {
                Value::Table(inner) if path.join(".") != OWN_KEYS => open.push((path, inner)),
                _ => drop(found.insert(format!("VISAVIS_{}", path.join("_").to_uppercase()), path)),
            }
        }
    }
    found
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
            (Some(old), new) if old.same_type(&new) => *old = new,
            (Some(old), new) => {
                return wrong(format!(
                    "`{path}` must be a {}, not a {}",
                    old.type_str(),
                    new.type_str()
                ));
            }
        }
    }
    Ok(())
}

fn is_number(value: &Value) -> bool {
    matches!(value, Value::Float(_) | Value::Integer(_))
}

const SERVICE_LINK: &str = "is set by Kubernetes for a Service whose name begins with `visavis`, and is no setting: put \
                            `enableServiceLinks: false` into the spec of the pod";

/// Whether Kubernetes sets such a variable in every pod beside a Service, as do links between containers in Docker.
fn is_service_link(name: &str, text: &str) -> bool {
    let has_address = ["tcp://", "udp://", "sctp://"].iter().any(|scheme| text.starts_with(scheme));
    let of_a_port = ["_TCP", "_UDP", "_SCTP"].iter().any(|end| name.contains(end));
    let of_a_service = name.contains("_SERVICE_HOST") || name.contains("_SERVICE_PORT");
    of_a_service || (name.contains("_PORT") && (has_address || of_a_port))
}

/// Sets keys from variables; the text is read as the type of the default.
pub(super) fn apply_environment(
    tree: &mut Table,
    known: &Variables,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<(), ConfigError> {
    let ours = environment
        .filter(|(name, _)| name.starts_with("VISAVIS_") && !NOT_SETTINGS.contains(&name.as_str()));
    for (name, text) in ours {
        let Some(path) = known.get(&name) else {
            if is_service_link(&name, &text) {
                return Err(ConfigError::new(&name, SERVICE_LINK.to_owned()));
            }
            let near = nearest(&name, known.keys().map(String::as_str));
            return Err(ConfigError::new(&name, format!("is no setting; did you mean {near}?")));
        };
        let Some(slot) = slot(tree, path) else { continue };
        *slot = typed(slot, &text)
            .ok_or_else(|| ConfigError::new(&name, format!("must be {}", expected(slot))))?;
    }
    Ok(())
}

fn expected(like: &Value) -> String {
    match like {
        Value::Table(_) => "pairs CODE=RATE with spaces between".to_owned(),
        other => format!("a {}", other.type_str()),
    }
}

fn slot<'a>(tree: &'a mut Table, path: &[String]) -> Option<&'a mut Value> {
    let (last, tables) = path.split_last()?;
    let mut table = tree;
    for key in tables {
        table = table.get_mut(key)?.as_table_mut()?;
    }
    table.get_mut(last)
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

/// The name that shares the longest beginning with `name`, then the one nearest in length.
fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> &'a str {
    let shared = |other: &str| name.chars().zip(other.chars()).take_while(|(a, b)| a == b).count();
    known
        .max_by_key(|other| (shared(other), std::cmp::Reverse(other.len().abs_diff(name.len()))))
        .unwrap_or_default()
}
