//! Everything that can be wrong with the head of a request: each mistake has its documented code
//! and a message that names the header, the response is signed, and nothing is stored.

use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, Request},
};
use visavis_signing::{ServerKey, SignatureHeader, signature_header};

use crate::support::{
    Answer, CLIENT, Picture, TestApp, pair, server_key, signature_over, signed_as, stored,
};

const COMPARE: &str = "/api/v1/zoloz/facecompare/compare";
const ASYNC: &str = "/api/v1/zoloz/facecompare/asynccompare";
const CHECK: &str = "/api/v1/zoloz/facecompare/asynccheckresult";

/// Whose key the response must be signed with.
enum Signer {
    /// The server's key for the client.
    Client,
    /// No one's: the client is not known, and the header is random bytes of the same form.
    Nobody,
}
use Signer::{Client, Nobody};

/// A mistake in the head of an otherwise correct request.
struct Mistake {
    what: &'static str,
    make: fn(&mut Request<Body>),
    code: &'static str,
    names: &'static str,
    signer: Signer,
}

fn set(request: &mut Request<Body>, name: &'static str, value: impl AsRef<[u8]>) {
    let value = HeaderValue::from_bytes(value.as_ref()).unwrap();
    request.headers_mut().insert(HeaderName::from_static(name), value);
}

fn twice(request: &mut Request<Body>, name: &'static str) {
    let value = request.headers()[name].clone();
    request.headers_mut().append(name, value);
}

fn remove(request: &mut Request<Body>, name: &'static str) {
    request.headers_mut().remove(name).unwrap();
}

fn path(request: &mut Request<Body>, path: &'static str) {
    *request.uri_mut() = path.parse().unwrap();
}

fn body() -> String {
    pair(Picture::Person(1), Picture::Person(2)).to_string()
}

fn client_mistake(
    what: &'static str,
    make: fn(&mut Request<Body>),
    code: &'static str,
    names: &'static str,
) -> Mistake {
    Mistake { what, make, code, names, signer: Client }
}

/// Headers that are missing, wrong or of another request, and what is not a header at all.
fn plain_mistakes() -> Vec<Mistake> {
    let mistake = client_mistake;
    let outsider = |what, make, code, names| Mistake { what, make, code, names, signer: Nobody };
    vec![
        mistake("unsigned", |r| remove(r, "signature"), "PARAM_MISSING", "Signature"),
        mistake("an empty signature", |r| set(r, "signature", ""), "PARAM_MISSING", "Signature"),
        mistake("no time", |r| remove(r, "request-time"), "PARAM_MISSING", "Request-Time"),
        outsider("no client", |r| remove(r, "client-id"), "PARAM_MISSING", "Client-Id"),
        outsider(
            "an unknown client",
            |r| set(r, "client-id", "2188999999999999"),
            "MERCHANT_NOT_FOUND",
            "Client-Id",
        ),
        mistake(
            "a stale time",
            |r| set(r, "request-time", "2025-12-31T18:29:53+0000"),
            "PARAM_ILLEGAL",
            "Request-Time is 19807 seconds behind the clock of this server, which is at \
             2026-01-01T00:00:00+0000; the limit is 900 seconds: check the time zone of the caller",
        ),
        mistake(
            "a time to come",
            |r| set(r, "request-time", "2026-01-01T01:20:00+0000"),
            "PARAM_ILLEGAL",
            "Request-Time is 4800 seconds ahead of the clock of this server, which is at \
             2026-01-01T00:00:00+0000; the limit is 900 seconds: check the clock and time zone",
        ),
        mistake(
            "no time at all",
            |r| set(r, "request-time", "yesterday"),
            "PARAM_ILLEGAL",
            "Request-Time",
        ),
        mistake(
            "a signature of words",
            |r| set(r, "signature", "trust me"),
            "PARAM_ILLEGAL",
            "Signature",
        ),
        mistake(
            "a signature that is not base64",
            |r| set(r, "signature", "algorithm=RSA256, signature=%zz"),
            "PARAM_ILLEGAL",
            "Signature",
        ),
        mistake(
            "another algorithm",
            |r| set(r, "signature", "algorithm=RSA512, signature=AAAA"),
            "PARAM_ILLEGAL",
            "RSA256",
        ),
        mistake(
            "a signature of the wrong length",
            |r| set(r, "signature", "algorithm=RSA256, signature=AAAA"),
            "SIGNATURE_INVALID",
            "signature",
        ),
        mistake("another path", |r| path(r, CHECK), "SIGNATURE_INVALID", "path"),
        mistake(
            "an unknown path",
            |r| path(r, "/api/v1/zoloz/facecompare"),
            "NO_INTERFACE_DEF",
            "this server has /api/v1/zoloz/facecompare/compare, ",
        ),
        mistake("the root", |r| path(r, "/"), "NO_INTERFACE_DEF", "no such endpoint"),
        mistake(
            "GET",
            |r| *r.method_mut() = http::Method::GET,
            "NO_INTERFACE_DEF",
            "method GET; send POST",
        ),
        mistake(
            "PUT",
            |r| *r.method_mut() = http::Method::PUT,
            "NO_INTERFACE_DEF",
            "method PUT; send POST",
        ),
        mistake(
            "OPTIONS",
            |r| *r.method_mut() = http::Method::OPTIONS,
            "NO_INTERFACE_DEF",
            "send POST",
        ),
        mistake("another body", |r| *r.body_mut() = Body::from("{}"), "SIGNATURE_INVALID", "body"),
    ]
}

