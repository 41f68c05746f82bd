//! What a signature was made over: the public key opens it, and in it is the digest of the text.
//!
//! Only for messages about a request that is refused. Nothing here is secret, and nothing is
//! accepted because of it.

use crypto_bigint::{
    BoxedUint, Odd,
    modular::{BoxedMontyForm, BoxedMontyParams},
};

/// Bytes of a SHA-256 digest.
const DIGEST_BYTES: usize = 32;
/// `DigestInfo` of SHA-256, before the digest (RFC 8017, section 9.2).
const SHA_256: [u8; 19] = [
    0x30, 0x31, 0x30, 0x0D, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05,
    0x00, 0x04, 0x20,
];

/// The digest inside of an RSASSA-PKCS1-v1_5 signature; `None` if it is not by the private half of
/// this key, or with another hash function, or not exactly as long as the modulus (RFC 8017, 8.2.2:
/// one signature in 256 begins with a zero, which is part of it). Modulus and exponent are
/// big-endian and begin with no zero, as in a key that was read: so the exponent is short.
pub(super) fn signed_digest(
    modulus: &[u8],
    exponent: &[u8],
    signature: &[u8],
) -> Option<[u8; DIGEST_BYTES]> {
    if signature.len() != modulus.len() {
        return None;
    }
    let modulus = BoxedUint::from_be_slice_vartime(modulus);
    let bits = modulus.bits_precision();
    let signature = BoxedUint::from_be_slice(signature, bits).ok()?;
    if signature >= modulus {
        return None;
    }
    let params = BoxedMontyParams::new_vartime(Option::from(Odd::new(modulus))?);
    let exponent = BoxedUint::from_be_slice_vartime(exponent);
    let opened = BoxedMontyForm::new(signature, &params).pow(&exponent).retrieve().to_be_bytes();
    let opened = &opened[opened.iter().position(|byte| *byte != 0)?..];
    let padded = opened.strip_prefix(&[0x01])?;
    let digest_info = &padded[padded.iter().position(|byte| *byte != 0xFF)?..];
    digest_info.strip_prefix(&[0x00])?.strip_prefix(&SHA_256)?.try_into().ok()
}
