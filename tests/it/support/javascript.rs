//! Would `JSON.stringify(JSON.parse(text))` print the text back, byte for byte? Checked on every
//! response that passes through the tests.

use serde_json::Value;

/// Fails when a JavaScript client would verify the signature over other bytes than these.
pub fn assert_javascript_form(text: &str) {
    let value: Value = serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"));
    // One line, no spaces, no needless escapes, no member twice.
    assert_eq!(value.to_string(), text, "is printed back differently");
    assert_numbers_and_keys(&value, text);
}

fn assert_numbers_and_keys(value: &Value, text: &str) {
    match value {
        Value::Number(number) => {
            let printed = number.to_string();
            let mut buffer = ryu_js::Buffer::new();
            let javascript = buffer.format(number.as_f64().unwrap());
            assert_eq!(printed, javascript, "a number is printed back differently: {text}");
        }
        Value::Array(items) => items.iter().for_each(|item| assert_numbers_and_keys(item, text)),
        Value::Object(members) => {
            let indices: Vec<Option<u32>> = members.keys().map(|key| array_index(key)).collect();
            // JavaScript moves such members to the front, in ascending order.
            assert!(
                indices.is_sorted_by_key(|index| index.map_or((1, 0), |i| (0, i))),
                "members are printed back in another order: {text}"
            );
            members.values().for_each(|member| assert_numbers_and_keys(member, text));
        }
        _ => {}
    }
}

/// `0` … `4294967294` without leading zeros.
fn array_index(key: &str) -> Option<u32> {
    let index: u32 = key.parse().ok()?;
    (index < u32::MAX && index.to_string() == key).then_some(index)
}
