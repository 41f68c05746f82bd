//! The operators' console: who gets in, what it lets out, and that what it shows is the gateway's.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{HeaderMap, Method, Request, StatusCode},
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde_json::{Value, json};
use tower::ServiceExt as _;
use visavis::{
    compare::{QualityLimits, Viewer},
    console::{Limits, Parts, TokenFile, console},
    http::{About, admin},
    signing::{Content, SecretKey, mac_header},
    telemetry,
    worker::LocalComparer,
};

use crate::{
    crash::server::{Data, Server},
    log::hear,
    serve::{free_address, get},
    support::{Picture, TestApp, models::sample, pair, visavis},
};

/// A console in front of a whole service in memory.
struct Desk {
    app: TestApp,
    router: Router,
    token: String,
    file: TokenFile,
}

/// An answer of the console.
#[derive(Debug)]
struct Reply {
    status: u16,
    headers: HeaderMap,
    text: String,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {}", self.text))
    }

    fn error(&self) -> String {
        self.json()["error"].as_str().unwrap_or_default().to_owned()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// What this process does.
#[derive(Clone, Copy)]
struct Does {
    front_end: bool,
    workers: bool,
}

const ALL: Does = Does { front_end: true, workers: true };
const HOST: &str = "127.0.0.1:9464";

impl Desk {
    async fn new() -> Self {
        Self::of(ALL).await
    }

    async fn of(does: Does) -> Self {
        let app = TestApp::new().await;
        let file = TokenFile::in_folder(app.folder.path());
        let token = file.make_if_absent().unwrap().unwrap().to_string();
        let viewer = does.workers.then(|| {
            let viewer: Arc<dyn Viewer> = Arc::new(LocalComparer::new(app.pool.clone(), 8));
            viewer
        });
        let router = console(Parts {
            app: app.state.clone(),
            clients: app.clients.clone().into(),
            about: about(),
            front_end: does.front_end,
            viewer,
            limits: Limits { selfie: QualityLimits::default(), document: QualityLimits::default() },
            token: file.clone(),
        });
        Self { app, router, token, file }
    }

    async fn send(&self, request: Request<Body>) -> Reply {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let text = String::from_utf8(to_bytes(body, usize::MAX).await.unwrap().to_vec()).unwrap();
        Reply { status: parts.status.as_u16(), headers: parts.headers, text }
    }

    async fn log_in_with(&self, token: &str) -> Reply {
        let body = json!({ "token": token }).to_string();
        self.send(own(Method::POST, "/console/api/login", "", body)).await
    }

    /// The cookie of a login.
    async fn log_in(&self) -> String {
        let reply = self.log_in_with(&self.token).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        reply.header("set-cookie").split(';').next().unwrap().to_owned()
    }

    async fn get(&self, cookie: &str, path: &str) -> Reply {
        self.send(own(Method::GET, &format!("/console/api/{path}"), cookie, String::new())).await
    }

    async fn post(&self, cookie: &str, path: &str, body: &Value) -> Reply {
        let path = format!("/console/api/{path}");
        self.send(own(Method::POST, &path, cookie, body.to_string())).await
    }
}

fn about() -> About {
    About {
        version: "1",
        provider: "CPU",
        device: "cpu".to_owned(),
        device_name: String::new(),
        jpeg: "fake",
    }
}

/// A request as the console's own page sends it.
fn own(method: Method, path: &str, cookie: &str, body: String) -> Request<Body> {
    Request::builder()
        .method(method)
        .uri(path)
        .header("host", HOST)
        .header("origin", format!("http://{HOST}"))
        .header("sec-fetch-site", "same-origin")
        .header("x-visavis-console", "1")
        .header("content-type", "application/json")
        .header("cookie", cookie)
        .body(Body::from(body))
        .unwrap()
}

fn two(probe: Picture, reference: Picture) -> Value {
    let content = |picture: Picture| STANDARD.encode(picture.bytes());
    json!({ "face1": content(probe), "face2": content(reference) })
}

/// Everything that is behind the login.
const GUARDED: [(&str, &str); 10] = [
    ("GET", "about"),
    ("GET", "live"),
    ("GET", "clients"),
    ("GET", "transactions/G000000000FID20260101000000000000000000"),
    ("POST", "logout"),
    ("POST", "look"),
    ("POST", "compare"),
    ("POST", "clients"),
    ("POST", "clients/app/rotate"),
    ("POST", "clients/app/disable"),
];

#[tokio::test]
async fn nobody_gets_in_without_the_token_and_the_cookie_is_for_the_browser_alone() {
    let desk = Desk::new().await;
    for (method, path) in GUARDED {
        for cookie in ["", "visavis_console=", "visavis_console=AAAA", &desk.token] {
            let path = format!("/console/api/{path}");
            let request = own(method.parse().unwrap(), &path, cookie, "{}".to_owned());
            let reply = desk.send(request).await;
            assert_eq!((reply.status, reply.error().as_str()), (401, "loggedOut"), "{path}");
        }
    }
    let refused = desk.log_in_with("not the token").await;
    assert_eq!((refused.status, refused.error().as_str()), (401, "wrongToken"));
    assert_eq!(refused.header("set-cookie"), "");

    let opened = desk.log_in_with(&desk.token).await;
    let cookie = opened.header("set-cookie");
    for part in ["; HttpOnly", "; SameSite=Strict", "; Path=/console", "; Max-Age=28800"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains(&desk.token) && !cookie.contains("Secure"), "{cookie}");
    let cookie = desk.log_in().await;
    let about = desk.get(&cookie, "about").await.json();
    assert_eq!((&about["frontEnd"], &about["workers"]), (&json!(true), &json!(true)));
    assert_eq!(desk.post(&cookie, "logout", &json!({})).await.status, 200);
    assert_eq!(desk.get(&cookie, "about").await.error(), "loggedOut");
}

#[tokio::test]
async fn behind_a_proxy_that_ends_tls_the_cookie_is_kept_to_tls() {
    let desk = Desk::new().await;
    let body = json!({ "token": desk.token }).to_string();
    let mut request = own(Method::POST, "/console/api/login", "", body);
    request.headers_mut().insert("x-forwarded-proto", "https".parse().unwrap());
    let reply = desk.send(request).await;
    assert!(reply.header("set-cookie").ends_with("; Secure"), "{reply:?}");
}

#[tokio::test]
async fn after_five_wrong_tokens_the_right_one_has_to_wait_as_well() {
    let desk = Desk::new().await;
    let earlier = desk.log_in().await;
    for _ in 0..5 {
        assert_eq!(desk.log_in_with("wrong").await.status, 401);
    }
    let limited = desk.log_in_with(&desk.token).await;
    assert_eq!((limited.status, limited.error().as_str()), (429, "tooManyLogins"));
    assert_eq!(desk.get(&earlier, "about").await.status, 200, "who is in stays in");
}

#[tokio::test]
async fn a_new_token_ends_every_login_and_the_old_one_opens_nothing() {
    let desk = Desk::new().await;
    let cookie = desk.log_in().await;
    assert_eq!(desk.get(&cookie, "about").await.status, 200);
    let new = desk.file.renew().unwrap();
    assert_eq!(desk.get(&cookie, "about").await.error(), "loggedOut");
    assert_eq!(desk.log_in_with(&desk.token).await.error(), "wrongToken");
    assert_eq!(desk.log_in_with(&new).await.status, 200);
}

#[tokio::test]
async fn a_request_that_does_not_come_from_the_page_is_refused_even_with_the_cookie() {
    let desk = Desk::new().await;
    let cookie = desk.log_in().await;
    let foreign: [(&str, Option<&str>); 4] = [
        ("x-visavis-console", None),
        ("origin", Some("http://evil.example")),
        ("origin", Some("http://127.0.0.1:8080")),
        ("sec-fetch-site", Some("cross-site")),
    ];
    for (method, path) in GUARDED {
        for (header, value) in foreign {
            let path = format!("/console/api/{path}");
            let mut request = own(method.parse().unwrap(), &path, &cookie, "{}".to_owned());
            match value {
                Some(value) => request.headers_mut().insert(header, value.parse().unwrap()),
                None => request.headers_mut().remove(header),
            };
            let reply = desk.send(request).await;
            assert_eq!((reply.status, reply.error().as_str()), (403, "foreign"), "{path} {header}");
        }
    }
    assert_eq!(desk.get(&cookie, "about").await.status, 200, "nobody was logged out by it");
}

#[tokio::test]
async fn every_answer_has_the_headers_that_keep_others_out() {
    let desk = Desk::new().await;
    let cookie = desk.log_in().await;
    for (path, status) in [
        ("/", 307),
        ("/console", 308),
        ("/console/", 200),
        ("/console/assets/main.js", 200),
        ("/console/assets/../token.rs", 404),
        ("/console/assets/nothing.js", 404),
        ("/console/api/about", 200),
        ("/console/api/nothing", 404),
    ] {
        let reply = desk.send(own(Method::GET, path, &cookie, String::new())).await;
        assert_eq!(reply.status, status, "{path}");
        let policy = reply.header("content-security-policy");
        for part in [
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:;",
            "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        ] {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
        assert_eq!(reply.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(reply.header("referrer-policy"), "no-referrer", "{path}");
        assert_eq!(reply.header("x-frame-options"), "DENY", "{path}");
        let kept = reply.header("cache-control");
        if path.starts_with("/console/api") {
            assert_eq!(kept, "no-store", "{path}");
        }
    }
}

#[tokio::test]
async fn files_are_sent_once_and_then_only_if_they_have_changed() {
    let desk = Desk::new().await;
    for path in ["/console/", "/console/assets/console.css", "/console/assets/texts.js"] {
        let first = desk.send(own(Method::GET, path, "", String::new())).await;
        assert_eq!((first.status, first.header("cache-control")), (200, "no-cache"), "{path}");
        let tag = first.header("etag").to_owned();
        let mut again = own(Method::GET, path, "", String::new());
        again.headers_mut().insert("if-none-match", tag.parse().unwrap());
        let second = desk.send(again).await;
        assert_eq!((second.status, second.text.as_str()), (304, ""), "{path}");
        let mut other = own(Method::GET, path, "", String::new());
        other.headers_mut().insert("if-none-match", "\"other\"".parse().unwrap());
        assert_eq!(desk.send(other).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn metrics_and_health_are_there_without_a_login_as_before() {
    let desk = Desk::new().await;
    let metrics = telemetry::metrics().unwrap();
    let router = admin(desk.app.state.clone(), about(), metrics).merge(desk.router.clone());
    for path in ["/metrics", "/health", "/health/live", "/health/ready"] {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        assert!(!response.headers().contains_key("content-security-policy"), "{path}");
    }
}

#[tokio::test]
async fn two_pictures_are_compared_through_the_gateway_and_can_be_looked_up() {
    let desk = Desk::new().await;
    let cookie = desk.log_in().await;
    let body = two(Picture::Person(1), Picture::Blurred(1));
    let compared = desk.post(&cookie, "compare", &body).await;
    assert_eq!(compared.status, 200, "{}", compared.text);
    let compared = compared.json();
    assert_eq!(compared["signatureValid"], true, "{compared}");
    let outcome = &compared["outcome"];
    assert_eq!((&outcome["kind"], &outcome["samePerson"]), (&json!("compared"), &json!(false)));
    assert_eq!((&outcome["threshold"], &outcome["model"]), (&json!(80), &json!("fake")));
    assert_eq!(outcome["face1"]["quality"], "PASS");
    assert_eq!(outcome["face2"]["quality"], "FAIL");
    let blurred = outcome["face2"]["measures"].as_array().unwrap();
    let blurred = blurred.iter().find(|measure| measure["name"] == "sharpness").unwrap();
    assert_eq!(blurred["reason"], json!({ "code": "BLURRED", "limit": 1.5, "fails": true }));
    assert_eq!(outcome["face1"]["box"]["width"], 150.0);

    let answer: Value =
        serde_json::from_str(compared["received"]["body"].as_str().unwrap()).unwrap();
    assert_eq!(answer["result"]["resultCode"], "SUCCESS");
    assert_eq!(answer["transactionId"], compared["transactionId"]);
    assert_eq!(answer["score"], outcome["score"], "what is shown is what was answered");
    let sent = compared["sent"].to_string();
    assert!(sent.contains("Access-Key") && sent.contains("Request-Time"), "{sent}");

    let id = compared["transactionId"].as_str().unwrap();
    let found = desk.get(&cookie, &format!("transactions/{id}")).await.json();
    assert_eq!((&found["state"], &found["attempts"]), (&json!("done"), &json!(1)));
    assert_eq!((&found["clientName"], &found["shard"]), (&json!("console"), &json!(0)));
    assert_eq!(found["outcome"]["decision"], "match", "{found}");
    let live = desk.get(&cookie, "live").await.json();
    assert_eq!(live["endpoints"][0]["name"], "compare");
    assert_eq!(live["endpoints"][0]["codes"], json!({ "SUCCESS": 1 }));
    assert_eq!(live["queue"], json!([{ "shard": 0, "jobs": 0, "bytes": 0, "oldestMs": null }]));
    // The client was made once, whoever needed it first.
    desk.post(&cookie, "compare", &body).await;
    let clients = desk.get(&cookie, "clients").await.json();
    let own = clients["clients"].as_array().unwrap().iter().filter(|c| c["own"] == true);
    assert_eq!(own.count(), 1, "{clients}");
}

#[tokio::test]
async fn a_picture_without_a_face_and_a_client_that_may_not_call_are_told_as_they_are() {
    let desk = Desk::new().await;
    let cookie = desk.log_in().await;
    let nobody = desk.post(&cookie, "compare", &two(Picture::Person(1), Picture::Nothing)).await;
    let nobody = nobody.json();
    assert_eq!(nobody["outcome"], json!({ "kind": "refused", "face": 2, "refusal": "noFace" }));
    assert!(nobody["received"]["body"].as_str().unwrap().contains("UNABLE_GET_IMAGE"), "{nobody}");
    let text = json!({ "face1": STANDARD.encode("text"), "face2": "not base64!" });
    let text = desk.post(&cookie, "compare", &text).await.json();
    assert_eq!((&text["outcome"], &text["transactionId"]), (&Value::Null, &Value::Null));

    let disabled = desk.post(&cookie, "clients/console/disable", &json!({})).await;
    assert_eq!(disabled.status, 200, "{}", disabled.text);
    let refused = desk.post(&cookie, "compare", &two(Picture::Person(1), Picture::Person(1))).await;
    let refused = refused.json();
    assert!(refused["received"]["body"].as_str().unwrap().contains("ACCESS_DENIED"), "{refused}");
    assert_eq!((&refused["signatureValid"], &refused["outcome"]), (&json!(true), &Value::Null));
}

#[tokio::test]
async fn one_picture_is_looked_at_and_nothing_of_it_stays() {
    let desk = Desk::new().await;
    let cookie = desk.log_in().await;
    let look = async |content: String| {
        desk.post(&cookie, "look", &json!({ "content": content, "document": false })).await
    };
    let face = look(STANDARD.encode(Picture::Person(1).bytes())).await.json();
    assert_eq!(face["face"]["width"], 640, "{face}");
    assert_eq!(face["face"]["measures"].as_array().unwrap().len(), 20, "{face}");
    let nobody = look(STANDARD.encode(Picture::Nothing.bytes())).await.json();
    assert_eq!(nobody, json!({ "refusal": "noFace" }));
    assert_eq!(look(STANDARD.encode("text")).await.json(), json!({ "refusal": "unknownFormat" }));
    assert_eq!(look("?".to_owned()).await.error(), "pictureUnfit");
    assert_eq!(look(STANDARD.encode(Picture::Panics.bytes())).await.error(), "internal");
    assert_eq!(look(STANDARD.encode(Picture::Person(2).bytes())).await.status, 200);
    assert_eq!(desk.app.store.payload_rows().await.unwrap(), 0);
    let live = desk.get(&cookie, "live").await.json();
    assert_eq!(live["endpoints"], json!([]), "a look is no request of the API");
}

#[tokio::test]
async fn a_process_without_front_end_or_without_workers_says_so() {
    let desk = Desk::of(Does { front_end: false, workers: true }).await;
    let cookie = desk.log_in().await;
    let about = desk.get(&cookie, "about").await.json();
    assert_eq!((&about["frontEnd"], &about["workers"]), (&json!(false), &json!(true)));
    let body = two(Picture::Person(1), Picture::Person(1));
    assert_eq!(desk.post(&cookie, "compare", &body).await.error(), "noFrontEnd");
    let clients = desk.get(&cookie, "clients").await.json();
    assert_eq!(clients["clients"].as_array().unwrap().len(), 1, "no client is made for nothing");

    let desk = Desk::of(Does { front_end: true, workers: false }).await;
    let cookie = desk.log_in().await;
    assert_eq!(desk.get(&cookie, "about").await.json()["workers"], false);
    let content = STANDARD.encode(Picture::Person(1).bytes());
    let look = json!({ "content": content });
    assert_eq!(desk.post(&cookie, "look", &look).await.error(), "noWorkers");
}

/// Calls the gateway with credentials that the console handed out; the result code.
async fn call(desk: &Desk, credentials: &Value) -> String {
    let text = |member: &str| credentials[member].as_str().unwrap();
    let path = "/api/v1/zoloz/facecompare/compare";
    let body = pair(Picture::Person(1), Picture::Person(1)).to_string();
    let (id, time) = (text("clientId"), desk.app.now());
    let content = Content { uri: path, client_id: id, time: &time, body: body.as_bytes() };
    let mac = mac_header(&SecretKey::from_text(text("secretKey")).unwrap().sign(&content));
    let request = Request::post(path)
        .header("Client-Id", id)
        .header("Request-Time", &time)
        .header("Auth-Type", "AKSK")
        .header("Access-Key", text("accessKey"))
        .header("Signature", mac)
        .body(Body::from(body))
        .unwrap();
    // Every request is one of its own.
    desk.app.clock.advance(1_000);
    let (answer, _) = desk.app.send_raw(request).await;
    answer.code().to_owned()
}

#[tokio::test]
async fn a_client_is_added_changed_given_new_keys_disabled_and_enabled() {
    let desk = Desk::new().await;
    let cookie = desk.log_in().await;
    let settings = json!({ "extras": false, "fmr": "1e-6", "documentFmr": "" });
    let new = json!({ "name": "shop", "settings": settings });
    let added = desk.post(&cookie, "clients", &new).await;
    assert_eq!(added.status, 200, "{}", added.text);
    let first = added.json()["credentials"].clone();
    let members: Vec<_> = first.as_object().unwrap().keys().cloned().collect();
    let expected = [
        "clientId",
        "keyVersion",
        "merchantPrivateKey",
        "merchantPublicKey",
        "serverPublicKey",
        "accessKey",
        "secretKey",
    ];
    assert_eq!(members, expected, "as in the file of `client add --out`");
    assert_eq!(call(&desk, &first).await, "SUCCESS");

    let shop = async || {
        let all = desk.get(&cookie, "clients").await.json();
        let all = all["clients"].as_array().unwrap().clone();
        all.into_iter().find(|client| client["name"] == "shop").unwrap()
    };
    let listed = shop().await;
    assert_eq!((&listed["extras"], &listed["fmr"]), (&json!(false), &json!(1e-6)));
    assert_eq!((&listed["documentFmr"], &listed["keyVersion"]), (&Value::Null, &json!(1)));
    let change = json!({ "fmr": "", "documentFmr": "1e-3" });
    assert_eq!(desk.post(&cookie, "clients/shop/change", &change).await.status, 200);
    let listed = shop().await;
    assert_eq!((&listed["extras"], &listed["fmr"]), (&json!(false), &Value::Null), "{listed}");
    assert_eq!(listed["documentFmr"], json!(1e-3));

    let id = first["clientId"].as_str().unwrap();
    let rotate = format!("clients/{id}/rotate");
    let rotated = desk.post(&cookie, &rotate, &json!({ "overlapS": 3600 })).await.json();
    assert_eq!(
        (&rotated["name"], &rotated["credentials"]["keyVersion"]),
        (&json!("shop"), &json!(2))
    );
    assert!(rotated["earlierUntil"].is_i64(), "{rotated}");
    let second = rotated["credentials"].clone();
    assert_eq!(call(&desk, &first).await, "SUCCESS");
    assert_eq!(call(&desk, &second).await, "SUCCESS");
    let third = desk.post(&cookie, &rotate, &json!({ "overlapS": 0 })).await.json();
    assert_eq!(third["earlierUntil"], Value::Null);
    assert_eq!(call(&desk, &second).await, "KEY_NOT_FOUND");
    assert_eq!(call(&desk, &third["credentials"]).await, "SUCCESS");

    desk.post(&cookie, &format!("clients/{id}/disable"), &json!({})).await;
    assert_eq!(call(&desk, &third["credentials"]).await, "ACCESS_DENIED");
    desk.post(&cookie, &format!("clients/{id}/enable"), &json!({})).await;
    assert_eq!(call(&desk, &third["credentials"]).await, "SUCCESS");
}

#[tokio::test]
async fn an_app_that_keeps_its_own_key_gets_no_private_one() {
    let desk = Desk::new().await;
    let cookie = desk.log_in().await;
    let made = desk.post(&cookie, "clients", &json!({ "name": "a" })).await.json();
    let public = &made["credentials"]["merchantPublicKey"];
    let new = json!({ "name": "b", "publicKey": public });
    let own = desk.post(&cookie, "clients", &new).await.json();
    assert_eq!(own["credentials"]["merchantPrivateKey"], Value::Null, "{own}");
    assert_eq!(&own["credentials"]["merchantPublicKey"], public);
    let same = json!({ "publicKey": public, "overlapS": 60 });
    assert_eq!(desk.post(&cookie, "clients/b/rotate", &same).await.error(), "sameKey");
}

#[tokio::test]
async fn what_cannot_be_done_is_told_by_a_code_that_the_page_has_a_sentence_for() {
    let desk = Desk::new().await;
    let cookie = desk.log_in().await;
    let unknown = "G000000000FID20260101000000000000000000";
    let year = json!({ "overlapS": 40_000_000 });
    let key = json!({ "name": "x", "publicKey": "AAAA" });
    let rate = json!({ "name": "x", "settings": { "fmr": "80" } });
    let strange = json!({ "name": "x", "settings": { "secret": true } });
    for (path, body, status, code) in [
        ("clients", json!({ "name": "app" }), 409, "nameTaken"),
        ("clients", json!({ "name": "  " }), 400, "nameUnfit"),
        ("clients", rate, 400, "rateUnfit"),
        ("clients", key, 400, "keyUnfit"),
        ("clients", strange, 400, "malformed"),
        ("clients/nobody/rotate", json!({ "overlapS": 0 }), 404, "unknownClient"),
        ("clients/nobody/disable", json!({}), 404, "unknownClient"),
        ("clients/app/rotate", year, 400, "overlapUnfit"),
        ("clients/app/change", json!({ "fmr": 1 }), 400, "malformed"),
        ("compare", json!([]), 400, "malformed"),
    ] {
        let reply = desk.post(&cookie, path, &body).await;
        assert_eq!((reply.status, reply.error().as_str()), (status, code), "{path} {body}");
    }
    for (id, code) in [
        (unknown, "unknownTransaction"),
        ("G000000009FID20260101000000000000000000", "unknownTransaction"),
        ("nonsense", "unknownTransaction"),
    ] {
        let reply = desk.get(&cookie, &format!("transactions/{id}")).await;
        assert_eq!((reply.status, reply.error().as_str()), (404, code), "{id}");
    }
    let texts = include_str!("../../src/console/assets/texts.js");
    let codes = include_str!("../../src/console/error.rs");
    let codes =
        codes.lines().filter_map(|line| line.trim().strip_prefix("Self::")?.split('"').nth(1));
    let missing: Vec<_> =
        codes.filter(|code| !texts.contains(&format!("    {code}: \""))).collect();
    assert!(missing.is_empty(), "no sentence for {missing:?}");
}

#[tokio::test]
async fn no_secret_and_no_picture_is_in_the_log_or_in_an_answer() {
    let (kept, _hearing) = hear();
    let desk = Desk::new().await;
    let cookie = desk.log_in().await;
    desk.log_in_with("a-token-that-is-wrong").await;
    let mut bytes = Picture::Person(1).bytes();
    bytes.extend_from_slice(b"pixels of somebody whom nobody needs to know");
    let content = STANDARD.encode(&bytes);
    let body = json!({ "face1": content, "face2": content });
    let compared = desk.post(&cookie, "compare", &body).await;
    desk.post(&cookie, "look", &json!({ "content": content })).await;
    let added = desk.post(&cookie, "clients", &json!({ "name": "shop" })).await.json();
    let rotated =
        desk.post(&cookie, "clients/shop/rotate", &json!({ "overlapS": 60 })).await.json();
    desk.post(&cookie, "clients/shop/change", &json!({ "extras": false })).await;
    desk.post(&cookie, "clients/shop/disable", &json!({})).await;
    desk.post(&cookie, "clients/shop/enable", &json!({})).await;
    let id = compared.json()["transactionId"].as_str().unwrap().to_owned();
    let found = desk.get(&cookie, &format!("transactions/{id}")).await;
    let listed = desk.get(&cookie, "clients").await;
    desk.post(&cookie, "logout", &json!({})).await;

    let log = kept.text();
    for act in [
        "logged_in",
        "login_refused",
        "logged_out",
        "compared",
        "transaction_read",
        "client_added",
        "keys_rotated",
        "client_changed",
        "client_disabled",
        "client_enabled",
    ] {
        assert!(log.contains(&format!("act=\"{act}\"")), "{act} is not in the log:\n{log}");
    }
    let (_, own) = visavis_client(&desk).await;
    let mut secrets = vec![
        desk.token.clone(),
        "a-token-that-is-wrong".to_owned(),
        cookie.split('=').nth(1).unwrap().to_owned(),
        "pixels of somebody".to_owned(),
        content[8..].to_owned(),
        own,
    ];
    for handed in [&added, &rotated] {
        for member in ["secretKey", "merchantPrivateKey"] {
            secrets.push(handed["credentials"][member].as_str().unwrap()[..40].to_owned());
        }
    }
    for secret in &secrets {
        for (what, text) in [
            ("log", &log),
            ("list", &listed.text),
            ("lookup", &found.text),
            ("answer", &compared.text),
        ] {
            assert!(!text.contains(secret), "{secret} is in the {what}: {text}");
        }
    }
    let page = desk.send(own_page("/console/")).await;
    assert!(!secrets.iter().any(|secret| page.text.contains(secret)));
}

fn own_page(path: &str) -> Request<Body> {
    own(Method::GET, path, "", String::new())
}

/// The console's own client: its id, and its secret as text.
async fn visavis_client(desk: &Desk) -> (String, String) {
    let id = desk.app.clients.resolve("console").await.unwrap();
    let client = desk.app.clients.get(&id).await.unwrap().unwrap();
    (id, URL_SAFE_NO_PAD.encode(client.keys[0].secret_key.as_bytes()))
}

/// One request to a server that runs; status and body.
fn exchange(address: &str, method: &str, path: &str, cookie: &str, body: &str) -> (String, String) {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nOrigin: http://{address}\r\nX-Visavis-Console: 1\r\n\
         Cookie: {cookie}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

#[test]
fn photos_are_compared_through_the_real_nets_by_whoever_has_the_token_of_the_command_line() {
    let data = Data::new();
    let admin = free_address().to_string();
    let server = Server::start_with(&data, &[], &[("VISAVIS_ADMIN_LISTEN", &admin)]);
    let folder = data.folder().display().to_string();
    let kept = std::fs::read_to_string(data.folder().join("console.token")).unwrap();
    let made = visavis(&["console", "token", "--data", &folder]);
    assert_eq!(made.code, 0, "{}", made.err);
    assert_ne!(kept, std::fs::read_to_string(data.folder().join("console.token")).unwrap());
    let token = json!({ "token": made.out.trim() }).to_string();
    let (head, _) = exchange(&admin, "POST", "/console/api/login", "", &token);
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let cookie = head.lines().find_map(|line| line.strip_prefix("Set-Cookie: ")).unwrap();
    let cookie = cookie.split(';').next().unwrap();

    let content = |name| STANDARD.encode(sample(name));
    let body = json!({ "face1": content("obama-2012"), "face2": content("obama-2009") });
    let compare = |body: &Value| -> Value {
        let (head, answer) =
            exchange(&admin, "POST", "/console/api/compare", cookie, &body.to_string());
        assert!(head.starts_with("HTTP/1.1 200"), "{head}{answer}");
        serde_json::from_str(&answer).unwrap()
    };
    let same = compare(&body);
    assert_eq!(same["outcome"]["samePerson"], true, "{same}");
    assert_eq!(same["signatureValid"], true, "{same}");
    let face = &same["outcome"]["face1"];
    assert_eq!((&face["width"], &face["height"]), (&json!(512), &json!(640)), "{face}");
    let body = json!({ "face1": content("collins"), "face2": content("hopper") });
    assert_eq!(compare(&body)["outcome"]["samePerson"], false);
    let look = json!({ "content": content("hopper"), "document": true }).to_string();
    let (_, looked) = exchange(&admin, "POST", "/console/api/look", cookie, &look);
    assert!(looked.contains(r#""quality":"PASS""#), "{looked}");
    assert!(get(admin.parse().unwrap(), "/health/ready").ends_with("ready\n"));
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn the_console_can_be_left_out() {
    let data = Data::new();
    let admin = free_address();
    let listen = admin.to_string();
    let variables = [("VISAVIS_ADMIN_LISTEN", &*listen), ("VISAVIS_ADMIN_CONSOLE", "false")];
    let server = Server::start_with(&data, &[], &variables);
    assert!(get(admin, "/console/").starts_with("HTTP/1.1 404"));
    assert!(get(admin, "/metrics").starts_with("HTTP/1.1 200"));
    assert!(!data.folder().join("console.token").exists(), "nor is a token made");
    assert_eq!(server.terminate(), Some(0));
    let nowhere = visavis(&["console", "token", "--data", "/nowhere"]);
    assert_eq!(nowhere.code, 2);
    assert!(nowhere.err.contains("--data"), "{}", nowhere.err);
}
