//! `visavis key`: rotates the master key.

use std::process::ExitCode;

use anyhow::{Context as _, Result};

use super::{DataArgs, audit::operator, block_on};
use crate::{app, config::Config, db::Access, sealing};

/// Subcommands of `key`, in the order in which they are run.
#[derive(Debug, clap::Subcommand)]
pub(super) enum KeyCommand {
    /// 1. Create the new key next to the active one. Then copy it to every machine
    Prepare(DataArgs),
    /// 2. Activate the new key and re-encrypt stored values. Then copy both files to every machine
    Rotate(DataArgs),
    /// 3. Delete the old key, if no stored value needs it
    Retire(DataArgs),
}

pub(super) fn run(mut config: Config, command: &KeyCommand) -> Result<ExitCode> {
    let (KeyCommand::Prepare(data) | KeyCommand::Rotate(data) | KeyCommand::Retire(data)) = command;
    data.apply(&mut config);
    let path = config.data.key_path();
    match command {
        KeyCommand::Prepare(_) => {
            record(&config, "key prepare")?;
            let next = sealing::prepare(&path)?;
            out!("created {}; running processes accept it within 5 s", next.display());
            out!(
                "Copy it to the same path on every other machine, store a backup elsewhere, then \
                 run"
            );
            out!("  visavis key rotate");
            Ok(ExitCode::SUCCESS)
        }
        KeyCommand::Rotate(_) => {
            record(&config, "key rotate")?;
            sealing::promote(&path)?;
            let sealed = reseal(&config, false)?;
            out!("{} is now the active key; {sealed} values were re-encrypted", path.display());
            out!(
                "On every other machine: copy {0}.old first, then {0}, then delete the .next file \
                 there. Wait for 5 seconds, then run",
                path.display()
            );
            out!("  visavis key retire");
            Ok(ExitCode::SUCCESS)
        }
        KeyCommand::Retire(_) => {
            reseal(&config, true).context(
                "some values are still encrypted with the old key, by a process that did not have \
                 the new one: run `visavis key rotate` again",
            )?;
            record(&config, "key retire")?;
            sealing::retire(&path)?;
            out!(
                "the old key is deleted on this machine: delete {}.old on the other machines too",
                path.display()
            );
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Re-encrypts all values, or only checks that this has been done; returns the number of values.
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

/// Records the event in the audit log, before it is done.
fn record(config: &Config, event: &'static str) -> Result<()> {
    block_on(async {
        let data = app::open_data_for(config, Access::Change).await?;
        let clients = data.clients.clone().with_actor(&operator());
        clients.record_audit_event(event, "master key", &serde_json::json!({})).await?;
        data.close().await;
        Ok(())
    })
}
