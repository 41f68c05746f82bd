//! New keys for a client that is at work: both generations are valid for a while, each is served
//! in kind, and then the old one is reported that it is old.

use axum::{body::Body, http::Request};
use serde_json::json;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use visavis::{
    clients::{ClientStore, NewKeys},
    clock::Clock,
    db::{SqliteDb, without_idle_reaper},
    sealing::MasterKey,
};
use visavis_signing::{ClientKey, Content, ServerKey, signature_header};

use crate::support::{
    AesKey, Answer, CLIENT, SECRET, TestApp, header_of, mac, merchant, server_key,
};

const TEST: &str = "/api/v1/zoloz/authentication/test";
const DAY: i64 = 86_400_000;

/// The keys of both sides in one generation.
struct Generation {
    merchant: ServerKey,
    server: ServerKey,
    access_key: &'static str,
    secret: [u8; 32],
}

impl Generation {
    fn new(access_key: &'static str, secret: u8) -> Self {
        let (merchant, server) = (ServerKey::generate().unwrap(), ServerKey::generate().unwrap());
        Self { merchant, server, access_key, secret: [secret; 32] }
    }

    async fn rotate_in(&self, app: &TestApp, overlap_ms: i64) -> u32 {
        let merchant_key = ClientKey::from_der(&self.merchant.spki_der().unwrap()).unwrap();
        let keys = NewKeys {
            merchant_key: &merchant_key,
            server_key: &self.server,
            access_key: self.access_key,
            secret_key: &self.secret,
        };
        app.clients.rotate(CLIENT, &keys, overlap_ms).await.unwrap()
    }
}

/// A request with a key pair; `key_version` goes into the Signature header.
fn signed(app: &TestApp, key: &ServerKey, body: &str, key_version: &str) -> Request<Body> {
    let time = app.now();
    let content = Content { uri: TEST, client_id: CLIENT, time: &time, body: body.as_bytes() };
    let signature = signature_header(&key.sign(&content).unwrap());
    Request::post(TEST)
        .header("Client-Id", CLIENT)
        .header("Request-Time", &time)
        .header("Signature", signature.replace("RSA256,", &format!("RSA256,{key_version}")))
        .body(Body::from(body.to_owned()))
        .unwrap()
}

fn by_secret(app: &TestApp, access_key: &str, secret: &[u8]) -> Request<Body> {
    let time = app.now();
    Request::post(TEST)
        .header("Client-Id", CLIENT)
        .header("Request-Time", &time)
        .header("Auth-Type", "AKSK")
        .header("Access-Key", access_key)
        .header("Signature", mac(secret, &format!("POST {TEST}\n{CLIENT}.{time}.{{}}")))
        .body(Body::from("{}"))
        .unwrap()
}

async fn answered_by(app: &TestApp, request: Request<Body>, key: &ServerKey) -> Answer {
    let (answer, _) = app.send_raw(request).await;
    answer.verify(TEST, CLIENT, key);
    answer
}

#[tokio::test]
async fn both_generations_of_a_key_pair_are_good_during_the_overlap() {
    let app = TestApp::new().await;
    let new = Generation::new("AK2", 8);
    assert_eq!(new.rotate_in(&app, DAY).await, 2);
    for key_version in ["", " keyVersion=,", " keyVersion=v1,", " keyVersion=2,", " keyVersion=x,"]
    {
        let old =
            answered_by(&app, signed(&app, merchant(), "{}", key_version), server_key()).await;
        assert_eq!(old.code(), "SUCCESS", "{key_version}");
        let new =
            answered_by(&app, signed(&app, &new.merchant, "{}", key_version), &new.server).await;
        assert_eq!(new.code(), "SUCCESS", "{key_version}");
    }
}

#[tokio::test]
async fn after_the_overlap_the_old_key_is_not_tried_any_more() {
    let app = TestApp::new().await;
    let new = Generation::new("AK2", 8);
    new.rotate_in(&app, DAY).await;
    app.clock.advance(DAY - 1);
    let last = answered_by(&app, signed(&app, merchant(), "{}", ""), server_key()).await;
    assert_eq!(last.code(), "SUCCESS");
    app.clock.advance(1);
    let late = answered_by(&app, signed(&app, merchant(), "{}", ""), &new.server).await;
    assert_eq!(late.code(), "SIGNATURE_INVALID");
    assert!(late.message().contains("replaced"), "{}", late.text);
    let forged = signed(&app, &ServerKey::generate().unwrap(), "{}", "");
    let forged = answered_by(&app, forged, &new.server).await;
    assert_eq!(forged.code(), "SIGNATURE_INVALID");
    assert!(forged.message().contains("no key of this client made it"), "{}", forged.text);
    let good = answered_by(&app, signed(&app, &new.merchant, "{}", ""), &new.server).await;
    assert_eq!(good.code(), "SUCCESS");
}

