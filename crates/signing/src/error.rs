//! What can be wrong with a signature, a key or a time.

/// A failed check; the variants say whose fault it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SigningError {
    /// A Signature or Encrypt header does not follow the grammar.
    #[error("the header is not of the form algorithm=NAME, signature=VALUE")]
    Header,
    /// The header names an algorithm other than the one that exists.
    #[error("the header names an unknown algorithm")]
    Algorithm,
    /// The signature is not by this key over this content.
    #[error("the signature does not verify")]
    Mismatch,
    /// The time is not of a form that is read here.
    #[error("the time is not of the form 2026-01-31T12:00:00+0000")]
    Time,
    /// The time is outside the window.
    #[error("the time is too far from the server's clock")]
    Stale {
        /// How far it is behind the server's clock, milliseconds; negative if it is ahead.
        behind_ms: i64,
        /// The window, milliseconds to either side.
        window_ms: i64,
    },
    /// The body does not decrypt under this key.
    #[error("the body does not decrypt")]
    Undecryptable,
    /// No RSA key of 2048 to 8192 bits in PKCS#1, PKCS#8 or SPKI form, no AES key, no secret key.
    #[error("not an RSA key of 2048 to 8192 bits as PEM or base64")]
    Key,
    /// A public key whose signatures an attacker can forge.
    #[error(
        "the key is not safe, {0}: make a new pair of 2048 bits or more with the exponent 65537"
    )]
    Weak(&'static str),
    /// The crypto library failed.
    #[error("signing failed")]
    Failed,
}
