//! The device that nets are run on: batches through the whole program on the CPU, bfloat16, what is
//! chosen, and a GPU that is not there.

use std::{fs::File, net::SocketAddr, os::unix::fs::symlink, process::Command, thread};

use serde_json::Value;
use visavis_face::{faster_bfloat16, has_bfloat16, session::newest_library};

use crate::{
    crash::server::{Data, Server},
    serve::{add, call, free_address, get},
    support::{
        Run as _, in_repository, left_out_everywhere,
        models::{default_pack, pack, packs, shared},
        runtime_library, with_models,
    },
};

fn sample(name: &str) -> String {
    in_repository(&format!("samples/{name}.jpg"))
}

/// A server with these variables that reports what it does.
fn serve(data: &Data, workers: &str, variables: &[(&str, &str)]) -> (Server, SocketAddr) {
    let admin = free_address();
    let listen = admin.to_string();
    let variables = [variables, &[("VISAVIS_ADMIN_LISTEN", listen.as_str())]].concat();
    (Server::start_with(data, &["--workers", workers], &variables), admin)
}

const PAIRS: [(&str, &str); 4] = [
    ("obama-2012", "obama-2009"),
    ("obama-2009", "collins"),
    ("collins", "hopper"),
    ("hopper", "obama-2012"),
];

const BATCHED: (&str, &str) = ("VISAVIS_RUNTIME_DEVICE", "cpu-batched");

/// The response to a client with these keys about two files.
fn compare(url: &str, keys: &str, one: &str, other: &str) -> Value {
    call(url, keys, &["compare", one, other, "--json"]).json()
}

/// The sum of all the numbers of a metric, whatever its labels.
fn total(metrics: &str, name: &str) -> f64 {
    let of_it = metrics.lines().filter(|line| line.split(['{', ' ']).next() == Some(name));
    of_it.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}

/// What `/health` says.
fn health(admin: SocketAddr) -> Value {
    let answer = get(admin, "/health");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("application/json"), "{head}");
    serde_json::from_str(body).unwrap()
}

#[test]
fn a_service_that_makes_batches_gives_the_scores_of_one_that_does_not() {
    let data = Data::new();
    let keys = add(&data, "app", &["client", "add", "app"]);
    let variables =
        [BATCHED, ("VISAVIS_RUNTIME_BATCH_MAX", "8"), ("VISAVIS_RUNTIME_BATCH_WAIT_MS", "200")];
    let (server, admin) = serve(&data, "8", &variables);
    let url = server.url();
    // The head of a photo, so that it is taken for one until a compute thread decodes it.
    let broken = data.folder().join("broken.jpg").display().to_string();
    let whole = std::fs::read(sample("hopper")).unwrap();
    std::fs::write(&broken, &whole[..whole.len() / 8]).unwrap();
    let compare = |url: &str, one: &str, other: &str| compare(url, &keys, one, other);
    let together: Vec<_> = thread::scope(|scope| {
        let (url, compare, broken) = (&url, &compare, &broken);
        let bad = scope.spawn(move || compare(url, &sample("hopper"), broken));
        let running: Vec<_> = (0..12)
            .map(|n| PAIRS[n % PAIRS.len()])
            .map(|(one, other)| scope.spawn(move || compare(url, &sample(one), &sample(other))))
            .collect();
        let together = running.into_iter().map(|running| running.join().unwrap()).collect();
        let code = bad.join().unwrap()["result"]["resultCode"].clone();
        assert_eq!(code, "UNABLE_GET_IMAGE", "the one that was bad");
        together
    });
    let (metrics, health) = (get(admin, "/metrics"), health(admin));
    assert_eq!(server.terminate(), Some(0));

    let (plain, plain_admin) = serve(&data, "2", &[]);
    for (answer, n) in together.iter().zip(0..) {
        let (one, other) = PAIRS[n % PAIRS.len()];
        let alone = compare(&plain.url(), &sample(one), &sample(other));
        assert_eq!(answer["result"]["resultCode"], "SUCCESS", "{answer}");
        let (here, there) = (answer["score"].as_f64().unwrap(), alone["score"].as_f64().unwrap());
        assert!((here - there).abs() < 0.011, "{one} {other}: {here}, alone {there}");
        assert_eq!(answer["samePerson"], alone["samePerson"]);
    }
    let batches = total(&metrics, "visavis_batch_rows_count");
    assert!(batches > 0.0 && total(&metrics, "visavis_batch_rows_sum") > batches, "{metrics}");
    assert!(total(&metrics, "visavis_batch_wait_seconds_count") > batches, "{metrics}");
    let counts = metrics.lines().filter_map(|l| l.strip_prefix("visavis_batch_rows_count{net=\""));
    let mut nets: Vec<_> = counts.map(|line| line.split('"').next().unwrap()).collect();
    nets.sort_unstable();
    let pack = pack();
    let mut large = vec![pack.embedder.net.weights.file];
    large.extend(pack.pose.map(|located| located.net.weights.file));
    assert_eq!(nets, large, "what is small stays with the thread that compares");
    let info = metrics.lines().find(|line| line.starts_with("visavis_info{")).unwrap();
    assert!(info.contains("provider=\"cpu\"") && info.contains("device=\"cpu-batched\""), "{info}");
    assert_eq!((&health["provider"], &health["device"]), (&"cpu".into(), &"cpu-batched".into()));
    assert_eq!(health["ready"], true);
    let plain_health = self::health(plain_admin);
    assert_eq!(plain_health["device"], "cpu", "{plain_health}");
    assert!(!get(plain_admin, "/metrics").contains("visavis_batch_rows_count"));
    assert_eq!(plain.terminate(), Some(0));
}

