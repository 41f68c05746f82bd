//! The device that nets are run on: batches through the whole program on the CPU, bfloat16, and a
//! GPU that is not there.

use std::{net::SocketAddr, thread};

use serde_json::Value;
use visavis_face::{has_bfloat16, session::newest_library};

use crate::{
    crash::server::{Data, Server},
    serve::{add, call, free_address, get},
    support::{Run as _, in_repository, left_out_everywhere, models::pack, with_models},
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
