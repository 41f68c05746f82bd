//! The command line without any model: clients and their keys, configuration, help.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use rsa::{
    Pkcs1v15Sign, PrivateKey, PublicKey,
    pkcs8::{DecodePrivateKey as _, DecodePublicKey as _, EncodePublicKey as _, LineEnding},
    sha2::{Digest as _, Sha256},
    traits::PublicKeyParts as _,
};
use serde_json::Value;
use visavis::{config::old_variables, db::SqliteDb};

use crate::{
    deploy::{files, variables},
    settings,
    support::{Run as _, merchant, program, visavis, visavis_reading, weak_key},
};

fn add(data: &Path, name: &str, more: &[&str]) -> crate::support::Ran {
    let data = data.display().to_string();
    visavis(&[&["client", "add", name, "--data", data.as_str()], more].concat())
}

fn list(data: &Path) -> Vec<Value> {
    let listed = visavis(&["client", "list", "--json", "--data", &data.display().to_string()]);
    assert_eq!(listed.code, 0, "{}", listed.err);
    listed.json().as_array().unwrap().clone()
}

fn der(keys: &Value, member: &str) -> Vec<u8> {
    STANDARD.decode(keys[member].as_str().unwrap()).unwrap()
}

#[test]
fn client_add_prints_everything_that_an_app_needs_and_the_keys_belong_together() {
    let data = tempfile::tempdir().unwrap();
    let added = add(data.path(), "first app", &["--out", "-"]);
    assert_eq!((added.code, added.err.as_str()), (0, ""));
    let keys = added.json();
    let members: Vec<_> = keys.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        members,
        [
            "clientId",
            "keyVersion",
            "merchantPrivateKey",
            "merchantPublicKey",
            "serverPublicKey",
            "accessKey",
            "secretKey"
        ]
    );
    let id = keys["clientId"].as_str().unwrap();
    assert!(id.len() == 16 && id.bytes().all(|b| b.is_ascii_digit()), "{id}");

    let private = PrivateKey::from_pkcs8_der(&der(&keys, "merchantPrivateKey")).unwrap();
    let public = PublicKey::from_public_key_der(&der(&keys, "merchantPublicKey")).unwrap();
    let digest = Sha256::digest(b"anything");
    let signature = private.sign(Pkcs1v15Sign::new::<Sha256>(), &digest).unwrap();
    public.verify(Pkcs1v15Sign::new::<Sha256>(), &digest, &signature).unwrap();
    let server = PublicKey::from_public_key_der(&der(&keys, "serverPublicKey")).unwrap();
    assert_eq!((public.size(), server.size()), (256, 256));
    assert_ne!(public, server);

    assert!(keys["accessKey"].as_str().unwrap().starts_with("AK"));
    let secret = URL_SAFE_NO_PAD.decode(keys["secretKey"].as_str().unwrap()).unwrap();
    assert_eq!(secret.len(), 32);

    // Nothing that was printed can be read from the files beside it.
    let mut files = 0;
    for entry in fs::read_dir(data.path()).unwrap() {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        let has = |needle: &[u8]| memchr::memmem::find(&bytes, needle).is_some();
        assert!(!has(&secret) && !has(&der(&keys, "merchantPrivateKey")[400..440]));
        files += 1;
    }
    assert!(files >= 2, "a database and a master key");
}

