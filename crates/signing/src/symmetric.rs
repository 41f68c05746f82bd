//! The AES key of one exchange, and bodies under it.
//!
//! AES-ECB with PKCS#7 padding and no integrity of its own is the vendor's form, so it is read and
//! written here and used for nothing else. What protects a body is the signature over its
//! ciphertext, and TLS.

use aws_lc_rs::{
    cipher::{
        AES_128, AES_192, AES_256, Algorithm, DecryptionContext, PaddedBlockDecryptingKey,
        PaddedBlockEncryptingKey, UnboundCipherKey,
    },
    rand,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

use crate::{error::SigningError, header::lenient_base64};

/// An AES key of 16, 24 or 32 bytes.
#[derive(Clone)]
pub struct SymmetricKey(Zeroizing<Vec<u8>>);

impl std::fmt::Debug for SymmetricKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SymmetricKey")
    }
}

impl SymmetricKey {
    /// Takes a key.
    ///
    /// # Errors
    /// [`SigningError::Key`] when it does not have 16, 24 or 32 bytes.
    pub(crate) fn new(bytes: &[u8]) -> Result<Self, SigningError> {
        let key = Self(Zeroizing::new(bytes.to_vec()));
        key.algorithm().map(|_| key)
    }

    /// Draws a key of `bytes` bytes.
    ///
    /// # Errors
    /// [`SigningError::Key`] as [`new`](Self::new), [`SigningError::Failed`] without random
    /// numbers.
    pub fn random(bytes: usize) -> Result<Self, SigningError> {
        let mut drawn = Zeroizing::new(vec![0; bytes]);
        rand::fill(&mut drawn).map_err(|_| SigningError::Failed)?;
        Self::new(&drawn)
    }

    /// The key itself: secret.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> Result<&'static Algorithm, SigningError> {
        match self.0.len() {
            16 => Ok(&AES_128),
            24 => Ok(&AES_192),
            32 => Ok(&AES_256),
            _ => Err(SigningError::Key),
        }
    }

    fn unbound(&self) -> Result<UnboundCipherKey, SigningError> {
        UnboundCipherKey::new(self.algorithm()?, &self.0).map_err(|_| SigningError::Failed)
    }

    /// A body as it goes on the wire: base64 on one line.
    ///
    /// # Errors
    /// [`SigningError::Failed`].
    pub fn encrypt(&self, body: &[u8]) -> Result<String, SigningError> {
        let key = PaddedBlockEncryptingKey::ecb_pkcs7(self.unbound()?);
        let key = key.map_err(|_| SigningError::Failed)?;
        let mut in_out = body.to_vec();
        key.encrypt(&mut in_out).map_err(|_| SigningError::Failed)?;
        Ok(STANDARD.encode(in_out))
    }

    /// Reads a body from the wire; line breaks in the base64 are ignored.
    ///
    /// # Errors
    /// [`SigningError::Undecryptable`], whatever is wrong with it.
    pub fn decrypt(&self, body: &[u8]) -> Result<Vec<u8>, SigningError> {
        let mut in_out = lenient_base64(body).ok_or(SigningError::Undecryptable)?;
        let key = PaddedBlockDecryptingKey::ecb_pkcs7(self.unbound()?);
        let key = key.map_err(|_| SigningError::Failed)?;
        let plain = key.decrypt(&mut in_out, DecryptionContext::None);
        let length = plain.map_err(|_| SigningError::Undecryptable)?.len();
        in_out.truncate(length);
        Ok(in_out)
    }
}

#[cfg(test)]
mod tests {
    use aes::{
        Aes128, Aes192, Aes256,
        cipher::{BlockCipherEncrypt as _, KeyInit},
    };
    use proptest::prelude::*;

    use super::*;

    /// ECB and PKCS#7 by an independent implementation of AES.
    fn independent(key: &[u8], body: &[u8]) -> String {
        let padding = 16 - body.len() % 16;
        let mut blocks = body.to_vec();
        blocks.resize(body.len() + padding, u8::try_from(padding).unwrap());
        for block in blocks.chunks_exact_mut(16) {
            let block = block.try_into().unwrap();
            match key.len() {
                16 => Aes128::new_from_slice(key).unwrap().encrypt_block(block),
                24 => Aes192::new_from_slice(key).unwrap().encrypt_block(block),
                _ => Aes256::new_from_slice(key).unwrap().encrypt_block(block),
            }
        }
        STANDARD.encode(blocks)
    }

    #[test]
    fn a_key_has_one_of_the_three_lengths() {
        for length in 0..70 {
            let made = SymmetricKey::new(&vec![7; length]);
            assert_eq!(made.is_ok(), [16, 24, 32].contains(&length), "{length}");
        }
    }

    #[test]
    fn what_does_not_decrypt_is_one_error() {
        let key = SymmetricKey::random(32).unwrap();
        let whole = key.encrypt(b"{}").unwrap();
        let other = SymmetricKey::random(32).unwrap().encrypt(b"{}").unwrap();
        for body in ["", "{}", "AAAA", &whole[..8], &other, "no base64!"] {
            let error = key.decrypt(body.as_bytes()).err();
            // A wrong key makes a valid padding once in 255 times; then the text is not JSON.
            assert!(error.is_none() || error == Some(SigningError::Undecryptable), "{body}");
            assert_ne!(key.decrypt(body.as_bytes()).as_deref(), Ok(&b"{}"[..]), "{body}");
        }
    }

    #[test]
    fn line_breaks_in_the_base64_are_ignored() {
        let key = SymmetricKey::new(&[7; 16]).unwrap();
        let body = vec![b'x'; 200];
        let wire = key.encrypt(&body).unwrap();
        let lines: Vec<&str> =
            wire.as_bytes().chunks(76).map(|c| std::str::from_utf8(c).unwrap()).collect();
        assert_eq!(key.decrypt((lines.join("\n") + "\n").as_bytes()).unwrap(), body);
        assert_eq!(key.decrypt(lines.join("\r\n ").as_bytes()).unwrap(), body);
    }

    proptest! {
        #[test]
        fn it_is_ecb_with_pkcs7_as_another_implementation_has_it(
            length in prop::sample::select(vec![16_usize, 24, 32]),
            body in prop::collection::vec(any::<u8>(), 0..100),
        ) {
            let key = SymmetricKey::random(length).unwrap();
            let wire = key.encrypt(&body).unwrap();
            prop_assert_eq!(&wire, &independent(key.as_bytes(), &body));
            prop_assert_eq!(key.decrypt(wire.as_bytes()), Ok(body));
        }
    }
}
