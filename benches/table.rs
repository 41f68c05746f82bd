//! One table: time per stage, their sum, a whole comparison through the library, one over HTTP, and
//! both as a ratio to the sum. Everything is measured in turn within one run, because the machines
//! are noisy: the ratios are what to quote.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a program for people")]

mod support;

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use visavis::{
    app::{self, Roles, Service, open_data},
    clients::{ClientPolicy, NewClient, NewKeys},
    clock::Clock,
    compare::ClientFmr,
    shutdown::Shutdown,
};
use visavis_face::{
    DecodeLimits, Engine as _, Picture, PictureKind,
    align::align,
    attributes::{EyeClassifier, PoseEstimator},
    decode::decode_reduced,
    detect::Detector,
    embed::Embedder,
    landmarks::LandmarkRefiner,
};
use visavis_signing::{ClientKey, Content, ServerKey, format_time, signature_header};

const ROLES: Roles = Roles { front_end: true, workers: true };
/// Rounds; each takes every measurement once.
const ROUNDS: usize = 60;
const PATH: &str = "/api/v1/zoloz/facecompare/compare";
const STAGES: [&str; 7] = ["decode", "detect", "landmarks", "pose", "eyes", "align", "embed"];

#[derive(Default)]
struct Times(BTreeMap<&'static str, Vec<Duration>>);

impl Times {
    fn take<T>(&mut self, name: &'static str, work: impl FnOnce() -> T) -> T {
        let begun = Instant::now();
        let result = work();
        self.0.entry(name).or_default().push(begun.elapsed());
        result
    }

    /// Median, milliseconds.
    fn median(&self, name: &str) -> f64 {
        let mut times = self.0[name].clone();
        times.sort();
        times[times.len() / 2].as_secs_f64() * 1e3
    }
}

struct Client {
    key: ServerKey,
    url: String,
    agent: ureq::Agent,
}

impl Client {
    fn compare(&self, body: &str) {
        let time = format_time(Clock::System.now_utc());
        let content = Content { uri: PATH, client_id: "bench", time: &time, body: body.as_bytes() };
        let signature = signature_header(&self.key.sign(&content).unwrap());
        let response = self
            .agent
            .post(format!("{}{PATH}", self.url))
            .header("Client-Id", "bench")
            .header("Request-Time", &time)
            .header("Signature", &signature)
            .send(body)
            .unwrap()
            .body_mut()
            .read_to_string()
            .unwrap();
        assert!(response.contains("SUCCESS"), "{response}");
    }
}

/// The service as `visavis serve --workers 1` starts it, on a folder of its own, with a client.
async fn start(folder: &Path, shutdown: &Shutdown) -> (Service, ServerKey) {
    let mut config = support::config();
    config.data.dir = folder.to_path_buf();
    config.http.listen = "127.0.0.1:0".parse().unwrap();
    config.admin.listen = String::new();
    config.worker.threads = 1;
    // Rounds within one second sign the same text.
    config.queue.dedupe = false;
    let merchant = ServerKey::generate().unwrap();
    let keys = NewKeys {
        merchant_key: &ClientKey::from_der(&merchant.spki_der().unwrap()).unwrap(),
        server_key: &ServerKey::generate().unwrap(),
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
    (app::start(&config, ROLES, shutdown).await.unwrap(), merchant)
}

fn main() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (_trigger, shutdown) = Shutdown::new();
    let (service, key) = runtime.block_on(start(folder.path(), &shutdown));
    let client = Client {
        key,
        url: format!("http://{}", service.serving.as_ref().unwrap().address),
        agent: ureq::Agent::new_with_defaults(),
    };

    let (ort, pack) = (support::runtime(), support::pack());
    let mut engine = support::engine();
    let mut detector = Detector::open(&ort, &pack.detector).unwrap();
    let mut refiner = LandmarkRefiner::open(&ort, pack.landmarks.as_ref().unwrap()).unwrap();
    let mut pose = PoseEstimator::open(&ort, pack.pose.as_ref().unwrap()).unwrap();
    let mut eyes = EyeClassifier::open(&ort, pack.eyes.as_ref().unwrap()).unwrap();
    let mut embedder = Embedder::open(&ort, &pack.embedder).unwrap();
    let photos = [support::sample("obama-2012.jpg"), support::sample("obama-2009.jpg")];
    let body = serde_json::json!({
        "bizId": "bench",
        "face1": { "content": STANDARD.encode(&photos[0]) },
        "face2": { "content": STANDARD.encode(&photos[1]) },
    })
    .to_string();

    let mut times = Times::default();
    for round in 0..=ROUNDS {
        if round == 1 {
            // The first round only warms up.
            times = Times::default();
        }
        for bytes in &photos {
            let limits = DecodeLimits::default();
            let decoded = times.take("decode", || decode_reduced(bytes, &limits, 640)).unwrap();
            let image = decoded.image;
            let side = detector.long_sides(image.dimensions())[0];
            let faces = times.take("detect", || detector.detect_at(&image, side)).unwrap();
            let landmarks = times
                .take("landmarks", || refiner.refine(&image, &faces[0]).map(Option::unwrap))
                .unwrap();
            times.take("pose", || pose.estimate(&image, &faces[0].area)).unwrap();
            times.take("eyes", || eyes.open_probability(&image, &landmarks)).unwrap();
            let aligned =
                times.take("align", || align(&image, &landmarks, &pack.embedder.net)).unwrap();
            times.take("embed", || embedder.embed(&aligned)).unwrap();
        }
        let picture = |bytes| Picture { bytes, hint: None, kind: PictureKind::Selfie };
        times
            .take("library", || engine.compare(&picture(&photos[0]), &picture(&photos[1])))
            .unwrap();
        times.take("http", || client.compare(&body));
    }

    println!(
        "two photos of 512 x 640 and 334 x 640 pixels, one thread, medians of {ROUNDS} rounds\n"
    );
    println!("{:<34} {:>9}", "stage", "ms a photo");
    for stage in STAGES {
        println!("{stage:<34} {:>9.2}", times.median(stage));
    }
    let sum = 2.0 * STAGES.iter().map(|stage| times.median(stage)).sum::<f64>();
    println!("\n{:<34} {:>9} {:>9}", "comparison of two photos", "ms", "ratio");
    for (name, value) in [
        ("sum of the stages", sum),
        ("through the library", times.median("library")),
        ("compare over HTTP, signed", times.median("http")),
    ] {
        println!("{name:<34} {value:>9.2} {:>9.2}", value / sum);
    }
}
