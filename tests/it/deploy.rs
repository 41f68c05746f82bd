//! `deploy/` against the program, as far as that can be read off the files; `make deploy-check`
//! reads them with the programs that they are for, and runs them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::{MetadataExt as _, lchown, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use visavis::config::old_variables;
use visavis_face::sha256_hex;

use crate::{
    settings,
    support::{Ran, Run as _, in_repository, left_out_everywhere, models, visavis},
};

/// A file of the repository.
pub fn text(name: &str) -> String {
    fs::read_to_string(in_repository(name)).unwrap()
}

/// All files below a folder of the repository, without what is not kept in it.
pub fn files(folder: &str) -> Vec<PathBuf> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true if path.ends_with("secrets") => {}
                true => walk(&path, found),
                false => found.push(path),
            }
        }
    }
    let mut found = Vec::new();
    walk(Path::new(&in_repository(folder)), &mut found);
    assert!(!found.is_empty(), "{folder} is empty");
    found
}

/// The words of a text that begin so and go on with capitals, digits and underscores.
pub fn variables(text: &str) -> BTreeSet<String> {
    let in_name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    let words = text.split(|c: char| !in_name(c));
    words.filter(|word| word.starts_with("VISAVIS_")).map(str::to_owned).collect()
}

#[test]
fn every_variable_that_is_set_in_deploy_is_a_setting() {
    let known = settings::variables();
    let mut seen = 0;
    for file in files("deploy") {
        let Ok(text) = fs::read_to_string(&file) else { continue };
        for name in variables(&text) {
            // The proxy's own, a build argument, and how a pattern in a schema begins.
            let other = name.starts_with("VISAVIS_PROXY_") || name == "VISAVIS_";
            // An old name is asked for, and not set.
            let other = other
                || text.contains(&format!("if not (hasKey $root.Values.settings \"{name}\")"));
            assert!(other || known.contains(&name), "{}: {name} is no setting", file.display());
            seen += 1;
        }
    }
    assert!(seen > 10, "{seen}");
}

#[test]
fn the_chart_sets_nothing_beside_an_old_name_of_the_same_setting() {
    let chart = text("deploy/helm/visavis/templates/_helpers.tpl");
    let set: Vec<_> = variables(&chart).into_iter().flat_map(|new| old_variables(&new)).collect();
    assert!(!set.is_empty());
    for old in set {
        let asked = format!("if not (hasKey $root.Values.settings \"{old}\")");
        assert!(chart.contains(&asked), "{old}: two values of one setting are refused");
    }
}

#[test]
fn every_image_that_is_not_built_here_is_pinned_by_its_digest_and_every_container_is_shut_in() {
    let compose = text("deploy/compose.yaml");
    let images: Vec<_> = compose.lines().filter_map(|l| l.trim().strip_prefix("image: ")).collect();
    assert!(images.len() > 4, "{images:?}");
    for image in images.iter().filter(|image| **image != "visavis") {
        let digest = image.split_once("@sha256:").map(|(_, digest)| digest.len());
        assert_eq!(digest, Some(64), "{image}");
    }
    let (_, services) = compose.split_once("\nservices:\n").unwrap();
    let (services, _) = services.split_once("\nnetworks:\n").unwrap();
    let bases = ["<<: *hardened", "<<: *visavis", "<<: *front", ": *front"];
    let mut lines = services.lines().filter(|line| !line.trim_start().starts_with('#')).peekable();
    let mut counted = 0;
    while let Some(line) = lines.next() {
        if line.starts_with("  ") && !line.starts_with("   ") {
            let next = lines.peek().copied().unwrap_or_default();
            let shut_in = bases.iter().any(|base| line.ends_with(base) || next.ends_with(base));
            assert!(shut_in, "{line}: {next}");
            counted += 1;
        }
    }
    assert_eq!(counted, 9, "all services were looked at");
    for needed in ["read_only: true", "cap_drop: [ALL]", "no-new-privileges:true"] {
        let hardened = compose.split("x-visavis").next().unwrap();
        assert!(hardened.contains(needed), "{needed}");
    }
}

