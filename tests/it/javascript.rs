//! JavaScript clients parse a response, print it again, and verify the signature over what they
//! printed.

use std::{
    io::{ErrorKind, Write as _},
    process::{Command, Stdio},
};

use serde_json::json;

use crate::support::{Picture, TestApp, assert_javascript_form, left_out, pair};

/// Reads a JSON array of texts, prints each of them parsed and written again.
const PROGRAM: &str = "const texts = JSON.parse(require('fs').readFileSync(0, 'utf8'));\
     process.stdout.write(JSON.stringify(texts.map(t => JSON.stringify(JSON.parse(t)))));";

/// Bodies of `authentication/test` that come back in the response and are hard to print back.
const ECHOED: [&str; 8] = [
    r#"{"title":"hello","n":88.0,"m":88.20,"big":1e21,"small":1e-7,"minus":-0.0}"#,
    r#"{"b":1,"10":2,"2":{"7":1,"x":2,"1":3},"01":4,"4294967295":5,"4294967294":6,"-1":7}"#,
    r#"{"slash":"\/","quote":"\"","back":"\\","tab":"\t","bell":"\u0007","nul":"\u0000"}"#,
    r#"{"umlaut":"\u00e9","raw":"é","line":"\u2028","emoji":"\ud83d\ude00","del":"\u007f"}"#,
    r#"{ "spaces" : [ 1 , 2.50 , { } , [ ] , null , true ] }"#,
    r#"{"a":1,"a":2,"b":9007199254740993,"c":0.1}"#,
    r#"{"result":{"resultCode":"mine"},"__proto__":1,"constructor":2}"#,
    "{}",
];

async fn answers() -> Vec<String> {
    let app = TestApp::with(|config| config.gate.body_limit = 4_000).await;
    let mut answers = Vec::new();
    for body in ECHOED {
        let request = app.signed("/api/v1/zoloz/authentication/test", body);
        answers.push(app.send(request).await.text);
    }
    let pictures = [
        Picture::Person(1),
        Picture::Person(2),
        Picture::Borderline,
        Picture::Blurred(1),
        Picture::Nothing,
        Picture::Broken,
    ];
    for extras in [true, false] {
        app.set_extras(extras).await;
        for picture in pictures {
            app.clock.advance(1_000);
            let body = pair(picture, Picture::Person(1));
            answers.push(app.post("facecompare/compare", &body).await.text);
            let accepted = app.post("facecompare/asynccompare", &body).await;
            app.runner.run_until_idle().await;
            answers.push(app.check(&accepted.transaction_id()).await.text);
            answers.push(accepted.text);
        }
    }
    for body in [json!({}), json!({ "bizId": "b" }), json!("x".repeat(4_000))] {
        answers.push(app.post("facecompare/compare", &body).await.text);
    }
    answers.push(app.check("unknown").await.text);
    answers.push(app.post("facecompare/unknown", &json!({})).await.text);
    answers
}

#[tokio::test]
async fn javascript_prints_every_answer_back_byte_for_byte() {
    let answers = answers().await;
    let node = Command::new("node")
        .args(["-e", PROGRAM])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let mut node = match node {
        Ok(node) => node,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            left_out(
                "node is not installed: the form of the answers is checked by a Rust imitation of \
                 JavaScript only, not by JavaScript",
            );
            for text in &answers {
                assert_javascript_form(text);
            }
            return;
        }
        Err(error) => panic!("node cannot be run: {error}"),
    };
    node.stdin.take().unwrap().write_all(json!(answers).to_string().as_bytes()).unwrap();
    let output = node.wait_with_output().unwrap();
    assert!(output.status.success());
    let printed: Vec<String> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(printed, answers);
}

#[test]
fn the_rust_check_notices_what_javascript_would_print_differently() {
    for text in [
        r#"{"score":88.0}"#,
        r#"{"score":1e21}"#,
        r#"{"a": 1}"#,
        r#"{"a":"\/"}"#,
        r#"{"a":"\u00e9"}"#,
        r#"{"a":1,"1":2}"#,
        r#"{"2":1,"1":2}"#,
        "{}\n",
    ] {
        assert!(std::panic::catch_unwind(|| assert_javascript_form(text)).is_err(), "{text}");
    }
    assert_javascript_form(r#"{"1":0,"2":88.2,"a":"é/","b":[88,true,null]}"#);
}
