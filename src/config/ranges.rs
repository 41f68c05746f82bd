//! The ranges of settings that are numbers.

use toml::{Table, Value};

use super::ConfigError;

/// Milliseconds of a day.
const DAY_MS: f64 = 86_400_000.0;
const U32: f64 = u32::MAX as f64;
/// 1 TiB.
const TIB: f64 = (1_u64 << 40) as f64;
/// 1 GiB.
const GIB: f64 = (1_u64 << 30) as f64;

/// Minimum and maximum of every setting that is a number. docs/CONFIGURATION.md and
/// config/schema.json show them; rules between settings are in `Config::validate`.
#[rustfmt::skip]
pub const RANGES: &[(&str, f64, f64)] = &[
    ("database.connections", 0.0, 10_000.0),
    ("database.start_timeout_ms", 0.0, DAY_MS),
    ("http.body_limit_bytes", 1_024.0, GIB),
    ("http.body_budget_bytes", 6_144.0, TIB),
    ("http.body_deadline_ms", 1.0, DAY_MS),
    ("http.body_min_bytes_per_s", 0.0, U32),
    ("http.head_deadline_ms", 1.0, DAY_MS),
    ("http.compare_timeout_ms", 1.0, DAY_MS),
    ("http.freshness_s", 0.0, 31_536_000.0),
    ("http.decrypt_failures_per_minute", 0.0, U32),
    ("http.signature_failures_per_minute", 0.0, U32),
    ("http.client_rate_per_s", 0.0, U32),
    ("http.client_burst", 1.0, U32),
    ("http.idle_timeout_ms", 1.0, DAY_MS),
    ("http.max_connections", 1.0, 1_000_000.0),
    ("http.max_connections_per_address", 0.0, 1_000_000.0),
    ("http.max_streams", 1.0, U32),
    ("http.drain_timeout_ms", 0.0, DAY_MS),
    ("http.shutdown_delay_ms", 0.0, DAY_MS),
    ("tls.reload_ms", 100.0, DAY_MS),
    ("queue.max_jobs", 1.0, 1e9),
    ("queue.max_bytes", 1.0, TIB),
    ("queue.client_share", 0.0, 1.0),
    ("queue.retention_s", 60.0, U32),
    ("queue.lease_ms", 2.0, DAY_MS),
    ("queue.job_deadline_ms", 1.0, DAY_MS),
    ("queue.max_attempts", 1.0, 1_000.0),
    ("queue.payload_cache_bytes", 0.0, TIB),
    ("worker.threads", 0.0, 1_024.0),
    ("worker.max_waiting_requests", 0.0, 1_000_000.0),
    ("worker.queue_weight", 1.0, 1_000.0),
    ("worker.poll_ms", 1.0, DAY_MS),
    ("worker.drain_timeout_ms", 0.0, DAY_MS),
    ("worker.hang_timeout_ms", 1.0, DAY_MS),
    ("memory.pixels_bytes", 0.0, TIB),
    ("runtime.batch_wait_ms", 0.0, 1_000.0),
    ("runtime.batch_max", 1.0, 256.0),
    ("runtime.gpu_memory_bytes", 0.0, TIB),
    ("compare.fmr", 1e-6, 0.1),
    ("compare.document_fmr", 0.0, 0.1),
    ("image.max_bytes", 1.0, GIB),
    ("image.min_side", 1.0, 65_535.0),
    ("image.max_side", 1.0, 65_535.0),
    ("image.max_pixels", 1.0, 1e9),
];

/// The same for the limits of each measure, below `quality.selfie` and `quality.document`.
#[rustfmt::skip]
pub const MEASURE_RANGES: &[(&str, f64, f64)] = &[
    ("unified", 0.0, 100.0),
    ("inter_eye_distance_px", 0.0, 65_535.0),
    ("face_size_px", 0.0, 65_535.0),
    ("confidence", 0.0, 1.0),
    ("yaw_deg", 0.0, 180.0),
    ("pitch_deg", 0.0, 180.0),
    ("roll_deg", 0.0, 180.0),
    ("eyes_open", 0.0, 1.0),
    ("eyes_covered", 0.0, 1.0),
    ("eyes_glare", 0.0, 1.0),
    ("mouth_covered", 0.0, 1.0),
    ("side_covered", 0.0, 1.0),
    ("sharpness", 0.0, 1_000.0),
    ("noise", 0.0, 255.0),
    ("brightness", 0.0, 1.0),
    ("over_exposed", 0.0, 1.0),
    ("under_exposed", 0.0, 1.0),
    ("luminance_variance", 0.0, 1.0),
    ("dynamic_range_bits", 0.0, 8.0),
    ("illumination_uniformity", 0.0, 1.0),
    ("unnatural_colour", 0.0, 1_000.0),
    ("head_size", 0.0, 10.0),
    ("left_margin", 0.0, 1_000.0),
    ("right_margin", 0.0, 1_000.0),
    ("margin_above", 0.0, 1_000.0),
    ("margin_below", 0.0, 1_000.0),
    ("other_face", 0.0, 1.0),
];

/// Checks every number against its range.
pub(super) fn check(tree: &Table) -> Result<(), ConfigError> {
    for (key, min, max) in RANGES {
        let value = key.split_once('.').and_then(|(section, key)| tree.get(section)?.get(key));
        check_one(key, value, *min, *max)?;
    }
    for kind in ["selfie", "document"] {
        for (measure, min, max) in MEASURE_RANGES {
            let limits = tree.get("quality").and_then(|quality| quality.get(kind)?.get(measure));
            for (limit, value) in limits.and_then(Value::as_table).into_iter().flatten() {
                let key = format!("quality.{kind}.{measure}.{limit}");
                check_one(&key, Some(value), *min, *max)?;
            }
        }
    }
    Ok(())
}

fn check_one(key: &str, value: Option<&Value>, min: f64, max: f64) -> Result<(), ConfigError> {
    let number = match value {
        Some(Value::Integer(number)) => *number as f64,
        Some(Value::Float(number)) => *number,
        // Another type is found when the tree is deserialized.
        _ => return Ok(()),
    };
    if (min..=max).contains(&number) {
        return Ok(());
    }
    Err(ConfigError::new(key, format!("must be from {min} to {max}, not {number}")))
}
