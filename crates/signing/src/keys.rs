//! RSA keys: what the client sends us to register, and what we make for the client.

use aws_lc_rs::{
    digest::Digest,
    encoding::{AsDer as _, Pkcs8V1Der, PublicKeyX509Der},
    hmac,
    rsa::{
        KeySize, Pkcs1PrivateDecryptingKey, Pkcs1PublicEncryptingKey, PrivateDecryptingKey,
        PublicEncryptingKey,
    },
    signature::{
        KeyPair as _, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair,
    },
};
use zeroize::Zeroizing;

use crate::{
    canonical::Content,
    der::{key_der, modulus_of_pkcs8, numbers_of_spki, spki_of_pkcs1},
    error::SigningError,
    repeated::Repeated,
    signed_digest::signed_digest,
    symmetric::SymmetricKey,
    weak,
};

/// A public key: verifies the other side's messages, and wraps AES keys for it.
pub struct ClientKey {
    parsed: ParsedPublicKey,
    encrypting: Pkcs1PublicEncryptingKey,
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
        let encrypting = PublicEncryptingKey::from_der(&spki).map_err(|_| SigningError::Key)?;
        let encrypting =
            Pkcs1PublicEncryptingKey::new(encrypting).map_err(|_| SigningError::Key)?;
        let parsed = ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &spki)
            .map_err(|_| SigningError::Key)?;
        Ok(Self { parsed, encrypting, spki })
    }

    /// `SubjectPublicKeyInfo` DER.
    pub fn spki_der(&self) -> &[u8] {
        &self.spki
    }

    /// Checks a key before it is registered: keys whose signatures an attacker can forge are
    /// refused.
    ///
    /// # Errors
    /// [`SigningError::Weak`].
    pub fn check_strength(&self) -> Result<(), SigningError> {
        let (modulus, exponent) = numbers_of_spki(&self.spki).ok_or(SigningError::Key)?;
        weak::check(modulus, exponent)
    }

    /// Whether it is the public half of a private key in PKCS#8.
    pub fn is_half_of(&self, pkcs8: &[u8]) -> bool {
        let own = numbers_of_spki(&self.spki).map(|(modulus, _)| modulus);
        own.is_some() && own == modulus_of_pkcs8(pkcs8)
    }

    /// Checks a signature over `content`.
    ///
    /// # Errors
    /// [`SigningError::Mismatch`].
    pub fn verify(&self, content: &Content<'_>, signature: &[u8]) -> Result<(), SigningError> {
        self.verify_digest(&content.digest(), signature)
    }

    /// The same for content that was hashed before, so that several keys can be tried on one body.
    ///
    /// # Errors
    /// [`SigningError::Mismatch`].
    pub fn verify_digest(&self, digest: &Digest, signature: &[u8]) -> Result<(), SigningError> {
        self.parsed.verify_digest_sig(digest, signature).map_err(|_| SigningError::Mismatch)
    }

    /// SHA-256 of the text that a signature was made over, if it is by the owner of this key. For
    /// messages about a request that is refused: nothing is proven by it.
    pub fn signed_digest(&self, signature: &[u8]) -> Option<[u8; 32]> {
        let (modulus, exponent) = numbers_of_spki(&self.spki)?;
        signed_digest(modulus, exponent, signature)
    }

    /// Bytes of a signature by this key.
    pub fn signature_bytes(&self) -> usize {
        self.encrypting.ciphertext_size()
    }

    /// Wraps an AES key for the owner of this key: RSAES-PKCS1-v1_5.
    ///
    /// # Errors
    /// [`SigningError::Failed`].
    pub fn wrap_key(&self, key: &SymmetricKey) -> Result<Vec<u8>, SigningError> {
        let mut wrapped = vec![0; self.encrypting.ciphertext_size()];
        self.encrypting.encrypt(key.as_bytes(), &mut wrapped).map_err(|_| SigningError::Failed)?;
        Ok(wrapped)
    }
}

