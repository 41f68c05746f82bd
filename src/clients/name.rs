//! What clients may be called. Names are shown in terminals and in the console, and given instead
//! of ids.

use std::fmt::Write as _;

use unicode_properties::{GeneralCategory, UnicodeGeneralCategory as _};

use super::error::ClientError;

const MAX_NAME_BYTES: usize = 64;
/// As long as an address of mail.
const MAX_PERSON_BYTES: usize = 254;
const CLIENT_ID_DIGITS: usize = 16;

/// Checks the name of a new client.
///
/// # Errors
/// [`ClientError::NameUnfit`].
pub fn check_name(name: &str) -> Result<(), ClientError> {
    check(name, MAX_NAME_BYTES)
}

/// Whether a person can have this name at a provider or a proxy: user principal names are longer
/// than names that are given here.
pub(crate) fn is_person_name(name: &str) -> bool {
    check(name, MAX_PERSON_BYTES).is_ok()
}

fn check(name: &str, max: usize) -> Result<(), ClientError> {
    let unfit = |reason: &str| Err(ClientError::NameUnfit(reason.to_owned()));
    if name.trim().is_empty() {
        return unfit(&format!("the name is empty: give one of 1 to {max} bytes"));
    }
    if name.len() > max {
        let length = name.len();
        return unfit(&format!("the name has {length} bytes: give one of at most {max}"));
    }
    if let Some(hidden) = name.chars().find(|c| is_hidden(*c)) {
        let code = u32::from(hidden);
        return unfit(&format!(
            "the name has the control or format character U+{code:04X}: leave it out"
        ));
    }
    if name.trim() != name {
        return unfit("the name begins or ends with a space: leave it out");
    }
    if is_client_id(name) {
        return unfit("the name has the form of a Client-Id, 16 digits: add a letter");
    }
    Ok(())
}

/// Whether a text has the form of an id.
pub(super) fn is_client_id(text: &str) -> bool {
    text.len() == CLIENT_ID_DIGITS && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A name, or another text of an operator, as a terminal may show it: with what it would not show
/// as `\u{…}`.
pub fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_hidden(c) {
            // Into a string nothing fails.
            let _ = write!(shown, "{}", c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Whether a character moves, turns or hides others instead of being seen.
fn is_hidden(c: char) -> bool {
    matches!(
        c.general_category(),
        GeneralCategory::Control
            | GeneralCategory::Format
            | GeneralCategory::LineSeparator
            | GeneralCategory::ParagraphSeparator
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_no_control_or_format_characters_and_is_no_client_id() {
        for name in ["app", "Schöne Läden 24", "店", "123", "21880000000000001", "218800000000000x"]
        {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for (name, reason) in [
            ("", "the name is empty"),
            (" \t", "the name is empty"),
            (&"n".repeat(65), "the name has 65 bytes"),
            (" app", "begins or ends with a space"),
            ("app ", "begins or ends with a space"),
            ("app\n2188", "U+000A"),
            ("\u{1b}[2Japp", "U+001B"),
            ("app\u{85}", "U+0085"),
            ("\u{202e}ppa", "U+202E"),
            ("a\u{200b}pp", "U+200B"),
            ("a\u{ad}pp", "U+00AD"),
            ("a\u{2028}pp", "U+2028"),
            ("a\u{e0041}pp", "U+E0041"),
            ("2188000000000001", "16 digits"),
        ] {
            let refused = check_name(name).unwrap_err().to_string();
            assert!(refused.contains(reason), "{name:?}: {refused}");
        }
    }

    #[test]
    fn what_a_terminal_would_not_show_is_printed_as_its_number() {
        assert_eq!(printable("Läden 24"), "Läden 24");
        assert_eq!(printable("a\n\u{202e}b\u{1b}"), "a\\u{a}\\u{202e}b\\u{1b}");
    }
}