#[tokio::test]
async fn without_an_overlap_the_old_key_ends_at_once() {
    let app = TestApp::new().await;
    let new = Generation::new("AK2", 8);
    new.rotate_in(&app, 0).await;
    let late = answered_by(&app, signed(&app, merchant(), "{}", ""), &new.server).await;
    assert_eq!(late.code(), "SIGNATURE_INVALID");
}

#[tokio::test]
async fn a_second_rotation_does_not_lengthen_the_life_of_the_oldest_key() {
    let app = TestApp::new().await;
    let (second, third) = (Generation::new("AK2", 8), Generation::new("AK3", 9));
    second.rotate_in(&app, DAY).await;
    assert_eq!(third.rotate_in(&app, 30 * DAY).await, 3);
    app.clock.advance(DAY);
    let first = answered_by(&app, signed(&app, merchant(), "{}", ""), &third.server).await;
    assert_eq!(first.code(), "SIGNATURE_INVALID");
    let second = answered_by(&app, signed(&app, &second.merchant, "{}", ""), &second.server).await;
    assert_eq!(second.code(), "SUCCESS");
}

#[tokio::test]
async fn an_aes_key_is_unwrapped_with_the_generation_that_signed() {
    let app = TestApp::new().await;
    let new = Generation::new("AK2", 8);
    new.rotate_in(&app, DAY).await;
    let key = AesKey(vec![5; 32]);
    let body = key.encrypt(json!({ "title": "hello" }).to_string().as_bytes());
    for (own, server) in [(merchant(), server_key()), (&new.merchant, &new.server)] {
        let mut request = signed(&app, own, &body, "");
        request.headers_mut().insert("encrypt", key.header(server).parse().unwrap());
        let answer = answered_by(&app, request, server).await;
        assert_eq!(AesKey::of_header(answer.header("encrypt").unwrap(), own), key);
        assert_eq!(answer.opened(&key).json["title"], "hello");
    }
    let mut crossed = signed(&app, merchant(), &body, "");
    let wrapped = header_of(&key.wrapped(&new.server));
    crossed.headers_mut().insert("encrypt", wrapped.parse().unwrap());
    let answer = answered_by(&app, crossed, server_key()).await;
    let random = AesKey::of_header(answer.header("encrypt").unwrap(), merchant());
    assert_ne!(random, key, "the first generation's key does not unwrap it");
    assert_eq!(answer.opened(&random).code(), "MSG_PARSE_ERROR");
}

#[tokio::test]
async fn the_same_public_key_again_is_refused_while_the_old_keys_stay_good() {
    let app = TestApp::new().await;
    let mut again = Generation::new("AK2", 8);
    again.merchant = ServerKey::from_pkcs8(merchant().pkcs8_der()).unwrap();
    let merchant_key = ClientKey::from_der(&merchant().spki_der().unwrap()).unwrap();
    let keys = NewKeys {
        merchant_key: &merchant_key,
        server_key: &again.server,
        access_key: "AK2",
        secret_key: &SECRET,
    };
    let refused = app.clients.rotate(CLIENT, &keys, DAY).await.unwrap_err().to_string();
    assert!(refused.contains("--overlap 0"), "{refused}");
    let old = answered_by(&app, signed(&app, merchant(), "{}", ""), server_key()).await;
    assert_eq!(old.code(), "SUCCESS", "nothing has changed");
    assert_eq!(again.rotate_in(&app, 0).await, 2);
    let new = answered_by(&app, signed(&app, merchant(), "{}", ""), &again.server).await;
    assert_eq!(new.code(), "SUCCESS");
}

