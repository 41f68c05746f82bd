//! The values of Signature, Encrypt and Request-Time, and keys as text.
#![no_main]

use visavis_signing::{
    EncryptHeader, SignatureHeader, encrypt_header, key_der, parse_mac, parse_time,
    signature_header,
};

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Ok(header) = SignatureHeader::parse(text) {
        let written = signature_header(&header.signature);
        let read = SignatureHeader::parse(&written).expect("what is written can be read");
        assert_eq!(read.signature[..], header.signature[..]);
    }
    if let Ok(header) = EncryptHeader::parse(text) {
        let written = encrypt_header(&header.wrapped_key);
        let read = EncryptHeader::parse(&written).expect("what is written can be read");
        assert_eq!(read.wrapped_key[..], header.wrapped_key[..]);
    }
    let _ = (parse_mac(text), parse_time(text), key_der(text));
});
