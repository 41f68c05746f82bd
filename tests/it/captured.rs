//! Requests of real client SDKs, captured from their sockets, byte for byte.

use axum::{body::Body, http::Request};
use visavis::{
    clients::NewClient,
    signing::{ClientKey, Content, Freshness, SignatureHeader},
};

use crate::support::{TestApp, models::shared, server_key};

const CLIENT: &str = "2188000123456789";

/// One captured request.
struct Captured {
    title: String,
    path: String,
    headers: Vec<(String, String)>,
    body: String,
}

impl Captured {
    fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(given, _)| given == name);
        found.map(|(_, value)| value.as_str())
    }

    fn is_key_pair(&self) -> bool {
        self.header("Auth-Type").is_none()
    }

    fn is_plain(&self) -> bool {
        self.header("Encrypt").is_none()
    }

    /// The path that the client signed: without the slash that its configuration doubled.
    fn signed_path(&self) -> String {
        self.path.replace("//", "/")
    }
}

/// The captures, or `None` where they are not at hand.
fn vectors() -> Option<String> {
    Some(std::fs::read_to_string(shared("vectors/requests.md")?).unwrap())
}

/// What stands between the fence that `opening` begins and the one that ends it.
fn fenced<'a>(text: &'a str, opening: &str) -> &'a str {
    let (_, rest) = text.split_once(opening).unwrap();
    rest.split_once("\n```").unwrap().0
}

fn key(text: &str) -> ClientKey {
    ClientKey::from_text(fenced(text, "```text\n")).unwrap()
}

fn captures(text: &str) -> Vec<Captured> {
    text.split("\n#### ").skip(1).map(capture).collect()
}

fn capture(section: &str) -> Captured {
    let request = fenced(section, "```http\n");
    let (head, body) = request.split_once("\n\n").unwrap_or((request, ""));
    let mut lines = head.lines();
    let path = lines.next().unwrap().split(' ').nth(1).unwrap().to_owned();
    let pair = |line: &str| {
        let (name, value) = line.split_once(": ").unwrap();
        (name.to_owned(), value.to_owned())
    };
    let captured = Captured {
        title: section.lines().next().unwrap().to_owned(),
        path,
        headers: lines.map(pair).collect(),
        body: body.trim_end_matches('\n').to_owned(),
    };
    let announced = captured.header("Content-Length").unwrap();
    assert_eq!(announced, captured.body.len().to_string(), "{} is read wrongly", captured.title);
    captured
}

#[test]
fn every_captured_signature_of_key_pair_mode_verifies() {
    let Some(text) = vectors() else { return };
    let key = key(&text);
    let mut verified = 0;
    for request in captures(&text).iter().filter(|c| c.is_key_pair()) {
        let header = SignatureHeader::parse(request.header("Signature").unwrap()).unwrap();
        let content = Content {
            uri: &request.signed_path(),
            client_id: request.header("Client-Id").unwrap(),
            time: request.header("Request-Time").unwrap(),
            body: request.body.as_bytes(),
        };
        assert_eq!(key.verify(&content, &header.signature), Ok(()), "{}", request.title);
        let other = Content { body: &[request.body.as_bytes(), b"\n"].concat(), ..content };
        assert!(key.verify(&other, &header.signature).is_err(), "{}", request.title);
        verified += 1;
    }
    assert_eq!(verified, 7, "key-pair requests among the captures");
}

#[tokio::test]
async fn captured_requests_in_clear_go_through_the_whole_gateway() {
    let Some(text) = vectors() else { return };
    let app = TestApp::with(|config| config.freshness = Freshness::seconds(0)).await;
    let merchant_key = key(&text);
    let new = NewClient {
        client_id: CLIENT,
        name: "captured",
        merchant_key: &merchant_key,
        server_key: server_key(),
        access_key: "AK0123456789",
        secret_key: b"0123456789abcdef0123456789abcdef",
    };
    app.clients.add(&new).await.unwrap();
    let (mut clear, mut refused) = (Vec::new(), Vec::new());
    for captured in captures(&text) {
        let mut request = Request::post(captured.path.as_str());
        for (name, value) in &captured.headers {
            request = request.header(name, value);
        }
        let request = request.body(Body::from(captured.body.clone())).unwrap();
        let (answer, status) = app.send_raw(request).await;
        assert_eq!(status, 200);
        answer.verify(&captured.signed_path(), CLIENT, server_key());
        if captured.is_key_pair() && captured.is_plain() {
            clear.push((captured.title, answer));
        } else {
            let header = if captured.is_plain() { "Auth-Type" } else { "Encrypt" };
            assert_eq!(answer.code(), "PARAM_ILLEGAL", "{}", captured.title);
            assert!(answer.message().contains(header), "{}: {}", captured.title, answer.text);
            refused.push(captured.title);
        }
    }
    let told: Vec<_> = clear
        .iter()
        .map(|(title, answer)| format!("{title}: {} {}", answer.code(), answer.message()))
        .collect();
    insta::assert_snapshot!(told.join("\n"), @r#"
    C2 JAVA 1.1.5, plain: SUCCESS {"title":"hello","description":"just for demonstration."}
    C7 PY, plain: PARAM_MISSING the request body is empty
    C14 NODE, plain, facecompare/compare: UNABLE_GET_IMAGE NO_FACE: no face was found in face1.content
    "#);
    assert_eq!(
        refused.len(),
        5,
        "encrypted or AK/SK, refused by the name of the header: {refused:?}"
    );
}
