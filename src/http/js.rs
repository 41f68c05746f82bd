//! JSON as `JSON.stringify(JSON.parse(text))` prints it.
//!
//! Three things differ from other writers: numbers are IEEE doubles in ECMAScript's shortest form,
//! keys that look like array indices come first in ascending order, and the rest keeps its order.

use serde_json::{Map, Number, Value};

/// Writes a value.
pub(super) fn stringify(value: &Value) -> String {
    let mut text = String::new();
    write(value, &mut text);
    text
}

fn write(value: &Value, text: &mut String) {
    match value {
        Value::Number(number) => text.push_str(&double(number)),
        Value::Array(items) => {
            text.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    text.push(',');
                }
                write(item, text);
            }
            text.push(']');
        }
        Value::Object(members) => {
            text.push('{');
            for (i, (key, member)) in in_js_order(members).into_iter().enumerate() {
                if i > 0 {
                    text.push(',');
                }
                text.push_str(&Value::String(key.clone()).to_string());
                text.push(':');
                write(member, text);
            }
            text.push('}');
        }
        // Strings are escaped alike in both worlds: only quotes, backslashes and control
        // characters.
        other => text.push_str(&other.to_string()),
    }
}

fn double(number: &Number) -> String {
    let value = number.as_f64().unwrap_or(f64::NAN);
    if value.is_finite() {
        // −0 is printed without its sign.
        ryu_js::Buffer::new().format(value + 0.0).to_owned()
    } else {
        "null".to_owned()
    }
}

fn in_js_order(members: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let mut ordered: Vec<_> = members.iter().collect();
    ordered.sort_by_key(|(key, _)| array_index(key).map_or((1, 0), |index| (0, index)));
    ordered
}

/// `0` … `4294967294` without leading zeros.
fn array_index(key: &str) -> Option<u32> {
    let index: u32 = key.parse().ok()?;
    (index < u32::MAX && index.to_string() == key).then_some(index)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(text: &str) -> String {
        stringify(&serde_json::from_str(text).unwrap())
    }

    #[test]
    fn numbers_are_printed_as_javascript_prints_them() {
        assert_eq!(
            through(
                "[1.0, -0, -0.0, 1e21, 1e20, 1e-7, 0.000001, 12345678901234567890, 88.20, 5e-324]"
            ),
            "[1,0,0,1e+21,100000000000000000000,1e-7,0.000001,12345678901234567000,88.2,5e-324]"
        );
    }

    #[test]
    fn index_keys_come_first_and_the_last_of_equal_keys_wins() {
        assert_eq!(
            through(r#"{"b":1,"10":2,"2":3,"01":4,"b":5}"#),
            r#"{"2":3,"10":2,"b":5,"01":4}"#
        );
    }

    #[test]
    fn strings_keep_what_needs_no_escape() {
        assert_eq!(
            through(r#"["\/","\u00e9","\u2028","\n","\u001f","\"\\"]"#),
            "[\"/\",\"é\",\"\u{2028}\",\"\\n\",\"\\u001f\",\"\\\"\\\\\"]"
        );
    }
}
