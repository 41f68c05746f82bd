//! `visavis client`: registers and manages the clients of the API.

mod args;
mod format;
mod show;

use std::{
    fs,
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result, bail};
use visavis_signing::{ClientKey, Credentials, bare_base64, format_time};

pub(super) use self::args::ClientCommand;
use self::args::{AddArgs, DeleteArgs, ExportArgs, KeyArgs, ListArgs, RotateArgs, SetArgs};
use super::{
    audit::operator,
    block_on,
    credentials::{NewFile, not_created},
    erase, table,
};
use crate::{
    app,
    clients::{
        CONSOLE, ClientChange, ClientError, ClientInfo, ClientPolicy, Clients, FmrChange, MadeKeys,
        NewClient, check_name, iso_time, new_client_id, printable,
    },
    clock::Clock,
    compare::ClientFmr,
    config::Config,
    db::Access,
    queue::Erasure,
};

pub(super) fn run(mut config: Config, command: &ClientCommand) -> Result<ExitCode> {
    let data = match command {
        ClientCommand::Add(args) => &args.data,
        ClientCommand::Rotate(args) => &args.data,
        ClientCommand::Set(args) => &args.data,
        ClientCommand::Export(args) => &args.data,
        ClientCommand::List(args) => &args.data,
        ClientCommand::Show(args) => &args.data,
        ClientCommand::Delete(args) => &args.data,
        ClientCommand::Disable(args) | ClientCommand::Enable(args) => &args.data,
    };
    data.apply(&mut config);
    block_on(async {
        let access = match command {
            ClientCommand::List(_) | ClientCommand::Export(_) | ClientCommand::Show(_) => {
                Access::Read
            }
            ClientCommand::Delete(args) if !args.yes => Access::Read,
            ClientCommand::Add(_) => Access::Create,
            _ => Access::Change,
        };
        let data = app::open_data_for(&config, access).await?;
        data.clients.check_master_key_for(access).await?;
        let clients = &data.clients.clone().with_actor(&operator());
        match command {
            ClientCommand::Add(args) => add(clients, args).await?,
            ClientCommand::Rotate(args) => rotate(clients, args).await?,
            ClientCommand::Set(args) => set(clients, args).await?,
            ClientCommand::Export(args) => export(clients, args).await?,
            ClientCommand::List(args) => {
                list(clients.list().await?, config.database.count() > 1, args)?;
            }
            ClientCommand::Disable(args) => {
                let (store, client_id) = clients.resolve(&args.name).await?;
                store.set_disabled(&client_id, true).await?;
                out!("client {} disabled", args.name);
            }
            ClientCommand::Enable(args) => {
                let (store, client_id) = clients.resolve(&args.name).await?;
                store.set_disabled(&client_id, false).await?;
                out!("client {} enabled", args.name);
            }
            ClientCommand::Show(args) => show::show(clients, &config, args).await?,
            ClientCommand::Delete(args) => delete(&data, clients, args).await?,
        }
        data.close().await;
        Ok(ExitCode::SUCCESS)
    })
}

async fn add(clients: &Clients, args: &AddArgs) -> Result<()> {
    check_name(&args.name)?;
    if args.name == CONSOLE {
        bail!("the name {CONSOLE} is reserved for the operator console: choose another name");
    }
    let policy = args.policy.change().applied_to(ClientPolicy::default());
    if policy.is_contradictory() {
        return Err(ClientError::Contradiction.into());
    }
    let keys = args.keys.make(clients).await?;
    let credentials = keys.credentials(new_client_id()?, 1)?;
    let new = NewClient {
        client_id: &credentials.client_id,
        name: &args.name,
        keys: keys.to_store(),
        extras: !args.no_extras,
        fmr: ClientFmr { fmr: args.fmr, document_fmr: args.document_fmr },
        policy,
    };
    let target = args.keys.target(&args.name, &credentials.client_id, 1)?;
    clients.add(&new, args.shard).await?;
    args.keys.hand_out(&format!("{} is registered", args.name), credentials, target)
}

async fn set(clients: &Clients, args: &SetArgs) -> Result<()> {
    let (store, client_id) = clients.resolve(&args.name).await?;
    let SetArgs { name, extras, fmr, document_fmr, policy, .. } = args;
    let policy = policy.change();
    let change = ClientChange { extras: *extras, fmr: *fmr, document_fmr: *document_fmr, policy };
    store.change(&client_id, &change).await?;
    if let Some(extras) = extras {
        let fields = if *extras { "all fields" } else { "only the documented fields" };
        out!("{name} updated. Responses: {fields}. Applies from the next request.");
    }
    for (change, subject, default) in [
        (fmr, "False match rate", "default (compare.fmr)"),
        (
            document_fmr,
            "False match rate for documents",
            "default (the client's --fmr, if it is set)",
        ),
    ] {
        let value = match change {
            Some(FmrChange::Own(fmr)) => {
                format!("{fmr}, threshold {}", fmr.least_match().value())
            }
            Some(FmrChange::Default) => default.to_owned(),
            None => continue,
        };
        out!("{name} updated. {subject}: {value}. Applies from the next request.");
    }
    if !policy.is_empty() {
        let client = store.get(&client_id).await?;
        out!(
            "{name} updated. {} Applies from the next request.",
            client.map(|c| c.policy).unwrap_or_default()
        );
    }
    Ok(())
}