#[test]
fn keys_are_printed_in_each_form_and_read_again_in_each() {
    let data = tempfile::tempdir().unwrap();
    let folder = data.path().display().to_string();
    let der_of_pem = |pem: &str, label: &str| {
        let begin = format!("-----BEGIN {label}-----\n");
        let body = pem
            .strip_prefix(&begin)
            .and_then(|rest| rest.strip_suffix(&format!("\n-----END {label}-----\n")));
        let lines: Vec<_> = body.unwrap_or_else(|| panic!("{pem}")).lines().collect();
        let (last, others) = lines.split_last().unwrap();
        assert!(others.iter().all(|line| line.len() == 64) && last.len() <= 64, "{pem}");
        STANDARD.decode(lines.concat()).unwrap()
    };
    let members = [
        ("merchantPrivateKey", "PRIVATE KEY"),
        ("merchantPublicKey", "PUBLIC KEY"),
        ("serverPublicKey", "PUBLIC KEY"),
    ];
    for format in ["base64", "pem", "base64-pem"] {
        let der_in = |keys: &Value, member: &str, label: &str| {
            let text = keys[member].as_str().unwrap();
            match format {
                "base64" => STANDARD.decode(text).unwrap(),
                "pem" => der_of_pem(text, label),
                _ => der_of_pem(&String::from_utf8(STANDARD.decode(text).unwrap()).unwrap(), label),
            }
        };
        let name = format!("app {format}");
        let file = data.path().join(format!("{format}.json")).display().to_string();
        let added = add(data.path(), &name, &["--format", format, "--out", &file]);
        assert_eq!(added.code, 0, "{}", added.err);
        let written: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        let rotate =
            ["client", "rotate", &name, "--out", "-", "--format", format, "--data", &folder];
        let rotated = visavis(&rotate).json();
        for keys in [&written, &rotated] {
            let [private, public, server] =
                members.map(|(member, label)| der_in(keys, member, label));
            let private = PrivateKey::from_pkcs8_der(&private).unwrap();
            let half = PublicKey::from_public_key_der(&public).unwrap();
            assert_eq!(private.to_public_key(), half);
            assert_ne!(PublicKey::from_public_key_der(&server).unwrap(), half);
        }
        let export = ["client", "export", &name, "--format", format, "--data", &folder];
        let exported = visavis(&export).json();
        for member in ["merchantPublicKey", "serverPublicKey"] {
            assert_eq!(exported[member], rotated[member], "{format}");
        }
        // As an operator gives a public key.
        let other = format!("other {format}");
        let register =
            ["client", "add", &other, "--out", "-", "--data", &folder, "--public-key", "-"];
        let piped = visavis_reading(&register, written["merchantPublicKey"].as_str().unwrap());
        assert_eq!(piped.code, 0, "{format}: {}", piped.err);
        // Nothing is listening: the keys were read and the request was signed.
        let url = ["--url", "http://127.0.0.1:1"];
        let called = visavis(&[&["call", "test", "--client", &file][..], &url].concat());
        assert!(called.err.contains("refused the connection"), "{format}: {}", called.err);
    }
    let shown = add(data.path(), "shown", &["--print", "--format", "pem"]);
    for part in [
        "merchant private key  \n-----BEGIN PRIVATE KEY-----\n",
        "-----END PRIVATE KEY-----\n  server public key     \n-----BEGIN PUBLIC KEY-----\n",
    ] {
        assert!(shown.out.contains(part), "{}", shown.out);
    }
}

#[test]
fn a_new_client_can_have_several_limits_at_once() {
    let data = tempfile::tempdir().unwrap();
    let limits = ["--rate", "5", "--burst", "9", "--daily-quota", "100", "--modes", "key-pair"];
    let added = add(data.path(), "app", &[&["--out", "-"], &limits[..]].concat());
    assert_eq!(added.code, 0, "{}", added.err);
    let client = list(data.path()).remove(0);
    let expected = serde_json::json!({ "ratePerS": 5, "burst": 9, "dailyQuota": 100 });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(client[name], *value, "{client}");
    }
}

