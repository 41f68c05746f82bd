//! `visavis audit`: what operators did, and who acts in this process.

use std::process::ExitCode;

use anyhow::Result;

use super::{DataArgs, block_on};
use crate::{app, clients::Actor, config::Config, signing::format_time};

/// Arguments of `audit`.
#[derive(Debug, clap::Args)]
pub(super) struct AuditArgs {
    #[command(flatten)]
    data: DataArgs,
    /// How many acts at most
    #[arg(long, value_name = "N", default_value_t = 100)]
    last: u32,
    /// Print one JSON array
    #[arg(long)]
    json: bool,
}

pub(super) fn run(mut config: Config, args: &AuditArgs) -> Result<ExitCode> {
    args.data.apply(&mut config);
    block_on(async {
        let data = app::look_at_data(&config).await?;
        let acts = data.clients.audit(args.last).await?;
        data.close().await;
        if args.json {
            println!("{}", serde_json::to_string_pretty(&acts)?);
            return Ok(ExitCode::SUCCESS);
        }
        println!("{:<20} {:<16} {:<16} {:<20} DETAIL", "WHEN", "WHO", "WHAT", "WHOM");
        for act in acts {
            let when = time::OffsetDateTime::from_unix_timestamp(act.at / 1_000)?;
            let when = &format_time(when)[..19];
            println!(
                "{when:<20} {:<16} {:<16} {:<20} {}",
                act.actor, act.act, act.subject, act.detail
            );
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// The user of the system behind this process, as the log of acts has it: before `sudo`, if that is known.
pub(super) fn operator() -> Actor {
    let named = ["SUDO_USER", "USER", "LOGNAME"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok().filter(|user| !user.is_empty()));
    Actor::new(&named.unwrap_or_else(|| "unknown".to_owned()))
}