async fn export(clients: &Clients, args: &ExportArgs) -> Result<()> {
    let (store, client_id) = clients.resolve(&args.name).await?;
    let client = store.get(&client_id).await?;
    let newest = client.as_ref().and_then(|client| client.keys.first());
    let newest =
        newest.context("the client has no keys: issue them with `visavis client rotate`")?;
    let public = PublicHalf {
        client_id,
        key_version: newest.version,
        merchant_public_key: args.format.public(&bare_base64(newest.merchant_key.spki_der())),
        server_public_key: args.format.public(&bare_base64(&newest.server_key.spki_der()?)),
        access_key: &newest.access_key,
    };
    let text = serde_json::to_string_pretty(&public)?;
    let Some(path) = &args.out else {
        out!("{text}");
        return Ok(());
    };
    let file = fs::OpenOptions::new().write(true).create_new(true).open(path);
    let mut file = file.map_err(|error| not_created(path, error))?;
    file.write_all(text.as_bytes())?;
    err!(
        "wrote {}'s ids and public keys to {} (private key and secret key are not included)",
        args.name,
        path.display()
    );
    Ok(())
}

/// The credentials of a client without its secrets.
#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct PublicHalf<'a> {
    client_id: String,
    key_version: u32,
    merchant_public_key: String,
    server_public_key: String,
    access_key: &'a str,
}

async fn rotate(clients: &Clients, args: &RotateArgs) -> Result<()> {
    let (store, client_id) = clients.resolve(&args.name).await?;
    let keys = args.keys.make(clients).await?;
    let overlap = i64::try_from(args.overlap.as_millis())?;
    let until = Clock::System.now_utc() + args.overlap;
    let listed = clients.list().await?.into_iter();
    let newest = listed.map(|(_, client)| client).find(|client| client.client_id == client_id);
    let next = newest.map_or(1, |client| client.key_version.saturating_add(1));
    let target = args.keys.target(&args.name, &client_id, next)?;
    let version = store.rotate(&client_id, &keys.to_store(), overlap).await?;
    let credentials = keys.credentials(client_id, version)?;
    let old = if args.overlap.is_zero() {
        "the old keys are revoked".to_owned()
    } else {
        format!("the old keys remain valid until {}", format_time(until))
    };
    let news = format!("{} has new keys (version {version}); {old}", args.name);
    args.keys.hand_out(&news, credentials, target)
}

impl KeyArgs {
    async fn make(&self, clients: &Clients) -> Result<MadeKeys> {
        let given = self.public_key.as_deref().map(given_key).transpose()?;
        if let Some(key) = &given {
            clients.check_key(key).await?;
        }
        Ok(MadeKeys::make(given)?)
    }

    /// Where the keys go. A file is created before they are stored: they cannot be had again.
    fn target(&self, name: &str, client_id: &str, version: u32) -> Result<Target> {
        match &self.out {
            _ if self.print => Ok(Target::Text),
            _ if self.json => Ok(Target::Json),
            Some(path) if path.as_os_str() == "-" => Ok(Target::Json),
            Some(path) => NewFile::create(path).map(Target::File),
            None => NewFile::create(&default_file(name, client_id, version)).map(Target::File),
        }
    }

    fn hand_out(&self, news: &str, credentials: Credentials, target: Target) -> Result<()> {
        let credentials = self.format.applied_to(credentials);
        match target {
            Target::File(file) => {
                let path = file.fill(&credentials)?;
                err!("{news}; wrote the keys to {}, readable only by you", path.display());
            }
            Target::Json => out!("{}", serde_json::to_string(&credentials)?),
            Target::Text => print_credentials(news, &credentials),
        }
        Ok(())
    }
}

/// Where new keys go.
enum Target {
    File(NewFile),
    /// To standard output, as JSON.
    Json,
    /// To standard output, for people.
    Text,
}

/// The file in the current folder for a client's keys. A name that is unusual for a file is
/// replaced by the Client-Id.
fn default_file(name: &str, client_id: &str, version: u32) -> PathBuf {
    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
    let is_usual = name.chars().all(is_plain) && !name.starts_with(['.', '-']);
    let stem = if is_usual { name } else { client_id };
    match version {
        1 => format!("{stem}.json"),
        version => format!("{stem}-v{version}.json"),
    }
    .into()
}

