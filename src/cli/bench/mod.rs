//! `visavis bench`: arguments, the service that is measured, and the report. `visavis-loadgen`
//! generates the load.

mod interrupt;
mod service;

use std::{
    num::NonZeroU16,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use clap::ValueEnum;
use visavis_face::{Engine as _, Picture, PictureKind, Pipeline};
use visavis_loadgen::{
    ComparePair, MAX_CONNECTIONS, Mode, Photos, Plan, Process, Protection, Report, Run, Stop,
    Target,
};
use visavis_signing::Credentials;

use self::service::{OwnService, Scratch, register};
use super::{
    connection::{connect, explained},
    credentials,
};
use crate::{app, config::Config};

/// Arguments of `bench`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:\n  \
    visavis bench --floor\n  \
    visavis bench --mode async --encrypted --photos ~/selfies --seconds 60 --floor\n  \
    visavis bench --rate 20 --seconds 60 --json\n  \
    visavis bench --url https://faces.example.com --client app.json --rate 5\n\n\
Without --url, a service is started for the measurement: this program as a separate process, with the \
configured settings except for SQLite in a new folder below TMPDIR (use the kind of disk that the service \
will have), a free port of this machine, and no admin address. Folder and process are removed at the end. \
Each photo is compared with the next one in the order of their names, the last one with the first.\n\n\
Without --rate, enough requests are in flight to keep the workers busy, and latency is measured from \
sending a request: it depends on the number in flight. With --rate, requests are due at independent times, \
the same in every run, and latency is measured from the time when a request was due, even if it was sent \
later. At most 256 are in flight; a request that cannot be sent within 5 seconds after the end is an error, \
NOT_SENT. Requests are signed before they are due. In mode async, latency ends with the response that has \
the outcome. The first poll is sent when the outcome is expected, judging by earlier ones, and each further \
poll after an eighth of the time waited so far.\n\n\
--floor alternates, in slices of some seconds, between the service and the bare pipeline (decode, detect, \
quality, align, embed, cosine) on as many threads as the service has workers; each is idle while the other \
runs. ratioToFloor is the median of the ratios of pairs per second of the slices. Both share the machine \
with other processes, and the service also with the load generator, so pairs per second of CPU time are \
reported too: of the service only, and of the floor.\n\n\
The JSON object has pairsPerSecond, floorPairsPerSecond and ratioToFloor (null without --floor), latencyMs \
(p50, p90, p99, max), errors (no valid response, or a result code other than SUCCESS; errorsByCode lists \
them by code), refused (REQUEST_TRAFFIC_EXCEED_LIMIT; refusalMs is their latency), rssMiB (peak resident \
memory of the process of the service, without the generator), cpuSecondsPerPair, pairsPerCpuSecond and the \
same of the floor, cpuRatioToFloor, generatorCpuSecondsPerPair, and the options of the run. Memory and CPU \
of a service at --url are null unless --pid names its process.\n\n\
Ctrl-C ends the measurement early and prints its result; a second one ends the program immediately.\n\n\
Exit code: 0 if pairs were compared without errors (refused requests are not errors), 1 otherwise, 2 for \
wrong arguments.")]
pub(super) struct BenchArgs {
    /// How pairs are sent
    #[arg(long, value_enum, default_value_t = BenchMode::Compare)]
    mode: BenchMode,
    /// Also measure the bare pipeline, alternating with the service
    #[arg(long)]
    floor: bool,
    /// Folder of the photos to send, searched with its subfolders [default: samples, here or beside
    /// the program]
    #[arg(long, value_name = "DIR")]
    photos: Option<PathBuf>,
    /// How long the service is measured, in seconds; --floor takes the same time again
    #[arg(long, value_name = "N", default_value_t = 10)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=86_400))]
    seconds: u32,
    /// Requests per second, however fast the responses are [default: the next one after each
    /// response]
    #[arg(long, value_name = "R", value_parser = positive)]
    rate: Option<f64>,
    /// Requests in flight without --rate [default: 2 for each worker; 4 in mode async]
    #[arg(long, value_name = "N", conflicts_with = "rate")]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=256))]
    in_flight: Option<u16>,
    /// Encrypt requests and responses (mode encrypted of `visavis call`)
    #[arg(long)]
    encrypted: bool,
    /// Workers of the service, and threads of the floor; with --url, the number that it has
    /// [default: one per core, two with a GPU]
    #[arg(long, value_name = "N")]
    workers: Option<NonZeroU16>,
    /// Scheme, host and port of a running service to measure, instead of starting one
    #[arg(long, value_name = "URL", requires = "client")]
    url: Option<String>,
    /// File with the keys of a client of that service, written by `visavis client add NAME --out
    /// FILE`
    #[arg(long, value_name = "FILE", requires = "url")]
    client: Option<PathBuf>,
    /// PEM file of the certificates to trust for HTTPS, instead of those of this machine
    #[arg(long, value_name = "FILE", requires = "url")]
    ca: Option<PathBuf>,
    /// Process of that service, if it runs on this machine: reports its memory and CPU
    #[arg(long, value_name = "PID", requires = "url")]
    pid: Option<u32>,
    /// Seconds to wait for a response, and in mode async for the outcome
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    timeout: u64,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

fn positive(text: &str) -> Result<f64, String> {
    let number: Option<f64> = text.parse().ok();
    number
        .filter(|rate| (0.01..=100_000.0).contains(rate))
        .ok_or_else(|| "expected a number from 0.01 to 100000".to_owned())
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum BenchMode {
    /// The response has the outcome
    Compare,
    /// First asynccompare, then asynccheckresult until the outcome is available
    Async,
}

/// Measures and prints. The exit code is 1 for any error, as of a check.
pub(super) fn run(config: &Config, config_file: Option<&Path>, args: &BenchArgs) -> ExitCode {
    match measured(config, config_file, args) {
        Ok(report) => {
            let good = report.is_good();
            let text = if args.json {
                serde_json::to_string_pretty(&report).unwrap_or_default()
            } else {
                report.table()
            };
            out!("{text}");
            if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            err!("visavis: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measured(config: &Config, config_file: Option<&Path>, args: &BenchArgs) -> Result<Report> {
    ensure!(args.timeout > 0, "--timeout must be at least 1 second");
    let bench = Bench {
        config: config.clone(),
        service: args.service(config_file)?,
        plan: args.plan(config)?,
        has_floor: args.floor,
        photos: args.photos.clone(),
        timeout: Duration::from_secs(args.timeout),
    };
    // Owned here, so that it is deleted even if the measuring thread is still running.
    let scratch = Scratch::create()?;
    let folder = scratch.path().to_path_buf();
    interrupt::until_interrupted(move |stop| bench.run(&folder, stop))
}

impl BenchArgs {
    fn plan(&self, config: &Config) -> Result<Plan> {
        let workers = match self.workers {
            Some(workers) => usize::from(workers.get()),
            None if self.url.is_none() => app::MemoryPlan::new(config)?.threads,
            // The configuration of this machine does not apply to a service elsewhere.
            None => config.runtime.device()?.unwrap_or_default().threads()?,
        };
        let (mode, per_worker) = match self.mode {
            BenchMode::Compare => (Mode::Compare, 2),
            // An outcome waits until it is asked for; meanwhile a worker needs another job.
            BenchMode::Async => (Mode::Async, 4),
        };
        let in_flight = match self.rate {
            Some(_) => MAX_CONNECTIONS,
            None => self.in_flight.map_or(per_worker * workers, usize::from).min(MAX_CONNECTIONS),
        };
        let Self { encrypted, seconds, rate, .. } = *self;
        Ok(Plan { mode, encrypted, seconds, rate, workers, in_flight })
    }

    fn service(&self, config_file: Option<&Path>) -> Result<BenchService> {
        Ok(match (&self.url, &self.client) {
            (Some(url), Some(client)) => BenchService::Running {
                url: url.clone(),
                credentials: Box::new(credentials::read(client)?),
                ca: self.ca.clone(),
                pid: self.pid,
            },
            _ => BenchService::Own { config_file: config_file.map(Path::to_path_buf) },
        })
    }
}

/// The service that is measured.
enum BenchService {
    /// One that is started for the measurement.
    Own { config_file: Option<PathBuf> },
    /// One that runs already.
    Running { url: String, credentials: Box<Credentials>, ca: Option<PathBuf>, pid: Option<u32> },
}

/// Everything that a measurement needs.
struct Bench {
    config: Config,
    service: BenchService,
    plan: Plan,
    has_floor: bool,
    photos: Option<PathBuf>,
    timeout: Duration,
}

impl Bench {
    /// Measures. `scratch` is the data folder of a service that is started for it.
    fn run(&self, scratch: &Path, stop: &Stop) -> Result<Report> {
        let photos = Photos::read(self.photos.as_deref())?;
        match &self.service {
            BenchService::Own { config_file } => {
                let credentials = register(&self.config, scratch)?;
                let workers = self.plan.workers;
                let service = OwnService::start(config_file.as_deref(), scratch, workers, stop)?;
                let target = self.target(service.url(), &credentials, None)?;
                target.greet()?;
                let process = Some(service.process());
                let report = self.measure(&target, &photos, process, stop)?;
                service.stop()?;
                Ok(report)
            }
            BenchService::Running { url, credentials, ca, pid } => {
                let target = self.target(url, credentials, ca.as_deref())?;
                target.greet().map_err(|error| explained(url, error)).with_context(|| {
                    format!(
                        "cannot measure {url}: start a service there with `visavis serve`, or omit \
                         --url to have one started for the measurement"
                    )
                })?;
                self.measure(&target, &photos, pid.map(Process), stop)
            }
        }
    }

    fn target(&self, url: &str, credentials: &Credentials, ca: Option<&Path>) -> Result<Target> {
        let protection =
            if self.plan.encrypted { Protection::Encrypted(32) } else { Protection::KeyPair };
        let client = connect(url, credentials, protection, self.timeout, ca)?;
        Ok(Target::new(client, self.plan.mode, self.timeout))
    }

    fn measure(
        &self,
        target: &Target,
        photos: &Photos,
        process: Option<Process>,
        stop: &Stop,
    ) -> Result<Report> {
        let floor = if self.has_floor { self.floor()? } else { Vec::new() };
        Run { target, photos, process, floor, stop }.measure(&self.plan)
    }

    /// As many engines as the service has workers.
    fn floor(&self) -> Result<Vec<ComparePair>> {
        let pack = app::open_pack(&self.config)?;
        let compare = |mut engine: Pipeline| -> ComparePair {
            Box::new(move |files| {
                let [probe, reference] =
                    files.map(|bytes| Picture { bytes, hint: None, kind: PictureKind::Selfie });
                engine.compare(&probe, &reference)?;
                Ok(())
            })
        };
        let engines = (0..self.plan.workers).map(|_| Ok(compare(pack.engine()?)));
        engines.collect::<Result<_>>().context("the floor")
    }
}
