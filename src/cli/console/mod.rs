//! `visavis console`: access to the operator console.

mod accounts;
mod password;
mod user;

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};

use self::{accounts::with_accounts, user::UserCommand};
use super::DataArgs;
use crate::{app, clients::ActOutcome, config::Config, db::Access};

/// Subcommands of `console`.
#[derive(Debug, clap::Subcommand)]
pub(super) enum ConsoleCommand {
    /// Create a new token and print it once. The old token is revoked immediately
    ///
    /// Without an administrator the token opens the whole console. Otherwise it creates an
    /// administrator or resets one, once.
    Token(TokenArgs),
    /// Manage the people who use the console
    #[command(subcommand)]
    User(UserCommand),
}

/// Arguments of `console token`.
#[derive(Debug, clap::Args)]
pub(super) struct TokenArgs {
    #[command(flatten)]
    data: DataArgs,
}

pub(super) fn run(mut config: Config, command: &ConsoleCommand) -> Result<ExitCode> {
    let data = match command {
        ConsoleCommand::Token(args) => &args.data,
        ConsoleCommand::User(command) => command.data(),
    };
    data.apply(&mut config);
    match command {
        ConsoleCommand::Token(_) => token(&config),
        ConsoleCommand::User(command) => user::run(&config, command),
    }
}

fn token(config: &Config) -> Result<ExitCode> {
    if !config.data.dir.is_dir() {
        let folder = config.data.dir.display();
        bail!("the data folder {folder} does not exist: pass the folder of the server with --data");
    }
    let file = app::token_file(config);
    let token = with_accounts(config, Access::Change, async |accounts| {
        let recovers = config.has_external_administrators() || accounts.has_administrator().await?;
        accounts.record("console token", "token", ActOutcome::Done, &serde_json::json!({})).await?;
        file.renew(recovers).with_context(|| format!("{}", file.path().display()))
    })?;
    out!("{}", *token);
    Ok(ExitCode::SUCCESS)
}
