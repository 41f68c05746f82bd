//! Whether compute threads wait for each other: pools of 1 to 64 threads whose engine waits instead
//! of computing, so that a machine with few cores can have as many threads as one with many. If
//! the pool made threads wait, many of them would finish fewer comparisons per thread than one.
#![expect(clippy::unwrap_used, reason = "a bench may stop at the first surprise")]
#![expect(clippy::print_stdout, reason = "it prints a table")]

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use tokio::task::JoinSet;
use visavis::{
    compare::{
        BizId, DecodeLimits, Fmr, PictureData, Policy, Refusal, Request, RequestOptions, Side,
    },
    worker::{ComputePool, EngineFactory},
};
use visavis_face::{
    Comparison, Engine, FaceError, Inspection, Picture,
    calibration::{Calibration, CalibrationTable, Population},
};

/// About the shortest comparison that a processor makes; longer ones need the pool less often.
const COMPARISON: Duration = Duration::from_millis(10);
const THREADS: [usize; 5] = [1, 4, 16, 32, 64];
/// For each thread.
const COMPARISONS: usize = 100;
const ROUNDS: usize = 5;

struct Waiting;

impl Engine for Waiting {
    fn compare(&mut self, _: &Picture<'_>, _: &Picture<'_>) -> Result<Comparison, FaceError> {
        thread::sleep(COMPARISON);
        Ok(Comparison::Refused { side: Side::Probe, refusal: Refusal::NoFace })
    }

    fn inspect(&mut self, _: &Picture<'_>) -> Result<Inspection, FaceError> {
        Ok(Err(Refusal::NoFace))
    }
}

fn request() -> Request {
    let picture = || PictureData::new(b"\xFF\xD8\xFF\xE0".to_vec(), &DecodeLimits::default());
    Request {
        biz_id: BizId::new("bench").unwrap(),
        probe: picture().unwrap(),
        reference: picture().unwrap(),
        options: RequestOptions::default(),
    }
}

fn pool(threads: usize) -> ComputePool {
    let knots = vec![(0.3, 1e-2), (0.5, 1e-5), (0.6, 1e-6)];
    let table = CalibrationTable { knots, ..CalibrationTable::default() };
    let calibration = Calibration::new(&table, Population::Mixed).unwrap();
    let policy = Arc::new(Policy::new(calibration, "bench", Fmr::new(1e-5).unwrap()));
    let factory: EngineFactory = Arc::new(|| Ok(Box::new(Waiting) as Box<dyn Engine>));
    ComputePool::start(threads, &factory, &policy).unwrap()
}

/// Comparisons per second and thread.
async fn run(threads: usize) -> f64 {
    let pool = pool(threads);
    let begun = Instant::now();
    // As many callers as threads, and as many again that wait for one.
    let mut callers = JoinSet::new();
    for _ in 0..2 * threads {
        let pool = pool.clone();
        callers.spawn(async move {
            for _ in 0..COMPARISONS / 2 {
                let slot = pool.slot().await.unwrap();
                pool.run(slot, request()).await.unwrap();
            }
        });
    }
    callers.join_all().await;
    COMPARISONS as f64 / begun.elapsed().as_secs_f64()
}

fn main() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    println!(
        "Compute threads that wait {COMPARISON:?} instead of comparing, medians of {ROUNDS}\n"
    );
    println!("threads  comparisons/s  per thread ÷ one thread");
    let mut one = None;
    for threads in THREADS {
        let mut rounds: Vec<_> = (0..ROUNDS).map(|_| runtime.block_on(run(threads))).collect();
        rounds.sort_by(f64::total_cmp);
        let rate = rounds[ROUNDS / 2];
        let relative = rate / *one.get_or_insert(rate);
        println!("{threads:7}  {:13.0}  {relative:23.3}", rate * threads as f64);
    }
}
