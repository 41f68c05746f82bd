//! The course of a measurement: warm up, then slices of service and floor in turn.

use std::{
    io::{IsTerminal as _, stderr},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{
    client::{MAX_CONNECTIONS, SignedRequest},
    exchange::{Mode, Target},
    floor::{self, ComparePair},
    load::{Load, Slice, arrivals},
    photos::Photos,
    report::{Asked, Report, Sums, rate, sum},
    stock::{Closing, MOST_BYTES, Signed, Stock},
    stop::Stop,
    usage::Process,
};

/// What is to be measured, and how.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The endpoints that are called.
    pub mode: Mode,
    /// Whether requests are encrypted.
    pub encrypted: bool,
    /// How long the service is measured, in seconds; the floor as long again.
    pub seconds: u32,
    /// Requests due per second; `None` keeps `in_flight` requests in flight.
    pub rate: Option<f64>,
    /// Workers of the service, for the report.
    pub workers: usize,
    /// Requests in flight, at most [`MAX_CONNECTIONS`].
    pub in_flight: usize,
}

/// What takes part in a measurement.
#[expect(missing_debug_implementations, reason = "it holds functions")]
pub struct Run<'a> {
    /// The service.
    pub target: &'a Target,
    /// The photos that are sent.
    pub photos: &'a Photos,
    /// The process of the service, if it runs on this machine.
    pub process: Option<Process>,
    /// One function for each thread of the floor; empty if the floor is not measured.
    pub floor: Vec<ComparePair>,
    /// Ends the measurement early.
    pub stop: &'a Stop,
}

/// About how long service and floor take turns.
const SLICE_S: f64 = 4.0;
/// What comes first is not measured: connections are made, memory is taken.
const WARM_UP: Duration = Duration::from_secs(1);
/// How often memory and progress are looked at.
const CHECK_INTERVAL: Duration = Duration::from_millis(250);
/// Requests that are signed ahead of a slice at most.
const MOST_AHEAD: usize = 5_000;

impl Run<'_> {
    /// Warms up and measures.
    ///
    /// # Errors
    /// A request cannot be signed, or the floor fails.
    pub fn measure(self, plan: &Plan) -> Result<Report> {
        Measurement::new(plan, self)?.measure()
    }
}

/// A measurement under way.
struct Measurement<'a> {
    plan: &'a Plan,
    run: Run<'a>,
    bar: ProgressBar,
    sums: Sums,
}

