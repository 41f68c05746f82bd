//! A secret that alone proves something, such as the cookie of a session, the token of the console
//! or the `state` of a login at a provider: 256 random bits as text. If it is kept, only its digest
//! is; so many random bits need no slow hash.

use aws_lc_rs::{
    digest::{SHA256, digest as hash},
    rand,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

/// The random number generator failed.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("no random numbers")]
pub(crate) struct NoRandomNumbers;

/// SHA-256 of the text.
pub(crate) type BearerDigest = [u8; 32];

/// A new one.
///
/// # Errors
/// [`NoRandomNumbers`].
pub(crate) fn random_bearer() -> Result<Zeroizing<String>, NoRandomNumbers> {
    let mut bytes = Zeroizing::new([0_u8; 32]);
    rand::fill(bytes.as_mut()).map_err(|_| NoRandomNumbers)?;
    Ok(Zeroizing::new(URL_SAFE_NO_PAD.encode(bytes.as_slice())))
}

/// What is kept of one.
pub(crate) fn bearer_digest(text: &str) -> BearerDigest {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(hash(&SHA256, text.as_bytes()).as_ref());
    bytes
}