#[test]
fn clients_have_keys_of_their_own_and_a_name_is_taken_once() {
    let data = tempfile::tempdir().unwrap();
    let (first, second) = (
        add(data.path(), "one", &["--out", "-"]).json(),
        add(data.path(), "two", &["--out", "-"]).json(),
    );
    for member in first.as_object().unwrap().keys().filter(|name| *name != "keyVersion") {
        assert_ne!(first[member], second[member], "{member}");
    }
    let again = add(data.path(), "one", &["--out", "-"]);
    assert_eq!((again.code, again.out.as_str()), (2, ""));
    assert!(
        again.err.contains("one") && again.err.contains("choose another name"),
        "{}",
        again.err
    );
    assert_eq!(again.err.lines().count(), 1, "{}", again.err);
    let long = "n".repeat(65);
    for (name, reason) in [
        ("", "the name is empty: give one"),
        (" ", "the name is empty: give one"),
        (&long, "the name has 65 bytes: give one of at most 64"),
        ("two ", "the name begins or ends with a space: leave it out"),
        ("tw\no", "the name has the control or format character U+000A: leave it out"),
        ("\u{202e}owt", "the name has the control or format character U+202E: leave it out"),
        ("2188000000000001", "the name has the form of a Client-Id, 16 digits: add a letter"),
    ] {
        let refused = add(data.path(), name, &["--out", "-"]);
        assert_eq!(refused.code, 2, "{name:?}");
        assert!(refused.err.contains(reason), "{name:?}: {}", refused.err);
    }
    let names: Vec<_> = list(data.path()).iter().map(|c| c["name"].clone()).collect();
    assert_eq!(names, ["one", "two"]);
}

#[tokio::test]
async fn a_name_that_an_early_version_took_is_listed_with_its_hidden_characters_as_numbers() {
    let data = tempfile::tempdir().unwrap();
    add(data.path(), "one", &["--out", "-"]);
    let db = SqliteDb::open(&data.path().join("visavis.db")).await.unwrap();
    let rename = sqlx::query("UPDATE client SET name = $1").bind("a\nb\u{202e}\u{1b}[2J");
    rename.execute(&db.writer).await.unwrap();
    db.close().await;
    let listed = visavis(&["client", "list", "--data", &data.path().display().to_string()]);
    assert_eq!(listed.out.lines().count(), 2, "{}", listed.out);
    assert!(listed.out.contains("a\\u{a}b\\u{202e}\\u{1b}[2J "), "{}", listed.out);
}

#[test]
fn keys_are_written_to_a_new_file_that_only_its_owner_reads() {
    let data = tempfile::tempdir().unwrap();
    let file = data.path().join("app.json");
    let shown = file.display().to_string();
    let added = add(data.path(), "app", &["--out", &shown]);
    assert_eq!((added.code, added.out.as_str()), (0, ""), "{}", added.err);
    assert!(added.err.contains(&shown), "{}", added.err);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let master = fs::metadata(data.path().join("master.key")).unwrap();
    assert_eq!(master.permissions().mode() & 0o777, 0o600);
    let keys: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(list(data.path())[0]["clientId"], keys["clientId"]);

    let before = fs::read(&file).unwrap();
    let over = add(data.path(), "other app", &["--out", &shown]);
    assert_eq!(over.code, 2);
    let exists =
        format!("cannot create {shown}: the file already exists; choose another one with --out");
    assert_eq!(over.err, format!("visavis: {exists}\n"));
    assert_eq!(fs::read(&file).unwrap(), before, "no file is written over");
    let folder = data.path().display().to_string();
    let rotate = visavis(&["client", "rotate", "app", "--out", &shown, "--data", &folder]);
    assert_eq!(rotate.code, 2, "{}", rotate.err);
    let clients = list(data.path());
    assert_eq!((clients.len(), &clients[0]["keyVersion"]), (1, &1.into()), "keys that nobody has");

    let unused = data.path().join("unused.json");
    let taken = add(data.path(), "app", &["--out", &unused.display().to_string()]);
    assert_eq!(taken.code, 2, "the name is taken");
    assert!(!unused.exists());
}