#[test]
fn the_units_are_shut_in_and_start_commands_that_exist() {
    let sandbox = [
        "User=visavis",
        "NoNewPrivileges=yes",
        "CapabilityBoundingSet=",
        "ProtectSystem=strict",
        "ProtectHome=yes",
        "PrivateTmp=yes",
        "PrivateDevices=yes",
        "PrivateUsers=yes",
        "ProtectKernelTunables=yes",
        "ProtectKernelModules=yes",
        "ProtectControlGroups=yes",
        "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX",
        "RestrictNamespaces=yes",
        "LockPersonality=yes",
        "MemoryDenyWriteExecute=yes",
        "SystemCallFilter=@system-service",
        "SystemCallFilter=~@privileged @resources",
        "UMask=0077",
        "Restart=on-failure",
        "LimitCORE=0",
    ];
    for (unit, command) in [("visavis", "serve"), ("visavis-worker", "work")] {
        let unit = text(&format!("deploy/systemd/{unit}.service"));
        let lines: Vec<_> = unit.lines().collect();
        for option in sandbox {
            assert!(lines.contains(&option), "{option} is missing:\n{unit}");
        }
        assert!(lines.contains(&format!("ExecStart=/opt/visavis/visavis {command}").as_str()));
        assert_eq!(visavis(&[command, "--help"]).code, 0);
    }
}

/// Its token would cross the network in clear.
#[test]
fn what_opens_the_operators_address_to_a_network_has_no_console_unless_it_is_asked_for() {
    let mut opened = Vec::new();
    for file in files("deploy").into_iter().chain([in_repository("Dockerfile").into()]) {
        let Ok(text) = fs::read_to_string(&file) else { continue };
        let mut lines = text.lines().filter(|line| line.contains("VISAVIS_ADMIN_"));
        if lines.any(|line| line.contains("_LISTEN") && line.contains("0.0.0.0")) {
            let console = text.lines().find(|line| line.contains("VISAVIS_ADMIN_CONSOLE"));
            let console = console.unwrap_or_else(|| panic!("{} has the console", file.display()));
            opened.push(console.trim().to_owned());
        }
    }
    opened.sort();
    let chart =
        "{{- $_ := set $usual \"VISAVIS_ADMIN_CONSOLE\" (toString .Values.console.enabled) }}";
    assert_eq!(opened, ["VISAVIS_ADMIN_CONSOLE: \"false\"", chart]);
    assert!(text("deploy/helm/visavis/values.yaml").contains("\nconsole:\n  enabled: false\n"));
    // To every pod of the cluster it is not opened: tests/deploy/check.py tries it.
    let policy = text("deploy/helm/visavis/templates/networkpolicy.yaml");
    assert!(
        policy
            .contains("{{- if and .Values.console.enabled (not $policy.metricsFrom) }}\n{{- fail ")
    );
}

/// The API may be TLS, listen elsewhere, or not be there at all.
#[test]
fn every_health_check_asks_the_admin_address() {
    for (file, asks, checks) in [
        ("Dockerfile", "CMD [\"/opt/visavis/visavis\", \"health\"]", 1),
        ("deploy/Dockerfile.cuda", "CMD [\"/opt/visavis/visavis\", \"health\"]", 1),
        ("deploy/compose.yaml", "test: [CMD, visavis, health]", 2),
    ] {
        assert_eq!(text(file).matches(asks).count(), checks, "{file}");
    }
    assert_eq!(visavis(&["health", "--help"]).code, 0);
}

#[test]
fn the_names_by_which_prometheus_calls_are_hosts_of_the_admin_address() {
    let prometheus = text("deploy/prometheus/prometheus.yml");
    let targets = prometheus.split("targets: [").skip(1).filter_map(|rest| rest.split_once(']'));
    let targets = targets.flat_map(|(targets, _)| targets.split(", "));
    let names: Vec<_> = targets.filter_map(|target| target.strip_suffix(":9464")).collect();
    assert_eq!(names, ["front-1", "front-2"]);
    let hosts = format!("VISAVIS_ADMIN_HOSTS: {}\n", names.join(" "));
    assert!(text("deploy/compose.yaml").contains(&hosts), "{hosts}");
    let chart = text("deploy/helm/visavis/templates/_helpers.tpl");
    assert!(
        chart.contains("set $usual \"VISAVIS_ADMIN_HOSTS\" (include \"visavis.metricsHosts\" .)")
    );
}

