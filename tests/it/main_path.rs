//! Two photos in over the signed API, a verdict out.

use crate::support::{Picture, TestApp, pair};

#[tokio::test]
async fn two_photos_of_one_person_are_accepted_compared_and_answered() {
    let app = TestApp::new().await;
    let answer = app.compare_async(Picture::Person(1), Picture::Person(1)).await;
    insta::assert_snapshot!(answer.text.replace(&answer.transaction_id(), "TXN"), @r#"{"result":{"resultCode":"SUCCESS","resultStatus":"S","resultMessage":"success"},"transactionId":"TXN","face1ImageQualityResult":"PASS","face2ImageQualityResult":"PASS","score":98.45,"samePerson":true,"face1ImageQualityReasons":[],"face2ImageQualityReasons":[],"face1ImageQualityScore":85,"face2ImageQualityScore":85,"threshold":80,"model":"fake","calibration":"test","face1Faces":1,"face2Faces":1,"face1Box":"100,100,150,180","face2Box":"100,100,150,180"}"#);
    assert_eq!(crate::support::payload_rows(app.db.clone()).await, 0);
}

#[tokio::test]
async fn two_people_are_told_apart_while_the_client_waits() {
    let app = TestApp::new().await;
    let answer =
        app.post("facecompare/compare", &pair(Picture::Person(1), Picture::Person(2))).await;
    assert_eq!(answer.json["samePerson"], false);
    let again = app.check(&answer.transaction_id()).await;
    assert_eq!(again.json["score"], answer.json["score"]);
}
