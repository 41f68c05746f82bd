//! Files that should be certificate and key and are something else, as `openssl` makes them: each
//! is named for what it is, with the command that makes the right one of it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use visavis::http::TlsFiles;

use crate::support::{Run as _, program};

/// Runs `openssl` with the words of a line in a folder.
fn openssl(folder: &Path, line: &str) {
    let ran = Command::new("openssl").args(line.split(' ')).current_dir(folder).ran();
    assert_eq!(ran.code, 0, "{line}: {}", ran.err);
}

/// A folder with `key.pem`, `cert.pem` and what becomes of them.
fn made() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for line in [
        "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out key.pem",
        "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out other.pem",
        "req -x509 -key key.pem -subj /CN=localhost -days 90 -out cert.pem",
        "req -new -key key.pem -subj /CN=localhost -out request.pem",
        "pkcs8 -topk8 -in key.pem -passout pass:secret -out encrypted.pem",
        "ec -in key.pem -aes128 -passout pass:secret -out encrypted-ec.pem",
        "genrsa -traditional -aes128 -passout pass:secret -out encrypted-rsa.pem 2048",
        "pkey -in key.pem -outform DER -out key.der",
        "pkey -in key.pem -pubout -out public.pem",
        "x509 -in cert.pem -outform DER -out cert.der",
        "ecparam -name prime256v1 -out parameters.pem",
        "ecparam -name prime256v1 -genkey -out with-parameters.pem",
        "req -x509 -key with-parameters.pem -subj /CN=localhost -out with-parameters-cert.pem",
        "pkcs12 -export -in cert.pem -inkey key.pem -passout pass:secret -out both.p12",
        "crl2pkcs7 -nocrl -certfile cert.pem -out chain.p7b",
    ] {
        openssl(folder.path(), line);
    }
    fs::write(folder.path().join("text"), "hello").unwrap();
    fs::write(folder.path().join("empty"), "").unwrap();
    folder
}

fn files(folder: &Path, certificate: &str, key: &str) -> TlsFiles {
    let at = |name: &str| -> PathBuf { folder.join(name) };
    TlsFiles { certificate: at(certificate), key: at(key), reload: std::time::Duration::MAX }
}

#[test]
fn a_file_that_is_no_key_is_named_for_what_it_is() {
    let folder = made();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let encrypted = |name: &str| {
        format!(
            "the key is encrypted: write it without a passphrase with `openssl pkey -in {0} -out \
             {0}.plain`",
            at(name)
        )
    };
    for (key, reported) in [
        ("encrypted.pem", encrypted("encrypted.pem")),
        ("encrypted-ec.pem", encrypted("encrypted-ec.pem")),
        ("encrypted-rsa.pem", encrypted("encrypted-rsa.pem")),
        ("cert.pem", "holds a certificate instead of a private key: tls.key_file".to_owned()),
        ("cert.der", "holds a certificate (DER) instead of a private key".to_owned()),
        ("request.pem", "holds a certificate request instead of a private key".to_owned()),
        ("public.pem", "holds a public key instead of a private one".to_owned()),
        (
            "parameters.pem",
            "the parameters of an elliptic curve and no key: create a key with".to_owned(),
        ),
        ("key.der", format!("convert it with `openssl pkey -inform DER -in {}", at("key.der"))),
        ("both.p12", format!("convert it with `openssl pkcs12 -in {} -nocerts", at("both.p12"))),
        ("text", "holds no private key in PEM".to_owned()),
        ("empty", "holds no private key in PEM".to_owned()),
        ("missing", "cannot be read: No such file".to_owned()),
        (
            "other.pem",
            format!("key {} does not belong to certificate {}", at("other.pem"), at("cert.pem")),
        ),
    ] {
        let error = files(folder.path(), "cert.pem", key).load().unwrap_err().to_string();
        assert!(error.contains(&reported) && error.contains(&at(key)), "{key}: {error}");
    }
    assert!(files(folder.path(), "cert.pem", "key.pem").load().is_ok());
    let with_parameters = files(folder.path(), "with-parameters-cert.pem", "with-parameters.pem");
    assert!(with_parameters.load().is_ok(), "parameters before a key do no harm");
}

#[test]
fn a_file_that_is_no_certificate_is_named_for_what_it_is() {
    let folder = made();
    let at = |name: &str| folder.path().join(name).display().to_string();
    for (certificate, reported) in [
        ("key.pem", "holds a private key instead of a certificate: tls.cert_file".to_owned()),
        ("key.der", "holds a private key (DER) instead of a certificate".to_owned()),
        ("request.pem", "holds a certificate request: have it signed".to_owned()),
        ("cert.der", format!("convert it with `openssl x509 -inform DER -in {}", at("cert.der"))),
        ("both.p12", format!("convert it with `openssl pkcs12 -in {} -nokeys", at("both.p12"))),
        (
            "chain.p7b",
            format!("convert it with `openssl pkcs7 -print_certs -in {}", at("chain.p7b")),
        ),
        ("text", "holds no certificate in PEM".to_owned()),
        ("missing", "cannot be read: No such file".to_owned()),
    ] {
        let error = files(folder.path(), certificate, "key.pem").load().unwrap_err().to_string();
        assert!(
            error.contains(&reported) && error.contains(&at(certificate)),
            "{certificate}: {error}"
        );
    }
}

#[test]
fn a_check_and_a_start_give_the_command_that_decrypts_an_encrypted_key() {
    let folder = made();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let reported = format!(
        "the key is encrypted: write it without a passphrase with `openssl pkey -in {}",
        at("encrypted.pem")
    );
    let mut check = program();
    check.args(["check", "--data"]).arg(folder.path());
    check.env("VISAVIS_TLS_CERT_FILE", at("cert.pem"));
    let checked = check.env("VISAVIS_TLS_KEY_FILE", at("encrypted.pem")).ran();
    assert!(
        checked.out.contains(&format!("FAIL tls: {}: {reported}", at("encrypted.pem"))),
        "{}",
        checked.out
    );
}
