//! A whole service in memory: real router, real store in a folder of its own, real signatures, a
//! clock that stands still, and the fake engine.

use std::{
    num::NonZeroU32,
    sync::{Arc, OnceLock},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{HeaderMap, Request},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use rsa::{
    Pkcs1v15Sign, PublicKey,
    pkcs8::DecodePublicKey as _,
    sha2::{Digest as _, Sha256},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt as _;
use visavis::{
    clients::{
        AuditEntry, AuditFilter, ClientChange, ClientPolicy, ClientRegistry, ClientStore, Clients,
        NewClient, NewKeys,
    },
    clock::{Clock, MockClock},
    compare::{ClientFmr, DecodeLimits, Fmr, FmrSettings, Policy, SeveralFaces},
    db::SqliteDb,
    gate::GateConfig,
    http::{AppState, CompareBackend, GatewayConfig, gateway},
    queue::{QueueAdmission, QueueLimits, RetryPolicy, Shard, Shards, Store},
    sealing::MasterKey,
    worker::{ComputePool, EngineFactory, LocalComparer, Runner, RunnerConfig},
};
use visavis_face::{
    Engine,
    calibration::{Calibration, CalibrationTable, Population},
};
use visavis_signing::{ClientKey, Content, Freshness, ServerKey, format_time, signature_header};

use super::{AesKey, FakeEngine, Picture, assert_javascript_form};

/// 2026-01-01T00:00:00Z
const NOW: i64 = 1_767_225_600_000;

/// The merchant's key pair; making one costs too much to do it for every test.
pub fn merchant() -> &'static ServerKey {
    static KEY: OnceLock<ServerKey> = OnceLock::new();
    KEY.get_or_init(|| ServerKey::generate().unwrap())
}

/// The server's key for every client of a test.
pub fn server_key() -> &'static ServerKey {
    static KEY: OnceLock<ServerKey> = OnceLock::new();
    KEY.get_or_init(|| ServerKey::generate().unwrap())
}

/// A service for one test.
pub struct TestApp {
    pub router: Router,
    pub state: AppState,
    pub store: Store,
    pub clients: ClientStore,
    pub runner: Runner,
    pub pool: ComputePool,
    pub clock: MockClock,
    pub folder: TempDir,
    pub db: SqliteDb,
    time: Clock,
}

/// A response whose signature was verified by an independent implementation.
#[derive(Debug, Clone)]
pub struct Answer {
    pub headers: HeaderMap,
    pub text: String,
    pub json: Value,
}

impl Answer {
    pub fn code(&self) -> &str {
        self.json["result"]["resultCode"].as_str().unwrap()
    }

    pub fn message(&self) -> &str {
        self.json["result"]["resultMessage"].as_str().unwrap()
    }

    pub fn transaction_id(&self) -> String {
        self.json["transactionId"].as_str().unwrap().to_owned()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The response in clear, decrypted with the key that was sent, as old clients do it.
    pub fn opened(&self, key: &AesKey) -> Self {
        assert_eq!(self.header("content-type"), Some("text/plain; charset=UTF-8"), "{}", self.text);
        let text = key.decrypt(&self.text);
        assert_javascript_form(&text);
        let json = serde_json::from_str(&text).unwrap();
        Self { headers: self.headers.clone(), text, json }
    }

    /// The body with the transaction id made the same for all.
    pub fn masked(&self) -> String {
        self.text.replace(&self.transaction_id(), "TXN")
    }

    /// Verifies the response as a client would, with the `rsa` crate, which shares nothing with the
    /// server.
    pub fn verify(&self, uri: &str, client_id: &str, key: &ServerKey) {
        let header = |name: &str| self.headers.get(name).unwrap().to_str().unwrap();
        let signature = header("signature").strip_prefix("algorithm=RSA256, signature=").unwrap();
        let signature = signature.replace("%2B", "+").replace("%2F", "/").replace("%3D", "=");
        let signature = STANDARD.decode(signature).unwrap();
        let content = format!("POST {uri}\n{client_id}.{}.{}", header("response-time"), self.text);
        let key = PublicKey::from_public_key_der(&key.spki_der().unwrap()).unwrap();
        let digest = Sha256::digest(content.as_bytes());
        key.verify(Pkcs1v15Sign::new::<Sha256>(), &digest, &signature).unwrap_or_else(|_| {
            panic!("the signature does not verify over {uri} for {client_id}: {}", self.text)
        });
    }
}

/// The raw secret key of every client of a test.
pub const SECRET: [u8; 32] = [7; 32];

/// The client that every [`TestApp`] knows.
pub const CLIENT: &str = "2188000000000001";

impl TestApp {
    pub async fn new() -> Self {
        Self::with(|_| ()).await
    }

