//! `log.level`: the filter of log lines.

use tracing_subscriber::EnvFilter;

const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];

/// A level, or a filter such as `info,visavis::worker=debug`. `warning` is `warn`.
///
/// # Errors
/// What is wrong, with the levels and an example. `EnvFilter` itself takes an unknown word for the
/// name of a module, and would log nothing else.
pub fn parse_filter(text: &str) -> Result<EnvFilter, String> {
    // Values of fields may have commas and equals signs.
    let has_fields = text.contains('[');
    let directives = text.split(',').map(str::trim).collect::<Vec<_>>();
    let directives = if has_fields { vec![text.to_owned()] } else { directives_of(&directives)? };
    let parsed = EnvFilter::try_new(directives.join(","));
    parsed.map_err(|error| unknown(&format!("filter `{text}` ({error})")))
}

fn directives_of(directives: &[&str]) -> Result<Vec<String>, String> {
    let directive = |directive: &&str| match directive.split_once('=') {
        None => level(directive),
        Some((target, name)) if is_target(target.trim()) => {
            Ok(format!("{}={}", target.trim(), level(name)?))
        }
        Some((target, _)) => Err(unknown(&format!("module `{target}`"))),
    };
    directives.iter().map(directive).collect()
}

fn is_target(text: &str) -> bool {
    let in_target = |c: char| c.is_ascii_alphanumeric() || "_:.-".contains(c);
    !text.is_empty() && text.chars().all(in_target)
}

fn level(name: &str) -> Result<String, String> {
    let level = name.trim().to_lowercase();
    let level = if level == "warning" { "warn" } else { &level };
    if LEVELS.contains(&level) {
        Ok(level.to_owned())
    } else {
        Err(unknown(&format!("level `{name}`")))
    }
}

fn unknown(what: &str) -> String {
    format!(
        "unknown {what}: use error, warn, info, debug, trace or off, or a filter such as \
         info,visavis::worker=debug"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_filters_are_taken_and_warning_is_warn() {
        for (text, taken) in [
            ("info", "info"),
            ("WARNING", "warn"),
            ("off", "off"),
            ("info,visavis::worker=debug", "visavis::worker=debug,info"),
            ("info, visavis=warning", "visavis=warn,info"),
            ("visavis=trace", "visavis=trace"),
            (
                "info,visavis[http.request{path=\"/\"}]=debug",
                "info,visavis[http.request{path=\"/\"}]=debug",
            ),
        ] {
            assert_eq!(parse_filter(text).map(|filter| filter.to_string()), Ok(taken.to_owned()));
        }
    }

    #[test]
    fn a_word_that_is_no_level_is_refused_with_those_that_are() {
        for (text, named) in [
            ("verbose", "level `verbose`"),
            ("", "level ``"),
            ("visavis", "level `visavis`"),
            ("info,visavis=loud", "level `loud`"),
            ("info,", "level ``"),
            ("info,visavis=", "level ``"),
            ("debug;visavis=info", "module `debug;visavis`"),
            ("=info", "module ``"),
        ] {
            let why = parse_filter(text).unwrap_err();
            let cure = "error, warn, info, debug, trace or off, or a filter such as \
                        info,visavis::worker=debug";
            assert!(why.contains(named) && why.contains(cure), "{text}: {why}");
        }
    }
}
