//! Pictures that are small as files and as large as can be when they are decoded, through the real
//! program: it takes no more memory than `visavis check` says, and everyone gets a response.
//!
//! Where a test may make a control group, the process has one of exactly that size, in which it
//! would be killed. The most that it ever had in memory (`VmHWM`) is measured everywhere;
//! `RLIMIT_AS` counts what is mapped and never touched, too.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use serde_json::Value;

use crate::{
    crash::server::{App, Data, Server},
    support::{Run as _, flat, left_out_everywhere, with_models},
};

/// As much for pixels as a small machine has.
const PIXELS_MIB: u64 = 600;
const SETTINGS: [(&str, &str); 5] = [
    ("VISAVIS_MEMORY_PIXELS_BYTES", "629145600"),
    ("VISAVIS_HTTP_BODY_LIMIT_BYTES", "16777216"),
    ("VISAVIS_HTTP_BODY_BUDGET_BYTES", "100663296"),
    ("VISAVIS_QUEUE_PAYLOAD_CACHE_BYTES", "0"),
    ("VISAVIS_HTTP_COMPARE_TIMEOUT_MS", "120000"),
];

/// What `visavis check` says is needed with two workers, MiB.
fn needed_mib(data: &Data) -> u64 {
    let mut check = with_models();
    check.args(["check", "--json", "--data"]).arg(data.folder()).envs(SETTINGS);
    let findings: Value = check.env("VISAVIS_WORKER_THREADS", "2").ran().json();
    let memory = findings.as_array().unwrap().iter().find(|found| found["what"] == "memory");
    let detail = memory.unwrap()["detail"].as_str().unwrap();
    assert!(detail.contains("600 for decoded pixels (memory.pixels_bytes)"), "{detail}");
    let (number, _) = detail.strip_prefix("up to ").unwrap().split_once(" MiB needed").unwrap();
    number.parse().unwrap()
}

/// A number of /proc/PID/status, MiB.
fn status_mib(server: &Server, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim_matches(':').trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1_024
}

/// A control group of one process, version 1 or 2; removed when dropped.
struct Group(PathBuf);

impl Group {
    /// Limits what a process takes from now on; `None` where no one may make a group.
    fn limit(server: &Server, mib: u64) -> Option<Self> {
        let (version_1, version_2) = ("/sys/fs/cgroup/memory", "/sys/fs/cgroup");
        let (root, limit) = if Path::new(version_1).is_dir() {
            (version_1, "memory.limit_in_bytes")
        } else {
            (version_2, "memory.max")
        };
        let folder = Path::new(root).join(format!("visavis-test-{}", server.pid()));
        fs::create_dir(&folder).ok()?;
        let group = Self(folder);
        fs::write(group.0.join(limit), (mib << 20).to_string()).ok()?;
        fs::write(group.0.join("cgroup.procs"), server.pid().to_string()).ok()?;
        Some(group)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The process has ended, but the system may take a moment to see it.
        for _ in 0..50 {
            if fs::remove_dir(&self.0).is_ok() {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// The lengths of codes with the largest table for the fewest bits.
const TABLE_BITS: [u32; 11] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 10];

/// As many pixels as are accepted and one decoder can hold, and many in every format; and one that
/// only says so.
fn worst() -> Vec<(&'static str, Vec<u8>)> {
    use png::{BitDepth::Eight, ColorType::Grayscale};
    let mut promised = flat::jpeg(640, 640, flat::HALVED, false);
    // Height and width behind the quantisation table.
    promised[76..80].copy_from_slice(&[0xEA, 0x60, 0xEA, 0x60]);
    vec![
        ("NO_FACE", flat::png(8_000, 8_000, Grayscale, Eight)),
        ("NO_FACE", flat::jpeg(8_160, 6_120, flat::HALVED, true)),
        ("NO_FACE", flat::oriented(&flat::jpeg(8_160, 6_120, flat::HALVED, false), 6)),
        ("NO_FACE", flat::webp_lossy(6_000, 6_000)),
        ("NO_FACE", flat::bmp(6_000, 6_000)),
        // More than there is for all of them.
        ("IMAGE_CHECK_FAILED", flat::webp_lossy_with_alpha(8_000, 8_000)),
        ("IMAGE_CHECK_FAILED", promised),
        // Tables of codes, as large as they may be.
        ("NO_FACE", flat::webp_groups((640, 640), 3_000, 0, &TABLE_BITS)),
        (
            "FACE_IMAGE_VIDEO_TYPE_NOT_SUPPORTED",
            flat::webp_groups((640, 640), 9_000, 0, &TABLE_BITS),
        ),
    ]
}

#[test]
fn the_worst_pictures_at_once_take_no_more_memory_than_check_says_and_all_get_a_response() {
    let data = Data::new();
    let app = App::register(&data);
    let needed = needed_mib(&data);
    let server = Server::start_with(&data, &["--workers", "2"], &SETTINGS);
    // What it has already is not charged to the group.
    let group = Group::limit(&server, needed - status_mib(&server, "VmRSS"));
    if group.is_none() {
        left_out_everywhere("the worst pictures in a control group: nobody here may make one");
    }
    let worst = worst();
    let responses: Vec<_> = thread::scope(|scope| {
        let asked: Vec<_> = worst
            .iter()
            .map(|(_, picture)| scope.spawn(|| app.compare(&server, picture, picture)))
            .collect();
        asked.into_iter().map(|asked| asked.join().unwrap()).collect()
    });
    for (number, (response, (reason, _))) in responses.iter().zip(&worst).enumerate() {
        let result = &response["result"];
        let message = result["resultMessage"].as_str().unwrap();
        assert_eq!(result["resultCode"], "UNABLE_GET_IMAGE", "{number}: {response}");
        assert!(message.starts_with(reason), "{number}: {message}");
    }
    let never = responses[5]["result"]["resultMessage"].as_str().unwrap();
    let words = format!("more than the {PIXELS_MIB} MiB that are allowed");
    assert!(
        never.contains("analysing face1.content takes 701 MiB") && never.contains(&words),
        "{never}"
    );
    let peak = status_mib(&server, "VmHWM");
    assert!(peak <= needed, "{peak} MiB, and check says {needed}");
    // They were decoded.
    assert!(peak > 500, "{peak}");
    assert_eq!(server.terminate(), Some(0), "it was not killed");
    drop(group);
}
