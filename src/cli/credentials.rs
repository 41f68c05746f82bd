//! The file with everything that an app needs to call.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use aws_lc_rs::rand;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    clients::NewKeys,
    signing::{ClientKey, ServerKey, bare_base64},
};

/// What an app needs to call, as `client add --json` prints it. All keys are bare base64 DER.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Credentials {
    /// The Client-Id header.
    pub(super) client_id: String,
    /// Which generation of keys these are.
    #[serde(default = "first")]
    pub(super) key_version: u32,
    /// PKCS#8; absent when the app keeps its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) merchant_private_key: Option<String>,
    /// SPKI.
    pub(super) merchant_public_key: String,
    /// SPKI.
    pub(super) server_public_key: String,
    /// For AK/SK mode.
    pub(super) access_key: String,
    /// For AK/SK mode, base64url.
    pub(super) secret_key: String,
}

fn first() -> u32 {
    1
}

impl Credentials {
    /// Reads the file.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let text = Zeroizing::new(
            fs::read_to_string(path)
                .with_context(|| format!("{} cannot be read", path.display()))?,
        );
        serde_json::from_str(&text).with_context(|| {
            format!("{} is not what `visavis client add --json` prints", path.display())
        })
    }
}

/// A file for credentials that its owner alone can read, never over another one. It is made before the
/// keys are stored, because afterwards nobody could show them again; it goes if they are not.
pub(super) struct NewFile {
    path: PathBuf,
    empty: Option<fs::File>,
}

impl NewFile {
    /// Makes it.
    pub(super) fn create(path: &Path) -> Result<Self> {
        let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let file = file.with_context(|| {
            format!("{} cannot be made; name a file that is not there yet", path.display())
        })?;
        Ok(Self { path: path.to_owned(), empty: Some(file) })
    }

    /// Fills it, and returns where it is.
    pub(super) fn fill(mut self, credentials: &Credentials) -> Result<PathBuf> {
        let text = Zeroizing::new(serde_json::to_string_pretty(credentials)?);
        if let Some(file) = &mut self.empty {
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
        }
        self.empty = None;
        Ok(self.path.clone())
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if self.empty.is_some() {
            // The reason why it was not filled is told; this one would only hide it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Keys that were made for a client, before they are stored.
#[expect(clippy::struct_field_names, reason = "the protocol's names")]
pub(super) struct MadeKeys {
    merchant_private_key: Option<String>,
    merchant_key: ClientKey,
    server_key: ServerKey,
    access_key: String,
    secret_key: Zeroizing<[u8; 32]>,
}

impl MadeKeys {
    /// Makes every key; the client's own pair only if its public key was not `given`.
    pub(super) fn make(given: Option<ClientKey>) -> Result<Self> {
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
    pub(super) fn to_store(&self) -> NewKeys<'_> {
        NewKeys {
            merchant_key: &self.merchant_key,
            server_key: &self.server_key,
            access_key: &self.access_key,
            secret_key: self.secret_key.as_slice(),
        }
    }

    /// The half that the app gets.
    pub(super) fn credentials(&self, client_id: String, key_version: u32) -> Result<Credentials> {
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

/// 16 digits, as the vendor's ids have.
pub(super) fn new_client_id() -> Result<String> {
    let number = u64::from_be_bytes(random::<8>()?) % 1_000_000_000_000;
    Ok(format!("2188{number:012}"))
}

fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).ok().context("no random numbers")?;
    Ok(bytes)
}
