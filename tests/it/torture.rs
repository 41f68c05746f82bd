//! Broken photos and broken requests through the whole server with its real nets, while idle and
//! dribbling connections stand around: every one gets a documented code, the process
//! lives, its memory stays below a ceiling, and anyone who behaves is served. `make torture` does a
//! hundred thousand of them.

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    net::TcpStream,
    process::Command,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use image::ImageFormat;
use serde_json::{Value, json};
use visavis::http::RESULT_CODES;
use visavis_face::{DecodeLimits, decode::decode};

use crate::{
    crash::server::{App, Data, Raw, Server},
    noise::{Dice, damaged},
    support::in_repository,
};

/// How many in `make test`, unless TORTURE says otherwise.
const USUALLY: usize = 2_000;
/// Requests at once.
const CALLERS: usize = 4;
const IDLE: usize = 1_000;
const DRIBBLING: usize = 200;
/// The most that the process may ever have had in memory, with two workers and four callers.
const CEILING_MIB: u64 = 600;

/// Whole photos of every kind that is read, and of some that are strange in their heads alone.
fn seeds() -> Vec<Vec<u8>> {
    let jpeg = fs::read(in_repository("samples/hopper.jpg")).unwrap();
    let picture = decode(&jpeg, &DecodeLimits::default()).unwrap();
    let picture = image::DynamicImage::from(picture).thumbnail(250, 250);
    let mut seeds = vec![jpeg];
    let formats = [ImageFormat::Png, ImageFormat::Bmp, ImageFormat::WebP, ImageFormat::Jpeg];
    for format in formats {
        let mut bytes = std::io::Cursor::new(Vec::new());
        picture.write_to(&mut bytes, format).unwrap();
        seeds.push(bytes.into_inner());
    }
    // A head that promises 60,000 pixels each way: PNG has its sizes at 16, BMP at 18.
    let mut huge = seeds[1].clone();
    huge[16..24].copy_from_slice(&[0, 0, 0xEA, 0x60, 0, 0, 0xEA, 0x60]);
    let mut tall = seeds[2].clone();
    tall[18..26].copy_from_slice(&[0x60, 0xEA, 0, 0, 0xA0, 0x15, 0xFF, 0xFF]);
    seeds.extend([huge, tall, b"GIF89a".to_vec(), b"%PDF-1.7".to_vec(), vec![0; 64]]);
    seeds
}

/// Breaks the head more often than the rest: what is wrong there goes further.
fn broken(seed: &[u8], dice: &mut Dice) -> Vec<u8> {
    if dice.below(2) == 0 {
        return damaged(seed, dice);
    }
    let mut bytes = seed.to_vec();
    for _ in 0..=dice.below(6) {
        let at = dice.below(bytes.len().min(700));
        bytes[at] = u8::try_from(dice.below(256)).unwrap();
    }
    bytes
}

/// A request that is wrong somewhere; most of them are signed as they are.
fn request(seeds: &[Vec<u8>], dice: &mut Dice) -> Raw {
    let photo = |dice: &mut Dice| json!({ "content": STANDARD.encode(broken(&seeds[dice.below(seeds.len())], dice)) });
    let whole = json!({ "content": STANDARD.encode(&seeds[4]) });
    let (one, other) = if dice.below(2) == 0 { (photo(dice), whole) } else { (whole, photo(dice)) };
    let mut body =
        json!({ "bizId": "torture", "face1": one, "face2": other }).to_string().into_bytes();
    let endpoint = ["compare", "asynccompare", "compare", "asynccheckresult"][dice.below(4)];
    let mut raw = Raw { endpoint, ..Raw::default() };
    match dice.below(10) {
        0 => body = damaged(&body, dice),
        1 => body.truncate(dice.below(body.len())),
        2 => raw.spoiled_signature = true,
        3 => {
            raw.header = Some(
                String::from_utf8_lossy(&damaged(
                    b"Encrypt: algorithm=RSA_AES, symmetricKey=AAAA",
                    dice,
                ))
                .replace(['\r', '\n', '\0'], ""),
            );
        }
        _ => {}
    }
    raw.body = body;
    raw
}

