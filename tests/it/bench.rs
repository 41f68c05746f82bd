//! `visavis bench`: the load generator against a service of its own, and against one that runs.

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    crash::server::{Data, Server},
    support::{Ran, Run as _, in_repository, visavis, with_models},
};

/// The names that a run always has.
const NAMES: [&str; 12] = [
    "pairsPerSecond",
    "floorPairsPerSecond",
    "ratioToFloor",
    "latencyMs",
    "errors",
    "refused",
    "refusalMs",
    "rssMiB",
    "cpuSecondsPerPair",
    "pairsPerCpuSecond",
    "floorCpuSecondsPerPair",
    "floorPairsPerCpuSecond",
];
/// Longer than anything here takes, on a busy machine too.
const PATIENCE: Duration = Duration::from_mins(2);

/// `bench` with scratch folders below `temp`, and the samples.
fn bench(temp: &Path) -> Command {
    let mut command = with_models();
    command.args(["bench", "--photos", &in_repository("samples")]).env("TMPDIR", temp);
    command
}

fn run(arguments: &[&str]) -> Ran {
    let temp = tempfile::tempdir().unwrap();
    let ran = bench(temp.path()).args(arguments).ran();
    assert_eq!(scratch(temp.path()), None, "{arguments:?} leaves its folder behind");
    ran
}

/// The folder of the measured service, the only one that exists.
fn scratch(temp: &Path) -> Option<PathBuf> {
    let mut entries = fs::read_dir(temp).unwrap().map(|entry| entry.unwrap().path());
    entries.next()
}

/// The object of a run in which nothing went wrong.
fn measured(arguments: &[&str]) -> Value {
    let ran = run(&[&["--json", "--seconds", "1"], arguments].concat());
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{}", ran.out);
    let found = ran.json();
    for name in NAMES {
        assert!(found.get(name).is_some(), "{name}: {found}");
    }
    assert_eq!((&found["errors"], &found["refused"]), (&0.into(), &0.into()), "{found}");
    assert!(number(&found["pairsPerSecond"]) > 0.0, "{found}");
    let latencies = ["p50", "p90", "p99", "max"].map(|name| number(&found["latencyMs"][name]));
    assert!(latencies[0] > 0.0 && latencies.is_sorted(), "{found}");
    found
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is a number"))
}

#[test]
fn compare_is_measured_against_a_service_of_its_own() {
    let found = measured(&["--mode", "compare", "--workers", "1"]);
    assert_eq!((&found["mode"], &found["photos"]), (&"compare".into(), &4.into()));
    assert_eq!((&found["workers"], &found["inFlight"]), (&1.into(), &2.into()));
    assert_eq!(
        (&found["floorPairsPerSecond"], &found["ratioToFloor"]),
        (&Value::Null, &Value::Null)
    );
    if cfg!(target_os = "linux") {
        assert!(number(&found["rssMiB"]) > 10.0, "{found}");
        let (seconds, pairs) = (&found["cpuSecondsPerPair"], &found["pairsPerCpuSecond"]);
        assert!((number(seconds) * number(pairs) - 1.0).abs() < 0.01, "{found}");
    }
}

#[test]
fn async_is_measured_to_the_outcome_and_bodies_can_be_encrypted() {
    let found = measured(&["--mode", "async", "--encrypted"]);
    assert_eq!((&found["mode"], &found["encrypted"]), (&"async".into(), &true.into()));
    assert!(number(&found["pollsPerPair"]) >= 1.0, "{found}");
}

#[test]
fn compare_is_measured_encrypted_too() {
    assert_eq!(measured(&["--encrypted"])["encrypted"], true);
}

#[test]
fn the_floor_is_measured_in_turn_with_the_service() {
    let found = measured(&["--floor", "--workers", "1"]);
    let floor = number(&found["floorPairsPerSecond"]);
    assert!(floor > 0.0, "{found}");
    let ratio = number(&found["pairsPerSecond"]) / floor;
    assert_eq!(found["slices"], 1, "{found}");
    assert!((number(&found["ratioToFloor"]) / ratio - 1.0).abs() < 0.05, "{found}");
    assert!(number(&found["cpuRatioToFloor"]) > 0.0, "{found}");
}

#[test]
fn at_a_rate_as_many_pairs_are_sent_as_are_due() {
    let first = measured(&["--rate", "6"]);
    assert_eq!(first["rate"], 6.0);
    assert_eq!(
        first["pairs"],
        measured(&["--rate", "6"])["pairs"],
        "arrivals are the same in every run"
    );
}

#[test]
fn an_old_name_of_a_setting_that_bench_sets_is_no_conflict() {
    let temp = tempfile::tempdir().unwrap();
    let mut command = bench(temp.path());
    let ran = command.args(["--seconds", "1"]).env("VISAVIS_HTTP_LEAVE_MS", "5000").ran();
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{}", ran.out);
}

