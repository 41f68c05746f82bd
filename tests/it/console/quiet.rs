//! What it keeps to itself.

use axum::{
    body::Body,
    http::{Method, Request},
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde_json::json;
use visavis::clients::Clients;

use super::{Desk, own};
use crate::{log::hear, support::Picture};

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
        assert!(log.contains(&format!("act={act}")), "{act} is not in the log:\n{log}");
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
    let id = Clients::from(desk.app.clients.clone()).resolve("console").await.unwrap().1;
    let client = desk.app.clients.get(&id).await.unwrap().unwrap();
    (id, URL_SAFE_NO_PAD.encode(client.keys[0].secret_key.as_bytes()))
}
