//! Logins at an `OpenID` provider: the authorization code flow with PKCE (`OpenID` Connect Core
//! 1.0, RFC 6749, RFC 7636, RFC 9207).
//!
//! ```text
//! browser ─ authorization_url ─► provider ─ code ─► browser ─► log_in ─► token, keys, user info
//! ```
//!
//! All functions block: they are for threads that may wait.

mod claims;
mod error;
mod id_token;
mod metadata;
mod provider;

pub(crate) use claims::Identity;
pub use error::OidcError;
pub(crate) use metadata::is_safe_url;
pub(crate) use provider::{LoginAttempt, Returned};
pub use provider::{Provider, ProviderSettings};
