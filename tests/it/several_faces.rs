//! Photos of several people: what the response says, how `rect` selects one of them, and the policy
//! of a client.

use std::io::Cursor;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use image::{ImageFormat, Rgb, RgbImage, imageops};
use serde_json::{Value, json};
use visavis::{
    clients::{ClientChange, PolicyChange},
    compare::SeveralFaces,
};

use crate::{
    crash::server::{App, Data, Server},
    support::{Picture, Run as _, TestApp, models::sample_photo, pair, visavis, with_models},
};

/// Two people side by side: the second one at that scale, in percent.
fn side_by_side(percent: u32) -> RgbImage {
    let (one, other) = (sample_photo("obama-2012"), sample_photo("hopper"));
    let (width, height) = (one.width(), one.height());
    let (across, down) = (other.width() * percent / 100, other.height() * percent / 100);
    let other = imageops::resize(&other, across, down, imageops::FilterType::Triangle);
    let mut both = RgbImage::from_pixel(2 * width, height, Rgb([200, 205, 210]));
    imageops::replace(&mut both, &one, 0, 0);
    imageops::replace(&mut both, &other, i64::from(width) + 40, 60);
    both
}

fn base64(photo: &RgbImage) -> String {
    let mut bytes = Vec::new();
    photo.write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png).unwrap();
    STANDARD.encode(bytes)
}

/// The response to `compare` with a photo, `rect` on it, and another photo of the larger person.
fn compared(app: &App, server: &Server, photo: &str, rect: &Value) -> Value {
    let reference = base64(&sample_photo("obama-2009"));
    let face1 = json!({ "content": photo, "rect": rect });
    let biz_id = uuid::Uuid::new_v4().to_string();
    let body = json!({ "bizId": biz_id, "face1": face1, "face2": { "content": reference } });
    let response = app.call(server, "compare", &body);
    assert_eq!(response["result"]["resultCode"], "SUCCESS", "{response}");
    response
}

fn numbers(rect: &Value) -> Vec<u32> {
    rect.as_str().unwrap().split(',').map(|number| number.parse().unwrap()).collect()
}

fn has_reason(response: &Value) -> bool {
    response["face1ImageQualityReasons"].as_array().unwrap().contains(&json!("SEVERAL_FACES"))
}

#[test]
fn a_second_person_is_a_warning_or_a_failure_by_policy_and_rect_selects_one() {
    let data = Data::new();
    let app = App::register(&data);
    let server = Server::start(&data);
    // Its face has less than half of the area of the other one.
    let both = side_by_side(50);
    let photo = base64(&both);
    let found = compared(&app, &server, &photo, &Value::Null);
    assert_eq!((&found["face1Faces"], &found["face2Faces"]), (&json!(2), &json!(1)));
    let summary = (&found["samePerson"], &found["face1ImageQualityResult"], has_reason(&found));
    assert_eq!(summary, (&json!(true), &json!("PASS"), true), "{found}");
    let larger = numbers(&found["face1Box"]);
    assert!(larger[0] + larger[2] < both.width() / 2, "{larger:?}");

    let selected = compared(&app, &server, &photo, &found["face1Box"]);
    assert_eq!((&selected["face1Box"], has_reason(&selected)), (&found["face1Box"], false));
    let right = json!(format!("{},0,{},{}", both.width() / 2, both.width() / 2, both.height()));
    let other = compared(&app, &server, &photo, &right);
    assert_eq!((&other["samePerson"], has_reason(&other)), (&json!(false), false), "{other}");
    assert!(numbers(&other["face1Box"])[0] > both.width() / 2, "{other}");

    let set = |policy: &str| {
        let folder = data.folder().display().to_string();
        let policy = ["--several-faces", policy, "--data", &folder];
        visavis(&[&["client", "set", "app"], &policy[..]].concat())
    };
    assert!(set("refuse").out.contains("Several faces: refuse."));
    let listed = visavis(&["client", "list", "--json", "--data", data.folder().to_str().unwrap()]);
    assert_eq!(listed.json()[0]["severalFaces"], "refuse", "{}", listed.out);
    let refused = compared(&app, &server, &photo, &Value::Null);
    let summary = (&refused["samePerson"], &refused["face1ImageQualityResult"]);
    assert_eq!(summary, (&json!(false), &json!("FAIL")), "{refused}");
    assert_eq!(refused["face1ImageQualityReasons"][0], "SEVERAL_FACES", "failures come first");
    assert_eq!(refused["score"], found["score"]);
    let selected = compared(&app, &server, &photo, &found["face1Box"]);
    assert_eq!((&selected["samePerson"], has_reason(&selected)), (&json!(true), false));
    let whole = json!(format!("0,0,{},{}", both.width(), both.height()));
    assert_eq!(compared(&app, &server, &photo, &whole)["samePerson"], false, "it selects nobody");
    let ghost = compared(&app, &server, &base64(&side_by_side(35)), &Value::Null);
    assert_eq!((&ghost["face1Faces"], &ghost["samePerson"]), (&json!(2), &json!(true)), "{ghost}");
    assert!(set("default").out.contains("Several faces: compare.several_faces."));
    assert_eq!(compared(&app, &server, &photo, &Value::Null)["samePerson"], true);
    assert_eq!(set("smallest").code, 2);
}