fn given_key(path: &Path) -> Result<ClientKey> {
    let mut text = String::new();
    if path.as_os_str() == "-" {
        std::io::stdin().read_to_string(&mut text)?;
    } else {
        text = fs::read_to_string(path).with_context(|| {
            format!("cannot read {}: expected a public key as PEM or base64", path.display())
        })?;
    }
    ClientKey::from_text(&text)
        .with_context(|| format!("{} has no usable public key", path.display()))
}

fn print_credentials(news: &str, c: &Credentials) {
    out!("{news}. The client needs:\n");
    out!("  Client-Id             {}", c.client_id);
    match &c.merchant_private_key {
        Some(key) => out!("  merchant private key  {}", on_own_lines(key)),
        None => out!("  merchant private key  (not stored: the client has its own)"),
    }
    out!("  server public key     {}", on_own_lines(&c.server_public_key));
    out!("\n  or, for AK/SK mode:\n");
    out!("  access key            {}", c.access_key);
    out!("  secret key            {}\n", c.secret_key);
    out!(
        "The private key and the secret key are shown only once. Store them now; they cannot be \
         recovered."
    );
}

/// PEM begins on a line of its own, so that it can be copied.
fn on_own_lines(key: &str) -> String {
    if key.contains('\n') { format!("\n{}", key.trim_end()) } else { key.to_owned() }
}

/// Deletes a client. Its transactions are deleted before it, after it was disabled, so that no
/// further one is accepted meanwhile.
async fn delete(data: &app::Data, clients: &Clients, args: &DeleteArgs) -> Result<()> {
    let (store, client_id) = clients.resolve(&args.name).await?;
    let which = Erasure::new(None, None, Some(client_id.clone()));
    let which = which.context("a client is selected")?;
    let count = erase::count(data, &which).await?;
    let noun = if count == 1 { "transaction" } else { "transactions" };
    if !args.yes {
        out!(
            "client {} ({client_id}) would be deleted, and it has {count} {noun}: re-run with {} \
             to delete",
            args.name,
            if count == 0 { "--yes" } else { "--with-transactions --yes" }
        );
        return Ok(());
    }
    if count > 0 && args.with_transactions {
        store.set_disabled(&client_id, true).await?;
        erase::erase(data, &which).await?;
    }
    store.delete(&client_id).await?;
    out!("client {} ({client_id}) deleted, with {count} {noun}", args.name);
    Ok(())
}

fn list(clients: Vec<(u32, ClientInfo)>, sharded: bool, args: &ListArgs) -> Result<()> {
    let text = args.search.as_deref().unwrap_or_default().to_lowercase();
    let matches = |client: &ClientInfo| {
        client.name.to_lowercase().contains(&text) || client.client_id.contains(&text)
    };
    let clients: Vec<_> = clients.into_iter().filter(|(_, client)| matches(client)).collect();
    if args.json {
        let listed: Vec<_> =
            clients.iter().map(|(shard, client)| ClientJson { shard: *shard, client }).collect();
        out!("{}", serde_json::to_string_pretty(&listed)?);
        return Ok(());
    }
    let head = [
        "CLIENT-ID",
        "NAME",
        "STATE",
        "CREATED",
        "LAST USED",
        "KEYS",
        "FIELDS",
        "FMR",
        "DOC-FMR",
        if sharded { "DATABASE" } else { "" },
    ];
    let mut rows = vec![head.map(str::to_owned)];
    for (shard, client) in &clients {
        let [all, documents] = [client.fmr.fmr, client.fmr.document_fmr]
            .map(|own| own.map_or_else(|| "-".to_owned(), |fmr| fmr.to_string()));
        rows.push([
            client.client_id.clone(),
            printable(&client.name),
            if client.disabled_at.is_some() { "disabled" } else { "active" }.to_owned(),
            iso_time(client.created_at),
            client.last_used_at.map_or_else(|| "-".to_owned(), iso_time),
            format!("v{}", client.key_version),
            if client.extras { "all" } else { "strict" }.to_owned(),
            all,
            documents,
            if sharded { shard.to_string() } else { String::new() },
        ]);
    }
    table::print(&rows);
    Ok(())
}

/// A client and its database, as JSON.
#[derive(serde::Serialize)]
struct ClientJson<'a> {
    #[serde(flatten)]
    client: &'a ClientInfo,
    shard: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_go_into_a_file_of_the_current_folder_whatever_the_client_is_called() {
        for (name, version, file) in [
            ("shop", 1, "shop.json"),
            ("shop", 12, "shop-v12.json"),
            ("läden.2", 1, "läden.2.json"),
            ("../shop", 1, "2188.json"),
            ("/etc/shop", 2, "2188-v2.json"),
            (".ssh", 1, "2188.json"),
            ("-rf", 1, "2188.json"),
            ("a shop", 1, "2188.json"),
        ] {
            assert_eq!(default_file(name, "2188", version), PathBuf::from(file), "{name}");
        }
    }
}
