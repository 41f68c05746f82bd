//! The credentials of an app: generating its keys, and the file that it gets.

use aws_lc_rs::rand;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use visavis_signing::{ClientKey, Credentials, ServerKey, SigningError, bare_base64};
use zeroize::Zeroizing;

use super::keys::NewKeys;

/// Generated keys of a client, before they are stored.
#[expect(clippy::struct_field_names, reason = "the protocol's names")]
pub struct MadeKeys {
    merchant_private_key: Option<String>,
    merchant_key: ClientKey,
    server_key: ServerKey,
    access_key: String,
    secret_key: Zeroizing<[u8; 32]>,
}

impl std::fmt::Debug for MadeKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MadeKeys")
    }
}

impl MadeKeys {
    /// Generates all keys; the client's own pair only if its public key was not `given`.
    ///
    /// # Errors
    /// [`SigningError::Failed`] when there are no random numbers.
    pub(crate) fn make(given: Option<ClientKey>) -> Result<Self, SigningError> {
        let (merchant_private_key, merchant_key) = if let Some(key) = given {
            (None, key)
        } else {
            let key = ServerKey::generate()?;
            (Some(bare_base64(key.pkcs8_der())), ClientKey::from_der(&key.spki_der()?)?)
        };
        Ok(Self {
            merchant_private_key,
            merchant_key,
            server_key: ServerKey::generate()?,
            access_key: format!("AK{}", URL_SAFE_NO_PAD.encode(random::<12>()?)),
            secret_key: Zeroizing::new(random::<32>()?),
        })
    }

    /// The half that is stored.
    pub(crate) fn to_store(&self) -> NewKeys<'_> {
        NewKeys {
            merchant_key: &self.merchant_key,
            server_key: &self.server_key,
            access_key: &self.access_key,
            secret_key: self.secret_key.as_slice(),
        }
    }

    /// The half that the app gets.
    ///
    /// # Errors
    /// [`SigningError::Failed`] when the public half of a key cannot be written.
    pub(crate) fn credentials(
        &self,
        client_id: String,
        key_version: u32,
    ) -> Result<Credentials, SigningError> {
        Ok(Credentials {
            client_id,
            key_version,
            merchant_private_key: self.merchant_private_key.clone(),
            merchant_public_key: bare_base64(self.merchant_key.spki_der()),
            server_public_key: bare_base64(&self.server_key.spki_der()?),
            access_key: self.access_key.clone(),
            secret_key: URL_SAFE_NO_PAD.encode(self.secret_key.as_slice()),
        })
    }
}

/// Reserved name of the console's own client; not counted as a competitor for the queue.
pub const CONSOLE: &str = "console";

/// A Client-Id: 16 digits, as the cloud's ids have.
///
/// # Errors
/// [`SigningError::Failed`] when there are no random numbers.
pub fn new_client_id() -> Result<String, SigningError> {
    let number = u64::from_be_bytes(random::<8>()?) % 1_000_000_000_000;
    Ok(format!("2188{number:012}"))
}

fn random<const N: usize>() -> Result<[u8; N], SigningError> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(|_| SigningError::Failed)?;
    Ok(bytes)
}