#[tokio::test]
async fn the_access_key_says_which_secret_is_meant() {
    let app = TestApp::new().await;
    let new = Generation::new("AK2", 8);
    new.rotate_in(&app, DAY).await;
    let old = format!("AK{CLIENT}");
    for (access_key, secret) in [(old.as_str(), SECRET), ("AK2", [8; 32])] {
        let (answer, _) = app.send_raw(by_secret(&app, access_key, &secret)).await;
        let time = answer.header("response-time").unwrap();
        let content = format!("POST {TEST}\n{CLIENT}.{time}.{}", answer.text);
        assert_eq!(answer.header("signature").unwrap(), mac(&secret, &content));
        assert_eq!(answer.code(), "SUCCESS");
    }
    let (crossed, _) = app.send_raw(by_secret(&app, "AK2", &SECRET)).await;
    assert_eq!(crossed.code(), "SIGNATURE_INVALID");
    app.clock.advance(DAY);
    let (late, _) = app.send_raw(by_secret(&app, &old, &SECRET)).await;
    assert_eq!(late.code(), "KEY_NOT_FOUND");
}

/// The schema as it was before clients had several keys, with a client in it.
#[tokio::test]
async fn a_client_that_was_changed_in_the_database_gets_system_errors_and_one_line_in_the_log() {
    let (log, _hearing) = crate::log::hear();
    let app = TestApp::new().await;
    let swap = sqlx::query("UPDATE client_key SET merchant_key = $1 WHERE client_id = $2");
    let other = ServerKey::generate().unwrap();
    swap.bind(other.spki_der().unwrap()).bind(CLIENT).execute(&app.db.writer).await.unwrap();
    for key in [&other, merchant(), &other] {
        let (answer, _) = app.send_raw(signed(&app, key, "{}", "")).await;
        assert_eq!(answer.code(), "SYSTEM_ERROR");
    }
    let reported = format!(
        "message=\"client row was changed outside of Visavis: restore it from a backup or rotate \
         its keys\" client={CLIENT}"
    );
    assert_eq!(log.text().matches(&reported).count(), 1, "{}", log.text());
    assert_eq!(log.text().matches(" level=error ").count(), 1, "{}", log.text());
}

#[tokio::test]
async fn clients_of_the_first_schema_keep_their_keys() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("visavis.db");
    let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    let pool = without_idle_reaper(SqlitePoolOptions::new())
        .max_connections(1)
        .connect_with(options)
        .await
        .unwrap();
    let migrations = crate::support::in_repository("migrations/sqlite");
    let migrator = sqlx::migrate::Migrator::new(std::path::Path::new(&migrations)).await.unwrap();
    let first = sqlx::migrate::Migrator::with_migrations(
        migrator.iter().filter(|m| m.version <= 2).cloned().collect(),
    );
    first.run(&pool).await.unwrap();
    let key = MasterKey::random().unwrap();
    sqlx::query(
        "INSERT INTO client (client_id, name, merchant_key, server_key, access_key, secret_key, \
         extras,
             version, created_at, disabled_at)
         VALUES ('2188', 'old', $1, $2, 'AK1', $3, 0, 5, 17, 19)",
    )
    .bind(merchant().spki_der().unwrap())
    .bind(key.seal("server-key/2188", server_key().pkcs8_der()).unwrap())
    .bind(key.seal("client-secret/2188", &SECRET).unwrap())
    .execute(&pool)
    .await
    .unwrap();
    sqlx::query("INSERT INTO server_key (purpose, sealed, created_at) VALUES ('gateway', $1, 17)")
        .bind(key.seal("server-key/gateway", server_key().pkcs8_der()).unwrap())
        .execute(&pool)
        .await
        .unwrap();
    pool.close().await;

    let db = SqliteDb::open(&path).await.unwrap();
    let clients = ClientStore::new(db, key, Clock::System);
    clients.check_master_key().await.unwrap();
    let client = clients.get("2188").await.unwrap().unwrap();
    assert_eq!((client.revision, client.extras, client.disabled), (5, false, true));
    let [keys] = &client.keys[..] else { panic!("one generation") };
    assert_eq!(keys.server_key.pkcs8_der(), server_key().pkcs8_der());
    assert_eq!(keys.merchant_key.spki_der(), merchant().spki_der().unwrap());
    assert_eq!((keys.version, keys.access_key.as_str(), keys.expires_at), (1, "AK1", None));
    assert_eq!(keys.secret_key.as_bytes(), SECRET);
    let listed = clients.list().await.unwrap();
    assert_eq!((listed[0].created_at, listed[0].disabled_at), (17, Some(19)));
}
