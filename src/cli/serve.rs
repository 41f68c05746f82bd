//! `visavis serve` and `visavis work`.

use std::{
    io::{self, IsTerminal as _},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::Result;
use tokio::signal::unix::{SignalKind, signal};

use super::{DataArgs, block_on, output, start_log};
use crate::{
    app::{self, Roles, Service},
    config::{Config, ListenAddress},
    http::Serving,
    shutdown::Shutdown,
};

/// Arguments of `serve`.
#[derive(Debug, clap::Args)]
pub(super) struct ServeArgs {
    /// Address and port to listen on, such as localhost:8080, or :8080 for all addresses; port 0
    /// lets the system choose [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<ListenAddress>,
    /// Certificate chain, PEM, to serve HTTPS [default: `tls.cert_file`]
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Private key of the certificate, PEM [default: `tls.key_file`]
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    #[command(flatten)]
    data: DataArgs,
    /// Worker threads; 0 for a front end only, on Postgres [default: one per core, two with a GPU]
    #[arg(long, value_name = "N")]
    workers: Option<u16>,
    /// Databases to serve, by number from 0, separated by commas [default: all]
    #[arg(long, value_name = "N,N")]
    shards: Option<String>,
    /// Shut down gracefully when standard input ends
    #[arg(long, hide = true)]
    until_input_ends: bool,
}

/// Arguments of `work`.
#[derive(Debug, clap::Args)]
pub(super) struct WorkArgs {
    #[command(flatten)]
    data: DataArgs,
    /// Worker threads [default: one per core, two with a GPU]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    workers: Option<u16>,
    /// Databases to work for, by number from 0, separated by commas [default: all]
    #[arg(long, value_name = "N,N")]
    shards: Option<String>,
}

/// Serves until shutdown is requested.
pub(super) fn run(mut config: Config, file: Option<&Path>, args: &ServeArgs) -> Result<ExitCode> {
    args.data.apply(&mut config);
    if let Some(listen) = &args.listen {
        config.http.listen.clone_from(listen);
    }
    if let (Some(cert), Some(key)) = (&args.tls_cert, &args.tls_key) {
        config.tls.cert_file = cert.display().to_string();
        config.tls.key_file = key.display().to_string();
    }
    if let Some(workers) = args.workers {
        config.worker.threads = usize::from(workers);
    }
    choose_shards(&mut config, args.shards.as_ref())?;
    let roles = Roles { front_end: true, workers: args.workers != Some(0) };
    until_stopped(&config, file, roles, args.until_input_ends)
}

/// Works until shutdown is requested.
pub(super) fn work(mut config: Config, file: Option<&Path>, args: &WorkArgs) -> Result<ExitCode> {
    args.data.apply(&mut config);
    if let Some(workers) = args.workers {
        config.worker.threads = usize::from(workers);
    }
    choose_shards(&mut config, args.shards.as_ref())?;
    until_stopped(&config, file, Roles { front_end: false, workers: true }, false)
}

fn choose_shards(config: &mut Config, shards: Option<&String>) -> Result<()> {
    if let Some(shards) = shards {
        config.database.shards.clone_from(shards);
        config.database.served()?;
    }
    Ok(())
}

/// Why a process ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ExitReason {
    /// A signal, or the end of standard input.
    Requested,
    /// Only a new process can continue.
    Failed,
}

/// Returns when standard input ends.
async fn input_ends() {
    let (sender, end) = tokio::sync::oneshot::channel::<()>();
    // On a separate thread: the runtime would wait for a read that may never return.
    std::thread::spawn(move || {
        // An error is an end too.
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        drop(sender);
    });
    // Nothing is sent: the end of the thread drops the sender.
    let _ = end.await;
}

