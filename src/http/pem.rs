//! What a file holds that should hold a certificate or a private key, and how to make the right one
//! of it.

use std::path::Path;

/// Why a file is no private key that can be used.
pub(super) fn wrong_key(path: &Path, bytes: &[u8], error: &str) -> String {
    let (text, path) = (String::from_utf8_lossy(bytes), path.display());
    let has = |label: &str| text.contains(&format!("-----BEGIN {label}-----"));
    if has("ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED") {
        return format!(
            "the key is encrypted: write it without a passphrase with `openssl pkey -in {path} \
             -out {path}.plain`, run chmod 600 on that file and use it"
        );
    }
    if has("OPENSSH PRIVATE KEY") {
        return format!(
            "the key has the format of OpenSSH: convert it with `ssh-keygen -p -m PKCS8 -f {path}`"
        );
    }
    if text.contains("PRIVATE KEY-----") {
        return format!("the private key is damaged ({error}): copy it again");
    }
    if has("CERTIFICATE REQUEST") {
        return "holds a certificate request instead of a private key: use the key that it was made \
                with"
            .to_owned();
    }
    if has("CERTIFICATE") {
        return "holds a certificate instead of a private key: tls.key_file is for the key, \
                tls.cert_file for the certificate"
            .to_owned();
    }
    if has("PUBLIC KEY") {
        return "holds a public key instead of a private one: use the private key".to_owned();
    }
    if has("EC PARAMETERS") {
        return format!(
            "holds the parameters of an elliptic curve and no key: create a key with `openssl \
             genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out {path}`, and a \
             certificate for it"
        );
    }
    let convert = match Binary::of(bytes) {
        Some(Binary::Pkcs12) => {
            format!("openssl pkcs12 -in {path} -nocerts -nodes -out {path}.pem")
        }
        Some(Binary::Certificate) => {
            return "holds a certificate (DER) instead of a private key: tls.key_file is for the key"
                .to_owned();
        }
        Some(Binary::Key) => format!("openssl pkey -inform DER -in {path} -out {path}.pem"),
        None => return "holds no private key in PEM (-----BEGIN PRIVATE KEY-----)".to_owned(),
    };
    format!("is binary instead of PEM: convert it with `{convert}`")
}

/// Why a file is no certificate chain that can be used.
pub(super) fn wrong_certificate(path: &Path, bytes: &[u8], error: &str) -> String {
    let (text, path) = (String::from_utf8_lossy(bytes), path.display());
    let has = |label: &str| text.contains(&format!("-----BEGIN {label}-----"));
    if has("CERTIFICATE") {
        return format!("the certificate is damaged ({error}): copy it again");
    }
    if has("CERTIFICATE REQUEST") {
        return "holds a certificate request: have it signed, and use the certificate that comes \
                back"
            .to_owned();
    }
    if text.contains("PRIVATE KEY-----") {
        return "holds a private key instead of a certificate: tls.cert_file is for the \
                certificate, tls.key_file for the key"
            .to_owned();
    }
    let convert = match Binary::of(bytes) {
        _ if has("PKCS7") => format!("openssl pkcs7 -print_certs -in {path} -out {path}.pem"),
        Some(Binary::Pkcs12) => format!("openssl pkcs12 -in {path} -nokeys -out {path}.pem"),
        Some(Binary::Certificate) => format!("openssl x509 -inform DER -in {path} -out {path}.pem"),
        Some(Binary::Key) => {
            return "holds a private key (DER) instead of a certificate: tls.cert_file is for the \
                    certificate"
                .to_owned();
        }
        None => return "holds no certificate in PEM (-----BEGIN CERTIFICATE-----)".to_owned(),
    };
    format!("is not a chain in PEM: convert it with `{convert}`")
}

/// What a file in DER holds, by its first two elements.
enum Binary {
    Certificate,
    Key,
    Pkcs12,
}

impl Binary {
    fn of(bytes: &[u8]) -> Option<Self> {
        const SEQUENCE: u8 = 0x30;
        let [SEQUENCE, length, rest @ ..] = bytes else { return None };
        let length_bytes = if length & 0x80 == 0 { 0 } else { usize::from(length & 0x7f) };
        match rest.get(length_bytes..)? {
            [0x02, 0x01, 0x03, ..] => Some(Self::Pkcs12),
            [0x02, 0x01, ..] => Some(Self::Key),
            [SEQUENCE, ..] => Some(Self::Certificate),
            _ => None,
        }
    }
}