/// Kubernetes sets `VISAVIS_PORT` and more for a Service `visavis`, which is what docs/START.md
/// makes.
#[test]
fn no_pod_of_the_chart_gets_variables_from_services() {
    let (mut pods, mut without) = (0, 0);
    for file in files("deploy/helm") {
        let text = fs::read_to_string(&file).unwrap();
        pods += text.lines().filter(|line| line.trim() == "containers:").count();
        without += text.lines().filter(|line| line.trim() == "enableServiceLinks: false").count();
    }
    assert_eq!((pods, without), (1, 1), "front ends and workers share one template");
}

/// `make image-check ARCH=aarch64` builds and runs it; the builder's own machine compiles.
#[test]
fn the_image_is_built_and_published_for_both_processors() {
    let image = text("Dockerfile");
    assert!(image.contains("\nFROM --platform=${BUILDPLATFORM:-linux/amd64} rust:"), "{image}");
    assert!(image.contains("--target \"$target\""), "{image}");
    let published = "{ file: Dockerfile, suffix: \"\", platforms: \"linux/amd64,linux/arm64\" }";
    assert!(text(".github/workflows/images.yml").contains(published), "{published}");
}

/// For operators who bring a library of their own; the program disables it besides.
#[test]
fn every_shape_disables_the_telemetry_of_onnx_runtime() {
    for (file, line) in [
        ("Dockerfile", "ENV ORT_DISABLE_TELEMETRY=1 \\"),
        ("deploy/Dockerfile.cuda", "ENV ORT_DISABLE_TELEMETRY=1 \\"),
        ("deploy/compose.yaml", "ORT_DISABLE_TELEMETRY: \"1\""),
        (
            "deploy/helm/visavis/templates/_helpers.tpl",
            "{{- $_ := set $fixed \"ORT_DISABLE_TELEMETRY\" \"1\" }}",
        ),
        ("deploy/systemd/visavis.service", "Environment=ORT_DISABLE_TELEMETRY=1"),
        ("deploy/systemd/visavis-worker.service", "Environment=ORT_DISABLE_TELEMETRY=1"),
    ] {
        let text = text(file);
        assert!(text.lines().any(|found| found.trim() == line), "{file} lacks {line}");
    }
}

#[test]
fn the_licence_is_complete_and_goes_with_the_images_and_the_bundle() {
    let digest = "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30";
    assert_eq!(sha256_hex(text("LICENSE").as_bytes()), digest, "the text of Apache-2.0");
    for image in ["Dockerfile", "deploy/Dockerfile.cuda"] {
        assert!(text(image).contains("\nCOPY LICENSE NOTICE /opt/visavis/\n"), "{image}");
    }
    assert!(text("scripts/bundle").contains("\ngit archive HEAD LICENSE NOTICE "));
}

/// While the master key is changed there are three files beside one another, and each process needs
/// all of them.
#[test]
fn every_shape_hands_over_all_the_files_of_a_master_key_that_is_being_changed() {
    let compose = text("deploy/compose.yaml");
    assert!(compose.contains("VISAVIS_DATA_KEY_FILE: /run/master/master.key\n"));
    assert_eq!(compose.matches("source: ./secrets/master\n").count(), 1, "{compose}");
    assert!(compose.contains("source: ./secrets/master, target: /run/master,"), "to be changed");
    assert!(text("deploy/make-secrets").contains("| keep master/master.key 65532\n"));

    let chart = text("deploy/helm/visavis/templates/_helpers.tpl");
    let (_, sources) = chart.split_once("    - name: master\n      projected:\n").unwrap();
    let (sources, _) = sources.split_once("    {{- if").unwrap();
    let item = |name| format!("{{ key: {name}, path: {name} }}");
    let [_, always, maybe] = sources.split("- secret:").collect::<Vec<_>>()[..] else {
        panic!("{sources}")
    };
    assert!(always.contains(&item("master.key")) && !always.contains("optional"), "{always}");
    assert!(maybe.contains("optional: true"), "{maybe}");
    for name in ["master.key.next", "master.key.old"] {
        assert!(maybe.contains(&item(name)), "{maybe}");
    }
    // What is copied is all that is mounted, and the old key can be deleted from the copy.
    assert!(chart.contains("install -m 0400 /mounted/*/* /keys/"));
    assert!(chart.contains("- { name: keys, mountPath: /keys }\n    "));

    // A folder's files are credentials of the folder's name, an underscore and their own.
    let unit = text("deploy/systemd/visavis-worker.service");
    assert!(unit.contains("\nLoadCredential=key:/etc/visavis/master\n"), "{unit}");
    assert!(unit.contains("\nEnvironment=VISAVIS_DATA_KEY_FILE=%d/key_master.key\n"), "{unit}");
}