/// Headers that no honest client sends, and mistakes of newcomers.
fn strange_mistakes() -> Vec<Mistake> {
    let mistake = client_mistake;
    let outsider = |what, make, code, names| Mistake { what, make, code, names, signer: Nobody };
    vec![
        mistake(
            "two signatures",
            |r| twice(r, "signature"),
            "PARAM_ILLEGAL",
            "Signature is present twice",
        ),
        mistake(
            "two times",
            |r| twice(r, "request-time"),
            "PARAM_ILLEGAL",
            "Request-Time is present twice",
        ),
        outsider(
            "two clients",
            |r| twice(r, "client-id"),
            "PARAM_ILLEGAL",
            "Client-Id is present twice",
        ),
        mistake(
            "an overlong signature",
            |r| set(r, "signature", "A".repeat(5_000)),
            "PARAM_ILLEGAL",
            "Signature",
        ),
        mistake(
            "an overlong time",
            |r| set(r, "request-time", "2".repeat(5_000)),
            "PARAM_ILLEGAL",
            "Request-Time",
        ),
        outsider(
            "an overlong client",
            |r| set(r, "client-id", "2".repeat(5_000)),
            "MERCHANT_NOT_FOUND",
            "Client-Id",
        ),
        mistake(
            "a signature in Latin-1",
            |r| set(r, "signature", b"sign\xE9"),
            "PARAM_ILLEGAL",
            "Signature",
        ),
        mistake(
            "a time in Latin-1",
            |r| set(r, "request-time", b"\xE9t\xE9"),
            "PARAM_ILLEGAL",
            "Request-Time",
        ),
        outsider(
            "a client in Latin-1",
            |r| set(r, "client-id", b"caf\xE9"),
            "PARAM_ILLEGAL",
            "Client-Id",
        ),
        mistake(
            "a slash at the end",
            |r| path(r, "/api/v1/zoloz/facecompare/compare/"),
            "NO_INTERFACE_DEF",
            "remove the slash at the end",
        ),
        mistake(
            "another API of the vendor",
            |r| path(r, "/api/v1/zoloz/realid/initialize"),
            "NO_INTERFACE_DEF",
            "/api/v1/zoloz/privacyinfo/delete",
        ),
        mistake(
            "a MAC without its mode",
            |r| set(r, "signature", "0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"),
            "PARAM_ILLEGAL",
            "send the header Auth-Type with the value AKSK",
        ),
        mistake(
            "an encryption of words",
            |r| set(r, "encrypt", "yes please"),
            "PARAM_ILLEGAL",
            "Encrypt",
        ),
        mistake(
            "another way to sign",
            |r| set(r, "auth-type", "OAUTH"),
            "PARAM_ILLEGAL",
            "Auth-Type",
        ),
    ]
}

