//! Certificate and key: read, checked, and read again when the files change.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use axum_server::tls_rustls::RustlsConfig;
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};

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
    /// The key is not the certificate's, or of a kind that is not spoken.
    #[error("certificate {} and key {} do not go together: {source}", certificate.display(), key.display())]
    Pair {
        /// The certificate.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
        /// What the library says.
        source: rustls::Error,
    },
}

impl TlsFiles {
    /// Reads both files: TLS 1.2 and 1.3, HTTP/2 preferred.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn load(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let wrong = |path: &Path, reason: String| TlsError::File { path: path.to_owned(), reason };
        let chain = CertificateDer::pem_file_iter(&self.certificate)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|e| wrong(&self.certificate, e.to_string()))?;
        if chain.is_empty() {
            return Err(wrong(&self.certificate, "holds no PEM certificate".to_owned()));
        }
        let key = PrivateKeyDer::from_pem_file(&self.key)
            .map_err(|e| wrong(&self.key, format!("no PEM private key: {e}")))?;
        let pair = |source| TlsError::Pair {
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            source,
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

    /// The mode of the private key if every user of the system can read it.
    pub fn open_key_mode(&self) -> Option<u32> {
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

    /// Takes up changed files for new connections, for ever. Files that do not go together, as in the
    /// middle of a renewal, leave the old ones in use.
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
                    tracing::info!(file = %self.certificate.display(), "the certificate was reloaded");
                }
                Err(error) => {
                    tracing::warn!(%error, "the new certificate is not used; the old one stays");
                }
            }
        }
    }
}
