//! Clients, managed in it.

use axum::{body::Body, http::Request};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use visavis_signing::{Content, SecretKey, mac_header};

use super::Desk;
use crate::support::{CLIENT, Picture, audit_of, pair, server_key, weak_key};

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
        let usual = json!({ "fmr": 1e-5, "documentFmr": 1e-5, "ratePerS": null, "burst": 1 });
        assert_eq!(all["defaults"], usual, "{all}");
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
async fn a_client_without_transactions_is_deleted_and_todays_use_of_a_quota_is_listed() {
    let desk = Desk::new().await;
    let cookie = desk.log_in().await;
    for name in ["shop", "old"] {
        let new = json!({ "name": name, "settings": { "dailyQuota": "10" } });
        let added = desk.post(&cookie, "clients", &new).await.json();
        if name == "shop" {
            assert_eq!(call(&desk, &added["credentials"]).await, "SUCCESS");
        }
    }
    let used = |list: &Value| -> Vec<(String, i64)> {
        let clients = list["clients"].as_array().unwrap().iter();
        let clients = clients.filter(|client| client["dailyQuota"] == 10);
        let used = |client: &Value| client["comparisonsToday"].as_i64().unwrap();
        clients.map(|client| (client["name"].as_str().unwrap().to_owned(), used(client))).collect()
    };
    let list = desk.get(&cookie, "clients").await.json();
    assert_eq!(used(&list), [("shop".to_owned(), 1), ("old".to_owned(), 0)]);
    desk.post(&cookie, "clients/shop/disable", &json!({})).await;
    let reply = desk.post(&cookie, "clients/shop/delete", &json!({})).await;
    assert_eq!((reply.status, reply.error().as_str()), (409, "hasTransactions"));
    let reply = desk.post(&cookie, "clients/old/delete", &json!({})).await;
    assert_eq!((reply.status, reply.error().as_str()), (409, "activeClient"));
    desk.post(&cookie, "clients/old/disable", &json!({})).await;
    let list = desk.post(&cookie, "clients/old/delete", &json!({})).await.json();
    assert_eq!(used(&list), [("shop".to_owned(), 1)]);
    assert_eq!(audit_of(&desk.app.clients).await[0].act, "client delete");
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
async fn terms_are_given_and_taken_back_and_every_act_is_kept_with_its_actor() {
    let desk = Desk::new().await;
    let cookie = desk.log_in().await;
    let policy = json!({ "ratePerS": "5", "burst": "9", "dailyQuota": "100", "modes": "key-pair" });
    let added = desk.post(&cookie, "clients", &json!({ "name": "b", "settings": policy })).await;
    assert_eq!(added.status, 200);
    let less = json!({ "ratePerS": "", "encryption": "required" });
    let listed = desk.post(&cookie, "clients/b/change", &less).await.json();
    let clients = listed["clients"].as_array().unwrap();
    let b = clients.iter().find(|client| client["name"] == "b").unwrap();
    assert_eq!(
        (&b["ratePerS"], &b["burst"], &b["dailyQuota"], &b["modes"], &b["encryption"]),
        (&json!(null), &json!(9), &json!(100), &json!("key-pair"), &json!("required"))
    );
    let acts = audit_of(&desk.app.clients).await;
    let acts: Vec<_> = acts.iter().map(|a| (a.actor.as_str(), a.act.as_str())).collect();
    assert_eq!(acts[..2], [("token", "client set"), ("token", "client add")]);
}

#[tokio::test]
async fn what_cannot_be_done_is_told_by_a_code_that_the_page_has_a_sentence_for() {
    let desk = Desk::new().await;
    let cookie = desk.log_in().await;
    let unknown = "G000000000FID20260101000000000000000000";
    let year = json!({ "overlapS": 40_000_000 });
    let key = json!({ "name": "x", "publicKey": "AAAA" });
    let weak = json!({ "name": "x", "publicKey": STANDARD.encode(weak_key()) });
    let own = STANDARD.encode(server_key().spki_der().unwrap());
    let of_server = json!({ "name": "x", "publicKey": own });
    let rotated = json!({ "overlapS": 0, "publicKey": own });
    let rate = json!({ "name": "x", "settings": { "fmr": "80" } });
    let number = json!({ "name": "x", "settings": { "dailyQuota": "many" } });
    let both = json!({ "modes": "access-key", "encryption": "required" });
    let contradiction = json!({ "name": "x", "settings": both });
    let strange = json!({ "name": "x", "settings": { "secret": true } });
    for (path, body, status, code) in [
        ("clients", json!({ "name": "app" }), 409, "nameTaken"),
        ("clients", json!({ "name": "console" }), 400, "nameOwn"),
        ("clients", json!({ "name": "  " }), 400, "nameUnfit"),
        ("clients", json!({ "name": "app\n" }), 400, "nameUnfit"),
        ("clients", json!({ "name": "\u{202e}ppa" }), 400, "nameUnfit"),
        ("clients", json!({ "name": "2188000000000001" }), 400, "nameUnfit"),
        ("clients", rate, 400, "rateUnfit"),
        ("clients", number, 400, "numberUnfit"),
        ("clients", contradiction, 400, "contradiction"),
        ("clients/app/change", json!({ "burst": "0" }), 400, "numberUnfit"),
        ("clients", key, 400, "keyUnfit"),
        ("clients", weak, 400, "keyWeak"),
        ("clients", of_server, 409, "serverKey"),
        ("clients/app/rotate", rotated, 409, "serverKey"),
        ("clients", strange, 400, "malformed"),
        ("clients/nobody/rotate", json!({ "overlapS": 0 }), 404, "unknownClient"),
        ("clients/nobody/disable", json!({}), 404, "unknownClient"),
        ("clients/nobody/delete", json!({}), 404, "unknownClient"),
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
    let texts = include_str!("../../../src/console/assets/texts.en.js");
    let codes = include_str!("../../../src/console/error.rs");
    let codes =
        codes.lines().filter_map(|line| line.trim().strip_prefix("Self::")?.split('"').nth(1));
    let missing: Vec<_> =
        codes.filter(|code| !texts.contains(&format!("    {code}: \""))).collect();
    assert!(missing.is_empty(), "no sentence for {missing:?}");
}

#[tokio::test]
async fn the_audit_is_read_in_pages_and_by_filter() {
    let desk = Desk::new().await;
    let cookie = desk.log_in().await;
    for n in 0..60 {
        let path = format!("clients/{CLIENT}/{}", if n % 2 == 0 { "disable" } else { "enable" });
        assert_eq!(desk.post(&cookie, &path, &json!({})).await.status, 200);
    }
    let page = async |form: Value| desk.post(&cookie, "audit", &form).await.json();
    let first = page(json!({})).await;
    let second = page(json!({ "after": first["next"] })).await;
    let entries = |page: &Value| page["entries"].as_array().unwrap().clone();
    assert_eq!((entries(&first).len(), second["next"].clone()), (50, Value::Null));
    let all = [entries(&first), entries(&second)].concat();
    let disabled = |entry: &&Value| entry["act"] == "client disable";
    assert_eq!(all.iter().filter(disabled).count(), 30, "none twice, none left out");
    assert_eq!((&all[0]["proof"], &all[0]["outcome"]), (&json!("token"), &json!("done")));
    assert_eq!(all[0]["clientName"], "app");
    let form = json!({ "client": "app", "act": "client disable", "who": "tok" });
    let found = entries(&page(form).await);
    assert_eq!(found.len(), 30);
    assert!(entries(&page(json!({ "who": "jane" })).await).is_empty());
    assert!(entries(&page(json!({ "until": 0 })).await).is_empty());
    let file = page(json!({ "csv": true })).await;
    assert_eq!(file["csv"].as_str().unwrap().lines().count(), 1 + all.len());
    assert_eq!(desk.post(&cookie, "audit", &json!({ "after": "x" })).await.error(), "malformed");
}
