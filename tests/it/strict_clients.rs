//! Clients as strict as the real ones, each with its own way to read an answer: how it finds a header,
//! takes it apart, decodes the value, which AES key it decrypts with, and over which bytes it verifies.
//! One `Reader` is one column of the matrix of what clients accept.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rsa::{
    Pkcs1v15Sign, PublicKey,
    pkcs8::DecodePublicKey as _,
    sha2::{Digest as _, Sha256},
};
use serde_json::{Value, json};

use crate::support::{
    AesKey, CLIENT, Listening, Picture, Reply, TestApp, header_of, merchant, pair, server_key,
};

const TEST: &str = "/api/v1/zoloz/authentication/test";
const COMPARE: &str = "/api/v1/zoloz/facecompare/compare";
const ASYNC: &str = "/api/v1/zoloz/facecompare/asynccompare";

/// How one client reads.
struct Reader {
    name: &'static str,
    /// The header's value by the spelling that the client looks for.
    find: fn(&Reply, &str) -> Option<String>,
    /// The named part of a header, decoded to base64.
    part: fn(&str, &str) -> Option<String>,
    /// The text that is verified, from the body that came.
    signed_text: fn(&str) -> String,
    /// Whether it trusts the answer's Encrypt header for the key, or uses the key that it sent.
    key_from_answer: bool,
    /// Bytes of its AES key; `None` if it has no encryption.
    aes: Option<u8>,
}

fn as_is(text: &str) -> String {
    text.to_owned()
}

/// Exactly this spelling.
fn exact(reply: &Reply, name: &str) -> Option<String> {
    reply.header(name).map(str::to_owned)
}

/// Any spelling.
fn folded(reply: &Reply, name: &str) -> Option<String> {
    reply.head.lines().find_map(|line| {
        let (found, value) = line.split_once(": ")?;
        found.eq_ignore_ascii_case(name).then(|| value.to_owned())
    })
}

/// `URLDecoder`, `urldecode`, `QueryUnescape`: percent signs, and plus becomes a space.
fn form_decoded(text: &str) -> String {
    let text = text.replace('+', " ");
    let mut parts = text.split('%');
    let mut decoded = parts.next().unwrap().to_owned();
    for part in parts {
        decoded.push(char::from(u8::from_str_radix(&part[..2], 16).unwrap()));
        decoded.push_str(&part[2..]);
    }
    decoded
}

/// Split at commas, then at equals signs; a pair counts only if exactly two parts remain.
fn exact_pairs(header: &str, name: &str) -> Option<String> {
    header.split(',').find_map(|pair| {
        let parts: Vec<&str> = pair.trim().split('=').collect();
        (parts.len() == 2 && parts[0] == name).then(|| form_decoded(parts[1]))
    })
}

/// Split at commas, then at the first equals sign.
fn first_equals(header: &str, name: &str) -> Option<String> {
    header.split(',').find_map(|pair| {
        let (found, value) = pair.trim().split_once('=')?;
        (found == name).then(|| form_decoded(value))
    })
}

/// Everything after the name, to the end of the header.
fn to_the_end(header: &str, name: &str) -> Option<String> {
    Some(form_decoded(header.split_once(&format!("{name}="))?.1))
}

/// Split at comma and blank together.
fn comma_and_blank(header: &str, name: &str) -> Option<String> {
    let start = format!("{name}=");
    header.split(", ").find_map(|pair| Some(form_decoded(pair.strip_prefix(&start)?)))
}

/// Read line by line, and put together without the ends of the lines.
fn without_line_ends(text: &str) -> String {
    text.lines().collect()
}

/// `JSON.stringify(JSON.parse(text))`, as far as `serde_json` goes; the rest is in `javascript.rs`.
fn printed_again(text: &str) -> String {
    serde_json::from_str::<Value>(text).map_or_else(|_| text.to_owned(), |value| value.to_string())
}

