//! The command line: commands, arguments and exit codes.

#[macro_use]
mod output;

mod annotate;
mod audit;
mod bench;
mod bitmap_font;
mod calibrate;
mod call;
mod check;
mod client;
mod collector;
mod compare;
mod connection;
mod console;
mod credentials;
mod erase;
mod evaluate;
mod finding;
mod health;
mod key;
mod labelled;
mod machine;
mod manual;
mod models;
mod restart;
mod serve;
mod sign;
mod table;
mod trial;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};

use crate::{
    app,
    config::{Config, LogFormat},
    telemetry,
};

/// Self-hosted, drop-in replacement for the ZOLOZ Face Compare API: reports whether two photos show
/// the same person, how confident it is, and whether the photos are good enough.
#[derive(Debug, Parser)]
#[command(name = "visavis", version, arg_required_else_help = true)]
pub struct Cli {
    /// Configuration file; overrides the defaults (see config/default.toml)
    #[arg(long, global = true, env = "VISAVIS_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: CliCommand,
}

#[derive(Debug, Subcommand)]
enum CliCommand {
    /// Serve the API, with one worker per core
    Serve(serve::ServeArgs),
    /// Run workers only, for front ends that share this Postgres
    Work(serve::WorkArgs),
    /// Compare two photos without a server
    Compare(compare::CompareArgs),
    /// Sign and send a request to a running server; verify and print the response
    Call(call::CallArgs),
    /// Print the text that a request is signed over, and the headers for it
    Sign(sign::SignArgs),
    /// Measure throughput, latency and resource usage of a service
    Bench(bench::BenchArgs),
    /// Register and manage the clients of the API
    #[command(subcommand)]
    Client(client::ClientCommand),
    /// Manage access to the operator console
    #[command(subcommand)]
    Console(console::ConsoleCommand),
    /// Fetch, list and verify the model packs
    #[command(subcommand)]
    Models(models::ModelsCommand),
    /// Measure the error rates of a pack on labelled photos
    Evaluate(evaluate::EvaluateArgs),
    /// Measure the calibration table of a pack on labelled photos
    Calibrate(calibrate::CalibrateArgs),
    /// Delete transactions (photos, results and ids) before their retention period ends
    Erase(erase::EraseArgs),
    /// Rotate the master key in three steps, without downtime
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// List what operators did to clients, keys and transactions, newest first
    Audit(audit::AuditArgs),
    /// Bring the database schema up to date
    Migrate(DataArgs),
    #[command(about = "Print the OpenAPI 3.1 description of the API as JSON")]
    Openapi,
    /// Check configuration, keys, models, runtime and database
    Check(check::CheckArgs),
    /// Report whether the process with this configuration is ready, for health checks
    #[command(after_help = "Exit code: 0 ready; 1 not ready, or no response.")]
    Health,
    /// Print a shell completion script
    Completions(manual::CompletionsArgs),
    /// Write the manual, one page per command
    Man(manual::ManArgs),
}

/// The data folder.
#[derive(Debug, clap::Args)]
pub struct DataArgs {
    /// Folder of the embedded database and the master key [default: data.dir of the configuration]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// Exit code of a command that failed. The exit codes of `compare` are 0, 1 and 2; clap uses 2 for
/// wrong arguments too.
const FAILED: u8 = 2;

/// Reads the arguments, runs the command, and turns the result into an exit code.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = run(&cli);
    telemetry::finish();
    let printed = output::finish().context("cannot write to standard output");
    match done.and_then(|code| printed.map(|()| code)) {
        Ok(code) => code,
        Err(error) => {
            err!("visavis: {error:#}");
            ExitCode::from(FAILED)
        }
    }
}

impl CliCommand {
    /// Whether it may load ONNX Runtime.
    fn loads_runtime(&self) -> bool {
        match self {
            Self::Serve(_)
            | Self::Work(_)
            | Self::Compare(_)
            | Self::Bench(_)
            | Self::Evaluate(_)
            | Self::Calibrate(_)
            | Self::Check(_) => true,
            Self::Call(_)
            | Self::Sign(_)
            | Self::Client(_)
            | Self::Console(_)
            | Self::Models(_)
            | Self::Erase(_)
            | Self::Key(_)
            | Self::Audit(_)
            | Self::Migrate(_)
            | Self::Openapi
            | Self::Health
            | Self::Completions(_)
            | Self::Man(_) => false,
        }
    }
}

fn run(cli: &Cli) -> Result<ExitCode> {
    if cli.command.loads_runtime() {
        restart::restart_with_variables()?;
    }
    // All TLS of this process uses this library.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    // Read only where it is needed: a command without settings works with an invalid configuration
    // too.
    let file = cli.config.as_deref();
    let config = || load_config(file);
    match &cli.command {
        CliCommand::Serve(args) => serve::run(config()?, file, args),
        CliCommand::Work(args) => serve::work(config()?, file, args),
        CliCommand::Compare(args) => compare::run(&config()?, args),
        CliCommand::Call(args) => call::run(args),
        CliCommand::Sign(args) => sign::run(args),
        CliCommand::Bench(args) => Ok(bench::run(&config()?, cli.config.as_deref(), args)),
        CliCommand::Client(command) => client::run(config()?, command),
        CliCommand::Erase(args) => erase::run(config()?, args),
        CliCommand::Key(command) => key::run(config()?, command),
        CliCommand::Audit(args) => audit::run(config()?, args),
        CliCommand::Console(command) => console::run(config()?, command),
        CliCommand::Models(command) => models::run(config, command),
        CliCommand::Migrate(args) => {
            let mut config = config()?;
            args.apply(&mut config);
            start_log(&config)?;
            block_on(async {
                let data = app::open_data(&config).await?;
                data.clients.check_master_key().await?;
                data.close().await;
                out!("the schema of {} is up to date", app::database_name(&config));
                Ok(ExitCode::SUCCESS)
            })
        }
        CliCommand::Openapi => {
            out!("{}", crate::http::OPENAPI.trim_end());
            Ok(ExitCode::SUCCESS)
        }
        CliCommand::Check(args) => check::run(config()?, args),
        CliCommand::Health => health::run(&config()?),
        CliCommand::Completions(args) => Ok(manual::completions(args)),
        CliCommand::Man(args) => manual::man(args),
        CliCommand::Evaluate(args) => evaluate::run(config()?, args),
        CliCommand::Calibrate(args) => calibrate::run(config()?, args),
    }
}

impl DataArgs {
    fn apply(&self, config: &mut Config) {
        if let Some(dir) = &self.data {
            config.data.dir.clone_from(dir);
        }
    }
}

/// The operator's `file` overrides the file that was installed with the program.
fn load_config(file: Option<&Path>) -> Result<Config> {
    let installed = app::installed_settings();
    let files = installed.as_deref().into_iter().chain(file);
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    Ok(Config::load(files, environment)?)
}

/// How long a finished command waits for its background threads. A start on a GPU takes 8 seconds,
/// and a process that ends during it crashes.
const BACKGROUND_TIMEOUT: Duration = Duration::from_secs(20);

/// Runs asynchronous work to its end.
fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let done = runtime.block_on(work);
    runtime.shutdown_timeout(BACKGROUND_TIMEOUT);
    done
}

/// Starts the log for a long-running command.
fn start_log(config: &Config) -> Result<()> {
    let format = match config.log.format {
        LogFormat::Text => telemetry::Format::Logfmt,
        LogFormat::Json => telemetry::Format::Json,
    };
    telemetry::start(&config.log.level, format, &config.traces.endpoint).map_err(anyhow::Error::msg)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }
}
