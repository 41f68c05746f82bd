//! RSA keys: what the client sends us to register, and what we make for the client.

use aws_lc_rs::{
    encoding::{AsDer as _, Pkcs8V1Der, PublicKeyX509Der},
    rand::SystemRandom,
    rsa::{KeySize, PublicEncryptingKey},
    signature::{
        KeyPair as _, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair,
    },
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

use super::{canonical::Content, error::SigningError};

/// A client's public key: verifies requests.
#[derive(Clone)]
pub struct ClientKey {
    parsed: ParsedPublicKey,
    spki: Vec<u8>,
}

impl std::fmt::Debug for ClientKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClientKey")
    }
}

impl ClientKey {
    /// Reads an RSA public key of 2048 to 8192 bits: SPKI or PKCS#1, as PEM or bare base64.
    ///
    /// # Errors
    /// [`SigningError::Key`].
    pub fn from_text(text: &str) -> Result<Self, SigningError> {
        Self::from_der(&key_der(text)?)
    }

    /// The same from DER.
    ///
    /// # Errors
    /// [`SigningError::Key`].
    pub fn from_der(der: &[u8]) -> Result<Self, SigningError> {
        let spki = if PublicEncryptingKey::from_der(der).is_ok() {
            der.to_vec()
        } else {
            spki_of_pkcs1(der)
        };
        PublicEncryptingKey::from_der(&spki).map_err(|_| SigningError::Key)?;
        let parsed = ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &spki)
            .map_err(|_| SigningError::Key)?;
        Ok(Self { parsed, spki })
    }

    /// `SubjectPublicKeyInfo` DER.
    pub fn spki_der(&self) -> &[u8] {
        &self.spki
    }

    /// Checks a signature over `content`.
    ///
    /// # Errors
    /// [`SigningError::Mismatch`].
    pub fn verify(&self, content: &Content<'_>, signature: &[u8]) -> Result<(), SigningError> {
        self.parsed
            .verify_digest_sig(&content.digest(), signature)
            .map_err(|_| SigningError::Mismatch)
    }
}

/// A private RSA key of ours: signs answers to one client.
pub struct ServerKey {
    pair: RsaKeyPair,
    pkcs8: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for ServerKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ServerKey")
    }
}

impl ServerKey {
    /// Makes a new 2048-bit key; takes some tenths of a second.
    ///
    /// # Errors
    /// [`SigningError::Failed`].
    pub fn generate() -> Result<Self, SigningError> {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).map_err(|_| SigningError::Failed)?;
        let der = pair.as_der().map_err(|_| SigningError::Failed)?;
        let der: &Pkcs8V1Der<'_> = &der;
        let pkcs8 = Zeroizing::new(der.as_ref().to_vec());
        Ok(Self { pair, pkcs8 })
    }

    /// Reads a PKCS#8 key.
    ///
    /// # Errors
    /// [`SigningError::Key`].
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, SigningError> {
        let pair = RsaKeyPair::from_pkcs8(der).map_err(|_| SigningError::Key)?;
        Ok(Self { pair, pkcs8: Zeroizing::new(der.to_vec()) })
    }

    /// Reads a private key as a person keeps it: PKCS#8, PEM or bare base64.
    ///
    /// # Errors
    /// [`SigningError::Key`].
    pub fn from_text(text: &str) -> Result<Self, SigningError> {
        Self::from_pkcs8(&key_der(text)?)
    }

    /// PKCS#8 DER: secret.
    pub fn pkcs8_der(&self) -> &[u8] {
        &self.pkcs8
    }

    /// The public half, `SubjectPublicKeyInfo` DER.
    ///
    /// # Errors
    /// [`SigningError::Failed`].
    pub fn spki_der(&self) -> Result<Vec<u8>, SigningError> {
        let der = self.pair.public_key().as_der().map_err(|_| SigningError::Failed)?;
        let der: &PublicKeyX509Der<'_> = &der;
        Ok(der.as_ref().to_vec())
    }

    /// Signs `content`: 256 bytes for a 2048-bit key.
    ///
    /// # Errors
    /// [`SigningError::Failed`].
    pub fn sign(&self, content: &Content<'_>) -> Result<Vec<u8>, SigningError> {
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), &content.to_bytes(), &mut signature)
            .map_err(|_| SigningError::Failed)?;
        Ok(signature)
    }
}

/// DER of a key given as PEM (any label) or as bare base64, white space and line breaks ignored.
///
/// # Errors
/// [`SigningError::Key`].
pub fn key_der(text: &str) -> Result<Zeroizing<Vec<u8>>, SigningError> {
    let body: Zeroizing<String> = Zeroizing::new(
        text.lines()
            .filter(|line| !line.trim_start().starts_with("-----"))
            .flat_map(str::chars)
            .filter(|c| !c.is_whitespace())
            .collect(),
    );
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
fn spki_of_pkcs1(pkcs1: &[u8]) -> Vec<u8> {
    /// `SEQUENCE { OID 1.2.840.113549.1.1.1, NULL }`
    const ALGORITHM: [u8; 15] =
        [0x30, 0x0D, 0x06, 0x09, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x01, 0x05, 0x00];
    let bits = [&[0_u8], pkcs1].concat();
    let body = [&ALGORITHM[..], &tagged(0x03, &bits)].concat();
    tagged(0x30, &body)
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

#[cfg(test)]
mod tests {
    use super::*;

    const CONTENT: Content<'static> = Content {
        uri: "/api/v1/x",
        client_id: "2188",
        time: "2026-01-01T00:00:00+0000",
        body: b"{}",
    };

    #[test]
    fn a_signature_verifies_with_the_public_half_and_nothing_else() {
        let key = ServerKey::generate().unwrap();
        let signature = key.sign(&CONTENT).unwrap();
        let public = ClientKey::from_der(&key.spki_der().unwrap()).unwrap();
        assert_eq!(public.verify(&CONTENT, &signature), Ok(()));
        let other = Content { body: b"{ }", ..CONTENT };
        assert_eq!(public.verify(&other, &signature), Err(SigningError::Mismatch));
        assert_eq!(public.verify(&CONTENT, &signature[1..]), Err(SigningError::Mismatch));
        let stranger = ServerKey::generate().unwrap();
        let stranger = ClientKey::from_der(&stranger.spki_der().unwrap()).unwrap();
        assert_eq!(stranger.verify(&CONTENT, &signature), Err(SigningError::Mismatch));
    }

    #[test]
    fn a_public_key_is_read_in_every_form_that_people_keep() {
        let spki = ServerKey::generate().unwrap().spki_der().unwrap();
        let base64 = bare_base64(&spki);
        let lines: Vec<&str> =
            base64.as_bytes().chunks(64).map(|c| std::str::from_utf8(c).unwrap()).collect();
        let pem = format!(
            "-----BEGIN PUBLIC KEY-----\r\n{}\r\n-----END PUBLIC KEY-----\n",
            lines.join("\r\n")
        );
        let pkcs1 = bare_base64(&spki[24..]);
        for text in [&base64, &pem, &pkcs1, &lines.join("\n")] {
            assert_eq!(ClientKey::from_text(text).unwrap().spki_der(), spki);
        }
        for text in ["", "hello", "AAAA", &base64[..100], "-----BEGIN PUBLIC KEY-----"] {
            assert_eq!(ClientKey::from_text(text).err(), Some(SigningError::Key), "{text}");
        }
    }

    #[test]
    fn debug_output_shows_no_key() {
        let key = ServerKey::generate().unwrap();
        assert_eq!(format!("{key:?}"), "ServerKey");
    }
}
