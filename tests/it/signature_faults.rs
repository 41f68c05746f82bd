//! A signature that does not hold: what the sender did wrong is named where that is safe, and the
//! facts are there with which it can be found otherwise.

use axum::{
    body::Body,
    http::{HeaderValue, Request},
};
use rsa::{
    Pkcs1v15Sign, PrivateKey,
    pkcs8::DecodePrivateKey as _,
    sha2::{Digest as _, Sha256},
};
use visavis::clients::NewKeys;
use visavis_signing::{ServerKey, signature_header};

use crate::support::{Answer, CLIENT, SECRET, TestApp, mac, merchant, stored};

const PATH: &str = "/api/v1/zoloz/authentication/test";
const BODY: &str = r#"{"title":"hello","n":[1,2]}"#;

/// The signature of any text, by a library that shares nothing with the server.
fn signature(key: &ServerKey, text: &str) -> Vec<u8> {
    let key = PrivateKey::from_pkcs8_der(key.pkcs8_der()).unwrap();
    key.sign(Pkcs1v15Sign::new::<Sha256>(), &Sha256::digest(text.as_bytes())).unwrap()
}

fn sha256(text: &str) -> String {
    hex::encode(Sha256::digest(text.as_bytes()))
}

/// A correct request but for this signature.
fn with(app: &TestApp, signature: &str) -> Request<Body> {
    let mut request = app.signed(PATH, BODY);
    request.headers_mut().insert("signature", HeaderValue::from_str(signature).unwrap());
    request.headers_mut().insert("host", HeaderValue::from_static("faces.example.com:8080"));
    request
}

async fn refused(app: &TestApp, request: Request<Body>) -> Answer {
    let (answer, _) = app.send_raw(request).await;
    assert_eq!(answer.code(), "SIGNATURE_INVALID", "{}", answer.text);
    assert!(answer.message().starts_with("the signature does not match: "), "{}", answer.text);
    answer
}

