//! Requests of real client SDKs, captured from their sockets, byte for byte.

use std::fmt::Write as _;

use visavis::{
    clients::{ClientPolicy, NewClient, NewKeys},
    compare::ClientFmr,
};
use visavis_signing::{ClientKey, Content, Freshness, SignatureHeader};

use crate::support::{AesKey, Listening, TestApp, mac, models::shared, server_key};

const CLIENT: &str = "2188000123456789";
/// What the captured secret key decodes to.
const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

/// One captured request.
struct Captured {
    title: String,
    intro: String,
    path: String,
    headers: Vec<(String, String)>,
    body: String,
}

impl Captured {
    fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(given, _)| given == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The AES key of the body, noted beside the capture.
    fn aes_key(&self) -> Option<AesKey> {
        let (_, rest) = self.intro.split_once("AES key: ")?;
        let hex: Vec<_> = rest.split_whitespace().next()?.as_bytes().chunks(2).collect();
        let byte = |two: &&[u8]| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap();
        Some(AesKey(hex.iter().map(byte).collect()))
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
        intro: section.split("```").next().unwrap().to_owned(),
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

/// The MAC, the body and the wrapped key of the captures hold; the private key that unwraps is
/// gone, so the key that is reported beside a capture is wrapped again. That header is outside the
/// signed text.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_captured_request_goes_through_the_whole_gateway_in_its_mode() {
    let Some(text) = vectors() else { return };
    let app = TestApp::with(|config| config.gate.freshness = Freshness::seconds(0)).await;
    let merchant_key = key(&text);
    let keys = NewKeys {
        merchant_key: &merchant_key,
        server_key: server_key(),
        access_key: "AK0123456789",
        secret_key: SECRET,
    };
    let new = NewClient {
        client_id: CLIENT,
        name: "captured",
        keys,
        extras: true,
        fmr: ClientFmr::default(),
        policy: ClientPolicy::default(),
    };
    app.clients.add(&new).await.unwrap();
    let server = Listening::start(app);
    let mut reported = Vec::new();
    for captured in captures(&text) {
        let key = captured.aes_key();
        assert_eq!(key.is_some(), !captured.is_plain(), "{}", captured.title);
        let mut request = format!("POST {} HTTP/1.1\r\n", captured.path);
        for (name, value) in &captured.headers {
            let rewrapped =
                key.as_ref().filter(|_| name == "Encrypt").map(|k| k.header(server_key()));
            write!(request, "{name}: {}\r\n", rewrapped.as_ref().unwrap_or(value)).unwrap();
        }
        let mut connection = server.connect();
        connection.send(request + "\r\n" + &captured.body);
        let reply = connection.read_reply();
        assert!(reply.head.starts_with("HTTP/1.1 200 OK\r\n"), "{}", reply.head);
        let answer = reply.answer();
        if captured.is_key_pair() {
            answer.verify(&captured.signed_path(), CLIENT, server_key());
        } else {
            let time = answer.header("response-time").unwrap();
            let content = format!("POST {}\n{CLIENT}.{time}.{}", captured.path, answer.text);
            assert_eq!(answer.header("signature").unwrap(), mac(SECRET, &content));
        }
        let answer = key.map_or_else(|| answer.clone(), |key| answer.opened(&key));
        reported.push(format!("{}: {} {}", captured.title, answer.code(), answer.message()));
    }
    insta::assert_snapshot!(reported.join("\n"), @r#"
    C1 JAVA 1.1.5, encrypted: SUCCESS {"title":"hello","description":"just for demonstration."}
    C2 JAVA 1.1.5, plain: SUCCESS {"title":"hello","description":"just for demonstration."}
    C3 JAVA 1.1.5, AK/SK: SUCCESS {"title":"hello","description":"just for demonstration."}
    C4 JAVA 1.1.5, host configured with a trailing slash: SUCCESS {"title":"hello","description":"just for demonstration."}
    C6 PY, encrypted: SUCCESS {"title": "hello", "description": "just for demonstration."}
    C7 PY, plain: PARAM_MISSING the request body is empty
    C13 NODE, encrypted: SUCCESS {"title":"hello","description":"just for demonstration."}
    C14 NODE, plain, facecompare/compare: UNABLE_GET_IMAGE NO_FACE: no face was found in face1.content
    "#);
}
