//! A picture: its format told, its sizes checked, decoded within the limits.
#![no_main]

use visavis::face::decode::{DecodeLimits, decode};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let limits = DecodeLimits { max_pixels: 1 << 20, ..DecodeLimits::default() };
    if let Ok(picture) = decode(data, &limits) {
        assert!(u64::from(picture.width()) * u64::from(picture.height()) <= limits.max_pixels);
    }
});
