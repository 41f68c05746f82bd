//! A wrapped key and a body under it.
#![no_main]

use std::sync::LazyLock;

use visavis_signing::ServerKey;

static KEY: LazyLock<ServerKey> = LazyLock::new(|| ServerKey::generate().expect("a key"));

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    visavis::http::fuzzing::encrypted(&KEY, data);
});
