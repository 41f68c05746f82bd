//! The course of a measurement: start, greet, warm up, slices in turn, stop.

use std::{
    io::{IsTerminal as _, stderr},
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{
    super::wire_client::{self, MOST_CONNECTIONS, Prepared, WireClient},
    exchange::{Mode, Target},
    floor::Floor,
    load::{Load, Slice, arrivals},
    photos::Photos,
    report::{Asked, Report, Sums, rate, sum},
    service::{OwnService, register},
    stock::{Closing, MOST_BYTES, Signed, Stock},
    stop::Stop,
    usage::Process,
};
use crate::{clients::Credentials, config::Config};

/// What is to be measured, and how.
pub(super) struct Plan {
    pub(super) config: Config,
    pub(super) server: Server,
    pub(super) mode: Mode,
    pub(super) encrypted: bool,
    pub(super) floor: bool,
    pub(super) photos: Option<PathBuf>,
    pub(super) seconds: u32,
    pub(super) rate: Option<f64>,
    pub(super) workers: usize,
    pub(super) in_flight: usize,
    pub(super) timeout: Duration,
}

/// Which service.
pub(super) enum Server {
    /// One that is started for this.
    Own { config_file: Option<PathBuf> },
    /// One that runs.
    Running { url: String, credentials: Box<Credentials>, ca: Option<PathBuf>, pid: Option<u32> },
}

/// About how long service and floor take turns.
const SLICE_S: f64 = 4.0;
/// What comes first is not measured: connections are made, memory is taken.
const WARM_UP: Duration = Duration::from_secs(1);
/// How often memory and progress are looked at.
const LOOK: Duration = Duration::from_millis(250);
/// Requests that are signed ahead of a slice at most.
const MOST_AHEAD: usize = 5_000;

/// Measures. The folder is for the service, if it is our own.
pub(super) fn run(plan: &Plan, scratch: &Path, stop: &Stop) -> Result<Report> {
    let photos = Photos::read(plan.photos.as_deref())?;
    let aes =
        if plan.encrypted { wire_client::Mode::Encrypted(32) } else { wire_client::Mode::KeyPair };
    let connect = |url: &str, credentials: &Credentials, ca: Option<&Path>| -> Result<Target> {
        let client = WireClient::new(url, credentials, aes, plan.timeout, ca)?;
        Ok(Target::new(client, plan.mode, plan.timeout))
    };
    match &plan.server {
        Server::Own { config_file } => {
            let credentials = register(&plan.config, scratch)?;
            let service = OwnService::start(config_file.as_deref(), scratch, plan.workers, stop)?;
            let target = connect(service.url(), &credentials, None)?;
            target.greet()?;
            let report =
                Run::new(plan, &target, &photos, Some(service.process()), stop)?.measure()?;
            service.stop()?;
            Ok(report)
        }
        Server::Running { url, credentials, ca, pid } => {
            let target = connect(url, credentials, ca.as_deref())?;
            target.greet().with_context(|| {
                format!(
                    "{url} cannot be measured; is it the address of a running service? `visavis serve` starts one, and \
                     without --url one is started for the measurement"
                )
            })?;
            Run::new(plan, &target, &photos, pid.map(Process), stop)?.measure()
        }
    }
}

/// A measurement under way.
struct Run<'a> {
    plan: &'a Plan,
    target: &'a Target,
    photos: &'a Photos,
    service: Option<Process>,
    stop: &'a Stop,
    floor: Option<Floor>,
    bar: ProgressBar,
    sums: Sums,
}