/// Creates the console's token, if neither it nor an administrator exists, and prints it; it cannot
/// be printed again. Does so only on a terminal, since other output may be stored, for example in a
/// journal.
async fn print_new_token(config: &Config, service: &Service) {
    let Some(admin) = service.admin.as_ref().filter(|_| config.admin.console) else { return };
    let file = app::token_file(config);
    if file.path().exists() || config.has_external_administrators() {
        return;
    }
    match service.has_console_administrator().await {
        Ok(false) => {}
        Ok(true) => return,
        Err(error) => {
            tracing::warn!(%error, "cannot read the accounts of the console");
            return;
        }
    }
    if !io::stdout().is_terminal() {
        let folder = config.data.dir.display();
        tracing::info!(%folder, "console has no token yet: run `visavis console token` to enable \
                                 login");
        return;
    }
    let token = match file.make_if_absent() {
        Ok(Some(token)) => token,
        // Another process was first.
        Ok(None) => return,
        Err(error) => {
            tracing::error!(%error, file = %file.path().display(), "cannot create the token of the \
                    console");
            return;
        }
    };
    let printed = output::try_line(format_args!(
        "The operator console is at {}://{}/console/. Its token, shown only once:\n\n  {}\n\n\
         Only a digest of it is stored; `visavis console token` creates a new one.",
        admin.scheme, admin.address, *token
    ));
    // The program that started this one may read only the first line.
    if printed.is_err() {
        tracing::warn!(
            "cannot print the token of the console: run `visavis console token` for another one"
        );
    }
}

/// Logs what runs, on what device, and where it listens.
fn log_start(config: &Config, file: Option<&Path>, service: &Service) {
    let address = |serving: &Option<Serving>| {
        serving.as_ref().map(|serving| format!("{}://{}", serving.scheme, serving.address))
    };
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        config = file.map(|file| file.display().to_string()),
        database = app::database_name(config),
        api = address(&service.serving),
        admin = address(&service.admin),
        pack = service.about.pack,
        device = service.about.device,
        device_reason = service.device_reason,
        threads = service.threads,
        "started"
    );
}

/// Runs until SIGTERM or SIGINT, until standard input ends (if requested), or until it cannot
/// continue; then shuts down gracefully. A second signal ends it without waiting for requests and
/// jobs.
fn until_stopped(
    config: &Config,
    file: Option<&Path>,
    roles: Roles,
    until_input_ends: bool,
) -> Result<ExitCode> {
    start_log(config)?;
    for deprecation in &config.deprecated {
        tracing::warn!(%deprecation, "a setting is deprecated: use its new name");
    }
    app::raise_limit(config);
    block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let (trigger, shutdown) = Shutdown::new();
        let ended = async {
            if until_input_ends {
                input_ends().await;
            } else {
                std::future::pending::<()>().await;
            }
        };
        tokio::pin!(ended);
        let service = tokio::select! {
            started = app::start(config, roles, &shutdown) => started?,
            // Nothing has been accepted yet.
            _ = terminate.recv() => return Ok(ExitCode::SUCCESS),
            _ = interrupt.recv() => return Ok(ExitCode::SUCCESS),
            () = &mut ended => return Ok(ExitCode::SUCCESS),
        };
        log_start(config, file, &service);
        let line = match &service.serving {
            Some(serving) => format!("Visavis listens on {}://{}", serving.scheme, serving.address),
            None => "Visavis works".to_owned(),
        };
        if let Err(error) = output::try_line(format_args!("{line}")) {
            tracing::warn!(%error, "cannot write to standard output");
        }
        print_new_token(config, &service).await;
        let end = tokio::select! {
            _ = terminate.recv() => ExitReason::Requested,
            _ = interrupt.recv() => ExitReason::Requested,
            () = &mut ended => ExitReason::Requested,
            reason = service.failed() => {
                tracing::error!(reason, "the process cannot go on: exiting with 1, start it again");
                ExitReason::Failed
            }
        };
        let stopping = async {
            service.app.set_ready(false);
            if end == ExitReason::Requested && roles.front_end {
                tokio::time::sleep(Duration::from_millis(config.http.shutdown_delay_ms)).await;
            }
            tracing::info!("stopping: finishing requests and jobs");
            trigger.stop();
            let stopped = service.stop().await;
            tracing::info!("stopped");
            stopped
        };
        tokio::select! {
            stopped = stopping => {
                stopped?;
                Ok(if end == ExitReason::Requested { ExitCode::SUCCESS } else { ExitCode::FAILURE })
            }
            _ = terminate.recv() => Ok(ExitCode::FAILURE),
            _ = interrupt.recv() => Ok(ExitCode::FAILURE),
        }
    })
}
