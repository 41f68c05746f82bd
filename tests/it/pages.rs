//! The pages of `docs/`: whole, true, and what they give to run, run.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

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

/// Names of the Markdown files below `docs/`.
fn pages() -> BTreeSet<String> {
    let docs = in_repository("docs");
    let is_page = |path: &PathBuf| {
        path.extension().is_some_and(|ending| ending == "md") && !path.ends_with("SUMMARY.md")
    };
    let found = files("docs").into_iter().filter(is_page);
    found.map(|path| path.strip_prefix(&docs).unwrap().display().to_string()).collect()
}

/// What a text links to, without what is elsewhere.
fn links(text: &str) -> Vec<&str> {
    let targets = text.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0));
    targets.filter(|target| !target.contains("://")).collect()
}

#[test]
fn every_page_is_in_the_summary_and_every_link_leads_somewhere() {
    let summary = page("SUMMARY.md");
    let listed: BTreeSet<_> =
        links(&summary).into_iter().filter(|t| !t.is_empty()).map(str::to_owned).collect();
    assert_eq!(listed, pages());
    for name in pages() {
        let text = page(&name);
        let folder = Path::new(&in_repository("docs")).join(&name);
        for link in links(&text) {
            let (file, _) = link.split_once('#').unwrap_or((link, ""));
            let target = folder.parent().unwrap().join(file);
            assert!(file.is_empty() || target.exists(), "{name} links to {link}");
            assert!(
                !file.starts_with("../") || name.contains('/'),
                "{name}: {link} is not of the site"
            );
        }
    }
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
    let told: BTreeMap<_, _> = rows
        .map(|row| {
            let cells: Vec<_> = row.split('|').map(str::trim).collect();
            (cells[1].to_owned(), cells[2].to_owned())
        })
        .collect();
    assert!(alerts.len() > 10);
    assert_eq!(told, alerts);
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
                "{text} > served.txt &\nfor _ in $(seq 300); do grep -q listens served.txt && break; sleep 0.1; done\n"
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
    command.env("ORT_DYLIB_PATH", runtime_library());
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
                    not_run.push(format!("{name}: {}: {reason}", text.trim().replace('\n', "; ")));
                }
            }
        }
    }
    insta::assert_snapshot!(not_run.join("\n"), @r#"
    START.md: make demo: builds everything; the blocks below do the same with what is built
    START.md: tar -xf visavis-0.1.0-linux-x86_64.tar.gz && cd visavis-0.1.0-linux-x86_64 && ./install: changes the system; make bundle-check runs it on a bare Debian
    START.md: deploy/make-secrets deploy/secrets; docker compose -f deploy/compose.yaml up --detach --build: needs a container engine; make deploy-check runs the same shape without one
    START.md: kubectl create secret generic visavis-master --from-file=master.key; helm upgrade --install visavis deploy/helm/visavis --set image.repository=REGISTRY/visavis \; --set database.url=postgres://visavis@HOST/visavis --set masterKey.existingSecret=visavis-master: needs a cluster; make deploy-check renders the chart and validates what comes out
    OPERATIONS.md: give() { scp -p "$KEYS/$1" "$HOST:$KEYS/$1.copy" && ssh "$HOST" mv "$KEYS/$1.copy" "$KEYS/$1"; }; give master.key.next                                                # after prepare; give master.key.old && give master.key && ssh "$HOST" rm "$KEYS/master.key.next"    # after rotate; ssh "$HOST" rm "$KEYS/master.key.old"                               # after retire: needs further machines
    OPERATIONS.md: docker compose -f deploy/compose.yaml run --rm master-key prepare; sleep 6; docker compose -f deploy/compose.yaml run --rm master-key rotate; sleep 6; docker compose -f deploy/compose.yaml run --rm master-key retire: needs a container engine
    OPERATIONS.md: put() { kubectl create secret generic visavis-master "$@" --dry-run=client --output yaml | kubectl replace --filename -; }; restart() {; kubectl rollout restart deployment/visavis-front deployment/visavis-worker; kubectl rollout status deployment/visavis-front && kubectl rollout status deployment/visavis-worker; }; umask 077; kubectl get secret visavis-master --output 'jsonpath={.data.master\.key}' | base64 --decode > old; head -c 32 /dev/urandom > new; put --from-file=master.key=old --from-file=master.key.next=new && restart; put --from-file=master.key=new --from-file=master.key.old=old && restart; kubectl exec deployment/visavis-front -- visavis key rotate; kubectl exec deployment/visavis-front -- visavis key retire; put --from-file=master.key=new && restart: needs a cluster
    OPERATIONS.md: systemctl stop visavis: needs systemd; make units-check runs it
    CONTRIBUTING.md: make test: it is what runs this test
    CONTRIBUTING.md: UPDATE_DOCS=1 cargo test --test it settings::; make docs: needs the source and its tools
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

/// It erases what its client has; nothing here, but all of it is a command that is there.
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
    let variables = [("VISAVIS_DATABASE_URL", own), ("RESTORED_URL", restored)];
    run("OPERATIONS.md", &script("OPERATIONS.md", " postgres"), &variables);
}

/// The lines of a text that call the program, without what stands before and behind the call. Those that show the
/// choice between arguments are no calls.
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
    let docs = fs::read_dir(in_repository("docs")).unwrap().map(|entry| entry.unwrap().path());
    let pages = docs.filter(|path| path.extension().is_some_and(|end| end == "md"));
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