#[test]
fn a_request_that_is_alone_waits_for_nobody() {
    let data = Data::new();
    let keys = add(&data, "app", &["client", "add", "app"]);
    // A wait that would be noticed: the tensors of two nets for two photos would wait for a second
    // each.
    let variables = [BATCHED, ("VISAVIS_RUNTIME_BATCH_WAIT_MS", "1000")];
    let (server, admin) = serve(&data, "2", &variables);
    let before = get(admin, "/metrics");
    let (one, other) = (sample("obama-2012"), sample("obama-2009"));
    let compared = compare(&server.url(), &keys, &one, &other);
    assert_eq!(compared["samePerson"], true, "{compared}");
    let after = get(admin, "/metrics");
    let grown = |name: &str| total(&after, name) - total(&before, name);
    let (tensors, waited) =
        (grown("visavis_batch_wait_seconds_count"), grown("visavis_batch_wait_seconds_sum"));
    assert!(tensors >= 4.0 && waited < tensors * 0.5, "{tensors} waited for {waited} s");
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn a_gpu_that_is_not_there_is_an_error_at_the_start_that_says_what_to_do() {
    let data = Data::new();
    let cuda = ("VISAVIS_RUNTIME_DEVICE", "cuda:0");
    let (code, complaint) = data.serve_and_fail_with(&[cuda]);
    assert_eq!(code, Some(2), "{complaint}");
    for words in ["cuda:0 cannot be used", "make runtime-gpu", "docs/GPU.md", "\"cpu\""] {
        assert!(complaint.contains(words), "{words}: {complaint}");
    }
    assert!(!complaint.contains("message=started"), "{complaint}");
}

#[test]
fn a_device_that_does_not_exist_is_refused_and_what_there_is_is_told() {
    let data = Data::new();
    let (code, complaint) = data.serve_and_fail_with(&[("VISAVIS_RUNTIME_DEVICE", "gpu")]);
    assert_eq!(code, Some(2), "{complaint}");
    assert!(complaint.contains("runtime.device: `gpu` is not a device"), "{complaint}");
    assert!(complaint.contains("\"cuda:0\""), "{complaint}");
}

#[test]
fn check_tells_the_device_after_it_has_been_tried() {
    let data = Data::new();
    let check = |device: &str| {
        let mut command = with_models();
        command.env("VISAVIS_RUNTIME_DEVICE", device).args(["check", "--json", "--data"]);
        let ran = command.arg(data.folder()).ran();
        let findings = ran.json();
        let find = |what: &str| {
            let all = findings.as_array().unwrap();
            all.iter().find(|finding| finding["what"] == what).cloned()
        };
        (find("device"), find("models").unwrap())
    };
    let (device, models) = check("cpu-batched");
    let device = device.unwrap();
    assert_eq!((&device["ok"], &models["ok"]), (&true.into(), &true.into()), "{device} {models}");
    assert!(device["detail"].as_str().unwrap().starts_with("cpu-batched"), "{device}");
    let (device, models) = check("cuda:0");
    assert!(device.is_none() && models["ok"] == false, "{device:?} {models}");
    assert!(models["detail"].as_str().unwrap().contains("make runtime-gpu"), "{models}");
}

const BFLOAT16: (&str, &str) = ("VISAVIS_RUNTIME_DEVICE", "cpu-bf16");

/// ONNX Runtime with `OpenVINO`, as `make` fetched it.
fn openvino() -> String {
    newest_library(in_repository("runtime-openvino").as_ref()).display().to_string()
}

/// Whether this processor has bfloat16. On one that has not it is an error at the start, whatever
/// library there is, and the rest is left out.
fn has_bfloat16_or_is_refused() -> bool {
    if has_bfloat16() {
        return true;
    }
    let data = Data::new();
    let (code, complaint) = data.serve_and_fail_with(&[BFLOAT16]);
    assert_eq!(code, Some(2), "{complaint}");
    assert!(complaint.contains("no instructions for bfloat16"), "{complaint}");
    assert!(complaint.contains("avx512_bf16"), "{complaint}");
    left_out_everywhere("comparing in bfloat16: this processor has none");
    false
}

#[test]
fn in_bfloat16_the_scores_are_those_of_single_precision_to_a_point_and_the_service_says_so() {
    if !has_bfloat16_or_is_refused() {
        return;
    }
    let library = openvino();
    let data = Data::new();
    let keys = add(&data, "app", &["client", "add", "app"]);
    let compare_all = |url: &str| {
        PAIRS.map(|(one, other)| {
            let answer = compare(url, &keys, &sample(one), &sample(other));
            assert_eq!(answer["result"]["resultCode"], "SUCCESS", "{answer}");
            (answer["score"].as_f64().unwrap(), answer["samePerson"].as_bool().unwrap())
        })
    };
    let (server, admin) = serve(&data, "2", &[BFLOAT16, ("VISAVIS_RUNTIME_LIBRARY", &library)]);
    let short = compare_all(&server.url());
    let health = health(admin);
    assert_eq!((&health["provider"], &health["device"]), (&"openvino".into(), &"cpu-bf16".into()));
    assert_eq!(server.terminate(), Some(0));
    let (server, _) = serve(&data, "2", &[]);
    let single = compare_all(&server.url());
    assert_eq!(server.terminate(), Some(0));
    for ((short, single), pair) in short.iter().zip(&single).zip(PAIRS) {
        let apart = (short.0 - single.0).abs();
        assert!(apart < 1.0 && short.1 == single.1, "{pair:?}: {short:?} {single:?}");
    }
    let apart = short.iter().zip(&single).map(|(short, single)| (short.0 - single.0).abs());
    assert!(apart.sum::<f64>() > 0.0, "the same numbers: was it single precision too?");
}

#[test]
fn bfloat16_with_a_library_that_lacks_openvino_is_an_error_that_says_where_to_get_one() {
    if !has_bfloat16_or_is_refused() {
        return;
    }
    let data = Data::new();
    let (code, complaint) = data.serve_and_fail_with(&[BFLOAT16]);
    assert_eq!(code, Some(2), "{complaint}");
    for words in
        ["cpu-bf16 cannot be used", "has no OpenVINO provider", "make runtime-openvino", "\"cpu\""]
    {
        assert!(complaint.contains(words), "{words}: {complaint}");
    }
}

const AUTO: (&str, &str) = ("VISAVIS_RUNTIME_DEVICE", "auto");

/// A data folder in which the program finds these libraries too.
fn with_libraries(libraries: &[&str]) -> Data {
    let data = Data::new();
    for library in libraries {
        symlink(in_repository(library), data.folder().join(library)).unwrap();
    }
    data
}

/// What `check` says of the device that is chosen in a folder with these libraries.
fn chosen(libraries: &[&str], mut command: Command, variables: &[(&str, &str)]) -> String {
    let data = with_libraries(libraries);
    let folder = data.folder().display().to_string();
    command.args(["check", "--json", "--data", &folder]).current_dir(data.folder());
    command.env("ORT_DYLIB_PATH", "").envs([AUTO]).envs(variables.iter().copied());
    let ran = command.ran();
    let findings = ran.json();
    let mut all = findings.as_array().unwrap().iter();
    let device = all.find(|finding| finding["what"] == "device");
    device.unwrap_or_else(|| panic!("{}", ran.out))["detail"].as_str().unwrap().to_owned()
}

const BOTH: [&str; 2] = ["runtime", "runtime-openvino"];

const SLOWER: &str =
    "this processor is not faster in bfloat16: it has avx512_bf16 without amx_bf16";

#[test]
fn single_precision_is_chosen_where_anything_for_bfloat16_is_missing_and_check_says_what() {
    let library = runtime_library().display().to_string();
    let mut cases = vec![
        (&BOTH[..], vec![("ORT_DYLIB_PATH", library.as_str())], "names the library"),
        (&BOTH[..], vec![("VISAVIS_RUNTIME_LIBRARY", library.as_str())], "names the library"),
    ];
    if default_pack().is_some() {
        cases.push((&BOTH[..1], vec![], "runtime-openvino/ has no library: run `make runtime-op"));
    }
    let packs = packs();
    if let Some(other) = packs.iter().find(|pack| pack.name != "omz") {
        let pack = vec![("VISAVIS_MODEL_PACK", other.name.as_str())];
        cases.push((&BOTH[..], pack, "the table of the pack mobilefacenet was not checked in b"));
    }
    for (libraries, variables, why) in cases {
        let why = match (has_bfloat16(), faster_bfloat16()) {
            (false, _) => "the processor has no avx512_bf16",
            (true, None) => SLOWER,
            (true, Some(_)) => why,
        };
        let device = chosen(libraries, with_models(), &variables);
        assert!(device.starts_with("cpu, ") || device.starts_with("cpu; "), "{device}");
        let (_, reason) = device.split_once("; auto: cpu, because ").expect(&device);
        assert!(reason.contains(why) && !reason.contains(';'), "{reason}");
    }
}

#[test]
fn bfloat16_is_chosen_where_everything_for_it_exists_and_the_start_says_why() {
    if !has_bfloat16_or_is_refused() || default_pack().is_none() {
        return;
    }
    let Some(flag) = faster_bfloat16() else { return finds_bfloat16_slower() };
    let why =
        format!("auto: cpu-bf16, because the processor has {flag} and runtime-openvino/ exists");
    let device = chosen(&BOTH, with_models(), &[]);
    assert!(device.starts_with("cpu-bf16") && device.contains("openvino provider"), "{device}");
    assert!(device.ends_with(&format!("; {why}")), "{device}");

    let data = with_libraries(&BOTH);
    let log = data.folder().join("log");
    let server =
        Server::start_logging(&data, File::create(&log).unwrap(), &[AUTO, ("ORT_DYLIB_PATH", "")]);
    assert_eq!(server.terminate(), Some(0));
    let log = std::fs::read_to_string(log).unwrap();
    let started = log.lines().find(|line| line.contains("message=started")).expect(&log);
    let reason = format!("device=cpu-bf16 device_reason=\"{why}\"");
    assert!(started.contains(&reason), "{started}");
}

#[test]
fn make_build_asks_for_openvino_on_processors_that_are_faster_in_bfloat16() {
    let folder = tempfile::tempdir().unwrap();
    let asked = |processor: Option<&str>| {
        let mut script = Command::new(in_repository("scripts/bfloat16"));
        if let Some(text) = processor {
            let path = folder.path().join("cpuinfo");
            std::fs::write(&path, text).unwrap();
            script.arg(path);
        }
        script.ran().out.trim().to_owned()
    };
    assert_eq!(asked(Some("GenuineIntel\nflags\t: avx512_bf16 amx_bf16\n")), "yes");
    assert_eq!(asked(Some("AuthenticAMD\nflags\t: avx512f avx512_bf16\n")), "yes");
    assert_eq!(asked(Some("GenuineIntel\nflags\t: avx512f avx512_bf16\n")), "");
    assert_eq!(asked(Some("AuthenticAMD\nflags\t: avx512f avx512_bf16x\n")), "");
    assert_eq!(asked(None), if faster_bfloat16().is_some() { "yes" } else { "" });
}

/// What `check` says where everything for bfloat16 exists and the processor is not faster in it.
fn finds_bfloat16_slower() {
    let device = chosen(&BOTH, with_models(), &[]);
    assert!(device.ends_with(&format!("; auto: cpu, because {SLOWER}")), "{device}");
    let device = chosen(&BOTH, with_models(), &[BFLOAT16]);
    assert!(
        device.starts_with("cpu-bf16") && device.contains("runtime.device = \"cpu\""),
        "{device}"
    );
    left_out_everywhere("choosing bfloat16: this processor is not faster in it");
}

/// Runs a program that can make nothing executable that it wrote, as under systemd's
/// `MemoryDenyWriteExecute`.
const HARDEN: &str = "import ctypes, os, sys
if ctypes.CDLL(None).prctl(65, 1, 0, 0, 0) != 0:
    sys.exit('no PR_SET_MDWE')
os.execv(sys.argv[1], sys.argv[1:])";

#[test]
fn a_process_that_may_not_make_code_executable_compares_in_single_precision() {
    if !has_bfloat16_or_is_refused() || default_pack().is_none() {
        return;
    }
    let hardened = |program: &str| {
        let mut command = Command::new("python3");
        command.args(["-c", HARDEN, program]);
        command
    };
    if hardened("/bin/true").ran().err.contains("no PR_SET_MDWE") {
        left_out_everywhere("a process that may not make code executable: the kernel is too old");
        return;
    }
    let plain = with_models();
    let mut command = hardened(plain.get_program().to_str().unwrap());
    for (name, value) in plain.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    if faster_bfloat16().is_none() {
        left_out_everywhere("a process that may not make code executable: bfloat16 is slower here");
        return;
    }
    let device = chosen(&BOTH, command, &[]);
    let why = "; auto: cpu, because this process may not make code executable \
               (MemoryDenyWriteExecute)";
    assert!(device.ends_with(why), "{device}");
}

/// Figures must not depend on the machine on which they are measured.
#[test]
fn error_rates_are_measured_in_single_precision_unless_a_device_is_named() {
    let Some(photos) = shared("faces/pairs") else { return };
    if !has_bfloat16_or_is_refused() || default_pack().is_none() {
        return;
    }
    let data = with_libraries(&BOTH);
    let similarity = |device: &str| {
        let mut command = with_models();
        command.current_dir(data.folder()).env("ORT_DYLIB_PATH", "");
        command.env("VISAVIS_RUNTIME_DEVICE", device);
        let found = command.args(["evaluate", "--json", "--pairs"]).arg(photos.join("pairs.csv"));
        found.ran().json()["at"]["1e-2"]["similarity"].as_f64().unwrap()
    };
    let [auto, single, short] = ["auto", "cpu", "cpu-bf16"].map(similarity);
    assert!(
        (auto - single).abs() < 1e-9 && (short - single).abs() > 1e-7,
        "{auto} {single} {short}"
    );
}
