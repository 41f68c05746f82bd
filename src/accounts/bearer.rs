//! A secret that alone opens the console, the cookie of a session or the token: 256 random bits as
//! text. Only its digest is kept; so many random bits need no slow hash.

use aws_lc_rs::{
    digest::{SHA256, digest as hash},
    rand,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use super::error::AccountError;

/// SHA-256 of the text.
pub(crate) type BearerDigest = [u8; 32];

/// A new one.
///
/// # Errors
/// [`AccountError::Random`].
pub(crate) fn random_bearer() -> Result<Zeroizing<String>, AccountError> {
    let mut bytes = Zeroizing::new([0_u8; 32]);
    rand::fill(bytes.as_mut()).map_err(|_| AccountError::Random)?;
    Ok(Zeroizing::new(URL_SAFE_NO_PAD.encode(bytes.as_slice())))
}

/// What is kept of one.
pub(crate) fn bearer_digest(text: &str) -> BearerDigest {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(hash(&SHA256, text.as_bytes()).as_ref());
    bytes
}
