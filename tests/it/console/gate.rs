//! What stands before the console.

use axum::{
    body::Body,
    http::{Method, Request, StatusCode},
};
use serde_json::json;
use tower::ServiceExt as _;
use visavis::{http::admin, telemetry};

use super::{Desk, about, own};
use crate::log::hear;

/// Everything that is behind the login.
const GUARDED: [(&str, &str); 13] = [
    ("GET", "about"),
    ("GET", "live"),
    ("GET", "clients"),
    ("GET", "transactions/G000000000FID20260101000000000000000000"),
    ("POST", "transactions"),
    ("POST", "transactions/csv"),
    ("POST", "audit"),
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
    for (proto, is_secure) in [
        ("https", true),
        ("https, http", true),
        ("HTTPS,http", true),
        ("http", false),
        ("http, https", false),
        ("", false),
    ] {
        let body = json!({ "token": desk.token }).to_string();
        let mut request = own(Method::POST, "/console/api/login", "", body);
        request.headers_mut().insert("x-forwarded-proto", proto.parse().unwrap());
        let reply = desk.send(request).await;
        let cookie = reply.header("set-cookie");
        assert!(!cookie.is_empty(), "{proto}");
        assert_eq!(cookie.ends_with("; Secure"), is_secure, "{proto}: {cookie}");
    }
}

#[tokio::test]
async fn after_five_wrong_tokens_others_are_held_back_and_logged_and_the_right_one_gets_in() {
    let (kept, _hearing) = hear();
    let desk = Desk::new().await;
    let earlier = desk.log_in().await;
    for _ in 0..5 {
        assert_eq!(desk.log_in_with("wrong").await.status, 401);
    }
    let limited = desk.log_in_with("wrong").await;
    assert_eq!((limited.status, limited.error().as_str()), (429, "tooManyLogins"));
    assert_eq!(desk.log_in_with(&desk.token).await.status, 200);
    let count = |act| kept.text().matches(&format!("act={act}")).count();
    assert_eq!((count("login_refused"), count("login_held_back")), (5, 1), "{}", kept.text());
    assert_eq!(desk.get(&earlier, "about").await.status, 200, "who is in stays in");
}

#[tokio::test]
async fn a_new_token_ends_every_login_and_the_old_one_opens_nothing() {
    let desk = Desk::new().await;
    let cookie = desk.log_in().await;
    assert_eq!(desk.get(&cookie, "about").await.status, 200);
    let new = desk.file.renew(false).unwrap();
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
