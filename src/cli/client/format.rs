//! The forms in which RSA keys are printed.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use clap::ValueEnum;
use visavis_signing::Credentials;

/// How RSA keys are printed. `visavis call` and the other commands read all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum KeyFormat {
    /// DER as base64 on one line
    Base64,
    /// A PEM file
    Pem,
    /// A PEM file as base64 on one line
    Base64Pem,
}

impl KeyFormat {
    /// A private key in PKCS#8, given as base64 of DER.
    fn private(self, base64: &str) -> String {
        self.key("PRIVATE KEY", base64)
    }

    /// A public key as `SubjectPublicKeyInfo`, given as base64 of DER.
    pub(super) fn public(self, base64: &str) -> String {
        self.key("PUBLIC KEY", base64)
    }

    fn key(self, label: &str, base64: &str) -> String {
        match self {
            Self::Base64 => base64.to_owned(),
            Self::Pem => pem(label, base64),
            Self::Base64Pem => STANDARD.encode(pem(label, base64)),
        }
    }

    /// The credentials with their keys in this form.
    pub(super) fn applied_to(self, credentials: Credentials) -> Credentials {
        Credentials {
            merchant_private_key: credentials.merchant_private_key.map(|key| self.private(&key)),
            merchant_public_key: self.public(&credentials.merchant_public_key),
            server_public_key: self.public(&credentials.server_public_key),
            ..credentials
        }
    }
}

/// RFC 7468: lines of 64 characters.
fn pem(label: &str, base64: &str) -> String {
    let mut text = format!("-----BEGIN {label}-----\n");
    for (at, character) in base64.char_indices() {
        if at > 0 && at % 64 == 0 {
            text.push('\n');
        }
        text.push(character);
    }
    text + &format!("\n-----END {label}-----\n")
}
