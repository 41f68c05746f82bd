//! An image: its format detected, its size checked, decoded within the limits.
#![no_main]

use visavis_face::{DecodeLimits, decode::{decode, decode_reduced}};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let limits = DecodeLimits { max_pixels: 1 << 20, ..DecodeLimits::default() };
    if let Ok(picture) = decode(data, &limits) {
        assert!(u64::from(picture.width()) * u64::from(picture.height()) <= limits.max_pixels);
    }
    if let Ok(few) = decode_reduced(data, &limits, 20) {
        let expected = (few.size.0.div_ceil(few.reduction), few.size.1.div_ceil(few.reduction));
        assert_eq!(few.image.dimensions(), expected);
    }
});
