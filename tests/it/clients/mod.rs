//! Clients of the API, run as their users run them, against the real program: the packages of
//! `clients/`, the examples of `examples/`, and callers that work as the public SDKs do.

mod callers;
mod examples;
mod middle;
mod package;
mod packages;
mod readers;

use std::{fs, path::PathBuf, process::Command};

use rcgen::{CertificateParams, KeyPair};
use serde_json::Value;

use crate::{
    crash::server::{Data, Server},
    support::{in_repository, visavis},
};

/// A server with one client.
struct World {
    data: Data,
    server: Server,
    /// The file of `client add --out`.
    client: PathBuf,
    keys: Value,
}

impl World {
    fn start() -> Self {
        Self::start_with(&[], &[])
    }

    /// With further arguments of `client add`, and variables of the server.
    fn start_with(arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let data = Data::new();
        let server = Server::start_with(&data, &[], variables);
        let client = data.folder().join("app.json");
        let (folder, file) = (data.folder().display().to_string(), client.display().to_string());
        let add = ["client", "add", "app", "--data", &folder, "--out", &file];
        let added = visavis(&[&add[..], arguments].concat());
        assert_eq!(added.code, 0, "{}", added.err);
        let keys = serde_json::from_str(&fs::read_to_string(&client).unwrap()).unwrap();
        Self { data, server, client, keys }
    }

    /// The same with a server that has TLS, for `localhost`; and the certificate to trust.
    fn with_tls(self) -> (Self, PathBuf) {
        let certificate = CertificateParams::new(["localhost".to_owned()]).unwrap();
        let key = KeyPair::generate().unwrap();
        let file = |name: &str, text: String| {
            let file = self.data.folder().join(name);
            fs::write(&file, text).unwrap();
            file
        };
        let cert = file("cert.pem", certificate.self_signed(&key).unwrap().pem());
        let key = file("key.pem", key.serialize_pem());
        let tls = [&cert, &key].map(|file| file.display().to_string());
        (self.restarted(&["--tls-cert", &tls[0], "--tls-key", &tls[1]], &[]), cert)
    }

    /// The same with another server, with these arguments and variables.
    fn restarted(self, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let Self { data, server, client, keys } = self;
        assert_eq!(server.terminate(), Some(0));
        let server = Server::start_with(&data, arguments, variables);
        Self { data, server, client, keys }
    }

    fn key(&self, member: &str) -> &str {
        self.keys[member].as_str().unwrap()
    }
}

/// The path of a photo in the repository.
fn photo(name: &str) -> String {
    in_repository(&format!("samples/{name}.jpg"))
}

/// Whether a program runs here with these arguments.
fn works(mut command: Command) -> bool {
    command.output().is_ok_and(|ran| ran.status.success())
}

/// The interpreter of the checkout, which has what the tests need, or the machine's.
fn python() -> PathBuf {
    let own = PathBuf::from(in_repository(".venv/bin/python"));
    if own.exists() { own } else { PathBuf::from("python3") }
}