/// A folder of secrets with a certificate of its own, so that none is made.
fn secrets() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["tls.pem", "tls.pem.key"] {
        fs::write(folder.path().join(name), "PEM").unwrap();
    }
    folder
}

fn make_secrets(folder: &Path) -> Ran {
    Command::new(in_repository("deploy/make-secrets")).arg(folder).ran()
}

#[test]
fn secrets_that_are_made_again_stay_as_they_are() {
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        return;
    }
    let folder = secrets();
    assert_eq!(make_secrets(folder.path()).code, 0);
    let state = |name: &str| {
        let file = fs::symlink_metadata(folder.path().join(name)).unwrap();
        (file.uid(), file.mode() & 0o777)
    };
    let key = fs::read(folder.path().join("master/master.key")).unwrap();
    for _ in 0..2 {
        let owners = ["master", "master/master.key", "postgres-password", "tls/tls.pem"].map(state);
        assert_eq!(owners, [(65_532, 0o700), (65_532, 0o400), (999, 0o400), (65_531, 0o400)]);
        assert_eq!(fs::read(folder.path().join("master/master.key")).unwrap(), key);
        let again = make_secrets(folder.path());
        assert_eq!(again.code, 0, "{}", again.err);
    }
    let files = |folder: &Path| fs::read_dir(folder).unwrap().count();
    assert_eq!(files(folder.path()), 5, "no draft is left");
    assert_eq!(files(&folder.path().join("tls")), 2, "moved there");
}

/// The folder of the master key belongs to the service.
#[test]
fn root_makes_no_secrets_through_links_that_the_service_laid() {
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        return;
    }
    for (name, hard) in [("master.key", false), ("master.key.new", false), ("master.key", true)] {
        let folder = secrets();
        assert_eq!(make_secrets(folder.path()).code, 0);
        let elsewhere = tempfile::tempdir().unwrap();
        let (victim, link) =
            (elsewhere.path().join("victim"), folder.path().join("master").join(name));
        fs::write(&victim, "kept").unwrap();
        let before = fs::metadata(&victim).unwrap();
        fs::remove_file(folder.path().join("master/master.key")).unwrap();
        if hard {
            fs::hard_link(&victim, &link).unwrap();
        } else {
            symlink(&victim, &link).unwrap();
            lchown(&link, Some(65_532), Some(65_532)).unwrap();
        }
        let refused = make_secrets(folder.path());
        assert_eq!(refused.code, 1, "{}{}", refused.out, refused.err);
        assert!(refused.err.contains(&format!("master/{name} is a link")), "{}", refused.err);
        let after = fs::metadata(&victim).unwrap();
        assert_eq!((after.uid(), after.mode()), (before.uid(), before.mode()));
        assert_eq!(fs::read_to_string(&victim).unwrap(), "kept");
        let master = fs::metadata(folder.path().join("master")).unwrap();
        assert_eq!(master.uid(), 65_532, "the service keeps its folder");
    }
}

/// The first part of `make pods-check`, which a nightly workflow runs in full.
#[test]
fn pods_of_the_chart_start_as_their_manifests_ask_and_lose_no_call_when_one_ends() {
    let python = in_repository(".tools/deploy/bin/python");
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    let answers = |program: &str, argument| {
        Command::new(program).arg(argument).output().is_ok_and(|done| done.status.success())
    };
    if !is_root || !answers("docker", "info") || !answers(&python, "--version") {
        left_out_everywhere(
            "pods of the chart: run it as root, with Docker, after make pods-check",
        );
        return;
    }
    let mut check = Command::new(python);
    check.arg(in_repository("tests/deploy/pods.py")).args([env!("CARGO_BIN_EXE_visavis"), "0"]);
    let ran = check.env("VISAVIS_MODEL_PACK", models::pack().name).ran();
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("a front end deleted: "), "{}", ran.out);
}