/// A private RSA key of the server: signs responses to one client and unwraps its AES keys.
pub struct ServerKey {
    pair: RsaKeyPair,
    decrypting: Pkcs1PrivateDecryptingKey,
    pkcs8: Zeroizing<Vec<u8>>,
    signed: Repeated,
    /// Makes the keys that take the place of those that do not unwrap.
    rejecting: hmac::Key,
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
        Self::from_pair(RsaKeyPair::generate(KeySize::Rsa2048).map_err(|_| SigningError::Failed)?)
    }

    fn from_pair(pair: RsaKeyPair) -> Result<Self, SigningError> {
        let der = pair.as_der().map_err(|_| SigningError::Failed)?;
        let der: &Pkcs8V1Der<'_> = &der;
        let pkcs8 = Zeroizing::new(der.as_ref().to_vec());
        let decrypting = PrivateDecryptingKey::from_pkcs8(&pkcs8).map_err(|_| SigningError::Key)?;
        let decrypting =
            Pkcs1PrivateDecryptingKey::new(decrypting).map_err(|_| SigningError::Key)?;
        let rejecting = hmac::Key::new(hmac::HMAC_SHA256, &pkcs8);
        Ok(Self { pair, decrypting, pkcs8, signed: Repeated::default(), rejecting })
    }

    /// Reads a PKCS#8 key.
    ///
    /// # Errors
    /// [`SigningError::Key`].
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, SigningError> {
        Self::from_pair(RsaKeyPair::from_pkcs8(der).map_err(|_| SigningError::Key)?)
    }

    /// Reads a private key as a person keeps it: PKCS#8 or PKCS#1, PEM or bare base64.
    ///
    /// # Errors
    /// [`SigningError::Key`].
    pub fn from_text(text: &str) -> Result<Self, SigningError> {
        let der = key_der(text)?;
        let pair = RsaKeyPair::from_pkcs8(&der).or_else(|_| RsaKeyPair::from_der(&der));
        Self::from_pair(pair.map_err(|_| SigningError::Key)?)
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
        let digest = content.digest();
        self.signed.or_sign(&digest, || {
            let mut signature = vec![0; self.pair.public_modulus_len()];
            self.pair
                .sign_digest(&RSA_PKCS1_SHA256, &digest, &mut signature)
                .map_err(|_| SigningError::Failed)?;
            Ok(signature)
        })
    }

    /// Unwraps an AES key. It never fails: what is wrongly padded or has no AES key's length gives
    /// another key instead (implicit rejection), under which the body then decrypts to noise like
    /// any other garbage. Whether the padding was right is what Bleichenbacher's attack asks, and
    /// the Encrypt header is outside the signed text, so an attacker can send any.
    ///
    /// The other key is always the same for one wrapped key: the response is encrypted under it, so
    /// one that differed from request to request would reveal that the padding was wrong.
    ///
    /// # Errors
    /// [`SigningError::Failed`] never, as long as a digest has the length of an AES key.
    pub fn unwrap_key(&self, wrapped: &[u8]) -> Result<SymmetricKey, SigningError> {
        // Made before, so that it costs the same whether it is needed or not.
        let rejected = SymmetricKey::new(hmac::sign(&self.rejecting, wrapped).as_ref())?;
        let mut plain = Zeroizing::new(vec![0; self.decrypting.min_output_size()]);
        let unwrapped = self.decrypting.decrypt(wrapped, &mut plain);
        Ok(unwrapped.ok().and_then(|key| SymmetricKey::new(key).ok()).unwrap_or(rejected))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bare_base64;

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
        let other = ServerKey::generate().unwrap();
        let other = ClientKey::from_der(&other.spki_der().unwrap()).unwrap();
        assert_eq!(other.verify(&CONTENT, &signature), Err(SigningError::Mismatch));
    }

    #[test]
    fn a_signature_tells_with_the_public_half_what_it_was_made_over() {
        let key = ServerKey::generate().unwrap();
        let signature = key.sign(&CONTENT).unwrap();
        let public = ClientKey::from_der(&key.spki_der().unwrap()).unwrap();
        let signed = public.signed_digest(&signature).unwrap();
        assert_eq!(signed, CONTENT.digest().as_ref());
        let other = ServerKey::generate().unwrap();
        let other = ClientKey::from_der(&other.spki_der().unwrap()).unwrap();
        assert_eq!(other.signed_digest(&signature), None, "by another key");
        let mut broken = signature.clone();
        broken[9] ^= 1;
        for unsigned in [&broken[..], &signature[1..], &[0; 256], &[0xFF; 256], &[7; 1024], b""] {
            assert_eq!(public.signed_digest(unsigned), None);
        }
    }

    #[test]
    fn a_signature_without_the_zero_that_it_begins_with_is_none() {
        let key = ServerKey::generate().unwrap();
        let public = ClientKey::from_der(&key.spki_der().unwrap()).unwrap();
        let sign = |number: u32| {
            let body = number.to_string();
            let signature = key.sign(&Content { body: body.as_bytes(), ..CONTENT }).unwrap();
            (body, signature)
        };
        // About the 256th; that none is found has a probability of 1e-17.
        let (body, signature) =
            (0..10_000).map(sign).find(|(_, signature)| signature[0] == 0).unwrap();
        let content = Content { body: body.as_bytes(), ..CONTENT };
        assert_eq!(public.verify(&content, &signature), Ok(()));
        assert_eq!(public.signed_digest(&signature).unwrap(), content.digest().as_ref());
        for other in [signature[1..].to_vec(), [&[0], &signature[..]].concat()] {
            assert_eq!(public.verify(&content, &other), Err(SigningError::Mismatch));
            assert_eq!(public.signed_digest(&other), None, "{} bytes", other.len());
        }
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
        let one_line = format!("-----BEGIN PUBLIC KEY-----{base64}-----END PUBLIC KEY-----");
        let among_words = format!("Key of the app, 2048 bits\n{pem}\n{pem}");
        let pkcs1_pem = format!("-----BEGIN RSA PUBLIC KEY-----\n{pkcs1}\n-----END");
        let base64_of_pem = bare_base64(pem.as_bytes());
        for text in [
            &base64,
            &pem,
            &pkcs1,
            &lines.join("\n"),
            &one_line,
            &among_words,
            &pkcs1_pem,
            &base64_of_pem,
        ] {
            assert_eq!(ClientKey::from_text(text).unwrap().spki_der(), spki);
        }
        for text in ["", "hello", "AAAA", &base64[..100], "-----BEGIN PUBLIC KEY-----"] {
            assert_eq!(ClientKey::from_text(text).err(), Some(SigningError::Key), "{text}");
        }
    }

    #[test]
    fn a_public_key_knows_its_private_half() {
        let (one, other) = (ServerKey::generate().unwrap(), ServerKey::generate().unwrap());
        let public = ClientKey::from_der(&one.spki_der().unwrap()).unwrap();
        assert!(public.is_half_of(one.pkcs8_der()));
        assert!(!public.is_half_of(other.pkcs8_der()) && !public.is_half_of(b""));
    }

    #[test]
    fn a_weak_key_is_read_and_not_fit_to_be_registered() {
        let strong = ClientKey::from_der(&ServerKey::generate().unwrap().spki_der().unwrap());
        assert_eq!(strong.unwrap().check_strength(), Ok(()));
        // 0xC5C5…: 197 divides it.
        let weak = ClientKey::from_der(&public_of(2048)).unwrap();
        let refused = weak.check_strength().unwrap_err().to_string();
        assert!(
            refused.contains("a small prime divides its modulus: make a new pair"),
            "{refused}"
        );
    }

    /// `RSAPublicKey` of so many bits. No check can detect that the modulus is not a product of
    /// two primes.
    fn public_of(bits: usize) -> Vec<u8> {
        let value = |tag: u8, content: &[u8]| {
            let length = content.len().to_be_bytes();
            let digits = &length[length.iter().take_while(|b| **b == 0).count()..];
            let long = [0x80 | u8::try_from(digits.len()).unwrap()];
            let head = if content.len() < 0x80 { &[][..] } else { &long };
            [&[tag], head, digits, content].concat()
        };
        // The top bit is set, so a zero keeps the number from being negative.
        let modulus = [&[0][..], &vec![0xC5; bits / 8]].concat();
        value(0x30, &[value(0x02, &modulus), value(0x02, &[1, 0, 1])].concat())
    }

    #[test]
    fn a_key_has_2048_to_8192_bits_and_is_one_of_rsa() {
        for (bits, good) in
            [(1024, false), (2040, false), (2048, true), (4096, true), (8192, true), (8200, false)]
        {
            assert_eq!(ClientKey::from_der(&public_of(bits)).is_ok(), good, "{bits}");
        }
        let of_curve = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE3H9BjXT5kL2n5q/7/yyhJqqOzaQt\
                        j7/C2tlRDB/vNiv38bwDzUuLo13j6Dcleqc93gd8q65OoTwBq7x2IPn8Rg==";
        assert_eq!(ClientKey::from_text(of_curve).err(), Some(SigningError::Key));
        let private = bare_base64(ServerKey::generate().unwrap().pkcs8_der());
        assert_eq!(ClientKey::from_text(&private).err(), Some(SigningError::Key), "the other half");
    }

    #[test]
    fn a_private_key_is_read_in_every_form_that_people_keep() {
        let key = ServerKey::generate().unwrap();
        let pkcs8 = bare_base64(key.pkcs8_der());
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{pkcs8}\n-----END PRIVATE KEY-----\n");
        // The octet string in a PKCS#8 file of RSA is the PKCS#1 key.
        let pkcs1 = bare_base64(&key.pkcs8_der()[26..]);
        for text in [&pkcs8, &pem, &pkcs1, &bare_base64(pem.as_bytes())] {
            assert_eq!(ServerKey::from_text(text).unwrap().pkcs8_der(), key.pkcs8_der());
        }
    }

    #[test]
    fn a_wrapped_key_of_every_length_comes_back() {
        let server = ServerKey::generate().unwrap();
        let public = ClientKey::from_der(&server.spki_der().unwrap()).unwrap();
        for length in [16, 24, 32] {
            let key = SymmetricKey::random(length).unwrap();
            let wrapped = public.wrap_key(&key).unwrap();
            assert_eq!(server.unwrap_key(&wrapped).unwrap().as_bytes(), key.as_bytes());
        }
    }

    #[test]
    fn what_is_not_a_wrapped_key_gives_one_key_that_no_other_server_key_makes_of_it() {
        let server = ServerKey::generate().unwrap();
        let same = ServerKey::from_pkcs8(server.pkcs8_der()).unwrap();
        let other = ServerKey::generate().unwrap();
        let public = ClientKey::from_der(&server.spki_der().unwrap()).unwrap();
        let mut broken = public.wrap_key(&SymmetricKey::random(32).unwrap()).unwrap();
        broken[200] ^= 1;
        let mut short = vec![0; 256];
        public.encrypting.encrypt(&[7; 15], &mut short).unwrap();
        for wrapped in [&broken[..], &short, &[0xFF; 256], &[0; 256], b"", &[1; 1024]] {
            let key = |server: &ServerKey| server.unwrap_key(wrapped).unwrap().as_bytes().to_vec();
            // In any process that has the key: a client may reach several.
            assert_eq!(key(&server), key(&same));
            assert_ne!(key(&server), key(&other));
        }
    }

    #[test]
    fn debug_output_shows_no_key() {
        let key = ServerKey::generate().unwrap();
        assert_eq!(format!("{key:?}"), "ServerKey");
    }
}
