//! The pages of `docs/`: whole, true, and what they give to run, run.

use std::{collections::BTreeMap, fmt::Write as _, fs, process::Command};

use crate::{
    deploy::files,
    serve::free_address,
    support::{
        Run as _, cluster, in_repository, left_out, models::pack, pack_folder, runtime_library,
    },
};

fn page(name: &str) -> String {
    fs::read_to_string(in_repository(&format!("docs/{name}"))).unwrap()
}

#[test]
fn every_alert_is_on_the_page_of_operations_with_its_severity() {
    let rules = fs::read_to_string(in_repository("deploy/prometheus/alerts.yml")).unwrap();
    let mut alerts = BTreeMap::new();
    for rule in rules.split("- alert: ").skip(1) {
        let (name, rest) = rule.split_once('\n').unwrap();
        let (_, severity) = rest.split_once("severity: ").unwrap();
        alerts.insert(name.to_owned(), severity.split(' ').next().unwrap().to_owned());
    }
    let text = page("OPERATIONS.md");
    let rows = text.lines().filter(|line| line.starts_with("| Visavis"));
    let reported: BTreeMap<_, _> = rows
        .map(|row| {
            let cells: Vec<_> = row.split('|').map(str::trim).collect();
            (cells[1].to_owned(), cells[2].to_owned())
        })
        .collect();
    assert!(alerts.len() > 10);
    assert_eq!(reported, alerts);
}

#[test]
fn what_the_page_of_security_says_is_kept_true_by_tests_that_exist() {
    let sources: String = ["tests", "src", "crates"]
        .iter()
        .flat_map(|folder| files(folder))
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    let text = page("SECURITY.md");
    let rows: Vec<_> = text.lines().filter(|l| l.starts_with("| ") && l.ends_with("` |")).collect();
    assert!(rows.len() > 10, "{rows:?}");
    for row in rows {
        let tests = row.rsplit(" | ").next().unwrap();
        for name in tests.trim_end_matches(" |").split(", ").map(|name| name.trim_matches('`')) {
            assert!(sources.contains(&format!("fn {name}(")), "{name} is no test");
        }
    }
}

/// A fenced block: what stands behind its fence, and what is inside.
struct Block {
    info: String,
    text: String,
}

fn blocks(name: &str) -> Vec<Block> {
    let (text, mut found, mut open) = (page(name), Vec::new(), None::<Block>);
    for line in text.lines() {
        match (line.trim_start().strip_prefix("```"), &mut open) {
            (Some(info), None) => {
                open = Some(Block { info: info.to_owned(), text: String::new() });
            }
            (Some(_), Some(_)) => found.extend(open.take()),
            (None, Some(block)) => writeln!(block.text, "{}", line.trim_start()).unwrap(),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "{name}: a fence is open");
    found
}

/// The blocks of a page that are run on one kind of store, as one script.
fn script(name: &str, kind: &str) -> String {
    let mut script = "set -euo pipefail\n".to_owned();
    for Block { info, text } in blocks(name) {
        if info == format!("sh{kind}") {
            script += &text;
        } else if info == "sh background" && kind.is_empty() {
            // It has been started when it says where it listens.
            let text = text.trim();
            write!(
                script,
                "{text} > served.txt &\nfor _ in $(seq 300); do grep -q listens served.txt && \
                 break; sleep 0.1; done\n"
            )
            .unwrap();
        }
    }
    script
}

/// Runs it in a folder that has the samples, with the program on the path.
fn run(name: &str, script: &str, variables: &[(&str, String)]) {
    let folder = tempfile::tempdir().unwrap();
    let link = |target: &str, name: &str| {
        std::os::unix::fs::symlink(target, folder.path().join(name)).unwrap();
    };
    link(&in_repository("samples"), "samples");
    link(env!("CARGO_BIN_EXE_visavis"), "visavis");
    let (api, admin) = (free_address(), free_address());
    // The ports of the page may be taken here.
    let script = script
        .replace("127.0.0.1:8080", &api.to_string())
        .replace("127.0.0.1:9464", &admin.to_string());
    let script = format!("trap 'kill $(jobs -p) 2> /dev/null || true; wait' EXIT\n{script}");
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
    let mut command = Command::new("bash");
    command.args(["-c", &script]).current_dir(folder.path()).env("PATH", path);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("VISAVIS_") {
            command.env_remove(name);
        }
    }
    command.env("VISAVIS_HTTP_LISTEN", api.to_string());
    command.env("VISAVIS_ADMIN_LISTEN", admin.to_string());
    command.env("VISAVIS_MODEL_DIR", pack_folder().parent().unwrap());
    command.env("VISAVIS_MODEL_PACK", pack().name);
    command.env("ORT_DYLIB_PATH", runtime_library()).env("VISAVIS_RUNTIME_DEVICE", "cpu");
    command.envs(variables.iter().map(|(name, value)| (*name, value.as_str())));
    let ran = command.ran();
    assert_eq!(ran.code, 0, "{name}:\n{script}\n{}\n{}", ran.out, ran.err);
}

/// Pages all of whose blocks are run, or say why not.
const RUN: [&str; 4] = ["START.md", "OPERATIONS.md", "PRIVACY.md", "CONTRIBUTING.md"];