#[test]
fn a_table_is_printed_for_people() {
    let ran = run(&["--seconds", "1", "--workers", "1"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    for word in
        ["compare, plain: 4 photos, 1 workers, 2 in flight", "pairs per second", "p99", "errors 0"]
    {
        assert!(ran.out.contains(word), "{word}: {}", ran.out);
    }
}

#[test]
fn a_running_service_is_measured_with_the_keys_of_a_client() {
    let data = Data::new();
    let server = Server::start(&data);
    let url = server.url();
    let keys = |name: &str| data.folder().join(name).display().to_string();
    let folder = data.folder().display().to_string();
    let app = keys("app.json");
    let added = visavis(&["client", "add", "app", "--data", &folder, "--out", &app]);
    assert_eq!(added.code, 0, "{}", added.err);

    let found = measured(&["--url", &url, "--client", &app]);
    assert_eq!((&found["rssMiB"], &found["cpuSecondsPerPair"]), (&Value::Null, &Value::Null));

    assert_eq!(visavis(&["client", "disable", "app", "--data", &folder]).code, 0);
    let refused = run(&["--url", &url, "--client", &app, "--seconds", "1"]);
    assert_eq!(refused.code, 1, "{}", refused.out);
    assert!(refused.err.contains("check that --client is the file of a client"), "{}", refused.err);

    assert_eq!(server.terminate(), Some(0));
    let gone = run(&["--url", &url, "--client", &app, "--seconds", "1"]);
    assert_eq!(gone.code, 1, "{}", gone.out);
    for words in [url.as_str(), "start a service there with `visavis serve`", "or omit --url"] {
        assert!(gone.err.contains(words), "{words}: {}", gone.err);
    }
}

#[test]
fn requests_over_a_limit_are_refused_and_are_no_errors() {
    let temp = tempfile::tempdir().unwrap();
    let ran: Ran = bench(temp.path())
        .args(["--json", "--seconds", "1", "--in-flight", "4"])
        .envs([("VISAVIS_HTTP_CLIENT_RATE_PER_S", "2"), ("VISAVIS_HTTP_CLIENT_BURST", "3")])
        .ran();
    let found = ran.json();
    assert_eq!(found["errors"], 0, "{found}");
    assert!(number(&found["refused"]) > 0.0, "{found}");
    assert!(number(&found["refusalMs"]["p50"]) > 0.0, "{found}");
}

#[test]
fn an_answer_without_an_outcome_is_an_error_with_its_code() {
    let photos = tempfile::tempdir().unwrap();
    // Not a photo, whatever it is called.
    fs::write(photos.path().join("noise.jpg"), [0; 100]).unwrap();
    let folder = photos.path().display().to_string();
    let temp = tempfile::tempdir().unwrap();
    let mut command = with_models();
    command
        .args(["bench", "--json", "--seconds", "1", "--photos", &folder])
        .env("TMPDIR", temp.path());
    let ran: Ran = command.ran();
    let found = ran.json();
    assert_eq!((ran.code, &found["pairs"]), (1, &0.into()), "{found}");
    assert!(number(&found["errors"]) > 0.0, "{found}");
    assert!(found["firstError"].as_str().unwrap().contains("noise.jpg"), "{found}");
}

#[test]
fn a_folder_without_photos_is_refused_by_name() {
    let empty = tempfile::tempdir().unwrap();
    let folder = empty.path().display().to_string();
    let ran: Ran = with_models().args(["bench", "--photos", &folder]).ran();
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains(&format!("{folder} holds no photos")), "{}", ran.err);

    let mut command = with_models();
    let nowhere: Ran = command.arg("bench").current_dir(empty.path()).ran();
    if nowhere.code != 0 {
        assert!(nowhere.err.contains("--photos DIR"), "{}", nowhere.err);
    }
}

#[test]
fn a_service_that_does_not_start_is_told_with_its_reason() {
    let empty = tempfile::tempdir().unwrap();
    let temp = tempfile::tempdir().unwrap();
    let ran: Ran = bench(temp.path()).env("VISAVIS_MODEL_DIR", empty.path()).ran();
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("did not start: run `visavis check`"), "{}", ran.err);
    assert_eq!(scratch(temp.path()), None);
}

/// Sends a signal to a run that would go on for long, once it measures; what it prints, and its
/// exit code.
fn reported(signal: &str, temp: &Path) -> (Option<i32>, String) {
    let mut child = bench(temp)
        .args(["--json", "--seconds", "3600", "--workers", "1"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    let wait_for = |requests: usize| {
        while compared(temp) < requests {
            assert!(begun.elapsed() < PATIENCE, "nothing is measured");
            thread::sleep(Duration::from_millis(20));
        }
    };
    wait_for(1);
    // The second of warming up is over then, and no more than its two requests under way are still
    // to come.
    thread::sleep(Duration::from_secs(2));
    wait_for(compared(temp) + 4);
    let pid = child.id().to_string();
    assert!(Command::new("kill").args([&format!("-{signal}"), &pid]).status().unwrap().success());
    let mut out = String::new();
    child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    (child.wait().unwrap().code(), out)
}

/// Requests that the service below `temp` has served.
fn compared(temp: &Path) -> usize {
    log_of(temp).map_or(0, |log| log.matches("facecompare/compare").count())
}

/// The log of the service below `temp`.
fn log_of(temp: &Path) -> Option<String> {
    fs::read_to_string(scratch(temp)?.join("log")).ok()
}

#[test]
fn ctrl_c_ends_it_with_what_was_measured_so_far() {
    let temp = tempfile::tempdir().unwrap();
    let (code, out) = reported("INT", temp.path());
    let found: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &found["interrupted"]), (Some(0), &true.into()), "{found}");
    assert!(number(&found["pairs"]) > 0.0 && number(&found["seconds"]) < 3_600.0, "{found}");
    assert_eq!(scratch(temp.path()), None, "the service's folder is left behind");
}

#[test]
fn the_service_ends_with_whoever_measures_it_even_if_that_is_killed() {
    let temp = tempfile::tempdir().unwrap();
    assert_eq!(reported("KILL", temp.path()).0, None, "killed, not exited");
    let begun = Instant::now();
    while !log_of(temp.path()).unwrap().contains("stopping: finishing requests and jobs") {
        assert!(begun.elapsed() < PATIENCE, "the service goes on");
        thread::sleep(Duration::from_millis(20));
    }
}
