//! A request's path, headers and body, up to the verdict on its signature.
#![no_main]

use std::sync::{Arc, LazyLock};

use visavis::{
    clients::{Caller, ClientPolicy, KeySet, StoredClient},
    compare::ClientFmr,
};
use visavis_signing::{ClientKey, SecretKey, ServerKey};

static CALLER: LazyLock<Arc<Caller>> = LazyLock::new(|| {
    let server_key = ServerKey::generate().expect("a key");
    let merchant = ServerKey::generate().and_then(|key| key.spki_der()).expect("a key");
    let keys = KeySet {
        version: 1,
        merchant_key: ClientKey::from_der(&merchant).expect("a key"),
        server_key,
        access_key: "AK".to_owned(),
        secret_key: SecretKey::new(&[7; 32]),
        expires_at: None,
    };
    let client = StoredClient {
        name: "app".to_owned(),
        revision: 1,
        keys: vec![Arc::new(keys)],
        extras: true,
        fmr: ClientFmr::default(),
        policy: ClientPolicy::default(),
        disabled: false,
    };
    Arc::new(Caller { client_id: "2188".to_owned(), shard: 0, client })
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    visavis::http::fuzzing::request(&CALLER, data);
});
