//! What `docs/MOVING.md` gives its reader to run, run.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use crate::{
    crash::server::{Data, Server},
    support::{Ran, in_repository, left_out, visavis},
};

/// The fenced blocks of a language, or of none.
fn blocks(language: &str) -> Vec<String> {
    let text = fs::read_to_string(in_repository("docs/MOVING.md")).unwrap();
    let fences = text.split("\n```").skip(1).step_by(2);
    let of_language = fences.filter_map(|block| block.strip_prefix(&format!("{language}\n")));
    of_language.map(str::to_owned).collect()
}

fn ran(output: Output) -> Ran {
    output.into()
}

#[test]
fn the_program_for_side_by_side_counts_decisions_and_names_what_differs() {
    let folder = tempfile::tempdir().unwrap();
    let [program] = &blocks("python")[..] else { panic!("one program") };
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("side_by_side.py", program);
    write(
        "cloud.jsonl",
        r#"{"bizId":"a","score":90.5,"samePerson":true}
{"bizId":"b","score":88,"samePerson":true}
{"bizId":"c","score":12,"samePerson":false}

{"bizId":"d","resultCode":"UNABLE_GET_IMAGE"}
{"bizId":"e","score":9,"samePerson":false}
{"bizId":"only here","score":99,"samePerson":true}
"#,
    );
    write(
        "visavis.jsonl",
        r#"{"bizId":"e","score":83,"samePerson":true}
{"bizId":"a","score":97.3,"samePerson":true}
{"bizId":"b","score":71.25,"samePerson":false}
{"bizId":"c","score":33,"samePerson":true}
{"bizId":"c","score":33,"samePerson":false}
{"bizId":"d","score":91,"samePerson":true}
"#,
    );
    let counted = Command::new("python3")
        .args(["side_by_side.py", "cloud.jsonl", "visavis.jsonl"])
        .current_dir(folder.path())
        .output();
    let Ok(counted) = counted else {
        left_out("the program in docs/MOVING.md: python3 does not run here; install it");
        return;
    };
    let counted = ran(counted);
    assert_eq!((counted.code, counted.err.as_str()), (0, ""));
    insta::assert_snapshot!(counted.out.trim_end(), @r"
    5 pairs in both files; 1 only in the cloud's, 0 only in Visavis'

    cloud \ Visavis         same    not same  no verdict
    same                       1           1           0
    not same                   1           1           0
    no verdict                 1           0           0

    2 of 4 decisions agree (50.00 %)

    threshold  cloud same, Visavis below  cloud not same, Visavis at or above
           50                           0                                    1
           55                           0                                    1
           60                           0                                    1
           65                           0                                    1
           70                           0                                    1
           75                           1                                    1
           80                           1                                    1
           85                           1                                    0
           90                           1                                    0
           95                           1                                    0
    look at b: cloud same (88), Visavis not same (71.25)
    look at e: cloud not same (9), Visavis same (83)
    ");
}

/// The block of commands without a language that begins so, with its indentation taken away.
fn commands(start: &str) -> String {
    let text = fs::read_to_string(in_repository("docs/MOVING.md")).unwrap();
    let fences = text.split("```").skip(1).step_by(2);
    let blocks = fences.map(|block| block.lines().map(str::trim).collect::<Vec<_>>().join("\n"));
    blocks.map(|block| block.trim().to_owned()).find(|block| block.starts_with(start)).unwrap()
}

#[test]
fn keys_are_converted_into_each_form_as_documented() {
    let folder = tempfile::tempdir().unwrap();
    let bash = |script: &str| {
        let script = format!("set -euo pipefail\n{script}");
        ran(Command::new("bash").args(["-c", &script]).current_dir(folder.path()).output().unwrap())
    };
    if bash("openssl version").code != 0 {
        left_out("the conversion of keys of docs/MOVING.md: openssl does not run here; install it");
        return;
    }
    let data = folder.path().display().to_string();
    let keys = |name: &str, format: &str| {
        let add = ["client", "add", name, "--out", "-", "--format", format, "--data", &data];
        visavis(&add).json()
    };
    let (file, base64) = (|name: &str| folder.path().join(name), keys("one", "base64"));
    let text = |value: &serde_json::Value, member: &str| value[member].as_str().unwrap().to_owned();
    let commands = commands("base64 -d key.txt");
    let lines: Vec<_> = commands.lines().collect();
    let [private, public, of_pem, back] = lines[..] else { panic!("{lines:?}") };

    fs::write(file("key.txt"), text(&base64, "serverPublicKey")).unwrap();
    assert_eq!(bash(public).err, "");
    let key = text(&base64, "merchantPrivateKey");
    fs::write(file("key.txt"), &key).unwrap();
    let converted = bash(&[private, of_pem, back].join("\n"));
    assert_eq!((converted.code, converted.err.as_str()), (0, ""));
    assert_eq!(fs::read_to_string(file("key.txt")).unwrap(), key, "there and back");

    // As `--format` writes them: the labels, the lines, and the base64 of all that.
    let read = |name: &str| fs::read_to_string(file(name)).unwrap();
    let shape = |pem: &str| pem.lines().map(|l| (l.starts_with('-'), l.len())).collect::<Vec<_>>();
    let pem = keys("two", "pem");
    assert_eq!(shape(&read("public.pem")), shape(&text(&pem, "serverPublicKey")));
    assert_eq!(read("private.pem").lines().next(), text(&pem, "merchantPrivateKey").lines().next());
    let base64_of_pem = text(&keys("three", "base64-pem"), "merchantPrivateKey");
    assert_eq!(read("private.txt")[..36], base64_of_pem[..36]);
}

#[test]
fn the_settings_for_the_shell_script_make_base64_one_line_and_quotes_as_before_bash_4_3() {
    let folder = tempfile::tempdir().unwrap();
    let settings = commands("mkdir -p bin");
    // Quotes in a replacement inside quotes are kept as they are before bash 4.3.
    let test = concat!(
        "head -c 200 /dev/zero | base64 | wc -l\n",
        r#"bash -c 'x=a%2Bb; echo "${x//%/"\\x"}"'"#
    );
    let run = |script: &str| {
        let command = Command::new("bash").args(["-c", script]).current_dir(folder.path()).output();
        ran(command.unwrap()).out
    };
    assert_eq!(run(test), "4\na\\x2Bb\n");
    assert_eq!(run(&format!("{settings}\n{test}")), "0\na\"\\x\"2Bb\n");
}

/// Runs a command of the document for another name than the document's.
fn openssl(folder: &Path, command: &str) -> bool {
    let command = command.replace("faces.example.com", "localhost");
    let ran = Command::new("bash").args(["-c", &command]).current_dir(folder).output();
    ran.is_ok_and(|ran| ran.status.success())
}

#[test]
fn the_self_signed_certificate_is_one_that_clients_accept_and_the_usual_one_is_not() {
    if !openssl(Path::new("."), "openssl version") {
        left_out("the certificate of docs/MOVING.md: openssl does not run here; install it");
        return;
    }
    let commands = blocks("");
    let command = commands.iter().find(|c| c.starts_with("openssl req -x509")).unwrap();
    let usual = command.replace(" \\\n  -addext basicConstraints=critical,CA:FALSE", "");
    assert_ne!(&usual, command);
    for (command, code) in [(command, 0), (&usual, 2)] {
        let data = Data::new();
        assert!(openssl(data.folder(), command), "{command}");
        let file = |name: &str| data.folder().join(name).display().to_string();
        let (cert, key, app) = (file("cert.pem"), file("key.pem"), file("app.json"));
        let server = Server::start_with(&data, &["--tls-cert", &cert, "--tls-key", &key], &[]);
        let url = server.url().replace("127.0.0.1", "localhost");
        let folder = data.folder().display().to_string();
        visavis(&["client", "add", "app", "--data", &folder, "--out", &app]);
        let call = visavis(&["call", "test", "--client", &app, "--url", &url, "--ca", &cert]);
        assert_eq!(call.code, code, "{command}: {}", call.err);
    }
}
