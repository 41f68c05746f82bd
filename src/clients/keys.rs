//! The keys between one client and this server, one set a rotation.

use visavis_signing::{ClientKey, SecretKey, ServerKey, SigningError};

use crate::clock::UnixMillis;

/// One generation of keys. Both halves of both modes belong together: what a client proves with a
/// set gets its response under the same set.
#[derive(Debug)]
pub struct KeySet {
    /// 1, 2, 3 …
    pub version: u32,
    /// The client's public key.
    pub merchant_key: ClientKey,
    /// Our private key for the client.
    pub server_key: ServerKey,
    /// AK/SK mode: the name of the secret.
    pub access_key: String,
    /// AK/SK mode: the secret.
    pub secret_key: SecretKey,
    /// When it expires; `None` for the newest.
    pub expires_at: Option<UnixMillis>,
}

impl KeySet {
    /// Whether it may be used at `now`.
    pub fn is_valid(&self, now: UnixMillis) -> bool {
        self.expires_at.is_none_or(|end| now < end)
    }

    /// Whether a `keyVersion` header names this set: `2` and `v2` name the second.
    pub(crate) fn has_version_name(&self, key_version: &str) -> bool {
        let number = key_version.strip_prefix(['v', 'V']).unwrap_or(key_version);
        number.parse() == Ok(self.version)
    }
}

/// New keys, before they are stored.
#[derive(Debug)]
pub struct NewKeys<'a> {
    /// The client's public key.
    pub merchant_key: &'a ClientKey,
    /// Our private key for the client.
    pub server_key: &'a ServerKey,
    /// AK/SK mode: the name of the secret.
    pub access_key: &'a str,
    /// AK/SK mode: the secret, raw bytes.
    pub secret_key: &'a [u8],
}

/// A stored set, its secret parts sealed.
pub(super) struct SealedKeys {
    pub(super) version: u32,
    pub(super) merchant_key: Vec<u8>,
    pub(super) server_key: Vec<u8>,
    pub(super) access_key: String,
    pub(super) secret_key: Vec<u8>,
    pub(super) expires_at: Option<UnixMillis>,
}

impl SealedKeys {
    /// Opens the set; `open` takes a label and what was sealed under it.
    pub(super) fn open<E: From<SigningError>>(
        self,
        client_id: &str,
        open: impl Fn(&str, &[u8]) -> Result<zeroize::Zeroizing<Vec<u8>>, E>,
    ) -> Result<KeySet, E> {
        let server_key = open(&server_key_label(client_id, self.version), &self.server_key)?;
        let secret_key = open(&secret_label(client_id, self.version), &self.secret_key)?;
        Ok(KeySet {
            version: self.version,
            merchant_key: ClientKey::from_der(&self.merchant_key)?,
            server_key: ServerKey::from_pkcs8(&server_key)?,
            access_key: self.access_key,
            secret_key: SecretKey::new(&secret_key),
            expires_at: self.expires_at,
        })
    }
}

/// The label that a server key is sealed under.
pub(super) fn server_key_label(owner: &str, version: u32) -> String {
    labelled("server-key", owner, version)
}

/// The label that a secret key is sealed under.
pub(super) fn secret_label(client_id: &str, version: u32) -> String {
    labelled("client-secret", client_id, version)
}

/// The first version was sealed before there were versions.
fn labelled(what: &str, owner: &str, version: u32) -> String {
    if version == 1 { format!("{what}/{owner}") } else { format!("{what}/{owner}/{version}") }
}
