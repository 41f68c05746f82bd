//! Settings that were renamed. The old names are accepted for one release, with a warning.

use std::{collections::BTreeMap, fmt};

use toml::{Table, Value};

use super::{ConfigError, layers::variable};

/// The old and the new name of each renamed setting. Version 0.3 removes the old ones.
pub const RENAMED: &[(&str, &str)] = &[
    ("http.body_least_bytes_per_s", "http.body_min_bytes_per_s"),
    ("http.patience_ms", "http.compare_timeout_ms"),
    ("http.idle_deadline_ms", "http.idle_timeout_ms"),
    ("http.drain_ms", "http.drain_timeout_ms"),
    ("http.leave_ms", "http.shutdown_delay_ms"),
    ("queue.kept_bytes", "queue.payload_cache_bytes"),
    ("worker.waiting", "worker.max_waiting_requests"),
    ("worker.drain_ms", "worker.drain_timeout_ms"),
    ("worker.stuck_ms", "worker.hang_timeout_ms"),
];

/// A setting that was given by its old name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deprecation {
    /// The file or the variable.
    place: String,
    old: &'static str,
    new: &'static str,
    is_variable: bool,
}

impl fmt::Display for Deprecation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, old, new, .. } = self;
        write!(f, "{place}: setting {old} is deprecated: use {new}")?;
        if self.is_variable {
            write!(f, " ({})", variable(new))?;
        }
        Ok(())
    }
}

/// Gives the settings of a file their new names.
pub(super) fn rename_keys(
    tree: &mut Table,
    file: &str,
    found: &mut Vec<Deprecation>,
) -> Result<(), ConfigError> {
    for (old, new) in RENAMED {
        let Some(value) = table_of(tree, old).and_then(|(table, key)| table.remove(key)) else {
            continue;
        };
        // Both names are in one section, which exists.
        let Some((table, key)) = table_of(tree, new) else { continue };
        if table.get(key).is_some_and(|other| *other != value) {
            return Err(conflict(file, old, new));
        }
        table.insert(key.to_owned(), value);
        found.push(Deprecation { place: file.to_owned(), old, new, is_variable: false });
    }
    Ok(())
}

/// The section of a setting, and its key there.
fn table_of<'a, 'p>(tree: &'a mut Table, path: &'p str) -> Option<(&'a mut Table, &'p str)> {
    let (section, key) = path.split_once('.')?;
    Some((tree.get_mut(section).and_then(Value::as_table_mut)?, key))
}

/// Gives variables the names of the new settings.
pub(super) fn rename_variables(
    environment: &mut BTreeMap<String, String>,
    found: &mut Vec<Deprecation>,
) -> Result<(), ConfigError> {
    for (old, new) in RENAMED {
        let (place, new_name) = (variable(old), variable(new));
        let Some(text) = environment.remove(&place) else { continue };
        if environment.get(&new_name).is_some_and(|other| other.trim() != text.trim()) {
            return Err(conflict("the environment", &place, &new_name));
        }
        environment.insert(new_name, text);
        found.push(Deprecation { place, old, new, is_variable: true });
    }
    Ok(())
}

fn conflict(place: &str, old: &str, new: &str) -> ConfigError {
    let problem =
        format!("{old} and {new} have different values: remove {old}, which is deprecated");
    ConfigError::new(place, problem)
}

/// The old variables of the setting of a variable.
pub fn old_variables(name: &str) -> Vec<String> {
    let renamed = RENAMED.iter().filter(|(_, new)| variable(new) == name);
    renamed.map(|(old, _)| variable(old)).collect()
}

/// An error about a setting, with the name by which it was given.
pub(super) fn with_old_names(error: ConfigError, found: &[Deprecation]) -> ConfigError {
    let text = error.to_string();
    let given = found.iter().find(|given| {
        let name = if given.is_variable { variable(given.new) } else { given.new.to_owned() };
        text.contains(&name) || text.contains(given.new)
    });
    match given {
        Some(Deprecation { place, is_variable: true, .. }) => {
            error.with_note(&format!("given as {place}"))
        }
        Some(Deprecation { place, old, .. }) => {
            error.with_note(&format!("given as {old} in {place}"))
        }
        None => error,
    }
}
