//! `visavis client`: registers and manages the clients of the API.

mod args;
mod format;

use std::{
    fs,
    io::{Read as _, Write as _},
    path::Path,
    process::ExitCode,
};

use anyhow::{Context as _, Result, bail};
use visavis_signing::{ClientKey, Credentials, bare_base64, format_time};

pub(super) use self::args::ClientCommand;
use self::args::{AddArgs, ExportArgs, KeyArgs, RotateArgs, SetArgs};
use super::{
    audit::operator,
    block_on,
    credentials::{NewFile, not_created},
};
use crate::{
    app,
    clients::{
        CONSOLE, ClientChange, ClientError, ClientInfo, ClientPolicy, Clients, FmrChange, MadeKeys,
        NewClient, check_name, new_client_id, printable,
    },
    clock::Clock,
    compare::ClientFmr,
    config::Config,
    db::Access,
};

pub(super) fn run(mut config: Config, command: &ClientCommand) -> Result<ExitCode> {
    let data = match command {
        ClientCommand::Add(args) => &args.data,
        ClientCommand::Rotate(args) => &args.data,
        ClientCommand::Set(args) => &args.data,
        ClientCommand::Export(args) => &args.data,
        ClientCommand::List(args) => &args.data,
        ClientCommand::Disable(args) | ClientCommand::Enable(args) => &args.data,
    };
    data.apply(&mut config);
    block_on(async {
        let access = match command {
            ClientCommand::List(_) | ClientCommand::Export(_) => Access::Read,
            ClientCommand::Add(_) => Access::Create,
            _ => Access::Change,
        };
        let data = app::open_data_for(&config, access).await?;
        if access == Access::Read {
            data.clients.try_master_key().await?;
        } else {
            // Adds the MACs that clients of an earlier version do not have.
            data.clients.check_master_key().await?;
        }
        let clients = &data.clients.clone().with_actor(&operator());
        match command {
            ClientCommand::Add(args) => add(clients, args).await?,
            ClientCommand::Rotate(args) => rotate(clients, args).await?,
            ClientCommand::Set(args) => set(clients, args).await?,
            ClientCommand::Export(args) => export(clients, args).await?,
            ClientCommand::List(args) => {
                list(&clients.list().await?, config.database.count() > 1, args.json)?;
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
    let file = args.keys.new_file()?;
    clients.add(&new, args.shard).await?;
    args.keys.hand_out(&format!("{} is registered", args.name), credentials, file)
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
    let file = args.keys.new_file()?;
    let version = store.rotate(&client_id, &keys.to_store(), overlap).await?;
    let credentials = keys.credentials(client_id, version)?;
    let old = if args.overlap.is_zero() {
        "the old keys are revoked".to_owned()
    } else {
        format!("the old keys remain valid until {}", format_time(until))
    };
    let news = format!("{} has new keys (version {version}); {old}", args.name);
    args.keys.hand_out(&news, credentials, file)
}

impl KeyArgs {
    async fn make(&self, clients: &Clients) -> Result<MadeKeys> {
        let given = self.public_key.as_deref().map(given_key).transpose()?;
        if let Some(key) = &given {
            clients.check_key(key).await?;
        }
        Ok(MadeKeys::make(given)?)
    }

    fn new_file(&self) -> Result<Option<NewFile>> {
        self.out.as_deref().map(NewFile::create).transpose()
    }

    fn hand_out(&self, news: &str, credentials: Credentials, file: Option<NewFile>) -> Result<()> {
        let credentials = self.format.applied_to(credentials);
        match file {
            Some(file) => {
                let path = file.fill(&credentials)?;
                err!("{news}; wrote the keys to {}", path.display());
            }
            None if self.json => out!("{}", serde_json::to_string(&credentials)?),
            None => print_credentials(news, &credentials),
        }
        Ok(())
    }
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

fn list(clients: &[(u32, ClientInfo)], sharded: bool, json: bool) -> Result<()> {
    if json {
        let listed: Vec<_> =
            clients.iter().map(|(shard, client)| ClientJson { shard: *shard, client }).collect();
        out!("{}", serde_json::to_string_pretty(&listed)?);
        return Ok(());
    }
    let shard = if sharded { "SHARD " } else { "" };
    out!(
        "{:<18} {:<24} {:<20} {:<5} {:<8} {:<8} {:<8} {shard}STATE",
        "CLIENT-ID",
        "NAME",
        "CREATED",
        "KEYS",
        "FIELDS",
        "FMR",
        "DOC-FMR"
    );
    for (shard, client) in clients {
        let created = time::OffsetDateTime::from_unix_timestamp(client.created_at / 1_000)?;
        let created = &format_time(created)[..19];
        let state = if client.disabled_at.is_some() { "disabled" } else { "active" };
        let fields = if client.extras { "all" } else { "strict" };
        let shard = if sharded { format!("{shard:<5} ") } else { String::new() };
        let (id, name) = (&client.client_id, printable(&client.name));
        let version = client.key_version;
        let [all, documents] = [client.fmr.fmr, client.fmr.document_fmr]
            .map(|own| own.map_or_else(|| "-".to_owned(), |fmr| fmr.to_string()));
        out!(
            "{id:<18} {name:<24} {created:<20} v{version:<4} {fields:<8} {all:<8} {documents:<8} \
             {shard}{state}"
        );
    }
    Ok(())
}

/// A client and its database, as JSON.
#[derive(serde::Serialize)]
struct ClientJson<'a> {
    #[serde(flatten)]
    client: &'a ClientInfo,
    shard: u32,
}
