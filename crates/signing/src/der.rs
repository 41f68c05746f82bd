//! RSA keys as people keep them: PEM of any label, bare base64, or base64 of a PEM file.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

use crate::error::SigningError;

/// DER of a key given as PEM (any label), as bare base64, or as base64 of PEM, white space and line
/// breaks ignored. PEM may have lost its line breaks in a variable, and may have words around it as
/// tools write them.
///
/// # Errors
/// [`SigningError::Key`].
pub fn key_der(text: &str) -> Result<Zeroizing<Vec<u8>>, SigningError> {
    let decoded = base64_of(text)?;
    match std::str::from_utf8(&decoded) {
        Ok(pem) if pem.contains("-----BEGIN ") => base64_of(pem),
        _ => Ok(decoded),
    }
}

/// What the base64 in PEM, or the text itself, stands for.
fn base64_of(text: &str) -> Result<Zeroizing<Vec<u8>>, SigningError> {
    // Before the first dashes, the label between them, and what follows up to the next ones.
    let mut parts = text.split("-----");
    let bare = parts.next().unwrap_or_default();
    let base64 = parts.nth(1).unwrap_or(bare);
    let body: Zeroizing<String> =
        Zeroizing::new(base64.chars().filter(|c| !c.is_whitespace()).collect());
    if body.is_empty() {
        return Err(SigningError::Key);
    }
    STANDARD.decode(body.as_bytes()).map(Zeroizing::new).map_err(|_| SigningError::Key)
}

/// Base64 without line breaks, the form in which SDKs take keys.
pub fn bare_base64(der: &[u8]) -> String {
    STANDARD.encode(der)
}

/// Wraps a PKCS#1 `RSAPublicKey` into a `SubjectPublicKeyInfo` (RFC 3279, 2.3.1).
pub(super) fn spki_of_pkcs1(pkcs1: &[u8]) -> Vec<u8> {
    /// `SEQUENCE { OID 1.2.840.113549.1.1.1, NULL }`
    const ALGORITHM: [u8; 15] =
        [0x30, 0x0D, 0x06, 0x09, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x01, 0x05, 0x00];
    let bits = [&[0_u8], pkcs1].concat();
    let body = [&ALGORITHM[..], &tagged(BIT_STRING, &bits)].concat();
    tagged(SEQUENCE, &body)
}

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const SEQUENCE: u8 = 0x30;

/// Modulus and public exponent of an RSA `SubjectPublicKeyInfo`, big-endian and without leading
/// zeros.
pub(super) fn numbers_of_spki(spki: &[u8]) -> Option<(&[u8], &[u8])> {
    let (info, _) = element(spki, SEQUENCE)?;
    let (_, rest) = element(info, SEQUENCE)?;
    let (bits, _) = element(rest, BIT_STRING)?;
    let (key, _) = element(bits.strip_prefix(&[0])?, SEQUENCE)?;
    let (modulus, rest) = element(key, INTEGER)?;
    let (exponent, _) = element(rest, INTEGER)?;
    Some((without_zeros(modulus), without_zeros(exponent)))
}

/// The modulus of an RSA private key in PKCS#8, in the same form.
pub(super) fn modulus_of_pkcs8(pkcs8: &[u8]) -> Option<&[u8]> {
    let (info, _) = element(pkcs8, SEQUENCE)?;
    let (_version, rest) = element(info, INTEGER)?;
    let (_algorithm, rest) = element(rest, SEQUENCE)?;
    let (key, _) = element(rest, OCTET_STRING)?;
    let (key, _) = element(key, SEQUENCE)?;
    let (_version, rest) = element(key, INTEGER)?;
    let (modulus, _) = element(rest, INTEGER)?;
    Some(without_zeros(modulus))
}

fn without_zeros(number: &[u8]) -> &[u8] {
    &number[number.iter().take_while(|byte| **byte == 0).count()..]
}

/// The content of the element that begins `der` if it has this tag, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (first, rest) = der.split_first()?;
    let (length, rest) = rest.split_first()?;
    let (length, rest) = match *length {
        short @ 0..0x80 => (usize::from(short), rest),
        long => {
            let (digits, rest) = rest.split_at_checked(usize::from(long & 0x7F))?;
            let digits = (digits.len() <= size_of::<u32>()).then_some(digits)?;
            (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
        }
    };
    (*first == tag).then(|| rest.split_at_checked(length)).flatten()
}

fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let digits = &length[length.iter().take_while(|b| **b == 0).count()..];
    let mut der = vec![tag];
    match (content.len(), u8::try_from(digits.len())) {
        (0..0x80, _) => der.extend_from_slice(&length[length.len() - 1..]),
        (_, Ok(n)) => {
            der.push(0x80 | n);
            der.extend_from_slice(digits);
        }
        (_, Err(_)) => {}
    }
    der.extend_from_slice(content);
    der
}
