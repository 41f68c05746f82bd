//! What it shows of photos and transactions.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{Desk, Does};
use crate::support::Picture;

fn two(probe: Picture, reference: Picture) -> Value {
    let content = |picture: Picture| STANDARD.encode(picture.bytes());
    json!({ "face1": content(probe), "face2": content(reference) })
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
    assert_eq!(outcome["failures"], json!([{ "face": 2, "code": "BLURRED" }]));
    assert_eq!(outcome["face1"]["quality"], "PASS");
    assert_eq!(outcome["face2"]["quality"], "FAIL");
    let blurred = outcome["face2"]["measures"].as_array().unwrap();
    let blurred = blurred.iter().find(|measure| measure["name"] == "sharpness").unwrap();
    let reason = &blurred["reason"];
    assert_eq!((&reason["code"], &reason["limit"]), (&json!("BLURRED"), &json!(1.5)));
    assert_eq!(reason["fails"], true);
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
    assert_eq!(found["outcome"], *outcome, "the view of one transaction is that of a comparison");
    let live = desk.get(&cookie, "live").await.json();
    assert_eq!(live["endpoints"][0]["name"], "compare");
    assert_eq!(live["endpoints"][0]["codes"], json!({ "SUCCESS": 1 }));
    assert_eq!(live["queue"], json!([{ "shard": 0, "jobs": 0, "bytes": 0, "oldestMs": null }]));
    // The client was created once.
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
    assert_eq!(crate::support::payload_rows(desk.app.db.clone()).await, 0);
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

/// Each takes three megabytes of the eight for request bodies while it is looked at.
#[tokio::test]
async fn photos_of_operators_are_charged_to_the_memory_for_request_bodies() {
    let desk = Desk::new().await;
    let cookie = desk.log_in().await;
    let slow = json!({ "content": STANDARD.encode(Picture::Slow(4_500).bytes()) });
    let look = || desk.post(&cookie, "look", &slow);
    let (one, two, three) = tokio::join!(look(), look(), look());
    let refused = [one, two, three].into_iter().filter(|reply| reply.status == 503);
    assert_eq!(refused.map(|reply| reply.error()).collect::<Vec<_>>(), ["busy"]);
    let quick = json!({ "content": STANDARD.encode(Picture::Person(1).bytes()) });
    assert_eq!(desk.post(&cookie, "look", &quick).await.status, 200, "it was given back");
}

#[tokio::test]
async fn transactions_are_listed_by_what_became_of_them() {
    let desk = Desk::new().await;
    let cookie = desk.log_in().await;
    let mut ids = Vec::new();
    for (probe, reference) in [
        (Picture::Person(1), Picture::Person(1)),
        (Picture::Person(1), Picture::Person(2)),
        (Picture::Person(1), Picture::Blurred(1)),
        (Picture::Nothing, Picture::Person(1)),
    ] {
        let compared = desk.post(&cookie, "compare", &two(probe, reference)).await.json();
        ids.push(compared["transactionId"].as_str().unwrap().to_owned());
        desk.app.clock.advance(1_000);
    }
    let [same, different, unreliable, refused] = [0, 1, 2, 3].map(|n: usize| ids[n].as_str());
    let list = async |filter: Value| desk.post(&cookie, "transactions", &filter).await.json();
    let found = async |filter: Value| {
        let page = list(filter).await;
        let rows = page["transactions"].as_array().unwrap_or_else(|| panic!("{page}")).clone();
        rows.iter().map(|row| row["transactionId"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let all = list(json!({})).await;
    assert_eq!(found(json!({})).await, [refused, unreliable, different, same], "newest first");
    assert_eq!(all["next"], Value::Null);
    let first = &all["transactions"][0];
    assert_eq!(
        (&first["code"], &first["clientName"]),
        (&json!("UNABLE_GET_IMAGE"), &json!("console"))
    );
    assert_eq!((&first["verdict"], &first["score"]), (&Value::Null, &Value::Null));
    let client = first["clientId"].clone();
    let score = all["transactions"][3]["score"].clone();
    let low = all["transactions"][2]["score"].clone();
    let time = all["transactions"][2]["createdAt"].clone();
    for (filter, expected) in [
        (json!({ "code": "UNABLE_GET_IMAGE" }), vec![refused]),
        (json!({ "code": "PROCESSING" }), vec![]),
        (json!({ "verdict": "same" }), vec![same]),
        (json!({ "verdict": "different" }), vec![different]),
        (json!({ "code": "SUCCESS", "verdict": "unreliable" }), vec![unreliable]),
        (json!({ "verdict": "same", "scoreFrom": score, "scoreTo": score }), vec![same]),
        (json!({ "verdict": "different", "scoreTo": low }), vec![different]),
        (json!({ "scoreFrom": 100 }), vec![]),
        (json!({ "client": client, "verdict": "same" }), vec![same]),
        (json!({ "client": "2188000000000000" }), vec![]),
        (json!({ "bizId": "no such" }), vec![]),
        (json!({ "until": 0 }), vec![]),
        (json!({ "since": time, "verdict": "same" }), vec![]),
        (json!({ "before": &different[13..] }), vec![same]),
    ] {
        assert_eq!(found(filter.clone()).await, expected, "{filter}");
    }
    for wrong in [
        json!({ "code": "ALL" }),
        json!({ "bizId": "" }),
        json!({ "before": "1" }),
        json!({ "since": i64::MAX }),
        json!({ "sql": "1" }),
    ] {
        let reply = desk.post(&cookie, "transactions", &wrong).await;
        assert_eq!((reply.status, reply.error().as_str()), (400, "malformed"), "{wrong}");
    }

    let csv = desk.post(&cookie, "transactions/csv", &json!({ "verdict": "same" })).await.json();
    let csv: Vec<_> = csv["csv"].as_str().unwrap().lines().collect();
    assert_eq!(csv.len(), 2, "{csv:?}");
    assert!(csv[0].starts_with("transaction,accepted,"), "{csv:?}");
    let end = format!("\"console\",\"done\",\"SUCCESS\",\"same\",\"{score}\"");
    assert!(csv[1].starts_with(&format!("\"{same}\",")) && csv[1].ends_with(&end), "{csv:?}");
}

#[tokio::test]
async fn a_tracing_id_is_searched_for_and_not_shown() {
    let desk = Desk::new().await;
    let cookie = desk.log_in().await;
    let accepted = desk.app.compare_async(Picture::Person(1), Picture::Person(1)).await;
    let page = desk.post(&cookie, "transactions", &json!({ "bizId": "biz-1" })).await;
    let shown = page.json()["transactions"][0]["transactionId"].clone();
    assert_eq!(shown, accepted.transaction_id());
    assert!(!page.text.contains("biz-1"), "{}", page.text);
}
