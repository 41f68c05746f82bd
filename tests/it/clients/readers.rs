//! Clients as strict as the real ones, each with its own way to read a response: how it finds a
//! header, takes it apart, decodes the value, which AES key it decrypts with, and over which bytes
//! it verifies. One `Reader` is one column of the matrix of what clients accept.

use std::fmt::Write as _;

use axum::{
    body::{Body, to_bytes},
    http::Request,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use rsa::{
    Pkcs1v15Sign, PublicKey,
    pkcs8::DecodePublicKey as _,
    sha2::{Digest as _, Sha256},
};
use serde_json::{Value, json};

use crate::{
    support::{
        AesKey, CLIENT, Listening, Picture, Reply, SECRET, TestApp, header_of, mac, merchant, pair,
        server_key,
    },
    transport::{certificate, client, http2, install},
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
    /// Whether it trusts the response's Encrypt header for the key, or uses the key that it sent.
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

/// In lower case, as HTTP/2 has it.
fn lower(reply: &Reply, name: &str) -> Option<String> {
    exact(reply, &name.to_lowercase())
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

/// What `printf` makes of a text that is given as its format.
fn as_a_format(text: &str) -> String {
    let mut printed = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => printed.extend(characters.next()),
            '%' => {}
            other => printed.push(other),
        }
    }
    printed
}

/// The vendor's script, with the mended decoder and the `base64` that it needs on Linux.
const SHELL: Reader = Reader {
    name: "shell",
    find: lower,
    part: comma_and_blank,
    signed_text: as_a_format,
    key_from_answer: true,
    aes: Some(16),
};

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
    /// What the client makes of a response: its JSON, or the reason why it gives up.
    fn read(&self, reply: &Reply, path: &str, sent: Option<&AesKey>) -> Result<Value, String> {
        let find = |name| (self.find)(reply, name).ok_or(format!("no {name}"));
        if reply.head.split_whitespace().nth(1) != Some("200") {
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

/// Requests with responses of every kind: a verdict, an acceptance, an echo, and errors.
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
    let server = Listening::start(TestApp::with(|config| config.gate.dedupe = false).await);
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
    // One signature in 200 has no plus, and read without its percent signs it would be the same.
    let good = (10..100)
        .map(|n| send(&server, TEST, &format!("{{\"n\":{n}}}"), None))
        .find(|reply| reply.header("Signature").is_some_and(|value| value.contains("%2B")))
        .unwrap();
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
    let spaced = |reply: &mut Reply| reply.body = reply.body.replace("\"n\":", "\"n\": ");
    for name in ["Java, current", "Java, first"] {
        refuses(name, &raw);
        refuses(name, &lower);
        refuses(name, &status);
    }
    refuses("PHP", &trailing);
    refuses("Node", &trailing);
    refuses("Go", &raw);
    // Node prints the parsed response again, so spaces change nothing for it.
    for reader in READERS.into_iter().filter(|reader| reader.name != "Node") {
        refuses(reader.name, &|reply| reply.body.push(' '));
        refuses(reader.name, &spaced);
    }
}

/// A response over HTTP/2, written down as curl does it.
async fn over_http2(
    sender: &mut hyper::client::conn::http2::SendRequest<Body>,
    mut request: Request<Body>,
) -> Reply {
    let path = request.uri().path().to_owned();
    *request.uri_mut() = format!("https://localhost{path}").parse().unwrap();
    let (parts, body) = sender.send_request(request).await.unwrap().into_parts();
    let mut head = format!("HTTP/2 {}\n", parts.status.as_u16());
    for (name, value) in &parts.headers {
        writeln!(head, "{name}: {}", value.to_str().unwrap()).unwrap();
    }
    let body = to_bytes(Body::new(body), usize::MAX).await.unwrap();
    Reply { head, body: String::from_utf8(body.to_vec()).unwrap() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shell_script_reads_answers_over_http_2_and_nothing_over_http_1() {
    let (folder, made) = (tempfile::tempdir().unwrap(), certificate());
    let files = install(folder.path(), &made);
    let app = TestApp::with(|config| config.gate.dedupe = false).await;
    let plain = Listening::start(TestApp::new().await);
    let server = Listening::with(app, |config| config.tls = Some(files));
    let mut sender = http2(&server, client(&made, &[b"h2"])).await;
    let key = AesKey(vec![7; 16]);
    for (path, body, code) in questions() {
        let reply = over_http2(&mut sender, server.app.encrypted(path, &body, &key)).await;
        assert_eq!(reply.header("content-type"), Some("text/plain; charset=UTF-8"));
        let answer = SHELL.read(&reply, path, Some(&key)).unwrap();
        assert_eq!(answer["result"]["resultCode"], code, "{body}");
        let reply = over_http2(&mut sender, server.app.signed(path, &body)).await;
        assert_eq!(reply.header("content-type"), Some("application/json; charset=UTF-8"));
        match SHELL.read(&reply, path, None) {
            Ok(answer) => assert_eq!(answer["result"]["resultCode"], code, "{body}"),
            // Its backslashes are lost in printf.
            Err(why) => assert_eq!((path, why.as_str()), (TEST, "the signature does not verify")),
        }
        let reply = send(&plain, path, &body, None);
        assert_eq!(SHELL.read(&reply, path, None), Err("no Signature".to_owned()));
    }
}

/// The Java SDK in the mode without key pairs: exact names, and the signature compared as text.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_java_client_with_an_access_key_reads_every_answer() {
    let server = Listening::start(TestApp::with(|config| config.gate.dedupe = false).await);
    for (path, body, code) in questions() {
        let time = server.app.now();
        let signature = mac(&SECRET, &format!("POST {path}\n{CLIENT}.{time}.{body}"));
        let mut connection = server.connect();
        connection.send(format!(
            "POST {path} HTTP/1.1\r\nContent-Type: application/json; charset=UTF-8\r\nClient-Id: \
             {CLIENT}\r\n\
             Request-Time: {time}\r\nAuth-Type: AKSK\r\nAccess-Key: AK{CLIENT}\r\nSignature: \
             {signature}\r\n\
             User-Agent: Java/17.0.15\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ));
        let reply = connection.read_reply();
        let content = format!(
            "POST {path}\n{CLIENT}.{}.{}",
            exact(&reply, "Response-Time").unwrap(),
            without_line_ends(&reply.body)
        );
        assert_eq!(exact(&reply, "Signature"), Some(mac(&SECRET, &content)), "{}", reply.body);
        assert_eq!(reply.code(), code, "{body}");
    }
}
