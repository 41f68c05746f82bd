//! `visavis bench`: load of our own, because no common tool can sign each request.

mod exchange;
mod floor;
mod load;
mod photos;
mod report;
mod run;
mod service;
mod stock;
mod stop;
mod usage;

use std::{
    num::NonZeroU16,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Result, ensure};

use self::{
    exchange::Mode,
    report::Report,
    run::{Plan, Server},
    service::Scratch,
};
use super::{credentials, wire_client::MOST_CONNECTIONS};
use crate::{app, config::Config};

/// Arguments of `bench`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:\n  \
    visavis bench --floor\n  \
    visavis bench --mode async --encrypted --photos ~/selfies --seconds 60 --floor\n  \
    visavis bench --rate 20 --seconds 60 --json\n  \
    visavis bench --url https://faces.example.com --client app.json --rate 5\n\n\
Without --url a service is started for the measurement: this program as a process of its own, as configured but \
with SQLite in a new folder below TMPDIR (it should lie on a disk of the kind that the service is to have), on a \
free port of this machine, without the operators' address; folder and process are gone at the end. Each photo is \
compared with the next one in the order of their names, the last with the first.\n\n\
Without --rate as many requests are in flight as keep the workers busy, and latency counts from when a request \
is sent: it says how full the queue is. With --rate requests are due at independent times, the same in every run, \
and latency counts from when a request was due, however late it could be sent; 256 may be in flight, and what \
cannot be sent within 5 seconds after the end is an error, NOT_SENT. Requests are signed before they are due. In \
mode async latency counts to the answer that has the outcome; the first question comes when the outcome is about \
due, going by the earlier ones, and each further one after an eighth of the time waited so far.\n\n\
--floor measures in turn, in slices of some seconds, the service and the bare pipeline (decode, detect, quality, \
align, embed, cosine) on as many threads as the service has workers; each rests while the other works. \
ratioToFloor is the median of the slices' ratios of pairs a second. Both share the machine with whatever else \
runs on it, and the service with the load generator too, so pairs a second of CPU are told as well: of the \
service alone, and of the floor.\n\n\
The JSON object has pairsPerSecond, floorPairsPerSecond and ratioToFloor (null without --floor), latencyMs (p50, \
p90, p99, max), errors (no valid answer, or another result code than SUCCESS; errorsByCode has them apart), refused \
(REQUEST_TRAFFIC_EXCEED_LIMIT; refusalMs has how long they took), rssMiB (most resident memory of the service's \
process, without the generator), cpuSecondsPerPair, pairsPerCpuSecond and the same of the floor, cpuRatioToFloor, \
generatorCpuSecondsPerPair, and what was asked for. Memory and CPU of a service behind --url are null unless \
--pid says which process it is.\n\n\
Ctrl-C ends it with what was measured so far; a second one at once.\n\n\
Exit code: 0 when pairs were compared and nothing went wrong, 1 otherwise (refusals alone are not wrong), 2 for \
wrong arguments.")]
pub(super) struct BenchArgs {
    /// How pairs are sent
    #[arg(long, value_enum, default_value_t = Mode::Compare)]
    mode: Mode,
    /// Measure the bare pipeline too, in turn with the service
    #[arg(long)]
    floor: bool,
    /// Folder with the photos to send, in it or in its folders [default: samples here or beside the program]
    #[arg(long, value_name = "DIR")]
    photos: Option<PathBuf>,
    /// How long the service is measured; with --floor the floor as long again
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    seconds: u32,
    /// Requests that are due a second, however fast they are answered [default: as many as are answered]
    #[arg(long, value_name = "R", value_parser = positive)]
    rate: Option<f64>,
    /// Requests in flight without --rate [default: 2 for each worker; 4 in mode async]
    #[arg(long, value_name = "N", conflicts_with = "rate", value_parser = clap::value_parser!(u16).range(1..=256))]
    in_flight: Option<u16>,
    /// Encrypt the requests (mode encrypted of `visavis call`); the answers come encrypted too
    #[arg(long)]
    encrypted: bool,
    /// Workers of the service, and threads of the floor; with --url say how many it has [default: one per core, two with a GPU]
    #[arg(long, value_name = "N")]
    workers: Option<NonZeroU16>,
    /// Scheme, host and port of a running service, to measure that one instead of one of our own
    #[arg(long, value_name = "URL", requires = "client")]
    url: Option<String>,
    /// File with the keys of a client of that service, as `visavis client add NAME --out FILE` writes it
    #[arg(long, value_name = "FILE", requires = "url")]
    client: Option<PathBuf>,
    /// PEM file with the certificates to trust for https, instead of those of this machine
    #[arg(long, value_name = "FILE", requires = "url")]
    ca: Option<PathBuf>,
    /// Process of that service, if it runs on this machine, to tell its memory and CPU
    #[arg(long, value_name = "PID", requires = "url")]
    pid: Option<u32>,
    /// Seconds to wait for an answer, and in mode async for the outcome
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
        .ok_or_else(|| "say a number from 0.01 to 100000".to_owned())
}

/// Measures and prints. The exit code is that of a check, not of a failed command: 1 for whatever went wrong.
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
    let workers = match args.workers {
        Some(workers) => usize::from(workers.get()),
        None if args.url.is_none() => app::MemoryPlan::new(config)?.threads,
        // What is configured here says nothing of a service elsewhere.
        None => config.runtime.device()?.threads()?,
    };
    let per_worker = match args.mode {
        Mode::Compare => 2,
        // An outcome that is there waits for its question; meanwhile a worker needs another job.
        Mode::Async => 4,
    };
    let in_flight = match args.rate {
        Some(_) => MOST_CONNECTIONS,
        None => args.in_flight.map_or(per_worker * workers, usize::from).min(MOST_CONNECTIONS),
    };
    ensure!(args.timeout > 0, "--timeout must be a second at least");
    let mut plan = Plan {
        config: config.clone(),
        server: Server::Own { config_file: config_file.map(Path::to_path_buf) },
        mode: args.mode,
        encrypted: args.encrypted,
        floor: args.floor,
        photos: args.photos.clone(),
        seconds: args.seconds,
        rate: args.rate,
        workers,
        in_flight,
        timeout: std::time::Duration::from_secs(args.timeout),
    };
    if let (Some(url), Some(client)) = (&args.url, &args.client) {
        plan.server = Server::Running {
            url: url.clone(),
            credentials: Box::new(credentials::read(client)?),
            ca: args.ca.clone(),
            pid: args.pid,
        };
    }
    // Kept here, so that it goes even when the thread that measures is not waited for.
    let scratch = Scratch::create()?;
    let folder = scratch.path().to_path_buf();
    stop::until_told(move |stop| run::run(&plan, &folder, stop))
}