#[test]
fn an_app_that_keeps_its_own_key_registers_the_public_half() {
    let data = tempfile::tempdir().unwrap();
    let spki = merchant().spki_der().unwrap();
    let public = PublicKey::from_public_key_der(&spki).unwrap();
    let pem = public.to_public_key_pem(LineEnding::LF).unwrap();
    let file = data.path().join("public.pem");
    fs::write(&file, &pem).unwrap();
    let added =
        add(data.path(), "app", &["--out", "-", "--public-key", &file.display().to_string()]);
    assert_eq!(added.code, 0, "{}", added.err);
    let keys = added.json();
    assert!(keys.get("merchantPrivateKey").is_none(), "{keys}");
    assert_eq!(der(&keys, "merchantPublicKey"), spki);

    let folder = data.path().display().to_string();
    let arguments =
        ["client", "add", "piped", "--out", "-", "--data", &folder, "--public-key", "-"];
    let piped = visavis_reading(&arguments, &STANDARD.encode(&spki));
    assert_eq!(der(&piped.json(), "merchantPublicKey"), spki);

    fs::write(&file, "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n").unwrap();
    let wrong = add(data.path(), "wrong", &["--public-key", &file.display().to_string()]);
    assert_eq!(wrong.code, 2);
    assert!(wrong.err.contains("public.pem") && wrong.err.contains("RSA key"), "{}", wrong.err);
    assert!(wrong.err.contains("has no usable public key"), "{}", wrong.err);
    fs::write(&file, &spki).unwrap();
    let binary = add(data.path(), "binary", &["--public-key", &file.display().to_string()]);
    assert_eq!(binary.code, 2);
    assert!(binary.err.contains("PEM or base64"), "{}", binary.err);
    assert_eq!(list(data.path()).len(), 2);
}

#[test]
fn a_key_that_anybody_can_forge_with_and_keys_of_the_server_are_not_registered() {
    let data = tempfile::tempdir().unwrap();
    let folder = data.path().display().to_string();
    let keys = add(data.path(), "app", &["--out", "-"]).json();
    let server = keys["serverPublicKey"].as_str().unwrap();
    for (key, reason) in [
        (&*STANDARD.encode(weak_key()), "a small prime divides its modulus: make a new pair"),
        (server, "the public key is one of this server: give the public half of the app's own"),
    ] {
        for command in [&["client", "add", "new"][..], &["client", "rotate", "app"]] {
            let arguments = [command, &["--data", &folder, "--public-key", "-"]].concat();
            let refused = visavis_reading(&arguments, key);
            assert_eq!(refused.code, 2, "{}", refused.out);
            assert!(refused.err.contains(reason), "{}", refused.err);
        }
    }
    let clients = list(data.path());
    assert_eq!((clients.len(), &clients[0]["keyVersion"]), (1, &1.into()));
}

#[test]
fn keys_go_into_a_file_of_the_current_folder_and_are_printed_only_if_that_is_asked_for() {
    let (data, here) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let run = |words: &[&str]| {
        let mut command = program();
        command.args(words).arg("--data").arg(data.path()).current_dir(here.path());
        command.ran()
    };
    let added = run(&["client", "add", "shop"]);
    assert_eq!((added.code, added.out.as_str()), (0, ""), "{}", added.err);
    assert!(added.err.contains("shop.json, readable only by you"), "{}", added.err);
    assert_eq!(run(&["client", "rotate", "shop"]).code, 0);
    for file in ["shop.json", "shop-v2.json"] {
        let path = here.path().join(file);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "{file}");
        let keys: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        assert!(keys["merchantPrivateKey"].is_string(), "{file}");
    }
    let printed = run(&["client", "add", "other", "--print"]);
    assert!(printed.out.contains("merchant private key"), "{}", printed.out);
    assert!(run(&["client", "add", "third", "--out", "-"]).json()["secretKey"].is_string());
    assert_eq!(fs::read_dir(here.path()).unwrap().count(), 2);
}

