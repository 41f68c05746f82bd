//! `visavis erase`: deletes transactions before their retention period ends.

use std::process::ExitCode;

use anyhow::{Context as _, Result};

use super::{DataArgs, audit::operator, block_on};
use crate::{
    app::{self, Database},
    clients::ActOutcome,
    compare::{BizId, TransactionId},
    config::Config,
    db::Access,
    queue::Erasure,
};

/// Arguments of `erase`.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("which").required(true).multiple(true))]
pub(super) struct EraseArgs {
    #[command(flatten)]
    data: DataArgs,
    /// The transaction with this id
    #[arg(long, value_name = "ID", group = "which")]
    transaction: Option<String>,
    /// The transactions with this bizId
    #[arg(long, value_name = "ID", group = "which")]
    biz_id: Option<String>,
    /// The transactions of this client, by name or Client-Id
    #[arg(long, value_name = "NAME", group = "which")]
    client: Option<String>,
    /// Erase; without this, only report how many transactions match
    #[arg(long)]
    yes: bool,
}

pub(super) fn run(mut config: Config, args: &EraseArgs) -> Result<ExitCode> {
    args.data.apply(&mut config);
    block_on(async {
        let access = if args.yes { Access::Change } else { Access::Read };
        let data = app::open_data_for(&config, access).await?;
        let which = which(args, &data).await?;
        let (count, clean) = if args.yes {
            erase(&data, &which).await?
        } else {
            (count(&data, &which).await?, true)
        };
        data.close().await;
        let noun = if count == 1 { "transaction" } else { "transactions" };
        if args.yes {
            out!("{count} {noun} erased, with photos and outcomes");
            if !clean && config.database.is_shared() {
                out!(
                    "Postgres still has copies, because a transaction of another session may read \
                     them: after it ends, run VACUUM job, job_payload"
                );
            } else if !clean {
                out!(
                    "the WAL still has copies, because another process reads the database; they \
                     are removed at the next checkpoint"
                );
            }
        } else {
            out!("{count} {noun} would be erased: re-run with --yes to erase");
        }
        Ok(ExitCode::SUCCESS)
    })
}

async fn which(args: &EraseArgs, data: &app::Data) -> Result<Erasure> {
    let transaction_id = args
        .transaction
        .as_deref()
        .map(|id| TransactionId::parse(id).with_context(|| format!("invalid transaction id {id}")));
    let biz_id = args.biz_id.as_deref().map(|id| {
        BizId::new(id).with_context(|| format!("a bizId has 1 to {} bytes", BizId::MAX_BYTES))
    });
    let client_id = match &args.client {
        Some(name) => Some(data.clients.resolve(name).await?.1),
        None => None,
    };
    let which = Erasure::new(transaction_id.transpose()?, biz_id.transpose()?, client_id);
    which.context("nothing selected: pass --transaction, --biz-id or --client")
}

/// Erases transactions in all databases, with entries in the audit. Returns how many there were,
/// and whether no copy of them is left.
pub(super) async fn erase(data: &app::Data, which: &Erasure) -> Result<(u64, bool)> {
    let found = find(data, which).await?;
    record(data, &found, &which.subject(), ActOutcome::Begun).await?;
    let erased = erase_found(&found, which).await;
    let outcome = if erased.is_ok() { ActOutcome::Done } else { ActOutcome::Failed };
    let recorded = record(data, &found, &which.subject(), outcome).await;
    let erased = erased?;
    recorded.map(|()| erased)
}

/// How many transactions would be erased.
pub(super) async fn count(data: &app::Data, which: &Erasure) -> Result<u64> {
    Ok(find(data, which).await?.iter().map(|(_, count)| count).sum())
}

/// How many there are in each database.
async fn find<'a>(data: &'a app::Data, which: &Erasure) -> Result<Vec<(&'a Database, u64)>> {
    let mut found = Vec::new();
    for database in &data.databases {
        found.push((database, database.store.would_erase(which).await?));
    }
    Ok(found)
}

async fn erase_found(found: &[(&Database, u64)], which: &Erasure) -> Result<(u64, bool)> {
    let (mut count, mut clean) = (0, true);
    for (database, _) in found {
        let (erased, wholly) = database.store.erase(which).await?;
        (count, clean) = (count + erased, clean && wholly);
    }
    Ok((count, clean))
}

/// Records the erasure in each database that has such transactions, or in the first one. It is
/// recorded before it is done, so that an interrupted erasure has an entry too.
async fn record(
    data: &app::Data,
    found: &[(&Database, u64)],
    subject: &str,
    outcome: ActOutcome,
) -> Result<()> {
    let clients = data.clients.clone().with_actor(&operator());
    let nothing = found.iter().all(|(_, count)| *count == 0);
    for (index, (database, count)) in found.iter().enumerate() {
        if *count > 0 || (nothing && index == 0) {
            let table = clients.table(database.number).context("every database has clients")?;
            let detail = serde_json::json!({ "transactions": count });
            table.store.record_audit_event("erase", subject, outcome, &detail).await?;
        }
    }
    Ok(())
}