#[test]
fn the_command_line_says_that_a_photo_shows_several_faces() {
    let folder = tempfile::tempdir().unwrap();
    let photo = folder.path().join("two.png");
    side_by_side(50).save(&photo).unwrap();
    let mut command = with_models();
    command.arg("compare").arg(&photo).arg(crate::support::in_repository("samples/obama-2009.jpg"));
    let warned = command.ran();
    assert!(warned.out.starts_with("SAME PERSON\n"), "{}", warned.out);
    assert!(warned.out.contains("  warning SEVERAL_FACES: other_face 0."), "{}", warned.out);
    let refused = command.env("VISAVIS_COMPARE_SEVERAL_FACES", "refuse").ran();
    let headline = "NO RELIABLE RESULT: photo 1 shows several faces\n";
    assert!(refused.code == 1 && refused.out.starts_with(headline), "{}", refused.out);
}

/// Workers apply what applied when the request was accepted, and so does a repetition.
#[tokio::test]
async fn the_policy_of_a_request_is_that_of_its_acceptance() {
    let app = TestApp::with(|config| config.several_faces = SeveralFaces::Refuse).await;
    let body = pair(Picture::Person(1), Picture::Group(1));
    let accepted = app.post("facecompare/asynccompare", &body).await;
    let policy =
        PolicyChange { several_faces: Some(Some(SeveralFaces::Largest)), ..Default::default() };
    app.change(ClientChange { policy, ..Default::default() }).await;
    app.runner.run_until_idle().await;
    let earlier = app.check(&accepted.transaction_id()).await.json;
    assert_eq!(earlier["face2ImageQualityReasons"], json!(["SEVERAL_FACES"]));
    let summary = (&earlier["face2ImageQualityResult"], &earlier["samePerson"]);
    assert_eq!(summary, (&json!("FAIL"), &json!(false)), "{earlier}");
    app.clock.advance(1_000);
    let later = app.post("facecompare/compare", &body).await.json;
    assert_eq!(later["face2ImageQualityReasons"], json!(["SEVERAL_FACES"]));
    let summary = (&later["face2ImageQualityResult"], &later["samePerson"]);
    assert_eq!(summary, (&json!("PASS"), &json!(true)), "{later}");
    assert_eq!((&later["face2Faces"], &later["face2Box"]), (&json!(2), &json!("100,100,150,180")));
    app.set_extras(false).await;
    app.clock.advance(1_000);
    let strict = app.post("facecompare/compare", &body).await.json;
    assert_eq!((&strict["face2Faces"], &strict["face2Box"]), (&Value::Null, &Value::Null));
}
