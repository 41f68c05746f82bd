//! `visavis key`: the master key is changed for another.

use std::process::ExitCode;

use anyhow::{Context as _, Result};

use super::{DataArgs, audit::operator, block_on};
use crate::{app, config::Config, db::Access, sealing};

/// Subcommands of `key`, in the order in which they are run.
#[derive(Debug, clap::Subcommand)]
pub(super) enum KeyCommand {
    /// 1. Make the key that is to come, beside the present one. Copy it to every machine then
    Prepare(DataArgs),
    /// 2. Seal with it from now on, and seal all that is stored anew. Copy both files to every machine then
    Rotate(DataArgs),
    /// 3. Delete the old key, if nothing is left that needs it
    Retire(DataArgs),
}

pub(super) fn run(mut config: Config, command: &KeyCommand) -> Result<ExitCode> {
    let (KeyCommand::Prepare(data) | KeyCommand::Rotate(data) | KeyCommand::Retire(data)) = command;
    data.apply(&mut config);
    let path = config.data.key_path();
    match command {
        KeyCommand::Prepare(_) => {
            keep(&config, "key prepare")?;
            let next = sealing::prepare(&path)?;
            out!("{} is made; every process opens with it within some seconds", next.display());
            out!(
                "Copy it to the same place on every other machine, keep a copy elsewhere, then run"
            );
            out!("  visavis key rotate");
            Ok(ExitCode::SUCCESS)
        }
        KeyCommand::Rotate(_) => {
            keep(&config, "key rotate")?;
            sealing::promote(&path)?;
            let sealed = reseal(&config, false)?;
            out!("{} is the new key, and {sealed} sealed values are under it", path.display());
            out!(
                "On every other machine: copy {0}.old first, then {0}, then remove the .next there; wait for some seconds, \
                 then run",
                path.display()
            );
            out!("  visavis key retire");
            Ok(ExitCode::SUCCESS)
        }
        KeyCommand::Retire(_) => {
            reseal(&config, true).context(
                "something is still sealed under the old key, by a process that did not have the new one; run \
                 `visavis key rotate` again",
            )?;
            keep(&config, "key retire")?;
            sealing::retire(&path)?;
            out!(
                "the old key is deleted here; delete {}.old on the other machines too",
                path.display()
            );
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Seals everything anew, or only looks whether that has been done; how many values there were.
fn reseal(config: &Config, dry: bool) -> Result<u64> {
    block_on(async {
        let data = app::open_data_for(config, Access::Change).await?;
        let mut count = 0;
        for table in data.clients.tables() {
            count += table.store.reseal(dry).await?;
        }
        for database in &data.databases {
            count += database.store.reseal(dry).await?;
        }
        data.close().await;
        Ok(count)
    })
}

/// Keeps the act before it is done.
fn keep(config: &Config, act: &'static str) -> Result<()> {
    block_on(async {
        let data = app::open_data_for(config, Access::Change).await?;
        let clients = data.clients.clone().with_actor(&operator());
        clients.record_audit_event(act, "master key", &serde_json::json!({})).await?;
        data.close().await;
        Ok(())
    })
}
