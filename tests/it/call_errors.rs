//! `visavis call` against servers and addresses that are wrong: a sentence with what to do,
//! never a type of Rust.

use std::{fs, net::TcpListener};

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};

use crate::{
    crash::server::{Data, Server},
    serve::free_address,
    support::{Ran, visavis},
};

/// Words of Debug output, of libraries and of error numbers of TLS.
const JARGON: [&str; 7] = [
    "Other(",
    "CaUsedAs",
    "InvalidContentType",
    "corrupt message",
    "parse fail",
    "Context {",
    "Error(",
];

fn client(data: &Data) -> String {
    let keys = data.folder().join("app.json").display().to_string();
    let folder = data.folder().display().to_string();
    let added = visavis(&["client", "add", "app", "--out", &keys, "--data", &folder]);
    assert_eq!(added.code, 0, "{}", added.err);
    keys
}

fn call(keys: &str, url: &str, more: &[&str]) -> Ran {
    visavis(&[&["call", "test", "--client", keys, "--url", url, "--json"], more].concat())
}

/// It fails with this sentence.
fn assert_explained(ran: &Ran, reported: &str) {
    assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{}", ran.err);
    assert!(ran.err.contains(reported), "{reported}: {}", ran.err);
    assert!(JARGON.iter().all(|word| !ran.err.contains(word)), "{}", ran.err);
    assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);
}

/// A server with a certificate of its own making.
fn serve(change: impl FnOnce(&mut CertificateParams)) -> (Data, Server, String) {
    let data = Data::new();
    let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let at = |name: &str| data.folder().join(name).display().to_string();
    fs::write(at("cert.pem"), certificate.pem()).unwrap();
    fs::write(at("key.pem"), key.serialize_pem()).unwrap();
    let (cert, key) = (at("cert.pem"), at("key.pem"));
    let server = Server::start_with(&data, &["--tls-cert", &cert, "--tls-key", &key], &[]);
    (data, server, cert)
}

fn by_name(server: &Server) -> String {
    server.url().replace("127.0.0.1", "localhost")
}

#[test]
fn a_certificate_that_cannot_be_trusted_is_explained_with_its_cure() {
    type Change = fn(&mut CertificateParams);
    let cases: [(Change, &str); 3] = [
        (
            |params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained),
            "the certificate of the server is that of an authority (CA:TRUE), which clients \
             refuse: create it with -addext basicConstraints=critical,CA:FALSE",
        ),
        (
            |params| params.not_after = rcgen::date_time_ymd(2020, 1, 1),
            "the certificate of the server has expired: renew it",
        ),
        (
            |params| params.not_before = rcgen::date_time_ymd(2900, 1, 1),
            "the certificate of the server is not valid yet: set the clock",
        ),
    ];
    for (change, reported) in cases {
        let (data, server, cert) = serve(change);
        assert_explained(&call(&client(&data), &by_name(&server), &["--ca", &cert]), reported);
        assert_eq!(server.terminate(), Some(0));
    }
    let (data, server, cert) = serve(|_| ());
    let keys = client(&data);
    let unknown =
        "is not from an authority that this machine trusts: pass the certificate of its authority";
    assert_explained(&call(&keys, &by_name(&server), &[]), unknown);
    let other_name = "the certificate of the server is for localhost, not for 127.0.0.1: use one \
                      of its names in --url";
    assert_explained(&call(&keys, &server.url(), &["--ca", &cert]), other_name);
    let plain = server.url().replace("https", "http");
    let to_tls =
        format!("{plain} does not support plain HTTP: if it has TLS, use {}", server.url());
    assert_explained(&call(&keys, &plain, &[]), &to_tls);
    assert_eq!(call(&keys, &by_name(&server), &["--ca", &cert]).code, 0);
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn an_address_that_is_wrong_is_explained_with_its_cure() {
    let data = Data::new();
    let server = Server::start(&data);
    let keys = client(&data);
    let tls = server.url().replace("http", "https");
    let to_plain =
        format!("{tls} does not support TLS: if it has plain HTTP, use {}", server.url());
    assert_explained(&call(&keys, &tls, &[]), &to_plain);
    assert_eq!(server.terminate(), Some(0));
    let free = free_address();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("http://{}", silent.local_addr().unwrap());
    for (url, more, reported) in [
        (
            "127.0.0.1:18080",
            &[][..],
            "has no scheme: use http://127.0.0.1:18080, or https://127.0.0.1:18080",
        ),
        ("localhost", &[], "has no scheme: use http://localhost"),
        ("ftp://localhost", &[], "has the scheme ftp: use http or https"),
        ("http://", &[], "is not an address: use one such as http://127.0.0.1:8080"),
        ("http://a b", &[], "is not an address: use one such as http://127.0.0.1:8080"),
        (&format!("http://{free}"), &[], "refused the connection: start the server"),
        ("http://no-such-host.invalid", &[], "no host has this name: check --url"),
        (&silent, &["--timeout", "1"], "did not respond in time: check that the server runs there"),
    ] {
        assert_explained(&call(&keys, url, more), reported);
    }
}

#[test]
fn a_benchmark_explains_an_address_that_is_wrong_too() {
    let data = Data::new();
    let keys = client(&data);
    let ran = visavis(&["bench", "--url", "127.0.0.1:1", "--client", &keys, "--seconds", "1"]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(ran.err.contains("has no scheme: use http://127.0.0.1:1"), "{}", ran.err);
}