    /// A service with a changed configuration.
    pub async fn with(change: impl FnOnce(&mut GatewayConfig)) -> Self {
        Self::in_folder(tempfile::tempdir().unwrap(), change).await
    }

    /// The same with its data in a folder of the caller's choice.
    pub async fn in_folder(folder: TempDir, change: impl FnOnce(&mut GatewayConfig)) -> Self {
        let (time, clock) = Clock::mock(NOW);
        let db = SqliteDb::open(&folder.path().join("visavis.db")).await.unwrap();
        let key = MasterKey::random().unwrap();
        let store = Store::new(db.clone(), key.clone(), time.clone());
        let clients = ClientStore::new(db.clone(), key, time.clone());
        let factory: EngineFactory = Arc::new(|| Ok(Box::new(FakeEngine) as Box<dyn Engine>));
        let pool = ComputePool::start(2, &factory, &policy()).unwrap();
        let shard = Shard::new(0, store.clone());
        let wake = Arc::clone(shard.wake.here());
        let config = RunnerConfig {
            retry: RetryPolicy { max_attempts: 3, first_delay: Duration::from_millis(100) },
            ..RunnerConfig::default()
        };
        let runner = Runner::new(store.clone(), pool.clone(), config, wake);
        let gate = GateConfig {
            body_limit: 1 << 20,
            body_budget: 8 << 20,
            body_deadline: Duration::from_secs(2),
            body_least_rate: 0,
            freshness: Freshness::seconds(900),
            decrypt_failures: 10,
            client_rate: None,
            client_burst: NonZeroU32::MIN,
            signature_failures: 0,
            trusted_proxies: Vec::new(),
            dedupe: true,
            queue: QueueLimits { jobs: 100, bytes: 1 << 20, client_share: 0.25 },
        };
        let mut gateway_config = GatewayConfig {
            gate,
            compare_timeout: Duration::from_secs(5),
            pictures: DecodeLimits::default(),
            fmr: FmrSettings::new(Fmr::new(1e-5).unwrap(), None),
            several_faces: SeveralFaces::default(),
        };
        change(&mut gateway_config);
        add_client(&clients, CLIENT, "app").await;
        let registry = Arc::new(ClientRegistry::open(clients.clone()).await.unwrap());
        let comparison = CompareBackend::Local(LocalComparer::new(pool.clone(), 8));
        let shards = Shards::new(vec![shard], 1);
        let state = AppState::new(registry, shards, comparison, time.clone(), gateway_config);
        state.set_ready(true);
        Self {
            router: gateway(state.clone()),
            state,
            store,
            clients,
            runner,
            pool,
            clock,
            folder,
            db,
            time,
        }
    }

    /// Whether another job fits into the queue.
    pub fn admission(&self) -> &QueueAdmission {
        &self.state.shards.iter().next().unwrap().admission
    }

    /// The present in the form of Request-Time.
    pub fn now(&self) -> String {
        format_time(self.time.now_utc())
    }

    /// A correctly signed request of [`CLIENT`].
    pub fn signed(&self, path: &str, body: &str) -> Request<Body> {
        self.signed_at(path, body, &self.now())
    }

    /// The same with a Request-Time of its own.
    #[expect(clippy::unused_self, reason = "reads like its neighbours")]
    pub fn signed_at(&self, path: &str, body: &str, time: &str) -> Request<Body> {
        signed_as(CLIENT, path, body, time)
    }

    /// A correctly signed request with a body under `key`.
    pub fn encrypted(&self, path: &str, body: &str, key: &AesKey) -> Request<Body> {
        self.encrypted_as(path, &key.encrypt(body.as_bytes()), &key.header(server_key()))
    }

    /// A correctly signed request with this ciphertext and this Encrypt header.
    pub fn encrypted_as(&self, path: &str, ciphertext: &str, encrypt: &str) -> Request<Body> {
        let mut request = self.signed(path, ciphertext);
        let headers = request.headers_mut();
        headers.insert("content-type", "text/plain; charset=UTF-8".parse().unwrap());
        headers.insert("encrypt", encrypt.parse().unwrap());
        request
    }

    /// Signs, sends, and verifies the response.
    pub async fn post(&self, endpoint: &str, body: &Value) -> Answer {
        self.send(self.signed(&format!("/api/v1/zoloz/{endpoint}"), &body.to_string())).await
    }

