//! The client's side of the protocol, for `call`: keys from a file, requests signed, answers verified.
//!
//! Written against the documents and not against the server's own types, so that it notices when the
//! server drifts from them.

use std::{fs, io::Write as _, os::unix::fs::OpenOptionsExt as _, path::Path, time::Duration};

use anyhow::{Context as _, Result, anyhow, bail};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    clock::Clock,
    signing::{ClientKey, Content, ServerKey, SignatureHeader, format_time, signature_header},
};

/// What an app needs to call, as `client add --json` prints it. All keys are bare base64 DER.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Credentials {
    /// The Client-Id header.
    pub(super) client_id: String,
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

impl Credentials {
    pub(super) fn read(path: &Path) -> Result<Self> {
        let text = Zeroizing::new(
            fs::read_to_string(path)
                .with_context(|| format!("{} cannot be read", path.display()))?,
        );
        serde_json::from_str(&text).with_context(|| {
            format!("{} is not what `visavis client add --json` prints", path.display())
        })
    }

    /// Writes the file for its owner alone, and never over another one.
    pub(super) fn write_new(&self, path: &Path) -> Result<()> {
        let text = Zeroizing::new(serde_json::to_string_pretty(self)?);
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .with_context(|| format!("{} cannot be made", path.display()))?;
        file.write_all(text.as_bytes())?;
        Ok(file.sync_all()?)
    }
}

/// A signed exchange with a server.
pub(super) struct WireClient {
    url: String,
    client_id: String,
    key: ServerKey,
    server: ClientKey,
    agent: ureq::Agent,
}

/// An answer whose signature holds.
pub(super) struct Verified {
    pub(super) head: String,
    pub(super) body: String,
}

impl WireClient {
    /// `url` is scheme, host and port.
    pub(super) fn new(url: &str, credentials: &Credentials, timeout: Duration) -> Result<Self> {
        let private = credentials.merchant_private_key.as_deref();
        let private = private.context("the client file has no merchantPrivateKey to sign with")?;
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(timeout))
            .http_status_as_error(false)
            .build()
            .new_agent();
        Ok(Self {
            url: url.trim_end_matches('/').to_owned(),
            client_id: credentials.client_id.clone(),
            key: ServerKey::from_text(private).context("merchantPrivateKey")?,
            server: ClientKey::from_text(&credentials.server_public_key)
                .context("serverPublicKey")?,
            agent,
        })
    }

    /// The head of a signed request to `path`, as it goes out.
    pub(super) fn sign(&self, path: &str, body: &str) -> Result<Vec<(&'static str, String)>> {
        let time = format_time(Clock::System.now_utc());
        let content =
            Content { uri: path, client_id: &self.client_id, time: &time, body: body.as_bytes() };
        let signature = signature_header(&self.key.sign(&content)?);
        Ok(vec![
            ("Client-Id", self.client_id.clone()),
            ("Request-Time", time),
            ("Content-Type", "application/json; charset=UTF-8".to_owned()),
            ("Signature", signature),
        ])
    }

    /// Sends a signed request and verifies the answer.
    pub(super) fn send(
        &self,
        path: &str,
        head: &[(&'static str, String)],
        body: &str,
    ) -> Result<Verified> {
        let url = format!("{}{path}", self.url);
        let mut request = self.agent.post(&url);
        for (name, value) in head {
            request = request.header(*name, value);
        }
        let mut response = request.send(body).with_context(|| format!("{url} does not answer"))?;
        let status = response.status();
        let text = response.body_mut().read_to_string().context("the answer is not text")?;
        if status != 200 {
            bail!("{url} answered HTTP {status}, which the API never does; is a proxy in between?");
        }
        let header = |name: &str| -> Result<&str> {
            let value = response
                .headers()
                .get(name)
                .ok_or_else(|| anyhow!("the answer has no {name} header"))?;
            Ok(value.to_str()?)
        };
        let time = header("Response-Time")?;
        let signature = SignatureHeader::parse(header("Signature")?)?.signature;
        let content =
            Content { uri: path, client_id: &self.client_id, time, body: text.as_bytes() };
        self.server.verify(&content, &signature).map_err(|_| {
            anyhow!("the answer's signature does not verify with serverPublicKey:\n{text}")
        })?;
        let shown = ["Content-Type", "Response-Time", "Signature"];
        let lines: Vec<String> = shown
            .iter()
            .filter_map(|name| {
                Some(format!("{name}: {}", response.headers().get(*name)?.to_str().ok()?))
            })
            .collect();
        Ok(Verified { head: format!("HTTP/1.1 200 OK\n{}", lines.join("\n")), body: text })
    }
}
