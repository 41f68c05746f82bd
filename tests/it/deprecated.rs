//! Settings that were renamed: the old names work for one release, and are reported.

use std::fs;

use visavis::config::{DEFAULTS, RENAMED};

use crate::{
    crash::server::{Data, Server},
    log,
    settings::load,
    support::{Run as _, create_data, with_models},
};

/// The value of a setting in a tree of TOML.
fn value(tree: &toml::Table, path: &str) -> Option<toml::Value> {
    let (section, key) = path.split_once('.').unwrap();
    tree[section].get(key).cloned()
}

fn variable(path: &str) -> String {
    format!("VISAVIS_{}", path.to_uppercase().replace('.', "_"))
}

fn file(path: &str, value: &str) -> String {
    let (section, key) = path.split_once('.').unwrap();
    format!("[{section}]\n{key} = {value}\n")
}

#[test]
fn every_new_name_is_a_setting_and_no_old_one_is() {
    let defaults: toml::Table = DEFAULTS.parse().unwrap();
    for (old, new) in RENAMED {
        assert!(value(&defaults, new).is_some(), "{new} is no setting");
        assert!(value(&defaults, old).is_none(), "{old} is still a setting");
    }
    for old in ["http.patience_ms", "http.leave_ms", "worker.stuck_ms", "queue.kept_bytes"] {
        assert!(RENAMED.iter().any(|(name, _)| *name == old), "{old} is refused");
    }
}

#[test]
fn an_old_name_sets_what_the_new_one_sets_in_a_file_and_in_the_environment() {
    let default = load(None, &[]).unwrap();
    let defaults: toml::Table = DEFAULTS.parse().unwrap();
    for (old, new) in RENAMED {
        let other = value(&defaults, new).unwrap().as_integer().unwrap() + 1;
        let other = other.to_string();
        let by_new = load(Some(&file(new, &other)), &[]).unwrap();
        assert!(by_new.deprecated.is_empty() && by_new != default, "{new}");
        let by_file = load(Some(&file(old, &other)), &[]).unwrap();
        let by_variable = load(None, &[(&variable(old), &other)]).unwrap();
        for mut by_old in [by_file, by_variable] {
            let warnings: Vec<_> = by_old.deprecated.drain(..).map(|d| d.to_string()).collect();
            assert_eq!(warnings.len(), 1, "{warnings:?}");
            let expected = format!("setting {old} is deprecated: use {new}");
            assert!(warnings[0].contains(&expected), "{warnings:?}");
            assert!(by_old == by_new, "{old} is not {new}");
        }
        // The environment has precedence over the file, whichever name is used.
        let names = (file(new, "1"), file(old, "1"));
        for (text, name) in [(&names.0, variable(old)), (&names.1, variable(new))] {
            let mut config = load(Some(text), &[(&name, &other)]).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(config.deprecated.drain(..).count(), 1);
            assert!(config == by_new, "{name} over {text}");
        }
    }
}

#[test]
fn both_names_with_different_values_are_an_error_that_names_both() {
    for (old, new) in RENAMED {
        let (_, key) = old.split_once('.').unwrap();
        let both = |value: &str| format!("{}{key} = {value}\n", file(new, "30000"));
        let error = load(Some(&both("30001")), &[]).unwrap_err();
        let expected = format!(
            "visavis.toml: {old} and {new} have different values: remove {old}, which is deprecated"
        );
        assert!(error.ends_with(&expected), "{error}");
        assert_eq!(load(Some(&both("30000")), &[]).unwrap().deprecated.len(), 1);

        let (old, new) = (variable(old), variable(new));
        let error = load(None, &[(&old, "30001"), (&new, "30000")]).unwrap_err();
        let expected = format!(
            "the environment: {old} and {new} have different values: remove {old}, which is \
             deprecated"
        );
        assert_eq!(error, expected);
        let same = load(None, &[(&old, " 30000"), (&new, "30000")]);
        assert_eq!(same.unwrap().deprecated.len(), 1);
    }
}

#[test]
fn what_is_wrong_with_an_old_name_is_reported_with_the_name_as_it_was_given() {
    for text in ["[http]\npatience_ms = \"soon\"\n", "[http]\npatience_ms = 0\n"] {
        let error = load(Some(text), &[]).unwrap_err();
        assert!(error.contains("(given as http.patience_ms in "), "{error}");
    }
    for value in ["soon", "0"] {
        let error = load(None, &[("VISAVIS_HTTP_PATIENCE_MS", value)]).unwrap_err();
        assert!(error.contains("(given as VISAVIS_HTTP_PATIENCE_MS)"), "{error}");
    }
    let other = load(Some("[http]\npatience_ms = 1\nfreshness_s = -1\n"), &[]).unwrap_err();
    assert!(!other.contains("given as"), "{other}");
}

#[test]
fn the_log_warns_once_of_each_old_name_at_the_start() {
    let data = Data::new();
    let path = data.folder().join("log.txt");
    let variables = [("VISAVIS_HTTP_PATIENCE_MS", "8000"), ("VISAVIS_WORKER_WAITING", "100")];
    let server = Server::start_logging(&data, fs::File::create(&path).unwrap(), &variables);
    assert_eq!(server.terminate(), Some(0));
    let text = fs::read_to_string(&path).unwrap();
    let lines = log::lines(&text, "a setting is deprecated: use its new name");
    assert_eq!(lines.len(), 2, "{text}");
    assert!(lines.iter().all(|line| line["level"] == "warn"), "{text}");
    for (old, new) in [
        ("http.patience_ms", "http.compare_timeout_ms"),
        ("worker.waiting", "worker.max_waiting_requests"),
    ] {
        let warning = format!("setting {old} is deprecated: use {new} ({})", variable(new));
        assert_eq!(text.matches(&warning).count(), 1, "{text}");
    }
}

#[test]
fn check_shows_an_old_name_as_a_warning_and_refuses_both_names() {
    let folder = tempfile::tempdir().unwrap();
    create_data(folder.path());
    let config = folder.path().join("own.toml");
    fs::write(&config, "[worker]\nstuck_ms = 50000\n").unwrap();
    let check = |variables: &[(&str, &str)]| {
        let mut command = with_models();
        command.arg("check").arg("--data").arg(folder.path()).arg("--config").arg(&config);
        command.envs(variables.iter().copied()).ran()
    };
    let shown = check(&[]);
    let warning = format!(
        "WARN setting: {}: setting worker.stuck_ms is deprecated: use worker.hang_timeout_ms\n",
        config.display()
    );
    assert!(shown.code == 0 && shown.out.contains(&warning), "{}{}", shown.out, shown.err);
    let both = [("VISAVIS_HTTP_LEAVE_MS", "1"), ("VISAVIS_HTTP_SHUTDOWN_DELAY_MS", "2")];
    let refused = check(&both);
    assert_eq!(refused.code, 2, "{}{}", refused.out, refused.err);
    for (name, _) in both {
        assert!(refused.err.contains(name), "{}", refused.err);
    }
}