    /// Sends a request as it is; the response must be signed for [`CLIENT`].
    pub async fn send(&self, request: Request<Body>) -> Answer {
        let path = request.uri().path().to_owned();
        let (answer, status) = self.send_raw(request).await;
        assert_eq!(status, 200, "{}", answer.text);
        answer.verify(&path.replace("//", "/"), CLIENT, server_key());
        answer
    }

    /// Sends a request and leaves the response's signature alone.
    pub async fn send_raw(&self, request: Request<Body>) -> (Answer, u16) {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let text = String::from_utf8(to_bytes(body, usize::MAX).await.unwrap().to_vec()).unwrap();
        let json = serde_json::from_str(&text).unwrap_or_default();
        if parts.headers.contains_key("signature") && !parts.headers.contains_key("encrypt") {
            assert_javascript_form(&text);
        }
        (Answer { headers: parts.headers, text, json }, parts.status.as_u16())
    }

    /// `asynccompare`, the jobs run, `asynccheckresult`.
    pub async fn compare_async(&self, probe: Picture, reference: Picture) -> Answer {
        let accepted = self.post("facecompare/asynccompare", &pair(probe, reference)).await;
        assert_eq!(accepted.code(), "PROCESSING", "{}", accepted.text);
        self.runner.run_until_idle().await;
        self.check(&accepted.transaction_id()).await
    }

    /// Changes what [`CLIENT`] gets.
    pub async fn change(&self, change: ClientChange) {
        self.clients.change(CLIENT, &change).await.unwrap();
    }

    /// Whether [`CLIENT`] gets fields beyond the documented ones.
    pub async fn set_extras(&self, extras: bool) {
        self.change(ClientChange { extras: Some(extras), ..Default::default() }).await;
    }

    /// `asynccheckresult`.
    pub async fn check(&self, transaction_id: &str) -> Answer {
        self.post("facecompare/asynccheckresult", &json!({ "transactionId": transaction_id })).await
    }
}

/// Registers a client with the shared keys.
pub async fn add_client(clients: &ClientStore, client_id: &str, name: &str) {
    let merchant_key = ClientKey::from_der(&merchant().spki_der().unwrap()).unwrap();
    let access_key = format!("AK{client_id}");
    let keys = NewKeys {
        merchant_key: &merchant_key,
        server_key: server_key(),
        access_key: &access_key,
        secret_key: &SECRET,
    };
    let new = NewClient {
        client_id,
        name,
        keys,
        extras: true,
        fmr: ClientFmr::default(),
        policy: ClientPolicy::default(),
    };
    clients.add(&new).await.unwrap();
}

/// The latest entries of an audit, newest first.
pub async fn audit_of(clients: &ClientStore) -> Vec<AuditEntry> {
    let clients = Clients::from(clients.clone());
    clients.audit(&AuditFilter::default(), None, 9).await.unwrap().entries
}

/// The body of a comparison.
pub fn pair(probe: Picture, reference: Picture) -> Value {
    let face = |picture: Picture| json!({ "content": STANDARD.encode(picture.bytes()) });
    json!({ "bizId": "biz-1", "face1": face(probe), "face2": face(reference) })
}

/// The calibration of the default pack, with a threshold of 80.
pub fn policy() -> Arc<Policy> {
    let knots = vec![(0.247, 1e-2), (0.348, 1e-3), (0.432, 1e-4), (0.508, 1e-5), (0.575, 1e-6)];
    let table = CalibrationTable { id: "test".to_owned(), knots, ..Default::default() };
    Arc::new(Policy::new(
        Calibration::new(&table, Population::Mixed).unwrap(),
        "fake",
        Fmr::new(1e-5).unwrap(),
    ))
}

/// A request that `client_id` signs with the merchant's key.
pub fn signed_as(client_id: &str, uri: &str, body: &str, time: &str) -> Request<Body> {
    Request::post(uri)
        .header("Client-Id", client_id)
        .header("Request-Time", time)
        .header("Content-Type", "application/json; charset=UTF-8")
        .header("Signature", signature_over(client_id, uri, body, time))
        .body(Body::from(body.to_owned()))
        .unwrap()
}

/// The Signature header of such a request.
pub fn signature_over(client_id: &str, uri: &str, body: &str, time: &str) -> String {
    let content = Content { uri, client_id, time, body: body.as_bytes() };
    signature_header(&merchant().sign(&content).unwrap())
}
