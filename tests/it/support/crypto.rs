//! The client's cryptography, by implementations that share nothing with the server: `rsa` for the
//! wrapped key, `aes` for the body, and HMAC written out.

use aes::{
    Aes128, Aes192, Aes256,
    cipher::{Block, BlockCipherDecrypt, BlockCipherEncrypt, KeyInit},
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use rsa::{
    PrivateKey, PublicKey,
    pkcs8::{DecodePrivateKey as _, DecodePublicKey as _},
    sha2::{Digest as _, Sha256},
};
use visavis_signing::ServerKey;

/// A public key in PKCS#1 with the modulus 2^2048 - 1, which 3 divides.
pub fn weak_key() -> Vec<u8> {
    let head = [0x30, 0x82, 0x01, 0x0A, 0x02, 0x82, 0x01, 0x01, 0x00];
    let exponent = [0x02, 0x03, 0x01, 0x00, 0x01];
    [&head[..], &[0xFF; 256], &exponent].concat()
}

/// The AES key of a client: 16, 24 or 32 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AesKey(pub Vec<u8>);

impl AesKey {
    /// The key in the Encrypt header, wrapped for the owner of `key`.
    pub fn header(&self, key: &ServerKey) -> String {
        header_of(&self.wrapped(key))
    }

    /// The key, wrapped for the owner of `key`.
    pub fn wrapped(&self, key: &ServerKey) -> Vec<u8> {
        let key = PublicKey::from_public_key_der(&key.spki_der().unwrap()).unwrap();
        key.pkcs1v15_encrypt(&self.0).unwrap()
    }

    /// The key that an Encrypt header holds for the owner of `key`.
    pub fn of_header(header: &str, key: &ServerKey) -> Self {
        let value = header.strip_prefix("algorithm=RSA_AES, symmetricKey=").unwrap();
        let value = value.replace("%2B", "+").replace("%2F", "/").replace("%3D", "=");
        let key = PrivateKey::from_pkcs8_der(key.pkcs8_der()).unwrap();
        Self(key.pkcs1v15_decrypt(&STANDARD.decode(value).unwrap()).unwrap())
    }

    /// ECB with PKCS#7, in base64.
    pub fn encrypt(&self, body: &[u8]) -> String {
        let padding = 16 - body.len() % 16;
        let mut blocks = body.to_vec();
        blocks.resize(body.len() + padding, u8::try_from(padding).unwrap());
        match self.0.len() {
            16 => ecb(&mut blocks, &Aes128::new_from_slice(&self.0).unwrap()),
            24 => ecb(&mut blocks, &Aes192::new_from_slice(&self.0).unwrap()),
            _ => ecb(&mut blocks, &Aes256::new_from_slice(&self.0).unwrap()),
        }
        STANDARD.encode(blocks)
    }

    /// The way back.
    pub fn decrypt(&self, body: &str) -> String {
        let mut blocks = STANDARD.decode(body).unwrap();
        match self.0.len() {
            16 => back(&mut blocks, &Aes128::new_from_slice(&self.0).unwrap()),
            24 => back(&mut blocks, &Aes192::new_from_slice(&self.0).unwrap()),
            _ => back(&mut blocks, &Aes256::new_from_slice(&self.0).unwrap()),
        }
        let padding = usize::from(*blocks.last().unwrap());
        assert!(
            (1..=16).contains(&padding)
                && blocks.ends_with(&vec![blocks[blocks.len() - 1]; padding])
        );
        blocks.truncate(blocks.len() - padding);
        String::from_utf8(blocks).unwrap()
    }
}

/// An Encrypt header around whatever bytes.
pub fn header_of(wrapped: &[u8]) -> String {
    let value = STANDARD.encode(wrapped);
    let value = value.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    format!("algorithm=RSA_AES, symmetricKey={value}")
}

fn ecb<C: BlockCipherEncrypt>(blocks: &mut [u8], cipher: &C) {
    for block in blocks.chunks_exact_mut(16) {
        let block: &mut Block<C> = block.try_into().unwrap();
        cipher.encrypt_block(block);
    }
}

fn back<C: BlockCipherDecrypt>(blocks: &mut [u8], cipher: &C) {
    for block in blocks.chunks_exact_mut(16) {
        let block: &mut Block<C> = block.try_into().unwrap();
        cipher.decrypt_block(block);
    }
}

/// The Signature header of AK/SK mode: RFC 2104 by the book, and the URL-safe alphabet without
/// padding.
pub fn mac(secret: &[u8], content: &str) -> String {
    assert!(secret.len() <= 64, "a longer key would be hashed first");
    let mut key = [0_u8; 64];
    key[..secret.len()].copy_from_slice(secret);
    let inner = Sha256::new().chain_update(key.map(|b| b ^ 0x36)).chain_update(content).finalize();
    let outer = Sha256::new().chain_update(key.map(|b| b ^ 0x5C)).chain_update(inner).finalize();
    URL_SAFE_NO_PAD.encode(outer)
}