/// What every refusal has in common.
pub fn assert_refused(answer: &Answer, status: u16, what: &str, (code, names): (&str, &str)) {
    assert_eq!(status, 200, "{what}: {}", answer.text);
    assert_eq!(answer.code(), code, "{what}: {}", answer.text);
    assert!(answer.message().contains(names), "{what}: {} does not name {names}", answer.text);
    let plain = |c: char| (c.is_ascii_graphic() || c == ' ') && !"\"\\%".contains(c);
    assert!(answer.message().chars().all(plain), "{what}: {}", answer.text);
    let members: Vec<_> = answer.json.as_object().unwrap().keys().collect();
    assert_eq!(members, ["result"], "{what}: nothing was begun, so no transaction is named");
    assert!(["F", "U"].contains(&answer.json["result"]["resultStatus"].as_str().unwrap()));
}

#[tokio::test]
async fn every_mistake_in_the_head_has_its_code_and_leaves_nothing_behind() {
    let app = TestApp::new().await;
    let before = stored(&app).await;
    for endpoint in [COMPARE, ASYNC] {
        for Mistake { what, make, code, names, signer } in
            plain_mistakes().into_iter().chain(strange_mistakes())
        {
            let mut request = app.signed(endpoint, &body());
            make(&mut request);
            let uri = request.uri().path().to_owned();
            let (answer, status) = app.send_raw(request).await;
            assert_refused(&answer, status, what, (code, names));
            match signer {
                Client => answer.verify(&uri, CLIENT, server_key()),
                Nobody => assert_eq!(signature_bytes(&answer), 256, "{what}"),
            }
        }
    }
    assert_eq!(stored(&app).await, before);
    app.post("facecompare/compare", &pair(Picture::Person(1), Picture::Person(1))).await;
    assert_ne!(stored(&app).await, before, "the comparison would notice");
}

fn signature_bytes(answer: &Answer) -> usize {
    let header = answer.header("signature").unwrap();
    SignatureHeader::parse(header).unwrap().signature.len()
}

#[tokio::test]
async fn a_signature_by_another_key_is_refused() {
    let app = TestApp::new().await;
    let forger = ServerKey::generate().unwrap();
    let (body, time) = (body(), app.now());
    let content = visavis_signing::Content {
        uri: ASYNC,
        client_id: CLIENT,
        time: &time,
        body: body.as_bytes(),
    };
    let mut request = app.signed(ASYNC, &body);
    set(&mut request, "signature", signature_header(&forger.sign(&content).unwrap()));
    let answer = app.send(request).await;
    assert_refused(&answer, 200, "forged", ("SIGNATURE_INVALID", "key"));
    assert_eq!(stored(&app).await.transactions, 0);
}

#[tokio::test]
async fn of_several_mistakes_the_one_that_is_cheapest_to_find_is_told() {
    let app = TestApp::new().await;
    let stale = "2020-01-01T00:00:00+0000";
    let signature = signature_over(CLIENT, COMPARE, "something else", stale);
    let mut request = signed_as(CLIENT, COMPARE, "not JSON", stale);
    set(&mut request, "signature", signature);
    assert_eq!(app.send(request).await.code(), "PARAM_ILLEGAL", "the time before the signature");
    let mut request = app.signed(COMPARE, "not JSON");
    set(&mut request, "signature", "algorithm=RSA256, signature=AAAA");
    assert_eq!(app.send(request).await.code(), "SIGNATURE_INVALID", "nothing unsigned is parsed");
}