#[test]
fn clients_are_disabled_and_enabled_by_name_or_id() {
    let data = tempfile::tempdir().unwrap();
    let folder = data.path().display().to_string();
    let keys = add(data.path(), "app", &["--out", "-"]).json();
    let id = keys["clientId"].as_str().unwrap();
    assert_eq!(list(data.path())[0]["disabledAt"], Value::Null);
    for (command, name, disabled) in
        [("disable", "app", true), ("enable", id, false), ("disable", id, true)]
    {
        assert_eq!(visavis(&["client", command, name, "--data", &folder]).code, 0);
        assert_eq!(list(data.path())[0]["disabledAt"].is_i64(), disabled, "{command} {name}");
    }
    let unknown = visavis(&["client", "disable", "nobody", "--data", &folder]);
    assert_eq!(unknown.code, 2);
    assert!(
        unknown.err.contains("nobody") && unknown.err.contains("client list"),
        "{}",
        unknown.err
    );
    let table = visavis(&["client", "list", "--data", &folder]);
    assert!(table.out.contains(id) && table.out.contains("disabled"), "{}", table.out);
    for secret in ["merchantPrivateKey", "secretKey"] {
        let value = keys[secret].as_str().unwrap();
        assert!(!format!("{table}{:?}", list(data.path()), table = table.out).contains(value));
    }
}

#[test]
fn a_client_is_given_rates_of_its_own_and_loses_them_again() {
    let data = tempfile::tempdir().unwrap();
    let folder = data.path().display().to_string();
    let set =
        |more: &[&str]| visavis(&[&["client", "set", "app", "--data", &folder], more].concat());
    let rates = || {
        let client = list(data.path()).remove(0);
        (client["fmr"].as_f64(), client["documentFmr"].as_f64())
    };
    let added =
        add(data.path(), "app", &["--out", "-", "--fmr", "1e-6", "--document-fmr", "0.0001"]);
    assert_eq!(added.code, 0, "{}", added.err);
    assert_eq!(rates(), (Some(1e-6), Some(1e-4)));
    let listed = visavis(&["client", "list", "--data", &folder]).out;
    assert!(listed.contains(" 1e-6 ") && listed.contains(" 1e-4\n"), "{listed}");

    let reported = set(&["--fmr", "1e-3"]);
    assert_eq!((reported.code, reported.err.as_str()), (0, ""));
    assert!(
        reported.out.contains("1e-3") && reported.out.contains("threshold 60"),
        "{}",
        reported.out
    );
    assert_eq!(rates(), (Some(1e-3), Some(1e-4)));
    assert_eq!(set(&["--document-fmr", "default", "--extras", "off"]).code, 0);
    assert_eq!((rates(), &list(data.path())[0]["extras"]), ((Some(1e-3), None), &false.into()));
    assert_eq!(set(&["--fmr", "default"]).code, 0);
    assert_eq!(rates(), (None, None));

    for wrong in ["0.5", "80", "0", "1e-7", "often", "-1e-5", "NaN"] {
        for refused in [
            set(&[&format!("--fmr={wrong}")]),
            set(&[&format!("--document-fmr={wrong}")]),
            add(data.path(), "other", &[&format!("--fmr={wrong}")]),
        ] {
            assert_eq!((refused.code, refused.out.as_str()), (2, ""), "{wrong}");
            assert!(refused.err.contains("between 1e-6 and 1e-1"), "{}", refused.err);
            assert!(refused.err.contains("fmr"), "names the argument: {}", refused.err);
        }
    }
    let nothing = set(&[]);
    assert_eq!(nothing.code, 2);
    assert!(nothing.err.contains("--fmr") && nothing.err.contains("--extras"), "{}", nothing.err);
    assert_eq!((list(data.path()).len(), rates()), (1, (None, None)), "nothing has changed");
}