#[test]
fn every_block_of_these_pages_is_run_or_says_why_not() {
    let mut not_run = Vec::new();
    for name in RUN {
        for Block { info, text } in blocks(name) {
            match info.as_str() {
                "sh" | "sh background" | "sh postgres" => {
                    assert!(!text.trim().is_empty(), "{name}");
                }
                _ => {
                    let reason = info.strip_prefix("sh not-run: ");
                    let reason = reason.unwrap_or_else(|| panic!("{name}: `{info}`"));
                    let first = text.lines().next().unwrap();
                    not_run.push(format!("{name}: {first}: {reason}"));
                }
            }
        }
    }
    insta::assert_snapshot!(not_run.join("\n"), @r#"
    START.md: make demo: builds everything; the blocks below do the same with what is built
    START.md: tar -xf visavis-0.2.0-linux-x86_64.tar.gz: changes the system; make bundle-check runs it on a bare Debian
    START.md: docker build -t visavis .: needs a container engine; make image-check builds and runs it
    START.md: deploy/make-secrets deploy/secrets: needs a container engine; make compose-check runs it
    START.md: kubectl create secret generic visavis-master --from-file=master.key: needs a cluster; make deploy-check validates the chart, make pods-check runs its pods
    OPERATIONS.md: visavis client add shop --data /var/lib/visavis --out shop.json    # register an app: an overview; these need a certificate, a client or a data folder that exists
    OPERATIONS.md: export VISAVIS_DATA_KEY_COMMAND="vault kv get -field=master secret/visavis": needs a server of Vault, a key management service or systemd
    OPERATIONS.md: give() { scp -p "$KEYS/$1" "$HOST:$KEYS/$1.copy" && ssh "$HOST" mv "$KEYS/$1.copy" "$KEYS/$1"; }: needs further machines
    OPERATIONS.md: docker compose -f deploy/compose.yaml run --rm master-key prepare: needs a container engine; make compose-check runs it
    OPERATIONS.md: put() {: needs a cluster; make pods-check runs it on pods without one
    OPERATIONS.md: compose="docker compose -f deploy/compose.yaml": needs a container engine; make compose-check runs it
    OPERATIONS.md: cp renewed.pem deploy/secrets/tls/tls.pem: needs a container engine; make compose-check runs it
    OPERATIONS.md: systemctl stop visavis: needs systemd; make units-check runs it
    CONTRIBUTING.md: make test: it is what runs this test
    CONTRIBUTING.md: cargo test --features turbojpeg --lib config::                  # unit tests of one module: needs the source and its tools
    CONTRIBUTING.md: apt-get install crossbuild-essential-arm64 qemu-user-static: changes the system
    CONTRIBUTING.md: UPDATE_DOCS=1 cargo test --test it settings::the_: needs the source and its tools
    "#);
}

#[test]
fn what_the_page_to_start_with_gives_to_run_runs() {
    run("START.md", &script("START.md", ""), &[]);
}

#[test]
fn what_the_page_of_operations_gives_to_run_runs() {
    if Command::new("sqlite3").arg("--version").output().is_err() {
        left_out("docs/OPERATIONS.md: sqlite3 is not here; apt-get install sqlite3");
        return;
    }
    run("OPERATIONS.md", &script("OPERATIONS.md", ""), &[]);
}

/// It erases what its client has; nothing here, but all of it is a command that exists.
#[test]
fn what_the_page_on_privacy_gives_to_run_runs() {
    let client = "set -euo pipefail\nvisavis client add shop --out shop.json\n";
    run("PRIVACY.md", &(client.to_owned() + &script("PRIVACY.md", "")), &[]);
}

#[tokio::test]
async fn what_the_page_of_operations_gives_to_run_on_postgres_runs() {
    let server = cluster();
    let own = server.url(&server.new_database().await);
    let restored = server.url(&server.new_database().await);
    // As its administrator, and as the role that the page creates.
    let port = server.port();
    let faces = format!("postgres://faces@127.0.0.1:{port}/faces");
    let variables = [
        ("VISAVIS_DATABASE_URL", own),
        ("RESTORED_URL", restored),
        ("FACES_URL", faces),
        ("PGHOST", "127.0.0.1".to_owned()),
        ("PGPORT", port.to_string()),
        ("PGUSER", "visavis".to_owned()),
        ("PGDATABASE", "postgres".to_owned()),
    ];
    run("OPERATIONS.md", &script("OPERATIONS.md", " postgres"), &variables);
}

/// The lines of a text that call the program, without what stands before and behind the call. Those
/// that show the choice between arguments are no calls.
fn calls(text: &str) -> Vec<String> {
    let joined = text.replace("\\\n", " ");
    let mut found = Vec::new();
    let mut inside = false;
    for line in joined.lines().map(str::trim) {
        if line.starts_with("```") {
            inside = !inside;
            continue;
        }
        let line = line.split(" #").next().unwrap().trim_start_matches("$ ");
        let is_setting =
            |word: &str| word.split_once('=').is_some_and(|(name, _)| name.starts_with("VISAVIS_"));
        let words: Vec<_> = line.split_whitespace().skip_while(|word| is_setting(word)).collect();
        let program = words
            .first()
            .is_some_and(|word| ["visavis", "./visavis", "target/release/visavis"].contains(word));
        let shown = line.contains(['(', '[', '|', '…', '<', '>', '&', '"', '\'', '$']);
        if inside && program && !shown {
            found.push(words.join(" "));
        }
    }
    found
}

#[test]
fn every_call_of_the_program_in_the_documents_is_one_that_it_takes() {
    use clap::Parser as _;
    let pages = files("docs").into_iter();
    let pages = pages.filter(|path| path.extension().is_some_and(|end| end == "md"));
    let mut count = 0;
    for path in pages.chain([in_repository("README.md").into()]) {
        for call in calls(&fs::read_to_string(&path).unwrap()) {
            // What stands for a number is one.
            let words = call.split(' ').map(|word| match word {
                "N" | "RATE" | "R" => "1",
                word => word,
            });
            let taken = visavis::cli::Cli::try_parse_from(words);
            assert!(taken.is_ok(), "{}: {call}\n{}", path.display(), taken.unwrap_err());
            count += 1;
        }
    }
    assert!(count > 50, "{count} calls are not all that there are");
}
