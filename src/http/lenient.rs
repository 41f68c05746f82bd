//! JSON members as clients really send them: absent, null, or of the wrong type, each distinguished
//! so that the response can name the member.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use visavis_signing::lenient_base64;

use super::error::ApiError;

/// A member that should be a string. Borrows from the body unless the string has escapes, so a
/// picture is not copied.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Text<'a> {
    /// Not there, or null.
    #[default]
    Absent,
    /// A string.
    Given(Cow<'a, str>),
    /// Something else.
    Other,
}

impl Text<'_> {
    /// The string, if it is one.
    ///
    /// # Errors
    /// [`ApiError::Invalid`] naming `field` when it is something else.
    pub(super) fn optional(&self, field: &'static str) -> Result<Option<&str>, ApiError> {
        match self {
            Self::Absent => Ok(None),
            Self::Given(text) => Ok(Some(text)),
            Self::Other => Err(ApiError::Invalid(field, "must be a string".to_owned())),
        }
    }

    /// The string.
    ///
    /// # Errors
    /// [`ApiError::Invalid`] naming `field` when it is absent or something else.
    pub(super) fn required(&self, field: &'static str) -> Result<&str, ApiError> {
        self.optional(field)?.ok_or_else(|| ApiError::Invalid(field, "is missing".to_owned()))
    }

    /// A short string, checked for its length in bytes.
    ///
    /// # Errors
    /// [`ApiError::Invalid`] naming `field`.
    pub(super) fn at_most(
        &self,
        field: &'static str,
        bytes: usize,
    ) -> Result<Option<&str>, ApiError> {
        match self.optional(field)? {
            Some(text) if text.len() > bytes => {
                Err(ApiError::Invalid(field, format!("has more than {bytes} bytes")))
            }
            other => Ok(other),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Text::Given(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Text::Given(Cow::Owned(text.to_owned())))
    }

    fn visit_string<E>(self, text: String) -> Result<Self::Value, E> {
        Ok(Text::Given(Cow::Owned(text)))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Text::Absent)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Text::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Text::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Text::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Text::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Text::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Text::Other)
    }
}

/// Base64 as careless callers send it: a `data:` prefix, line breaks, the URL-safe alphabet, no
/// padding.
///
/// # Errors
/// [`ApiError::Invalid`] naming `field`.
pub(super) fn decode_base64(field: &'static str, text: &str) -> Result<Vec<u8>, ApiError> {
    let text = text.trim_start();
    let is_data = text.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("data:"));
    let content = if is_data { text.split_once(',') } else { None };
    let text = content.map_or(text, |(_, content)| content);
    lenient_base64(text.as_bytes())
        .ok_or_else(|| ApiError::Invalid(field, instead_of_base64(text).to_owned()))
}

/// What a client has sent instead of base64.
fn instead_of_base64(text: &str) -> &'static str {
    /// Longest name of a file, bytes.
    const LONGEST_NAME: usize = 4096;
    const NAMES_END: [&str; 8] =
        [".jpg", ".jpeg", ".png", ".bmp", ".webp", ".heic", ".gif", ".tiff"];
    let start =
        |start: &str| text.get(..start.len()).is_some_and(|text| text.eq_ignore_ascii_case(start));
    let is_name = || {
        let lower = text.trim_end().to_ascii_lowercase();
        NAMES_END.iter().any(|end| lower.ends_with(end))
    };
    if start("http://") || start("https://") {
        "is a URL, which this server does not fetch; send the photo itself as base64"
    } else if start("file:") || text.len() <= LONGEST_NAME && is_name() {
        "is the name of a file; send the photo itself as base64"
    } else {
        "is not base64"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_a_string_nothing_or_something_else() {
        let parse = |json: &'static str| serde_json::from_str::<Text<'_>>(json).unwrap();
        assert_eq!(parse("\"a\""), Text::Given(Cow::Borrowed("a")));
        assert!(matches!(parse("\"a\""), Text::Given(Cow::Borrowed(_))));
        assert_eq!(parse(r#""\u0041\/""#), Text::Given(Cow::Borrowed("A/")));
        assert_eq!(parse("null"), Text::Absent);
        for other in ["1", "1.5", "-1", "true", "[1,[2]]", "{\"a\":{}}"] {
            assert_eq!(parse(other), Text::Other, "{other}");
        }
        assert_eq!(
            Text::Other.required("x"),
            Err(ApiError::Invalid("x", "must be a string".to_owned()))
        );
        assert_eq!(
            Text::Absent.required("x"),
            Err(ApiError::Invalid("x", "is missing".to_owned()))
        );
    }

    #[test]
    fn base64_is_read_in_every_form_that_callers_send() {
        for text in [
            "++//AQ==",
            "++//AQ",
            "--__AQ",
            "data:image/png;base64,++//AQ==",
            "\nDATA:;base64,++//AQ==",
            "++//\r\nAQ==\n",
        ] {
            assert_eq!(decode_base64("x", text).unwrap(), [0xFB, 0xEF, 0xFF, 0x01], "{text}");
        }
        assert_eq!(decode_base64("x", "").unwrap(), [0_u8; 0]);
        for text in ["a!b", "=", "A", "++//A Q=%", "x,++//AQ==", "data:image/png;base64"] {
            assert!(decode_base64("x", text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_address_and_a_name_of_a_file_are_told_from_broken_base64() {
        for (text, named) in [
            ("https://example.com/a.jpg", "is a URL"),
            ("HTTP://example.com/photo?id=7", "is a URL"),
            ("file:///home/jane/a", "is the name of a file"),
            ("/home/jane/a.JPG", "is the name of a file"),
            ("C:\\photos\\a.png\n", "is the name of a file"),
            ("a!b", "is not base64"),
        ] {
            let Err(ApiError::Invalid("x", why)) = decode_base64("x", text) else {
                panic!("{text} is taken")
            };
            assert!(why.starts_with(named), "{text}: {why}");
        }
    }
}
