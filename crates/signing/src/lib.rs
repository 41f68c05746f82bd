//! Bytes in, verdict out: the gateway's signatures and encryption without any HTTP types.
//!
//! ```text
//! content   = METHOD SP URI LF Client-Id "." time "." body        (exact bytes of the wire)
//! signature = RSASSA-PKCS1-v1_5 with SHA-256 over content         (key pair)
//!           | HMAC-SHA-256 over content                           (access key and secret key)
//! header    = algorithm=RSA256, signature=<base64, percent-encoded>
//! body      = base64(AES-ECB-PKCS7(key, JSON)), key wrapped with RSAES-PKCS1-v1_5 in
//!             algorithm=RSA_AES, symmetricKey=<base64, percent-encoded>
//! ```
//!
//! A request is signed by the client and verified with the client's public key; a response is
//! signed with the server key that belongs to that client alone. All RSA with private keys, and
//! every check of a signature, is aws-lc-rs; only the digest in a refused signature is read without
//! it. The `rsa` crate leaks private keys through timing (RUSTSEC-2023-0071) and serves as an
//! independent check in tests only.

mod canonical;
mod credentials;
mod der;
pub mod endpoints;
mod error;
mod freshness;
mod header;
mod keys;
mod repeated;
mod secret;
mod signed_digest;
mod symmetric;
mod weak;

pub use canonical::Content;
pub use credentials::Credentials;
pub use der::{bare_base64, key_der};
pub use error::SigningError;
pub use freshness::{Freshness, format_time, parse_time};
pub use header::{
    EncryptHeader, HeaderBytes, SignatureHeader, encrypt_header, lenient_base64, mac_header,
    parse_mac, random_bytes, signature_header,
};
pub use keys::{ClientKey, ServerKey};
pub use secret::SecretKey;
pub use symmetric::SymmetricKey;
