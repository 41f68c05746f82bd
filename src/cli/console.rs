//! `visavis console`: access to the operator console.

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};

use super::DataArgs;
use crate::{app, config::Config};

/// Subcommands of `console`.
#[derive(Debug, clap::Subcommand)]
pub(super) enum ConsoleCommand {
    /// Create a new token and print it once. The old token is revoked immediately
    Token(TokenArgs),
}

/// Arguments of `console token`.
#[derive(Debug, clap::Args)]
pub(super) struct TokenArgs {
    #[command(flatten)]
    data: DataArgs,
}

pub(super) fn run(mut config: Config, command: &ConsoleCommand) -> Result<ExitCode> {
    let ConsoleCommand::Token(args) = command;
    args.data.apply(&mut config);
    if !config.data.dir.is_dir() {
        let folder = config.data.dir.display();
        bail!("the data folder {folder} does not exist: pass the folder of the server with --data");
    }
    app::check_database_file(&config)?;
    let file = app::token_file(&config);
    let token = file.renew().with_context(|| format!("{}", file.path().display()))?;
    out!("{}", *token);
    Ok(ExitCode::SUCCESS)
}
