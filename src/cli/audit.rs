//! `visavis audit`: lists what operators did; also identifies the operator of this process.

use std::{os::unix::fs::MetadataExt as _, process::ExitCode};

use anyhow::Result;
use visavis_signing::parse_time;

use super::{DataArgs, block_on, table};
use crate::{
    app,
    clients::{Actor, AuditEnd, AuditFilter, Clients, ShownEntry, audit_csv, printable},
    clock::UnixMillis,
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
    /// Maximum number of entries, 1 to 100000
    #[arg(
        long,
        value_name = "N",
        default_value_t = 100,
        value_parser = clap::value_parser!(u32).range(1..=100_000)
    )]
    last: u32,
    /// Only entries about this client, by name or Client-Id
    #[arg(long, value_name = "NAME")]
    client: Option<String>,
    /// Only entries from this time on: 2026-01-31 (midnight UTC) or 2026-01-31T12:00:00+01:00
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<UnixMillis>,
    /// Only entries before this time
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<UnixMillis>,
    /// Only entries about this action, such as `client rotate`
    #[arg(long, value_name = "ACTION")]
    act: Option<String>,
    /// Only entries of users whose name begins with this
    #[arg(long, value_name = "NAME")]
    who: Option<String>,
    /// Print one JSON array
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// Print comma-separated values for a spreadsheet
    #[arg(long)]
    csv: bool,
}

/// Subcommands of `audit`.
#[derive(Debug, clap::Subcommand)]
enum AuditCommand {
    /// Check that no entry was changed, added or removed
    Verify(DataArgs),
}

/// A time with its zone, or a day in UTC.
fn moment(text: &str) -> Result<UnixMillis, String> {
    let time = parse_time(text).or_else(|| parse_time(&format!("{text}T00:00:00Z")));
    time.ok_or_else(|| {
        "expected a day such as 2026-01-31 or a time such as 2026-01-31T12:00:00+01:00".to_owned()
    })
}

pub(super) fn run(mut config: Config, args: &AuditArgs) -> Result<ExitCode> {
    if let Some(AuditCommand::Verify(data)) = &args.command {
        data.apply(&mut config);
        return verify(&config);
    }
    args.data.apply(&mut config);
    block_on(async {
        let data = app::open_data_for(&config, Access::Read).await?;
        let filter = args.filter(&data.clients).await?;
        let page = data.clients.audit(&filter, None, args.last).await?;
        let names = data.clients.names().await?;
        data.close().await;
        let shown: Vec<_> =
            page.entries.iter().map(|entry| ShownEntry::new(entry, &names)).collect();
        if args.json {
            out!("{}", serde_json::to_string_pretty(&shown)?);
        } else if args.csv {
            out_part!("{}", audit_csv(&shown));
        } else {
            print_table(&shown);
        }
        Ok(ExitCode::SUCCESS)
    })
}

impl AuditArgs {
    async fn filter(&self, clients: &Clients) -> Result<AuditFilter> {
        let client_id = match &self.client {
            None => None,
            Some(name) => Some(clients.audited_client_id(name).await?),
        };
        let (since, until) = (self.since, self.until);
        Ok(AuditFilter { client_id, since, until, act: self.act.clone(), who: self.who.clone() })
    }
}

fn print_table(shown: &[ShownEntry<'_>]) {
    let head = ["WHEN", "WHO", "FROM", "PROOF", "WHAT", "WHOM", "OUTCOME", "DETAIL"];
    let rows = shown.iter().map(|shown| {
        let entry = shown.entry;
        let or_none = |text: &Option<String>| text.as_deref().map_or_else(|| "-".into(), printable);
        let whom = match shown.client_name {
            Some(name) => format!("{} ({})", printable(&entry.subject), printable(name)),
            None => printable(&entry.subject),
        };
        [
            shown.time.clone(),
            printable(&entry.actor),
            or_none(&entry.from),
            or_none(&entry.proof),
            printable(&entry.act),
            whom,
            or_none(&entry.outcome),
            printable(&shown.detail_text()),
        ]
    });
    table::print(&std::iter::once(head.map(str::to_owned)).chain(rows).collect::<Vec<_>>());
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
