//! The API document against the service: every response fits its schema, every endpoint and every
//! code is described, and the program prints the document.

use std::{collections::BTreeSet, fs, process::Command, time::Duration};

use axum::http::Request;
use serde_json::{Value, json};
use visavis::http::{CompareBackend, gateway};
use visavis_signing::endpoints;

use crate::support::{Answer, Picture, TestApp, in_repository, left_out, pair, visavis};

fn document() -> Value {
    serde_json::from_str(visavis::http::OPENAPI).unwrap()
}

/// The schema of what an endpoint returns, with all definitions at hand.
fn answer_schema(document: &Value, path: &str) -> jsonschema::Validator {
    let content = &document["paths"][path]["post"]["responses"]["200"]["content"];
    let schema = &content["application/json"]["schema"];
    assert!(schema.is_object(), "{path} has no schema of its answer");
    let whole = json!({ "allOf": [schema], "components": document["components"] });
    jsonschema::draft202012::new(&whole).unwrap()
}

/// The document as it describes this version alone: without members that it does not name. Its
/// schemas of responses are open, because later versions may add some.
fn closed(mut document: Value) -> Value {
    for schema in document["components"]["schemas"].as_object_mut().unwrap().values_mut() {
        if schema["properties"].is_object() && schema["additionalProperties"].is_null() {
            schema["additionalProperties"] = json!(false);
        }
    }
    document
}

