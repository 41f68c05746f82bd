//! Bytes in, verdict out: the gateway's signatures without any HTTP types.
//!
//! ```text
//! content   = METHOD SP URI LF Client-Id "." time "." body        (exact bytes of the wire)
//! signature = RSASSA-PKCS1-v1_5 with SHA-256 over content
//! header    = algorithm=RSA256, signature=<base64, percent-encoded>
//! ```
//!
//! A request is signed by the client and checked with the client's public key; an answer is signed
//! with the server key that belongs to that client alone. All RSA is aws-lc-rs: the `rsa` crate leaks
//! private keys through timing (RUSTSEC-2023-0071) and serves as an independent check in tests only.

mod canonical;
mod error;
mod freshness;
mod header;
mod keys;

pub use canonical::Content;
pub use error::SigningError;
pub use freshness::{Freshness, format_time, parse_time};
pub use header::{SignatureHeader, lenient_base64, signature_header, standard_alphabet};
pub use keys::{ClientKey, ServerKey, bare_base64, key_der};
