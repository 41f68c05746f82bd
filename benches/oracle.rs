//! Does the time of a response reveal whether a wrapped key was well-formed? Requests with a right
//! signature and a wrapped key that is wrong in one of several ways, in random order, through the
//! whole service; medians of each, and how far they lie apart.
//!
//! The last column is Welch's t against the first row: beyond ±4.5 two kinds can be distinguished
//! by an attacker who can send as many requests as this program, on the same machine. The service
//! lets a client fail ten times per minute.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a program for people")]

mod support;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use rsa::{PublicKey, pkcs8::DecodePublicKey as _};
use visavis::{
    app::{self, Roles, Service, open_data},
    clients::{ClientPolicy, NewClient, NewKeys},
    clock::Clock,
    compare::ClientFmr,
    shutdown::Shutdown,
};
use visavis_signing::{
    ClientKey, Content, ServerKey, SymmetricKey, encrypt_header, format_time, signature_header,
};

const PATH: &str = "/api/v1/zoloz/authentication/test";
const ROLES: Roles = Roles { front_end: true, workers: true };
/// Requests of each kind.
const ROUNDS: usize = 2_000;

/// A way in which a wrapped key is wrong, and the times that were measured for it.
struct Kind {
    name: &'static str,
    wrapped: Vec<u8>,
    unwrapping: Vec<f64>,
    answering: Vec<f64>,
}

fn kinds(server: &ServerKey) -> Vec<Kind> {
    let spki = server.spki_der().unwrap();
    let public = ClientKey::from_der(&spki).unwrap();
    let independent = PublicKey::from_public_key_der(&spki).unwrap();
    let padded = |bytes: usize| independent.pkcs1v15_encrypt(&vec![7; bytes]).unwrap();
    let mut damaged = public.wrap_key(&SymmetricKey::random(32).unwrap()).unwrap();
    damaged[128] ^= 1;
    let kinds = [
        ("well padded, another AES-256 key", padded(32)),
        ("well padded, another AES-128 key", padded(16)),
        ("well padded, 15 bytes", padded(15)),
        ("well padded, nothing", padded(0)),
        ("badly padded", damaged),
    ];
    kinds
        .into_iter()
        .map(|(name, wrapped)| Kind { name, wrapped, unwrapping: vec![], answering: vec![] })
        .collect()
}

/// The service, and the keys of a client without a limit on failures.
async fn start(folder: &Path, shutdown: &Shutdown) -> (Service, ServerKey, ServerKey) {
    let mut config = support::config();
    config.data.dir = folder.to_path_buf();
    config.http.listen = "127.0.0.1:0".parse().unwrap();
    config.http.decrypt_failures_per_minute = u32::MAX;
    config.admin.listen = String::new();
    config.worker.threads = 1;
    let (merchant, server) = (ServerKey::generate().unwrap(), ServerKey::generate().unwrap());
    let keys = NewKeys {
        merchant_key: &ClientKey::from_der(&merchant.spki_der().unwrap()).unwrap(),
        server_key: &server,
        access_key: "AK",
        secret_key: &[0; 32],
    };
    let new = NewClient {
        client_id: "bench",
        name: "bench",
        keys,
        extras: true,
        fmr: ClientFmr::default(),
        policy: ClientPolicy::default(),
    };
    open_data(&config).await.unwrap().clients.add(&new, None).await.unwrap();
    (app::start(&config, ROLES, shutdown).await.unwrap(), merchant, server)
}

/// One request; microseconds until its response.
fn ask(agent: &ureq::Agent, url: &str, merchant: &ServerKey, body: &str, wrapped: &[u8]) -> f64 {
    let time = format_time(Clock::System.now_utc());
    let content = Content { uri: PATH, client_id: "bench", time: &time, body: body.as_bytes() };
    let signature = signature_header(&merchant.sign(&content).unwrap());
    let request = agent
        .post(url)
        .header("Client-Id", "bench")
        .header("Request-Time", &time)
        .header("Encrypt", encrypt_header(wrapped))
        .header("Signature", &signature);
    let begun = Instant::now();
    let mut response = request.send(body).unwrap();
    let text = response.body_mut().read_to_string().unwrap();
    let elapsed = begun.elapsed();
    assert!(
        response.headers().contains_key("encrypt"),
        "every kind gets the same response: {text}"
    );
    micros(elapsed)
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn median(times: &[f64]) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// Welch's t of the faster nine tenths, where scheduling has not yet drowned the signal.
fn welch(a: &[f64], b: &[f64]) -> f64 {
    let moments = |times: &[f64]| {
        let mut sorted = times.to_vec();
        sorted.sort_by(f64::total_cmp);
        sorted.truncate(sorted.len() * 9 / 10);
        let n = sorted.len() as f64;
        let mean = sorted.iter().sum::<f64>() / n;
        let variance = sorted.iter().map(|t| (t - mean).powi(2)).sum::<f64>() / (n - 1.0);
        (mean, variance / n)
    };
    let ((mean_a, error_a), (mean_b, error_b)) = (moments(a), moments(b));
    (mean_b - mean_a) / (error_a + error_b).sqrt()
}

fn report(title: &str, kinds: &[Kind], times: impl Fn(&Kind) -> &[f64]) {
    println!("\n{title}");
    println!("{:<36} {:>10} {:>8} {:>8}", "wrapped key", "median us", "ratio", "t");
    let first = times(&kinds[0]);
    for kind in kinds {
        let these = times(kind);
        let ratio = median(these) / median(first);
        println!(
            "{:<36} {:>10.1} {ratio:>8.3} {:>8.1}",
            kind.name,
            median(these),
            welch(first, these)
        );
    }
}

fn main() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (trigger, shutdown) = Shutdown::new();
    let (service, merchant, server) = runtime.block_on(start(folder.path(), &shutdown));
    let url = format!("http://{}{PATH}", service.serving.as_ref().unwrap().address);
    let agent = ureq::Agent::new_with_defaults();
    let mut kinds = kinds(&server);
    let body = SymmetricKey::random(32).unwrap().encrypt(&[b' '; 500]).unwrap();
    let bar = indicatif::ProgressBar::new(ROUNDS as u64);
    for round in 0..ROUNDS {
        for step in 0..kinds.len() {
            // Another order every round, so that no kind always follows the same one.
            let turn = if round % 2 == 0 { step } else { kinds.len() - 1 - step };
            let at = (round + turn) % kinds.len();
            let kind = &mut kinds[at];
            let begun = Instant::now();
            let key = server.unwrap_key(&kind.wrapped).unwrap();
            kind.unwrapping.push(micros(begun.elapsed()));
            drop(key);
            kind.answering.push(ask(&agent, &url, &merchant, &body, &kind.wrapped));
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    println!("{ROUNDS} requests of each kind, in turn");
    report("Unwrapping alone", &kinds, |kind| &kind.unwrapping);
    report("Response over a socket", &kinds, |kind| &kind.answering);
    trigger.stop();
    runtime.block_on(service.stop()).unwrap();
}