/// The readers that look at a Title-Case or any spelling, which is what HTTP/1.1 has here.
const READERS: [Reader; 7] = [
    Reader {
        name: "Java, current",
        find: exact,
        part: exact_pairs,
        signed_text: without_line_ends,
        key_from_answer: true,
        aes: Some(32),
    },
    Reader {
        name: "Java, first",
        find: exact,
        part: exact_pairs,
        signed_text: without_line_ends,
        key_from_answer: false,
        aes: Some(16),
    },
    Reader {
        name: "Python",
        find: folded,
        part: to_the_end,
        signed_text: as_is,
        key_from_answer: false,
        aes: Some(16),
    },
    Reader {
        name: "PHP",
        find: folded,
        part: to_the_end,
        signed_text: as_is,
        key_from_answer: true,
        aes: Some(32),
    },
    Reader {
        name: "Node",
        find: folded,
        part: to_the_end,
        signed_text: printed_again,
        key_from_answer: true,
        aes: Some(32),
    },
    Reader {
        name: "Go",
        find: folded,
        part: first_equals,
        signed_text: as_is,
        key_from_answer: true,
        aes: Some(24),
    },
    Reader {
        name: "Go, plain only",
        find: folded,
        part: first_equals,
        signed_text: as_is,
        key_from_answer: false,
        aes: None,
    },
];

impl Reader {
    /// What the client makes of an answer: its JSON, or the reason why it gives up.
    fn read(&self, reply: &Reply, path: &str, sent: Option<&AesKey>) -> Result<Value, String> {
        let find = |name| (self.find)(reply, name).ok_or(format!("no {name}"));
        if !reply.head.starts_with("HTTP/1.1 200") {
            return Err("not 200".to_owned());
        }
        let signature = (self.part)(&find("Signature")?, "signature").ok_or("no signature")?;
        let signature = STANDARD.decode(&signature).map_err(|e| format!("{signature}: {e}"))?;
        let content = format!(
            "POST {path}\n{CLIENT}.{}.{}",
            find("Response-Time")?,
            (self.signed_text)(&reply.body)
        );
        let key = PublicKey::from_public_key_der(&server_key().spki_der().unwrap()).unwrap();
        key.verify(Pkcs1v15Sign::new::<Sha256>(), &Sha256::digest(content), &signature)
            .map_err(|_| "the signature does not verify".to_owned())?;
        let Some(sent) = sent else {
            return serde_json::from_str(&reply.body).map_err(|e| e.to_string());
        };
        let encrypt = find("Encrypt")?;
        let wrapped = (self.part)(&encrypt, "symmetricKey").ok_or("no symmetricKey")?;
        let wrapped = STANDARD.decode(&wrapped).map_err(|e| format!("{wrapped}: {e}"))?;
        let from_answer = AesKey::of_header(&header_of(&wrapped), merchant());
        let key = if self.key_from_answer { &from_answer } else { sent };
        let plain = key.decrypt(&reply.body);
        serde_json::from_str(&plain).map_err(|e| e.to_string())
    }
}

fn send(server: &Listening, path: &str, body: &str, key: Option<&AesKey>) -> Reply {
    let mut connection = server.connect();
    let Some(key) = key else {
        connection.send(server.request(path, body));
        return connection.read_reply();
    };
    let body = key.encrypt(body.as_bytes());
    let length = format!("Content-Length: {}", body.len());
    let encrypt = format!("Encrypt: {}", key.header(server_key()));
    connection.send(server.head(path, &body, &[&length, &encrypt]) + &body);
    connection.read_reply()
}