#[test]
fn an_unknown_variable_or_key_is_refused_by_its_name() {
    let data = tempfile::tempdir().unwrap();
    let folder = data.path().display().to_string();
    let run = |name: &str, value: &str| -> crate::support::Ran {
        program().args(["migrate", "--data", &folder]).env(name, value).ran()
    };
    let unknown = run("VISAVIS_HTTP_FRESHNES_S", "60");
    assert_eq!((unknown.code, unknown.out.as_str()), (2, ""));
    assert!(unknown.err.contains("VISAVIS_HTTP_FRESHNES_S"), "{}", unknown.err);
    assert!(
        unknown.err.contains("VISAVIS_HTTP_FRESHNESS_S"),
        "names the right one: {}",
        unknown.err
    );
    let wrong = run("VISAVIS_HTTP_FRESHNESS_S", "soon");
    assert!(wrong.code == 2 && wrong.err.contains("VISAVIS_HTTP_FRESHNESS_S"), "{}", wrong.err);
    let good = run("VISAVIS_HTTP_FRESHNESS_S", "60");
    assert_eq!(good.code, 0, "{}", good.err);

    let file = data.path().join("visavis.toml");
    fs::write(&file, "[http]\nfreshnes_s = 60\n").unwrap();
    let config = file.display().to_string();
    let unknown = visavis(&["migrate", "--data", &folder, "--config", &config]);
    assert_eq!(unknown.code, 2);
    assert!(
        unknown.err.contains("http.freshnes_s") && unknown.err.contains(&config),
        "{}",
        unknown.err
    );
}

#[test]
fn the_variables_of_the_examples_and_of_the_proxy_break_no_command() {
    let data = tempfile::tempdir().unwrap();
    let mut command = program();
    command.args(["client", "add", "app", "--out", "-", "--data"]).arg(data.path());
    let mut count = 0;
    let mut settings = settings::variables();
    settings.extend(settings::variables().iter().flat_map(|name| old_variables(name)));
    for folder in ["examples", "clients", "deploy"] {
        for file in files(folder) {
            let Ok(text) = fs::read_to_string(&file) else { continue };
            let names = variables(&text).into_iter().filter(|name| !settings.contains(name));
            for name in names.filter(|name| name != "VISAVIS_" && !name.ends_with('_')) {
                command.env(name, "x");
                count += 1;
            }
        }
    }
    assert!(count > 8, "{count}");
    let ran = command.ran();
    assert_eq!(ran.code, 0, "{}", ran.err);
}

#[test]
fn a_command_without_settings_does_not_read_them() {
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().display().to_string();
    let call = ["call", "test", "--client", "/nowhere.json"];
    for arguments in [&["openapi"][..], &["completions", "bash"], &["man", &pages], &call] {
        let broken =
            [("VISAVIS_HTTP_FRESHNES_S", "60"), ("VISAVIS_CONFIG", "/nowhere/visavis.toml")];
        let ran = program().args(arguments).envs(broken).ran();
        assert!(
            !ran.err.contains("FRESHNES_S") && !ran.err.contains("visavis.toml"),
            "{}",
            ran.err
        );
        assert_eq!(ran.code == 0, arguments[0] != "call", "{arguments:?}: {}", ran.err);
    }
}

#[test]
fn a_level_that_does_not_exist_is_refused_instead_of_logging_nothing() {
    let data = tempfile::tempdir().unwrap();
    for level in ["verbose", "info,visavis=loud", ""] {
        let mut command = program();
        command.args(["serve", "--data"]).arg(data.path()).env("VISAVIS_LOG_LEVEL", level);
        let refused = command.ran();
        assert_eq!(refused.code, 2, "{level}: {}", refused.err);
        assert!(refused.err.contains("log.level: unknown level `"), "{}", refused.err);
        assert!(refused.err.contains("info,visavis::worker=debug"), "{}", refused.err);
    }
    let warning = program()
        .args(["client", "add", "app", "--out", "-", "--data"])
        .arg(data.path())
        .env("VISAVIS_LOG_LEVEL", "warning")
        .ran();
    assert_eq!(warning.code, 0, "{}", warning.err);
}

