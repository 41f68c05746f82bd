//! AK/SK mode: HMAC-SHA256 under a secret that both sides hold.

use aws_lc_rs::hmac;
use base64::{
    Engine as _,
    engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD},
};
use zeroize::Zeroizing;

use crate::{canonical::Content, error::SigningError};

/// The secret key of one client.
#[derive(Clone)]
pub struct SecretKey {
    bytes: Zeroizing<Vec<u8>>,
    key: hmac::Key,
}

impl std::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretKey")
    }
}

impl SecretKey {
    /// Takes the raw bytes.
    pub fn new(bytes: &[u8]) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, bytes);
        Self { bytes: Zeroizing::new(bytes.to_vec()), key }
    }

    /// Reads a secret key as clients keep it: base64url, with or without padding.
    ///
    /// # Errors
    /// [`SigningError::Key`].
    pub fn from_text(text: &str) -> Result<Self, SigningError> {
        let text = text.trim();
        let bytes = URL_SAFE_NO_PAD.decode(text).or_else(|_| URL_SAFE.decode(text));
        let bytes = Zeroizing::new(bytes.map_err(|_| SigningError::Key)?);
        if bytes.is_empty() { Err(SigningError::Key) } else { Ok(Self::new(&bytes)) }
    }

    /// The raw bytes: secret.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Signs `content`: 32 bytes.
    pub fn sign(&self, content: &Content<'_>) -> [u8; 32] {
        self.sign_pieces(&content.pieces())
    }

    /// Signs any text, given in pieces.
    fn sign_pieces(&self, pieces: &[&[u8]]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        for piece in pieces {
            context.update(piece);
        }
        let mut mac = [0; 32];
        mac.copy_from_slice(context.sign().as_ref());
        mac
    }

    /// Whether a signature was made over this text, given in pieces. For messages about a request
    /// that is refused: one is accepted by [`verify`](Self::verify) alone.
    pub fn has_signed(&self, pieces: &[&[u8]], mac: &[u8]) -> bool {
        aws_lc_rs::constant_time::verify_slices_are_equal(&self.sign_pieces(pieces), mac).is_ok()
    }

    /// The key of a client that forgot to decode it: its text.
    #[must_use]
    pub fn undecoded(&self) -> Self {
        Self::new(URL_SAFE_NO_PAD.encode(&self.bytes).as_bytes())
    }

    /// Checks a signature over `content`, in a time that does not depend on where they differ.
    ///
    /// # Errors
    /// [`SigningError::Mismatch`].
    pub fn verify(&self, content: &Content<'_>, mac: &[u8]) -> Result<(), SigningError> {
        let has_signed = self.has_signed(&content.pieces(), mac);
        if has_signed { Ok(()) } else { Err(SigningError::Mismatch) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mac_header;

    const CONTENT: Content<'static> =
        Content { uri: "/api/v1/x", client_id: "1", time: "now", body: b"{}" };

    #[test]
    fn the_key_is_the_decoded_text_and_not_the_text() {
        let text = SecretKey::from_text("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY").unwrap();
        assert_eq!(text.as_bytes(), b"0123456789abcdef0123456789abcdef");
        assert_eq!(text.sign(&CONTENT), SecretKey::new(text.as_bytes()).sign(&CONTENT));
        assert_eq!(SecretKey::from_text("MDEyMw==").unwrap().as_bytes(), b"0123");
        for text in ["", " ", "a b", "+/"] {
            assert_eq!(SecretKey::from_text(text).err(), Some(SigningError::Key), "{text}");
        }
    }

    #[test]
    fn the_mac_is_the_one_that_openssl_makes() {
        // printf 'POST /api/v1/x\n1.now.{}' | openssl dgst -sha256 -hmac key -binary | base64
        let mac = SecretKey::new(b"key").sign(&CONTENT);
        assert_eq!(mac_header(&mac), "rdyOUySim7I6jmSfoUKMspOs1Q6XMCTgv_wsOj7Vz8I");
    }

    #[test]
    fn a_mac_verifies_for_its_content_and_key_alone() {
        let key = SecretKey::new(b"key");
        let mac = key.sign(&CONTENT);
        assert_eq!(key.verify(&CONTENT, &mac), Ok(()));
        let mismatch = Err(SigningError::Mismatch);
        assert_eq!(key.verify(&Content { body: b"{ }", ..CONTENT }, &mac), mismatch);
        assert_eq!(key.verify(&CONTENT, &mac[..31]), mismatch);
        for at in 0..32 {
            let mut other = mac;
            other[at] ^= 1;
            assert_eq!(key.verify(&CONTENT, &other), mismatch, "byte {at}");
        }
        assert_eq!(SecretKey::new(b"Key").verify(&CONTENT, &mac), mismatch);
    }
}