/// Requests with answers of every kind: a verdict, an acceptance, an echo, and errors.
fn questions() -> Vec<(&'static str, String, &'static str)> {
    vec![
        (COMPARE, pair(Picture::Person(1), Picture::Person(1)).to_string(), "SUCCESS"),
        (COMPARE, pair(Picture::Person(1), Picture::Person(2)).to_string(), "SUCCESS"),
        (COMPARE, pair(Picture::Blurred(1), Picture::Person(1)).to_string(), "SUCCESS"),
        (ASYNC, pair(Picture::Person(1), Picture::Person(2)).to_string(), "PROCESSING"),
        (COMPARE, pair(Picture::Nothing, Picture::Person(2)).to_string(), "UNABLE_GET_IMAGE"),
        (COMPARE, "{}".to_owned(), "INVALID_ARGUMENT"),
        (TEST, json!({ "title": "hello", "n": 1, "é": "ß" }).to_string(), "SUCCESS"),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_strict_client_reads_every_answer_in_every_mode_that_it_has() {
    let server = Listening::start(TestApp::with(|config| config.dedupe = false).await);
    for reader in READERS {
        let key = reader.aes.map(|bytes| AesKey((0..bytes).map(|b| b + 65).collect()));
        for (path, body, code) in questions() {
            for key in [None, key.as_ref()] {
                let reply = send(&server, path, &body, key);
                let read = reader.read(&reply, path, key);
                let name = reader.name;
                let answer = read
                    .unwrap_or_else(|why| panic!("{name}: {why}\n{}\n{}", reply.head, reply.body));
                assert_eq!(answer["result"]["resultCode"], code, "{name}: {body}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_in_clear_is_read_by_all_who_verify_before_they_decrypt() {
    let server = Listening::start(TestApp::new().await);
    let mut connection = server.connect();
    let request = server.request(TEST, "{}").replace("{}", "[]");
    connection.send(request);
    let reply = connection.read_reply();
    for reader in READERS {
        let answer = reader.read(&reply, TEST, None).unwrap();
        assert_eq!(answer["result"]["resultCode"], "SIGNATURE_INVALID", "{}", reader.name);
    }
}

/// Each reader must refuse what the real client refuses, or it proves nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_readers_are_as_strict_as_the_clients() {
    let server = Listening::start(TestApp::new().await);
    let good = send(&server, TEST, "{\"n\":1}", None);
    let by_name = |name: &str| READERS.into_iter().find(|r| r.name == name).unwrap();
    let refuses = |name: &str, change: &dyn Fn(&mut Reply)| {
        let mut reply = good.clone();
        assert!(by_name(name).read(&reply, TEST, None).is_ok(), "{name} reads the real answer");
        change(&mut reply);
        assert!(by_name(name).read(&reply, TEST, None).is_err(), "{name} is too lenient");
    };
    let raw = |reply: &mut Reply| {
        reply.head = reply.head.replace("%2B", "+").replace("%2F", "/").replace("%3D", "=");
    };
    let lower = |reply: &mut Reply| reply.head = reply.head.replace("Signature:", "signature:");
    let trailing =
        |reply: &mut Reply| reply.head = reply.head.replace("%3D%3D", "%3D%3D, keyVersion=1");
    let status = |reply: &mut Reply| reply.head = reply.head.replace("200 OK", "400 Bad Request");
    let spaced = |reply: &mut Reply| reply.body = reply.body.replace("\"n\":1", "\"n\": 1");
    for name in ["Java, current", "Java, first"] {
        refuses(name, &raw);
        refuses(name, &lower);
        refuses(name, &status);
    }
    refuses("PHP", &trailing);
    refuses("Node", &trailing);
    refuses("Go", &raw);
    // Node prints the parsed answer again, so spaces change nothing for it.
    for reader in READERS.into_iter().filter(|reader| reader.name != "Node") {
        refuses(reader.name, &|reply| reply.body.push(' '));
        refuses(reader.name, &spaced);
    }
}

/// The shell script splits at comma and blank and looks for lower-case names, which HTTP/2 has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_header_can_be_split_at_comma_and_blank() {
    let server = Listening::start(TestApp::new().await);
    let key = AesKey(vec![7; 16]);
    let reply = send(&server, TEST, "{}", Some(&key));
    for (header, part) in [("Signature", "signature"), ("Encrypt", "symmetricKey")] {
        let value = comma_and_blank(reply.header(header).unwrap(), part).unwrap();
        assert_eq!(STANDARD.decode(value).unwrap().len(), 256, "{header}");
    }
}