/// Opens connections that say nothing, or something now and then, until stopped.
fn nuisance(server: &Server, stop: &AtomicBool) {
    let connect = || TcpStream::connect(server.address()).ok();
    let _idle: Vec<_> = (0..IDLE).filter_map(|_| connect()).collect();
    let mut dribbling: Vec<_> = (0..DRIBBLING).map(|_| connect()).collect();
    while !stop.load(Ordering::SeqCst) {
        for stream in &mut dribbling {
            let sent = stream.as_mut().map(|stream| stream.write_all(b"X"));
            if !matches!(sent, Some(Ok(()))) {
                *stream = connect();
            }
        }
        thread::sleep(Duration::from_millis(200));
    }
}

/// The most that a process ever had in memory, MiB.
fn peak_mib(server: &Server) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

#[test]
fn nothing_that_is_sent_stops_the_server_and_everything_gets_a_documented_code() {
    // The other tests of this process need files too.
    rlimit::increase_nofile_limit(u64::MAX).unwrap();
    let count = std::env::var("TORTURE").map_or(USUALLY, |count| count.parse().unwrap());
    let data = Data::new();
    let app = App::register(&data);
    // All of it comes from one address.
    let variables = [("VISAVIS_HTTP_SIGNATURE_FAILURES_PER_MINUTE", "0")];
    let server = Server::start_with(&data, &[], &variables);
    let seeds = seeds();
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let codes = Mutex::new(BTreeMap::<String, usize>::new());
    thread::scope(|scope| {
        scope.spawn(|| nuisance(&server, &stop));
        let callers: Vec<_> = (0..CALLERS)
            .map(|_| {
                scope.spawn(|| {
                    loop {
                        let number = next.fetch_add(1, Ordering::SeqCst);
                        if number >= count {
                            return;
                        }
                        let mut dice = Dice::new(number as u64);
                        let raw = request(&seeds, &mut dice);
                        let answer = app.send_raw(&server, &raw);
                        let reported = format!("number {number}: {answer}");
                        // A line that is no header is no HTTP, and refused before anyone could
                        // sign.
                        if raw.header.is_some() && answer.starts_with("HTTP/1.1 400") {
                            continue;
                        }
                        let (head, body) = answer.split_once("\r\n\r\n").expect(&reported);
                        // No one here knows the key that it is under.
                        if head.contains("\r\nEncrypt: ") {
                            let sealed = STANDARD.decode(body).expect(&reported);
                            assert!(!sealed.is_empty() && sealed.len() % 16 == 0, "{reported}");
                            *codes.lock().unwrap().entry("encrypted".to_owned()).or_default() += 1;
                            continue;
                        }
                        let body: Value = serde_json::from_str(body)
                            .unwrap_or_else(|e| panic!("{e}, {reported}"));
                        let code = body["result"]["resultCode"].as_str().unwrap_or_default();
                        let code = code.to_owned();
                        assert!(RESULT_CODES.contains(&code.as_str()), "{reported}");
                        assert_ne!(code, "SYSTEM_ERROR", "{reported}");
                        *codes.lock().unwrap().entry(code).or_default() += 1;
                        if number.is_multiple_of(100) {
                            let id = app.enqueue(&server, number);
                            app.expect_end(&server, &id);
                        }
                    }
                })
            })
            .collect();
        let ended: Vec<_> = callers.into_iter().map(thread::ScopedJoinHandle::join).collect();
        stop.store(true, Ordering::SeqCst);
        for ended in ended {
            ended.unwrap();
        }
    });
    let codes = codes.into_inner().unwrap();
    for code in [
        "SUCCESS",
        "PROCESSING",
        "UNABLE_GET_IMAGE",
        "MSG_PARSE_ERROR",
        "INVALID_ARGUMENT",
        "SIGNATURE_INVALID",
    ] {
        assert!(codes.contains_key(code), "{code} never came up: {codes:?}");
    }
    let peak = peak_mib(&server);
    assert!(peak < CEILING_MIB, "{peak} MiB");
    let mut reported = std::io::stderr();
    let _ = writeln!(reported, "{count} broken requests: {codes:?}, at most {peak} MiB");
    let health = Command::new("kill").args(["-0", &server.pid().to_string()]).status().unwrap();
    assert!(health.success(), "one process from the first to the last");
    assert_eq!(server.terminate(), Some(0));
}