/// The metrics of the program: of each whether it is a histogram, and its labels.
fn metrics() -> BTreeMap<String, (bool, BTreeSet<String>)> {
    let source = text("src/telemetry/mod.rs");
    let (_, table) = source.split_once("const METRICS").unwrap();
    let (table, _) = table.split_once("];").unwrap();
    let rows = table.split("(\"visavis_").skip(1);
    let row = |row: &str| {
        let quoted: Vec<_> = row.split('"').collect();
        let labels = quoted[2].split(", ").filter(|label| !label.is_empty());
        let is_histogram = quoted[1].contains("Histogram");
        (format!("visavis_{}", quoted[0]), (is_histogram, labels.map(str::to_owned).collect()))
    };
    rows.map(row).collect()
}

/// Every query of the alerts, of their tests, and of the dashboard.
fn queries() -> Vec<String> {
    let folder = ["deploy/prometheus/alerts.yml", "deploy/prometheus/alerts_test.yml"];
    let rules = folder.map(text).join("\n").replace("\n          ", " ");
    let lines = rules.lines().filter(|line| line.contains("expr:") || line.contains("series:"));
    let mut found: Vec<_> = lines.map(str::to_owned).collect();
    let dashboard: serde_json::Value =
        serde_json::from_str(&text("deploy/grafana/dashboards/visavis.json")).unwrap();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            found.push(target["expr"].as_str().unwrap().to_owned());
        }
    }
    found
}

#[test]
fn every_metric_of_the_alerts_and_of_the_dashboard_exists_and_has_the_labels_that_are_asked_for() {
    let (known, mut used) = (metrics(), BTreeSet::new());
    assert!(known.len() > 20, "{known:?}");
    for query in queries() {
        let of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let mut labels: BTreeSet<_> = ["le", "job", "instance"].map(str::to_owned).into();
        for (at, _) in query.match_indices("visavis_") {
            let name: String = query[at..].chars().take_while(|c| of_name(*c)).collect();
            let parts = ["_bucket", "_sum", "_count"];
            let base = parts.iter().find_map(|part| name.strip_suffix(part));
            let base =
                base.filter(|base| known.get(*base).is_some_and(|(histogram, _)| *histogram));
            let base = base.unwrap_or(&name).to_owned();
            let of_it = known.get(&base).unwrap_or_else(|| panic!("{name} is no metric: {query}"));
            assert!(base != name || !of_it.0, "{name} is a histogram: {query}");
            labels.extend(of_it.1.iter().cloned());
            used.insert(base);
        }
        // Labels that are matched, and those that are kept or joined on.
        let quoted = query.replace("\\\"", "\"");
        let matched = quoted.split("=\"").chain(quoted.split("=~\"")).map(|before| {
            let from = before.rfind(|c| !of_name(c)).map_or(0, |at| at + 1);
            before[from..].to_owned()
        });
        let matched =
            matched.filter(|label| quoted.contains(&format!("{label}=")) && !label.is_empty());
        let kept = quoted.split("by (").chain(quoted.split("on (")).skip(1);
        let kept =
            kept.filter_map(|rest| rest.split_once(')')).map(|(labels, _)| labels.to_owned());
        let kept: Vec<_> = kept
            .filter(|labels| labels.chars().all(|c| of_name(c) || c == ',' || c == ' '))
            .flat_map(|labels| labels.split(", ").map(str::to_owned).collect::<Vec<_>>())
            .collect();
        for label in matched.chain(kept).filter(|_| query.contains("visavis_")) {
            assert!(labels.contains(&label), "no metric here has the label {label}: {query}");
        }
    }
    assert!(used.len() > 20, "{used:?}");
}

/// Anyone who raises the version raises it everywhere.
#[test]
fn chart_and_image_are_of_this_version() {
    let version = env!("CARGO_PKG_VERSION");
    let chart = text("deploy/helm/visavis/Chart.yaml");
    assert!(chart.contains(&format!("\nappVersion: {version}\n")), "{chart}");
    let label = format!("org.opencontainers.image.version=\"{version}\" ");
    assert!(text("Dockerfile").contains(&label), "the Dockerfile lacks {label}");
}
