//! `visavis serve`

use std::{net::SocketAddr, process::ExitCode};

use anyhow::Result;
use tokio::signal::unix::{SignalKind, signal};

use super::{DataArgs, block_on, start_log};
use crate::{app, config::Config, shutdown::Shutdown};

/// Arguments of `serve`.
#[derive(Debug, clap::Args)]
pub(super) struct ServeArgs {
    /// Address and port to listen on; port 0 lets the system choose [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<SocketAddr>,
    #[command(flatten)]
    data: DataArgs,
    /// Threads that compare [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    workers: Option<u16>,
}

/// Serves until SIGTERM or SIGINT, then ends in order; a second signal ends at once.
pub(super) fn run(mut config: Config, args: &ServeArgs) -> Result<ExitCode> {
    args.data.apply(&mut config);
    if let Some(listen) = args.listen {
        config.http.listen = listen;
    }
    if let Some(workers) = args.workers {
        config.worker.threads = usize::from(workers);
    }
    start_log(&config)?;
    block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let (trigger, shutdown) = Shutdown::new();
        let service = app::start(&config, &shutdown).await?;
        println!("Visavis listens on http://{}", service.serving.address);
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping: requests under way are answered, jobs finished or handed back");
        trigger.stop();
        tokio::select! {
            stopped = service.stop() => stopped.map(|()| ExitCode::SUCCESS),
            _ = terminate.recv() => Ok(ExitCode::FAILURE),
            _ = interrupt.recv() => Ok(ExitCode::FAILURE),
        }
    })
}
