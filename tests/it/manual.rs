//! Completions and manual pages: made for every command, and read without complaint by what they
//! are for.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use crate::support::{left_out, visavis};

/// The names below a heading of the help.
fn commands(path: &[&str]) -> Vec<String> {
    let help = visavis(&[path, &["--help"]].concat()).out;
    let Some((_, commands)) = help.split_once("\nCommands:\n") else { return Vec::new() };
    let lines = commands.lines().take_while(|line| !line.is_empty());
    let names = lines.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    names.filter(|name| !name.is_empty() && *name != "help").map(str::to_owned).collect()
}

fn pages(folder: &Path) -> BTreeSet<String> {
    let ran = visavis(&["man", &folder.display().to_string()]);
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (0, "", ""));
    let entries = fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn every_command_has_a_page_of_the_manual() {
    let folder = tempfile::tempdir().unwrap();
    let pages = pages(&folder.path().join("made/for/it"));
    assert!(pages.contains("visavis.1"), "{pages:?}");
    let commands_of_all = commands(&[]);
    assert!(commands_of_all.len() > 10, "{commands_of_all:?}");
    for command in &commands_of_all {
        assert!(pages.contains(&format!("visavis-{command}.1")), "{command}: {pages:?}");
        for inner in commands(&[command]) {
            assert!(pages.contains(&format!("visavis-{command}-{inner}.1")), "{command} {inner}");
        }
    }
    let page = fs::read_to_string(folder.path().join("made/for/it/visavis-serve.1")).unwrap();
    for word in ["--workers", "--listen", "--tls-cert"] {
        // A dash is escaped in the language of manuals.
        assert!(page.contains(&word.replace('-', "\\-")), "{word}:\n{page}");
    }
    assert!(!page.contains("until\\-input\\-ends"), "what is hidden stays so");
}

#[test]
fn the_manual_reads_without_complaint() {
    let folder = tempfile::tempdir().unwrap();
    let pages = pages(folder.path());
    for page in pages {
        let mut command = Command::new("man");
        command.args(["--warnings", "--local-file", "--encoding=utf8"]);
        command.arg(folder.path().join(&page)).env("MANWIDTH", "100");
        let Ok(read) = command.output() else {
            left_out("the manual is not read: `man` is not here; apt-get install man-db");
            return;
        };
        let (text, complaint) =
            (String::from_utf8_lossy(&read.stdout), String::from_utf8_lossy(&read.stderr));
        assert!(read.status.success() && complaint.is_empty(), "{page}: {complaint}");
        assert!(text.contains("SYNOPSIS"), "{page}: {text}");
    }
}

#[test]
fn bash_completes_commands_options_and_values() {
    let script = visavis(&["completions", "bash"]);
    assert_eq!((script.code, script.err.as_str()), (0, ""));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("visavis.bash");
    fs::write(&file, &script.out).unwrap();
    let complete = |words: &[&str]| {
        let quoted = words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ");
        let ask = format!(
            "source {}; COMP_WORDS=({quoted}); COMP_CWORD={}; _visavis visavis '{}' '{}'; echo \
             \"${{COMPREPLY[@]}}\"",
            file.display(),
            words.len() - 1,
            words[words.len() - 1],
            words[words.len() - 2],
        );
        let ran = Command::new("bash").args(["--norc", "-c", &ask]).output().unwrap();
        assert!(ran.stderr.is_empty(), "{}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8(ran.stdout).unwrap().trim().to_owned()
    };
    assert_eq!(complete(&["visavis", "ser"]), "serve");
    assert_eq!(complete(&["visavis", "client", "ro"]), "rotate");
    assert_eq!(complete(&["visavis", "serve", "--wor"]), "--workers");
    assert!(complete(&["visavis", "completions", ""]).contains("fish"));
}

#[test]
fn the_other_shells_read_their_completions() {
    for shell in ["zsh", "fish"] {
        let script = visavis(&["completions", shell]);
        assert_eq!((script.code, script.err.as_str()), (0, ""), "{shell}");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("completions");
        fs::write(&file, &script.out).unwrap();
        let Ok(read) = Command::new(shell).arg("-n").arg(&file).output() else {
            assert!(script.out.contains("rotate"), "{shell}");
            left_out(&format!("completions for {shell} are not read: it is not here"));
            continue;
        };
        assert!(read.status.success(), "{shell}: {}", String::from_utf8_lossy(&read.stderr));
    }
    let unknown = visavis(&["completions", "csh"]);
    assert_eq!(unknown.code, 2, "{}", unknown.out);
}
