//! A body in clear, read by every endpoint.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    visavis::http::fuzzing::json(data);
});