#[test]
fn a_certificate_that_cannot_be_used_is_found_before_any_traffic() {
    let data = tempfile::tempdir().unwrap();
    let cert = data.path().join("chain.pem");
    fs::write(&cert, "no certificate").unwrap();
    let check = |variables: &[(&str, &Path)]| {
        let mut command = program();
        command
            .args(["check", "--json", "--data"])
            .arg(data.path())
            .envs(variables.iter().copied());
        command.ran().out
    };
    let both =
        [("VISAVIS_TLS_CERT_FILE", cert.as_path()), ("VISAVIS_TLS_KEY_FILE", cert.as_path())];
    let findings: Value = serde_json::from_str(&check(&both)).unwrap();
    let tls = findings.as_array().unwrap().iter().find(|f| f["what"] == "tls").unwrap();
    assert_eq!(tls["ok"], false);
    assert!(tls["detail"].as_str().unwrap().contains("chain.pem"), "{tls}");
    assert_eq!(check(&both[..1]), "", "one of the two is a mistake in the configuration");
}

#[test]
fn every_command_explains_itself_and_its_arguments() {
    let commands: [(&[&str], &[&str]); 24] = [
        (&[], &["serve", "compare", "call", "client", "models", "migrate", "check", "--config"]),
        (&["serve"], &["--listen", "--data", "--workers", "--shards", "VISAVIS_CONFIG"]),
        (&["work"], &["--data", "--workers", "--shards"]),
        (
            &["evaluate"],
            &[
                "<--folder <DIR>|--photos <FILE>|--pairs <FILE>>",
                "--root",
                "--known-errors",
                "--pair-type",
                "--report",
                "--json",
            ],
        ),
        (
            &["calibrate"],
            &[
                "<--folder <DIR>|--photos <FILE>>",
                "--known-errors",
                "--pair-type",
                "--groups",
                "--id",
                "--out",
            ],
        ),
        (&["compare"], &["<A>", "<B>", "--document", "--json", "--annotate", "Exit code"]),
        (&["call"], &["<ENDPOINT>", "--client", "--url", "--wait", "--timeout", "Exit code"]),
        (&["client"], &["add", "list", "show", "delete", "disable", "enable"]),
        (
            &["client", "add"],
            &["<NAME>", "--data", "--public-key", "--print", "--out", "--shard", "--fmr"],
        ),
        (&["client", "set"], &["<NAME>", "--extras", "--fmr", "--document-fmr", "default"]),
        (&["client", "list"], &["--data", "--search", "--json"]),
        (&["client", "show"], &["<NAME>", "--data", "--json"]),
        (&["client", "delete"], &["<NAME>", "--data", "--with-transactions", "--yes"]),
        (&["client", "disable"], &["<NAME>", "--data"]),
        (&["client", "enable"], &["<NAME>", "--data"]),
        (&["models"], &["list", "pull", "verify"]),
        (&["models", "list"], &["--json"]),
        (&["models", "pull"], &["[PACK]"]),
        (&["models", "verify"], &["[PACK]"]),
        (&["migrate"], &["--data"]),
        (&["check"], &["--data", "--json"]),
        (&["completions"], &["<SHELL>", "bash", "zsh", "fish"]),
        (&["man"], &["<DIR>"]),
        (&["help"], &["serve"]),
    ];
    for (command, mentioned) in commands {
        let helped = match command {
            ["help"] => visavis(command),
            _ => visavis(&[command, &["--help"]].concat()),
        };
        assert_eq!((helped.code, helped.err.as_str()), (0, ""), "{command:?}");
        for word in mentioned {
            assert!(
                helped.out.contains(word),
                "{command:?} does not mention {word}:\n{}",
                helped.out
            );
        }
    }
    let nothing = visavis(&[]);
    assert_eq!((nothing.code, nothing.out.as_str()), (2, ""));
    assert!(nothing.err.contains("Usage"), "{}", nothing.err);
}
