//! Certificate and key: read, checked, and read again when the files change.

use std::{
    fs, io,
    net::Ipv4Addr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use axum_server::tls_rustls::RustlsConfig;
use rustls::{
    CertificateError, RootCertStore, ServerConfig,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier as _},
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _},
};
use zeroize::Zeroizing;

use super::pem;

/// Where certificate and key are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificate chain, PEM, the server's own first.
    pub certificate: PathBuf,
    /// Private key, PEM.
    pub key: PathBuf,
    /// How often to look whether they have changed.
    pub reload: Duration,
}

/// Why TLS cannot be spoken with these files.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or is not what it should be.
    #[error("{}: {reason}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The key is not the certificate's.
    #[error(
        "key {0} does not belong to certificate {1}: `openssl pkey -in {0} -pubout` and `openssl \
         x509 -in {1} -noout -pubkey` must print the same",
        key.display(),
        certificate.display()
    )]
    Mismatch {
        /// The certificate.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
    },
    /// The key or the certificate is of a kind that is not spoken.
    #[error("certificate {} and key {} cannot be used: \
             {source}", certificate.display(), key.display())]
    Unsupported {
        /// The certificate.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
        /// What the library says.
        source: rustls::Error,
    },
}

/// Whether clients will take a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fitness {
    /// It is the certificate of an authority, which is not for servers.
    pub(crate) is_ca: bool,
    /// When it expires, seconds since the epoch; `None` if it never does.
    pub(crate) not_after_s: Option<i64>,
    /// Whole days until it expires, negative afterwards; `None` if it never does.
    pub(crate) days_left: Option<i64>,
}

/// The end of the year 9999, which stands for no end in certificates.
const END_OF_TIME: Duration = Duration::from_secs(253_402_300_799);

fn wrong(path: &Path, reason: String) -> TlsError {
    TlsError::File { path: path.to_owned(), reason }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|e| wrong(path, format!("cannot be read: {e}")))
}

/// Whether a certificate was refused because it is that of an authority.
pub fn is_ca_as_server(error: &CertificateError) -> bool {
    // A type of another library, which rustls hides.
    let CertificateError::Other(other) = error else { return false };
    format!("{other:?}").contains("CaUsedAsEndEntity")
}

impl TlsFiles {
    /// Reads both files: TLS 1.2 and 1.3, HTTP/2 preferred.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn load(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let chain = self.chain()?;
        let bytes = Zeroizing::new(read(&self.key)?);
        let key = PrivateKeyDer::from_pem_slice(&bytes)
            .map_err(|e| wrong(&self.key, pem::wrong_key(&self.key, &bytes, &e.to_string())))?;
        let pair = |source| {
            let (certificate, key) = (self.certificate.clone(), self.key.clone());
            match source {
                rustls::Error::InconsistentKeys(_) => TlsError::Mismatch { certificate, key },
                source => TlsError::Unsupported { certificate, key, source },
            }
        };
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(pair)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(pair)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    fn chain(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let bytes = read(&self.certificate)?;
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
        let reason = match chain {
            Ok(chain) if !chain.is_empty() => return Ok(chain),
            Ok(_) => String::new(),
            Err(error) => error.to_string(),
        };
        let reason = pem::wrong_certificate(&self.certificate, &bytes, &reason);
        Err(wrong(&self.certificate, reason))
    }

    /// What clients will find wrong with the certificate, whichever authorities they trust.
    ///
    /// # Errors
    /// [`TlsError`] when it cannot be read.
    pub(crate) fn fitness(&self) -> Result<Fitness, TlsError> {
        let chain = self.chain()?;
        let failed = |e: String| wrong(&self.certificate, format!("cannot be verified: {e}"));
        let mut roots = RootCertStore::empty();
        // What is looked at is found before an authority is looked for.
        roots.add(chain[0].clone()).map_err(|e| failed(e.to_string()))?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
        let verifier = verifier.build().map_err(|e| failed(e.to_string()))?;
        let name = ServerName::from(Ipv4Addr::LOCALHOST);
        let error_at =
            |time| match verifier.verify_server_cert(&chain[0], &chain[1..], &name, &[], time) {
                Err(rustls::Error::InvalidCertificate(error)) => Some(error),
                _ => None,
            };
        let now = UnixTime::now();
        let is_ca = error_at(now).is_some_and(|error| is_ca_as_server(&error));
        let not_after_s = match error_at(UnixTime::since_unix_epoch(END_OF_TIME)) {
            Some(CertificateError::ExpiredContext { not_after, .. }) => {
                Some(not_after.as_secs().cast_signed())
            }
            _ => None,
        };
        let days = |end: i64| (end - now.as_secs().cast_signed()).div_euclid(86_400);
        Ok(Fitness { is_ca, not_after_s, days_left: not_after_s.map(days) })
    }

    /// The mode of the private key if every user of the system can read it.
    pub(crate) fn open_key_mode(&self) -> Option<u32> {
        let mode = fs::metadata(&self.key).ok()?.permissions().mode();
        (mode & 0o004 != 0).then_some(mode & 0o777)
    }

    /// What changes when a file is replaced, also behind a symbolic link.
    fn state(&self) -> io::Result<[(SystemTime, u64); 2]> {
        let state = |path: &Path| {
            let metadata = fs::metadata(path)?;
            io::Result::Ok((metadata.modified()?, metadata.len()))
        };
        Ok([state(&self.certificate)?, state(&self.key)?])
    }

    /// Reloads changed files for new connections, without end. Files that do not go together, as in
    /// the middle of a renewal, leave the old ones in use.
    pub(super) async fn keep_fresh(self, config: RustlsConfig) {
        let mut known = self.state().ok();
        loop {
            tokio::time::sleep(self.reload).await;
            let state = self.state().ok();
            if state.is_none() || state == known {
                continue;
            }
            match self.load() {
                Ok(fresh) => {
                    config.reload_from_config(fresh);
                    known = state;
                    tracing::info!(file = %self.certificate.display(), "the certificate was \
                        reloaded");
                }
                Err(error) => {
                    tracing::warn!(%error, "the new certificate is not used; the old one stays");
                }
            }
        }
    }
}
