//! `visavis audit`: lists what operators did; also identifies the operator of this process.

use std::{os::unix::fs::MetadataExt as _, process::ExitCode};

use anyhow::Result;
use visavis_signing::format_time;

use super::{DataArgs, block_on};
use crate::{
    app,
    clients::{Actor, AuditEnd, printable},
    config::Config,
    db::Access,
};

/// Arguments of `audit`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct AuditArgs {
    #[command(subcommand)]
    command: Option<AuditCommand>,
    #[command(flatten)]
    data: DataArgs,
    /// Maximum number of entries
    #[arg(long, value_name = "N", default_value_t = 100)]
    last: u32,
    /// Print one JSON array
    #[arg(long)]
    json: bool,
}

/// Subcommands of `audit`.
#[derive(Debug, clap::Subcommand)]
enum AuditCommand {
    /// Check that no entry was changed, added or removed
    Verify(DataArgs),
}

pub(super) fn run(mut config: Config, args: &AuditArgs) -> Result<ExitCode> {
    if let Some(AuditCommand::Verify(data)) = &args.command {
        data.apply(&mut config);
        return verify(&config);
    }
    args.data.apply(&mut config);
    block_on(async {
        let data = app::open_data_for(&config, Access::Read).await?;
        let acts = data.clients.audit(args.last).await?;
        data.close().await;
        if args.json {
            out!("{}", serde_json::to_string_pretty(&acts)?);
            return Ok(ExitCode::SUCCESS);
        }
        let who = acts.iter().map(|act| act.actor.chars().count()).max().unwrap_or(0).max(16);
        let whom = acts.iter().map(|act| act.subject.chars().count()).max().unwrap_or(0).max(20);
        out!("{:<20} {:<who$} {:<16} {:<whom$} DETAIL", "WHEN", "WHO", "WHAT", "WHOM");
        for act in acts {
            let when = time::OffsetDateTime::from_unix_timestamp(act.at / 1_000)?;
            let when = &format_time(when)[..19];
            out!(
                "{when:<20} {:<who$} {:<16} {:<whom$} {}",
                printable(&act.actor),
                act.act,
                printable(&act.subject),
                printable(&act.detail)
            );
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn verify(config: &Config) -> Result<ExitCode> {
    block_on(async {
        let data = app::open_data_for(config, Access::Read).await?;
        data.clients.try_master_key().await?;
        let mut code = ExitCode::SUCCESS;
        for table in data.clients.tables() {
            let shard = table.shard;
            match table.store.verify_audit().await? {
                Ok(AuditEnd { number, digest }) => {
                    out!(
                        "database {shard}: ok, {number} entries, the last one has digest {digest}"
                    );
                }
                Err(broken) => {
                    out!("database {shard}: FAIL: {broken}");
                    code = ExitCode::FAILURE;
                }
            }
        }
        data.close().await;
        if code == ExitCode::SUCCESS {
            out!(
                "Compare the last entry with the log (\"audit entry\"): a difference shows that \
                 entries were removed at the end."
            );
        }
        Ok(code)
    })
}

/// The user who runs this process, for the audit log: the user id from the system, and the name
/// from the environment, if it is set. With `sudo` it is the user who called it.
pub(super) fn operator() -> Actor {
    let uid = std::fs::metadata("/proc/self").map_or(u32::MAX, |process| process.uid());
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    // Only root can act for another user.
    let caller = if uid == 0 { variable("SUDO_UID").zip(variable("SUDO_USER")) } else { None };
    let (uid, name) = match caller {
        Some((uid, name)) => (uid, Some(name)),
        None => (uid.to_string(), ["USER", "LOGNAME"].into_iter().find_map(variable)),
    };
    Actor::system(&name.map_or_else(|| format!("uid {uid}"), |name| format!("{name} (uid {uid})")))
}