impl<'a> Run<'a> {
    fn new(
        plan: &'a Plan,
        target: &'a Target,
        photos: &'a Photos,
        service: Option<Process>,
        stop: &'a Stop,
    ) -> Result<Self> {
        let floor = plan.floor.then(|| Floor::open(&plan.config, plan.workers)).transpose()?;
        let target_of_bar = if stderr().is_terminal() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(0), target_of_bar)
            .with_style(ProgressStyle::with_template("{bar:40} {elapsed} {msg}")?);
        Ok(Self { plan, target, photos, service, stop, floor, bar, sums: Sums::default() })
    }

    fn measure(mut self) -> Result<Report> {
        let stock = Stock::of(MOST_BYTES);
        let run = uuid::Uuid::new_v4().simple().to_string();
        let (target, photos) = (self.target, self.photos);
        let mut number = 0;
        let make = move || -> Result<Signed> {
            let body = photos.body(number, &format!("bench-{run}-{number}"));
            let signed = Signed { request: target.prepare(body)?, pair: number };
            number += 1;
            Ok(signed)
        };
        thread::scope(|scope| {
            let closing = Closing(&stock);
            scope.spawn(|| stock.sign(make));
            let send = |request: &Prepared| target.send(request);
            let load = Load { send: &send, stock: &stock, photos, stop: self.stop };
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
            interrupted: self.stop.is_requested(),
        };
        Ok(Report::of(asked, self.sums))
    }

    fn slices(&mut self, load: &Load<'_>) -> Result<()> {
        let seconds = f64::from(self.plan.seconds);
        let slices = if self.floor.is_some() { (seconds / SLICE_S).round().max(1.0) } else { 1.0 };
        let length = Duration::from_secs_f64(seconds / slices);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a small whole number"
        )]
        let slices = slices as u32;
        let parts = if self.floor.is_some() { 2 } else { 1 };
        self.bar.set_length(u64::from(slices * parts) * millis(length));
        let mut speed = self.warm_up(load)?;
        for n in 0..slices {
            if self.stop.is_requested() {
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
            if let Some(floor) = floor.filter(|floor| *floor > 0.0 && !self.stop.is_requested()) {
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
        load.stock.fill(2 * in_flight, in_flight, self.stop)?;
        let Slice { mut tally, elapsed } = load.saturate(in_flight, WARM_UP);
        if let Some(floor) = &mut self.floor {
            floor.measure(self.photos, WARM_UP, self.stop)?;
        }
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
        // With a rate there are senders enough for everything that may be due while others wait for answers.
        let keep = if schedule.is_some() { 4 } else { self.plan.in_flight };
        self.bar.set_message("signing");
        load.stock.fill(expected.min(MOST_AHEAD), keep, self.stop)?;
        self.bar.set_message("service");
        let before = (self.cpu(), Process::own().cpu_seconds());
        let questions = self.target.questions();
        let Slice { tally, elapsed } = self.watched(length, || match &schedule {
            Some(schedule) => load.follow(schedule, MOST_CONNECTIONS.min(schedule.len()), length),
            None => load.saturate(self.plan.in_flight, length),
        });
        let used = since(before.0, self.cpu());
        sum(&mut self.sums.cpu, used);
        sum(&mut self.sums.generator_cpu, since(before.1, Process::own().cpu_seconds()));
        self.sums.questions += self.target.questions() - questions;
        let pairs = tally.pairs();
        self.sums.tally.add(tally);
        self.sums.time += elapsed;
        Ok(rate(pairs, elapsed))
    }

    /// Pairs a second of the floor, if it is asked for.
    fn floor_slice(&mut self, length: Duration) -> Result<Option<f64>> {
        let Some(mut floor) = self.floor.take() else { return Ok(None) };
        self.bar.set_message("floor");
        let before = Process::own().cpu_seconds();
        let measured = self.watched(length, || floor.measure(self.photos, length, self.stop));
        let (pairs, elapsed) = measured?;
        sum(&mut self.sums.floor.cpu, since(before, Process::own().cpu_seconds()));
        self.sums.floor.pairs += pairs;
        self.sums.floor.time += elapsed;
        self.floor = Some(floor);
        Ok(Some(rate(pairs, elapsed)))
    }

    fn cpu(&self) -> Option<f64> {
        self.service.and_then(Process::cpu_seconds)
    }

    /// Does the work while memory is looked at and the bar moves.
    fn watched<T>(&mut self, length: Duration, work: impl FnOnce() -> T) -> T {
        let done = AtomicBool::new(false);
        let most = Mutex::new(self.sums.rss_mib);
        let (bar, service) = (&self.bar, self.service);
        let (begun, at) = (Instant::now(), bar.position());
        let result = thread::scope(|scope| {
            let watcher = scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    bar.set_position(at + millis(begun.elapsed().min(length)));
                    let now = service.and_then(Process::resident_mib);
                    let mut most = most.lock().unwrap_or_else(PoisonError::into_inner);
                    *most = most.into_iter().chain(now).reduce(f64::max);
                    drop(most);
                    thread::park_timeout(LOOK);
                }
            });
            let ending = Ending(&done, watcher.thread().clone());
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
struct Ending<'a>(&'a AtomicBool, thread::Thread);

impl Drop for Ending<'_> {
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