impl<'a> Measurement<'a> {
    fn new(plan: &'a Plan, run: Run<'a>) -> Result<Self> {
        let drawn = if stderr().is_terminal() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(0), drawn)
            .with_style(ProgressStyle::with_template("{bar:40} {elapsed} {msg}")?);
        Ok(Self { plan, run, bar, sums: Sums::default() })
    }

    fn measure(mut self) -> Result<Report> {
        let stock = Stock::new(MOST_BYTES);
        let run = uuid::Uuid::new_v4().simple().to_string();
        let (target, photos) = (self.run.target, self.run.photos);
        let mut number = 0;
        let make = move || -> Result<Signed> {
            let body = photos.body(number, &format!("bench-{run}-{number}"));
            let signed = Signed { request: target.sign(body)?, pair: number };
            number += 1;
            Ok(signed)
        };
        thread::scope(|scope| {
            let closing = Closing(&stock);
            scope.spawn(|| stock.sign(make));
            let send = |request: &SignedRequest| target.send(request);
            let load = Load { send: &send, stock: &stock, photos, stop: self.run.stop };
            let measured = self.slices(&load);
            drop(closing);
            measured
        })?;
        stock.check()?;
        self.bar.finish_and_clear();
        let asked = Asked {
            mode: self.plan.mode,
            encrypted: self.plan.encrypted,
            photos: photos.count(),
            workers: self.plan.workers,
            in_flight: self.plan.in_flight,
            rate: self.plan.rate,
            interrupted: self.run.stop.is_requested(),
        };
        Ok(Report::new(asked, self.sums))
    }

    fn slices(&mut self, load: &Load<'_>) -> Result<()> {
        let seconds = f64::from(self.plan.seconds);
        let slices =
            if self.run.floor.is_empty() { 1.0 } else { (seconds / SLICE_S).round().max(1.0) };
        let length = Duration::from_secs_f64(seconds / slices);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a small whole number"
        )]
        let slices = slices as u32;
        let parts = if self.run.floor.is_empty() { 1 } else { 2 };
        self.bar.set_length(u64::from(slices * parts) * millis(length));
        let mut speed = self.warm_up(load)?;
        for n in 0..slices {
            if self.run.stop.is_requested() {
                break;
            }
            // In turn which comes first, so that a machine that slows down harms both alike.
            let mut floor = None;
            if n % 2 == 0 {
                floor = self.floor_slice(length)?;
            }
            let service = self.service_slice(load, n, length, speed)?;
            if n % 2 == 1 {
                floor = self.floor_slice(length)?;
            }
            speed = service;
            self.sums.slices += 1;
            // A slice that was broken off says nothing of a ratio.
            if let Some(floor) = floor.filter(|floor| *floor > 0.0 && !self.run.stop.is_requested())
            {
                self.sums.ratios.push(service / floor);
            }
        }
        Ok(())
    }

    /// Pairs a second, roughly.
    fn warm_up(&mut self, load: &Load<'_>) -> Result<f64> {
        self.bar.set_message("warming up");
        // A service that runs already is not loaded more than it will be.
        let in_flight = if self.plan.rate.is_some() { 1 } else { self.plan.in_flight };
        load.stock.fill(2 * in_flight, in_flight, self.run.stop)?;
        let Slice { mut tally, elapsed } = load.saturate(in_flight, WARM_UP);
        floor::measure(&mut self.run.floor, self.run.photos, WARM_UP, self.run.stop)?;
        let pairs = tally.pairs();
        // What goes wrong counts always, what goes right only when it is measured.
        tally.latencies.clear();
        self.sums.tally.add(tally);
        Ok(rate(pairs, elapsed))
    }

    /// Pairs a second of the service; `speed` is what to expect.
    fn service_slice(
        &mut self,
        load: &Load<'_>,
        n: u32,
        length: Duration,
        speed: f64,
    ) -> Result<f64> {
        let schedule = self.plan.rate.map(|rate| arrivals(rate, length, u64::from(n)));
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rough number"
        )]
        let expected = match &schedule {
            Some(schedule) => schedule.len(),
            None => (speed * length.as_secs_f64() * 1.1) as usize + self.plan.in_flight,
        };
        // With a rate there are enough senders for all requests that are due while others wait for
        // responses.
        let keep = if schedule.is_some() { 4 } else { self.plan.in_flight };
        self.bar.set_message("signing");
        load.stock.fill(expected.min(MOST_AHEAD), keep, self.run.stop)?;
        self.bar.set_message("service");
        let before = (self.cpu(), Process::own().cpu_seconds());
        let polls = self.run.target.polls();
        let Slice { tally, elapsed } = self.watched(length, || match &schedule {
            Some(schedule) => load.follow(schedule, MAX_CONNECTIONS.min(schedule.len()), length),
            None => load.saturate(self.plan.in_flight, length),
        });
        let used = since(before.0, self.cpu());
        sum(&mut self.sums.cpu, used);
        sum(&mut self.sums.generator_cpu, since(before.1, Process::own().cpu_seconds()));
        self.sums.polls += self.run.target.polls() - polls;
        let pairs = tally.pairs();
        self.sums.tally.add(tally);
        self.sums.time += elapsed;
        Ok(rate(pairs, elapsed))
    }

    /// Pairs a second of the floor, if it is asked for.
    fn floor_slice(&mut self, length: Duration) -> Result<Option<f64>> {
        if self.run.floor.is_empty() {
            return Ok(None);
        }
        let mut floor = std::mem::take(&mut self.run.floor);
        self.bar.set_message("floor");
        let (photos, stop) = (self.run.photos, self.run.stop);
        let before = Process::own().cpu_seconds();
        let measured = self.watched(length, || floor::measure(&mut floor, photos, length, stop));
        let (pairs, elapsed) = measured?;
        sum(&mut self.sums.floor.cpu, since(before, Process::own().cpu_seconds()));
        self.sums.floor.pairs += pairs;
        self.sums.floor.time += elapsed;
        self.run.floor = floor;
        Ok(Some(rate(pairs, elapsed)))
    }

    fn cpu(&self) -> Option<f64> {
        self.run.process.and_then(Process::cpu_seconds)
    }

    /// Does the work while memory is looked at and the bar moves.
    fn watched<T>(&mut self, length: Duration, work: impl FnOnce() -> T) -> T {
        let done = AtomicBool::new(false);
        let most = Mutex::new(self.sums.rss_mib);
        let (bar, service) = (&self.bar, self.run.process);
        let (begun, at) = (Instant::now(), bar.position());
        let result = thread::scope(|scope| {
            let watcher = scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    bar.set_position(at + millis(begun.elapsed().min(length)));
                    let now = service.and_then(Process::resident_mib);
                    let mut most = most.lock().unwrap_or_else(PoisonError::into_inner);
                    *most = most.into_iter().chain(now).reduce(f64::max);
                    drop(most);
                    thread::park_timeout(CHECK_INTERVAL);
                }
            });
            let ending = StopOnDrop(&done, watcher.thread().clone());
            let result = work();
            drop(ending);
            result
        });
        bar.set_position(at + millis(length));
        self.sums.rss_mib = most.into_inner().unwrap_or_else(PoisonError::into_inner);
        result
    }
}

/// Ends a watching thread when it goes out of scope, however that happens.
struct StopOnDrop<'a>(&'a AtomicBool, thread::Thread);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        self.1.unpark();
    }
}

fn since(before: Option<f64>, after: Option<f64>) -> Option<f64> {
    Some(after? - before?)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
