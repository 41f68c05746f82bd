//! `visavis erase`: transactions go before their time.

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use aws_lc_rs::digest::{SHA256, digest};

use super::{DataArgs, audit::operator, block_on};
use crate::{
    app,
    compare::{BizId, TransactionId},
    config::Config,
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
    /// The transactions that clients have given this bizId
    #[arg(long, value_name = "ID", group = "which")]
    biz_id: Option<String>,
    /// The transactions of this client, by name or Client-Id
    #[arg(long, value_name = "NAME", group = "which")]
    client: Option<String>,
    /// Do it; without this it is only told how many transactions are meant
    #[arg(long)]
    yes: bool,
}

pub(super) fn run(mut config: Config, args: &EraseArgs) -> Result<ExitCode> {
    args.data.apply(&mut config);
    block_on(async {
        let data = app::look_at_data(&config).await?;
        let which = which(args, &data).await?;
        let mut count = 0;
        for database in &data.databases {
            count += if args.yes {
                database.store.erase(&which).await?
            } else {
                database.store.would_erase(&which).await?
            };
        }
        if args.yes {
            let clients = data.clients.clone().acting(&operator());
            let detail = serde_json::json!({ "transactions": count });
            clients.note("erase", &subject(&which), &detail).await?;
        }
        data.close().await;
        if args.yes {
            println!("{count} transactions are erased, with their pictures and outcomes");
        } else {
            println!("{count} transactions would be erased; say --yes to do it");
        }
        Ok(ExitCode::SUCCESS)
    })
}

async fn which(args: &EraseArgs, data: &app::Data) -> Result<Erasure> {
    let transaction_id = args.transaction.as_deref().map(|id| {
        TransactionId::parse(id).with_context(|| format!("{id} is no id of a transaction"))
    });
    let biz_id = args.biz_id.as_deref().map(|id| {
        BizId::new(id).with_context(|| format!("a bizId has 1 to {} bytes", BizId::MAX_BYTES))
    });
    let client_id = match &args.client {
        Some(name) => Some(data.clients.resolve(name).await?.1),
        None => None,
    };
    Ok(Erasure {
        transaction_id: transaction_id.transpose()?,
        biz_id: biz_id.transpose()?,
        client_id,
    })
}

/// What was erased, for the log of acts: a bizId may be somebody's name, so only its digest is kept.
fn subject(which: &Erasure) -> String {
    let Erasure { transaction_id, biz_id, client_id } = which;
    let digested = biz_id.as_ref().map(|id| {
        let digest = digest(&SHA256, id.as_str().as_bytes());
        let start = digest.as_ref().first_chunk().map(|bytes| u64::from_be_bytes(*bytes));
        format!("bizId sha256:{:016x}", start.unwrap_or_default())
    });
    let transaction = transaction_id.as_ref().map(|id| format!("transaction {id}"));
    let client = client_id.as_ref().map(|id| format!("client {id}"));
    transaction.into_iter().chain(digested).chain(client).collect::<Vec<_>>().join(", ")
}
