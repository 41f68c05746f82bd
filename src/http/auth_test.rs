//! `authentication/test`: proves that keys and clocks are right.
//!
//! Two generations of clients expect two responses: the object itself, or a result whose message is
//! the object as text. The response is both at once, which every client accepts.

use serde_json::{Map, Value};

use super::{answer::Answer, error::ApiError, extract::SmallProven, js, wire::parse_object};
use crate::gate::Cost;

/// A tree of JSON values is up to 40 times as large as its text, and the response has the text
/// twice.
const COST: Cost<String> = Cost { parsing: 48, kept: String::len };

pub(super) async fn auth_test(SmallProven(proven): SmallProven) -> Result<Answer, ApiError> {
    let parsed = proven.parse(COST, echo).await?;
    Ok(Answer::text(parsed.value, "SUCCESS"))
}

/// `{"result":{…,"resultMessage":"<the request's text>"},<the request's members>}`
pub(super) fn echo(body: &[u8]) -> Result<String, ApiError> {
    let members: Map<String, Value> = parse_object(body)?;
    // It has been parsed, so it is text.
    let text = String::from_utf8_lossy(body);
    let mut answer = Map::new();
    let mut result = Map::new();
    result.insert("resultStatus".to_owned(), "S".into());
    result.insert("resultCode".to_owned(), "SUCCESS".into());
    result.insert("resultMessage".to_owned(), text.into_owned().into());
    answer.insert("result".to_owned(), result.into());
    answer.extend(members.into_iter().filter(|(name, _)| name != "result"));
    Ok(js::stringify(&answer.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::error::JsonFlaw;

    #[test]
    fn the_answer_is_both_generations_at_once() {
        let body = br#"{"title":"hello", "n":1.0,"result":"mine"}"#;
        assert_eq!(
            echo(body).unwrap(),
            r#"{"result":{"resultStatus":"S","resultCode":"SUCCESS","resultMessage":"{\"title\":\"hello\", \"n\":1.0,\"result\":\"mine\"}"},"title":"hello","n":1}"#
        );
        assert_eq!(echo(b""), Err(ApiError::EmptyBody));
        assert_eq!(echo(b"[]"), Err(ApiError::NotJson(JsonFlaw::NotObject)));
    }
}