/// What clients sign instead of the text, and a word of what the answer says about it.
fn wrong_texts(time: &str) -> Vec<(&'static str, String, &'static str)> {
    let head = |start: &str| format!("{start}{CLIENT}.{time}.");
    let usual = head(&format!("POST {PATH}\n"));
    let url = |start: &str| head(&format!("POST {start}{PATH}\n")) + BODY;
    vec![
        ("the body", BODY.to_owned(), "over the body alone"),
        ("no body", usual.clone(), "without the body"),
        ("no method", head(&format!("{PATH}\n")) + BODY, "without POST"),
        ("a URL", url("https://faces.example.com:8080"), "over a URL"),
        ("a host", url("faces.example.com:8080"), "over a URL"),
        ("an escaped line feed", head(&format!("POST {PATH}\\n")) + BODY, "line feed"),
        ("two line ends", head(&format!("POST {PATH}\r\n")) + BODY, "line feed"),
        ("a space", head(&format!("POST {PATH} ")) + BODY, "line feed"),
        ("spaces", usual.clone() + r#"{"title": "hello", "n": [1, 2]}"#, "in another form"),
        ("a line feed at the end", usual.clone() + BODY + "\n", "in another form"),
        (
            "lines",
            usual + "{\n  \"title\": \"hello\",\n  \"n\": [\n    1,\n    2\n  ]\n}",
            "in another form",
        ),
        ("something else", "POST / and so on".to_owned(), "the key is right"),
    ]
}

#[tokio::test]
async fn what_was_signed_instead_of_the_text_is_named() {
    let app = TestApp::new().await;
    let before = stored(&app).await;
    for (what, text, named) in wrong_texts(&app.now()) {
        let header = signature_header(&signature(merchant(), &text));
        let answer = refused(&app, with(&app, &header)).await;
        assert!(answer.message().contains(named), "{what}: {}", answer.text);
        assert!(answer.message().contains(&sha256(&text)), "{what}: {}", answer.text);
        let by_secret = mac(&SECRET, &text);
        let mut request = with(&app, &by_secret);
        request.headers_mut().insert("auth-type", HeaderValue::from_static("AKSK"));
        let access_key = HeaderValue::from_str(&format!("AK{CLIENT}")).unwrap();
        request.headers_mut().insert("access-key", access_key);
        let answer = refused(&app, request).await;
        let named = if named == "the key is right" { "check secret key, path" } else { named };
        assert!(answer.message().contains(named), "{what}, by secret: {}", answer.text);
    }
    assert_eq!(stored(&app).await, before);
}

#[tokio::test]
async fn the_answer_has_the_facts_of_the_text_that_the_server_expects() {
    let app = TestApp::new().await;
    let expected = format!("POST {PATH}\n{CLIENT}.{}.{BODY}", app.now());
    let header = signature_header(&signature(merchant(), "something else"));
    let answer = refused(&app, with(&app, &header)).await;
    for fact in [
        format!("POST {PATH}, a line feed"),
        format!("{} bytes with the SHA-256 {}", expected.len(), sha256(&expected)),
        format!("{} bytes with the SHA-256 {}", BODY.len(), sha256(BODY)),
        format!("was signed has the SHA-256 {}", sha256("something else")),
    ] {
        let fact = fact.strip_prefix("was ").unwrap_or(&fact);
        assert!(answer.message().contains(fact), "{fact}: {}", answer.text);
    }
}

#[tokio::test]
async fn a_wrong_key_is_told_from_a_wrong_text() {
    let app = TestApp::new().await;
    let expected = format!("POST {PATH}\n{CLIENT}.{}.{BODY}", app.now());
    let outsider = ServerKey::generate().unwrap();
    let answer =
        refused(&app, with(&app, &signature_header(&signature(&outsider, &expected)))).await;
    assert!(answer.message().contains("no key of this client made it"), "{}", answer.text);
    assert!(!answer.message().contains("that was signed"), "{}", answer.text);
    let hexadecimal = hex::encode(signature(merchant(), &expected));
    let answer =
        refused(&app, with(&app, &format!("algorithm=RSA256, signature={hexadecimal}"))).await;
    assert!(answer.message().contains("it is hexadecimal"), "{}", answer.text);
    let answer = refused(&app, with(&app, "algorithm=RSA256, signature=AAAA")).await;
    assert!(answer.message().contains("it has 3 bytes instead of 256"), "{}", answer.text);
}

#[tokio::test]
async fn a_secret_that_was_not_decoded_is_named() {
    let app = TestApp::new().await;
    let expected = format!("POST {PATH}\n{CLIENT}.{}.{BODY}", app.now());
    let text = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc";
    for (signature, named) in [
        (mac(text.as_bytes(), &expected), "decode that from base64url first"),
        (mac(b"another secret", &expected), "check secret key"),
        (hex::encode([7; 32]), "it is hexadecimal"),
    ] {
        let mut request = with(&app, &signature);
        request.headers_mut().insert("auth-type", HeaderValue::from_static("AKSK"));
        let access_key = HeaderValue::from_str(&format!("AK{CLIENT}")).unwrap();
        request.headers_mut().insert("access-key", access_key);
        let answer = refused(&app, request).await;
        assert!(answer.message().contains(named), "{named}: {}", answer.text);
    }
}

/// The texts of large bodies are not tried: that would cost more than the request.
#[tokio::test]
async fn a_large_body_gets_the_facts_alone() {
    let app = TestApp::new().await;
    let path = "/api/v1/zoloz/facecompare/compare";
    let body = format!(r#"{{"bizId":"{}"}}"#, "x".repeat(20_000));
    let mut request = app.signed(path, &body);
    let header = signature_header(&signature(merchant(), &body));
    request.headers_mut().insert("signature", HeaderValue::from_str(&header).unwrap());
    let answer = refused(&app, request).await;
    assert!(answer.message().contains("the key is right"), "{}", answer.text);
    assert!(answer.message().contains(&sha256(&body)), "{}", answer.text);
}

#[tokio::test]
async fn a_signature_by_a_key_that_was_replaced_is_named() {
    let app = TestApp::new().await;
    let (own, server) = (ServerKey::generate().unwrap(), ServerKey::generate().unwrap());
    let public = visavis_signing::ClientKey::from_der(&own.spki_der().unwrap()).unwrap();
    let keys = NewKeys {
        merchant_key: &public,
        server_key: &server,
        access_key: "AK2",
        secret_key: &[9; 32],
    };
    app.clients.rotate(CLIENT, &keys, 0).await.unwrap();
    let (answer, _) = app.send_raw(app.signed(PATH, BODY)).await;
    assert_eq!(answer.code(), "SIGNATURE_INVALID");
    assert!(answer.message().contains("was replaced"), "{}", answer.text);
}
