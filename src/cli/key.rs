//! `visavis key`: rotates the master key.

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};

use super::{DataArgs, audit::operator, block_on};
use crate::{
    accounts::AccountStore,
    app,
    clients::{ActOutcome, ClientError},
    config::Config,
    db::Access,
    queue::QueueError,
    sealing::{self, SealError},
    secret::SecretSource,
};

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
    let source = config.data.key_source();
    if !matches!(source, SecretSource::File(_)) {
        bail!(
            "the master key comes from {source}, which Visavis cannot change: rotate it as \
             docs/OPERATIONS.md describes for a key that is not in a file"
        );
    }
    let path = config.data.key_path();
    match command {
        KeyCommand::Prepare(_) => {
            let next = recorded(&config, "key prepare", || Ok(sealing::prepare(&path)?))?;
            out!("created {}; running processes accept it within 5 s", next.display());
            out!(
                "Copy it to the same path on every other machine, store a backup elsewhere, then \
                 run"
            );
            out!("  visavis key rotate");
        }
        KeyCommand::Rotate(_) => {
            let sealed = recorded(&config, "key rotate", || {
                sealing::promote(&path)?;
                reseal(&config, false)
            })?;
            out!("{} is now the active key; {sealed} values were re-encrypted", path.display());
            out!(
                "On every other machine: copy {0}.old first, then {0}, then delete the .next file \
                 there. Wait for 5 seconds, then run",
                path.display()
            );
            out!("  visavis key retire");
        }
        KeyCommand::Retire(_) => {
            recorded(&config, "key retire", || {
                reseal(&config, true).context(
                    "some values are still encrypted with the old key, by a process that did not \
                     have the new one: run `visavis key rotate` again",
                )?;
                Ok(sealing::retire(&path)?)
            })?;
            out!(
                "the old key is deleted on this machine: delete {}.old on the other machines too",
                path.display()
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Re-encrypts all values, or only checks that this has been done; returns the number of values.
fn reseal(config: &Config, dry: bool) -> Result<u64> {
    block_on(async {
        let data = app::open_data_for(config, Access::Change).await?;
        let mut count = 0;
        for table in data.clients.tables() {
            count += table.store.reseal(dry).await?;
            // Only the first database has accounts; in others there is nothing to do.
            count += AccountStore::new(table.store.clone()).reseal(dry).await?;
        }
        for database in &data.databases {
            count += database.store.reseal(dry).await?;
        }
        data.close().await;
        Ok(count)
    })
}

/// Does a step, with an entry in the audit before it and one with its outcome after it.
fn recorded<T>(config: &Config, act: &'static str, step: impl FnOnce() -> Result<T>) -> Result<T> {
    record(config, act, ActOutcome::Begun)?;
    let done = step();
    let recorded = record(config, act, done.as_ref().map_or_else(outcome, |_| ActOutcome::Done));
    let done = done?;
    recorded.map(|()| done)
}

/// A step is refused when the files are not ready for it, or a value still needs the old key.
fn outcome(error: &anyhow::Error) -> ActOutcome {
    let seal = error
        .downcast_ref::<SealError>()
        .or_else(|| match error.downcast_ref::<ClientError>() {
            Some(ClientError::Seal(error)) => Some(error),
            _ => None,
        })
        .or_else(|| match error.downcast_ref::<QueueError>() {
            Some(QueueError::Seal(error)) => Some(error),
            _ => None,
        });
    match seal {
        Some(SealError::Step { .. } | SealError::DoesNotOpen) => ActOutcome::Refused,
        _ => ActOutcome::Failed,
    }
}

/// Opens the data again: a step changes the key.
fn record(config: &Config, act: &'static str, outcome: ActOutcome) -> Result<()> {
    block_on(async {
        let data = app::open_data_for(config, Access::Change).await?;
        let clients = data.clients.clone().with_actor(&operator());
        clients.record_audit_event(act, "master key", outcome, &serde_json::json!({})).await?;
        data.close().await;
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_that_is_not_allowed_now_is_refused_and_every_other_error_is_a_failure() {
        let (path, reason) = (std::path::PathBuf::new(), String::new());
        let step = SealError::Step { path: path.clone(), reason: reason.clone() };
        for refused in [
            step.into(),
            anyhow::Error::from(ClientError::Seal(SealError::DoesNotOpen)).context("not yet"),
            QueueError::Seal(SealError::DoesNotOpen).into(),
        ] {
            assert_eq!(outcome(&refused), ActOutcome::Refused, "{refused}");
        }
        for failed in [
            SealError::KeyFile { path, reason }.into(),
            ClientError::Database(sqlx::Error::PoolTimedOut).into(),
            anyhow::Error::msg("no runtime"),
        ] {
            assert_eq!(outcome(&failed), ActOutcome::Failed, "{failed}");
        }
    }
}