#[track_caller]
fn assert_fits(document: &Value, path: &str, answer: &Answer) {
    let errors: Vec<String> = answer_schema(document, path)
        .iter_errors(&answer.json)
        .map(|error| format!("{} at {}", error, error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{path}: {}\n{errors:#?}", answer.text);
}

fn full(endpoint: &str) -> String {
    format!("/api/v1/zoloz/{endpoint}")
}

#[tokio::test]
async fn every_answer_fits_the_schema_of_its_endpoint() {
    let document = closed(document());
    let app = TestApp::with(|config| config.gate.dedupe = false).await;
    let good = || pair(Picture::Person(1), Picture::Person(1));
    for extras in [true, false] {
        app.set_extras(extras).await;
        for body in [
            good(),
            pair(Picture::Person(1), Picture::Person(2)),
            pair(Picture::Blurred(1), Picture::Person(2)),
            pair(Picture::Nothing, Picture::Person(2)),
            json!({}),
        ] {
            let answer = app.post("facecompare/compare", &body).await;
            assert_fits(&document, &full("facecompare/compare"), &answer);
            let accepted = app.post("facecompare/asynccompare", &body).await;
            assert_fits(&document, &full("facecompare/asynccompare"), &accepted);
            let Some(id) = accepted.json["transactionId"].as_str() else { continue };
            for _ in 0..2 {
                let reported = app.check(id).await;
                assert_fits(&document, &full("facecompare/asynccheckresult"), &reported);
                app.runner.run_until_idle().await;
            }
        }
        for id in [json!(""), json!("unknown"), json!(7)] {
            let reported =
                app.post("facecompare/asynccheckresult", &json!({ "transactionId": id })).await;
            assert_fits(&document, &full("facecompare/asynccheckresult"), &reported);
        }
        let echoed = app.post("authentication/test", &json!({ "title": "hello" })).await;
        assert_fits(&document, &full("authentication/test"), &echoed);
    }
    for endpoint in document["paths"].as_object().unwrap().keys().filter(|p| p.starts_with("/api"))
    {
        let mut forged = app.signed(endpoint, "{}");
        forged
            .headers_mut()
            .insert("signature", "algorithm=RSA256, signature=AAAA".parse().unwrap());
        let refused = app.send(forged).await;
        assert_eq!(refused.code(), "SIGNATURE_INVALID");
        assert_fits(&document, endpoint, &refused);
    }
}

/// A front end without workers: the outcome comes through the queue, or later.
#[tokio::test]
async fn compare_through_the_queue_fits_the_schema_too() {
    let document = closed(document());
    let mut app = TestApp::with(|config| config.compare_timeout = Duration::from_millis(300)).await;
    let mut state = app.state.clone();
    state.comparison = CompareBackend::Queued;
    let room = state.shards.iter().next().unwrap().waiting.clone();
    let served = tokio::spawn(room.serve(app.store.clone()));
    app.router = gateway(state);
    let body = pair(Picture::Person(1), Picture::Person(1));
    let later = app.post("facecompare/compare", &body).await;
    assert_eq!(later.code(), "PROCESSING");
    assert_fits(&document, &full("facecompare/compare"), &later);
    app.runner.run_until_idle().await;
    let now = app.post("facecompare/compare", &body).await;
    assert_eq!(now.transaction_id(), later.transaction_id(), "the same signed request");
    assert_eq!((now.code(), &now.json["samePerson"]), ("SUCCESS", &json!(true)));
    assert_fits(&document, &full("facecompare/compare"), &now);
    served.abort();
}

#[tokio::test]
async fn an_answer_with_a_member_that_is_not_described_fits_only_what_later_versions_may_answer() {
    let app = TestApp::new().await;
    let answer =
        app.post("facecompare/compare", &pair(Picture::Person(1), Picture::Person(1))).await;
    let path = full("facecompare/compare");
    for place in ["", "/result"] {
        let mut later = answer.json.clone();
        later.pointer_mut(place).unwrap()["later"] = json!(1);
        assert!(answer_schema(&document(), &path).is_valid(&later), "{place}");
        assert!(!answer_schema(&closed(document()), &path).is_valid(&later), "{place}");
    }
}

/// A length in the document counts characters, and the server counts bytes: what it takes must fit.
#[tokio::test]
async fn every_request_that_is_taken_fits_its_schema() {
    let document = document();
    let request = &document["components"]["schemas"]["CompareRequest"];
    let whole = json!({ "allOf": [request], "components": document["components"] });
    let schema = jsonschema::draft202012::new(&whole).unwrap();
    let app = TestApp::new().await;
    let texts = [64, 65].map(|bytes| "x".repeat(bytes));
    let texts = [&texts[0], &texts[1], &"é".repeat(32), &"é".repeat(33), "😀", ""];
    let rects = [json!("1,2,3,4"), json!(7), json!([1, {}]), json!(null), json!("no box")];
    let (mut taken, mut refused) = (0, 0);
    for (text, rect) in texts.into_iter().flat_map(|text| rects.iter().map(move |r| (text, r))) {
        for member in ["bizId", "userId", "sourceOfFace2"] {
            let mut body = pair(Picture::Person(1), Picture::Person(1));
            body[member] = json!(text);
            body["face1"]["rect"] = rect.clone();
            let answer = app.post("facecompare/compare", &body).await;
            if answer.code() == "SUCCESS" {
                assert!(schema.is_valid(&body), "{body}");
                taken += 1;
            } else {
                assert_eq!(answer.code(), "INVALID_ARGUMENT", "{}", answer.text);
                refused += 1;
            }
        }
    }
    assert!(taken > 20 && refused > 20, "{taken} {refused}");
}

#[tokio::test]
async fn every_endpoint_that_is_described_exists() {
    let app = TestApp::new().await;
    let document = document();
    let mut described = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for method in operations.as_object().unwrap().keys().filter(|m| *m != "parameters") {
            described.insert(format!("{method} {path}"));
            let method = method.to_uppercase();
            let request =
                Request::builder().method(method.as_str()).uri(path).body("".into()).unwrap();
            let (answer, _) = app.send_raw(request).await;
            assert!(!answer.text.contains("NO_INTERFACE_DEF"), "{method} {path}: {}", answer.text);
        }
    }
    insta::assert_snapshot!(described.into_iter().collect::<Vec<_>>().join("\n"), @r"
    get /health/live
    get /health/ready
    post /api/v1/zoloz/authentication/test
    post /api/v1/zoloz/facecompare/asynccheckresult
    post /api/v1/zoloz/facecompare/asynccompare
    post /api/v1/zoloz/facecompare/compare
    post /api/v1/zoloz/privacyinfo/delete
    ");
}

/// A route that no one described would be called and never documented.
#[test]
fn every_route_is_described_and_has_a_name() {
    let document = document();
    let page = fs::read_to_string(in_repository("docs/API.md")).unwrap();
    let router = fs::read_to_string(in_repository("src/http/router.rs")).unwrap();
    let recent = fs::read_to_string(in_repository("src/http/recent.rs")).unwrap();
    let (_, named) = recent.split_once("const ENDPOINTS").unwrap();
    let named = named.split("= [").nth(1).unwrap().split(']').next().unwrap();
    let routes: Vec<_> = router.split(".route(").skip(1).collect();
    assert!(routes.len() >= 6, "{routes:?}");
    for route in routes {
        let (path, rest) = route.split_once(", ").unwrap();
        let path = match path.strip_prefix("endpoints::") {
            Some("TEST") => endpoints::TEST,
            Some("COMPARE") => endpoints::COMPARE,
            Some("ASYNC_COMPARE") => endpoints::ASYNC_COMPARE,
            Some("ASYNC_CHECK_RESULT") => endpoints::ASYNC_CHECK_RESULT,
            Some("PRIVACY_DELETE") => endpoints::PRIVACY_DELETE,
            Some(other) => panic!("{other}: add it here"),
            None => path.trim_matches('"'),
        };
        let method = rest.split('(').next().unwrap();
        assert!(document["paths"][path][method].is_object(), "{method} {path}: openapi.json");
        assert!(page.contains(&format!("`{} {path}`", method.to_uppercase())), "{path}: API.md");
        let name = path.rsplit('/').next().unwrap();
        let is_named = !path.starts_with("/api/") || named.contains(&format!("\"{name}\""));
        assert!(is_named, "{path}: ENDPOINTS in recent.rs");
    }
}

/// The codes of the document, of the table for people, and of the program are the same.
#[test]
fn every_result_code_is_described_in_both_places() {
    let known: BTreeSet<String> =
        visavis::http::RESULT_CODES.iter().map(|c| (*c).to_owned()).collect();
    let document = document();
    let code = |schema: &str| &document["components"]["schemas"][schema];
    let failures = code("FailureCode")["enum"].as_array().unwrap();
    let others = ["SuccessResult", "ProcessingResult"]
        .map(|result| &code(result)["properties"]["resultCode"]["const"]);
    let in_document: BTreeSet<String> =
        failures.iter().chain(others).map(|c| c.as_str().unwrap().to_owned()).collect();
    assert_eq!(in_document, known);
    let text = fs::read_to_string(in_repository("docs/API.md")).unwrap();
    let table = text.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` |"));
    let is_code = |code: &str| code.chars().all(|c| c.is_ascii_uppercase() || c == '_');
    let in_table: BTreeSet<String> =
        table.map(|(code, _)| code.to_owned()).filter(|code| is_code(code)).collect();
    let missing: Vec<_> = known.difference(&in_table).collect();
    assert!(missing.is_empty(), "not in docs/API.md: {missing:?}");
}

/// By a validator that others use too.
#[test]
fn the_document_is_valid() {
    let validator = in_repository(".venv/bin/openapi-spec-validator");
    let document = in_repository("src/http/openapi.json");
    let Ok(ran) = Command::new(&validator).arg(document).output() else {
        left_out(&format!(
            "the API document is not validated; {validator} is not there, run `make venv`"
        ));
        return;
    };
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success() && said.contains("OK"), "{said}");
}

#[test]
fn the_program_prints_the_document() {
    let printed = visavis(&["openapi"]);
    assert_eq!((printed.code, printed.err.as_str()), (0, ""));
    assert_eq!(printed.json(), document());
    assert_eq!(printed.json()["info"]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(printed.json()["openapi"], "3.1.0");
}
