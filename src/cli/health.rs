//! `visavis health`: for the health checks of containers, which have no other client.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context as _, Result};

use crate::{
    config::{Config, reached_at},
    outgoing,
};

/// How long the process may take to respond. `/health/ready` waits 4 seconds for a database.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks the process that has this configuration, on the admin address.
pub(super) fn run(config: &Config) -> Result<ExitCode> {
    let listen = config.admin.address()?;
    let listen = listen.context("admin.listen is empty: set it, health is asked for there")?;
    let address = listen.resolve().with_context(|| format!("admin.listen: {listen}"))?;
    let address = reached_at(address);
    let agent = outgoing::agent(None).proxy(None).http_status_as_error(false);
    let agent = agent.timeout_global(Some(PATIENCE)).build().new_agent();
    let response = agent.get(format!("http://{address}/health/ready")).call();
    let said = response.and_then(|mut response| {
        let is_ready = response.status().is_success();
        response.body_mut().read_to_string().map(|said| (is_ready, said))
    });
    Ok(match said {
        Ok((is_ready, said)) => {
            out!("{}", said.trim_end());
            if is_ready { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            err!("visavis: {address} does not respond: {error}");
            ExitCode::FAILURE
        }
    })
}
