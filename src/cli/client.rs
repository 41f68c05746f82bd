//! `visavis client`: the apps that may call.

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

use super::{DataArgs, block_on, credentials::NewFile};
use crate::{
    app,
    clients::{
        ClientChange, ClientInfo, Clients, Credentials, FmrChange, MadeKeys, NewClient, is_name,
        new_client_id,
    },
    clock::Clock,
    compare::{ClientFmr, Fmr, NoFmr},
    config::Config,
    signing::{ClientKey, format_time},
};

/// Subcommands of `client`.
#[derive(Debug, clap::Subcommand)]
pub(super) enum ClientCommand {
    /// Register an app and print what it needs. Works while the server runs
    Add(AddArgs),
    /// List the registered apps
    List(ListArgs),
    /// Give an app new keys; its old ones stay good for a while, so that it can be changed over
    Rotate(RotateArgs),
    /// Change what an app gets
    Set(SetArgs),
    /// Take an app's right to call away, at once
    Disable(NameArgs),
    /// Give it back
    Enable(NameArgs),
}

/// Arguments of `client add`.
#[derive(Debug, clap::Args)]
pub(super) struct AddArgs {
    /// What to call it
    name: String,
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    keys: KeyArgs,
    /// Answer with the documented fields alone, for a client that refuses any other
    #[arg(long)]
    no_extras: bool,
    /// The false match rate at which its decisions turn, 1e-6 to 1e-1 [default: compare.fmr and those beside
    /// it in the configuration]
    #[arg(long, value_name = "RATE")]
    fmr: Option<Fmr>,
    /// The same for requests whose sourceOfFace2 is a document [default: the client's --fmr, if it has one]
    #[arg(long, value_name = "RATE")]
    document_fmr: Option<Fmr>,
    /// Which of several databases it and its jobs live in, by number from 0 [default: the one with the
    /// fewest clients]
    #[arg(long, value_name = "N")]
    shard: Option<u32>,
}

/// Whose keys, and where the result goes.
#[derive(Debug, clap::Args)]
struct KeyArgs {
    /// The app's own public key (PEM or bare base64; - for standard input). Without it a key pair is
    /// made for the app
    #[arg(long, value_name = "FILE")]
    public_key: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Write the JSON object to this new file, readable by its owner alone, instead of printing it
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Arguments of `client rotate`.
#[derive(Debug, clap::Args)]
pub(super) struct RotateArgs {
    /// Its name or its Client-Id
    name: String,
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    keys: KeyArgs,
    /// How long the old keys stay good: 0, or a number with s, m, h or d
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = span)]
    overlap: Duration,
}

/// Arguments of `client set`.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(true))]
pub(super) struct SetArgs {
    /// Its name or its Client-Id
    name: String,
    #[command(flatten)]
    data: DataArgs,
    /// Whether answers carry fields beyond the documented ones: quality reasons, threshold, model
    #[arg(long, value_name = "on|off", value_parser = switch, group = "what")]
    extras: Option<bool>,
    /// The false match rate at which its decisions turn, 1e-6 to 1e-1; `default`: as configured. Counts for
    /// requests that come later
    #[arg(long, value_name = "RATE|default", value_parser = fmr_change, group = "what")]
    fmr: Option<FmrChange>,
    /// The same for requests whose sourceOfFace2 is a document; `default`: the client's --fmr, if it has one
    #[arg(long, value_name = "RATE|default", value_parser = fmr_change, group = "what")]
    document_fmr: Option<FmrChange>,
}

/// Arguments of `client list`.
#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    data: DataArgs,
    /// Print one JSON array
    #[arg(long)]
    json: bool,
}

/// Arguments that name a client.
#[derive(Debug, clap::Args)]
pub(super) struct NameArgs {
    /// Its name or its Client-Id
    name: String,
    #[command(flatten)]
    data: DataArgs,
}

pub(super) fn run(mut config: Config, command: &ClientCommand) -> Result<ExitCode> {
    let data = match command {
        ClientCommand::Add(args) => &args.data,
        ClientCommand::Rotate(args) => &args.data,
        ClientCommand::Set(args) => &args.data,
        ClientCommand::List(args) => &args.data,
        ClientCommand::Disable(args) | ClientCommand::Enable(args) => &args.data,
    };
    data.apply(&mut config);
    block_on(async {
        let data = match command {
            ClientCommand::List(_) => app::look_at_data(&config).await?,
            _ => app::open_data(&config).await?,
        };
        let clients = &data.clients;
        match command {
            ClientCommand::Add(args) => add(clients, args).await?,
            ClientCommand::Rotate(args) => rotate(clients, args).await?,
            ClientCommand::Set(args) => set(clients, args).await?,
            ClientCommand::List(args) => {
                list(&clients.list().await?, config.database.count() > 1, args.json)?;
            }
            ClientCommand::Disable(args) => {
                let (store, client_id) = clients.resolve(&args.name).await?;
                store.set_disabled(&client_id, true).await?;
                println!("{} may not call any more", args.name);
            }
            ClientCommand::Enable(args) => {
                let (store, client_id) = clients.resolve(&args.name).await?;
                store.set_disabled(&client_id, false).await?;
                println!("{} may call again", args.name);
            }
        }
        data.close().await;
        Ok(ExitCode::SUCCESS)
    })
}

async fn add(clients: &Clients, args: &AddArgs) -> Result<()> {
    if !is_name(&args.name) {
        bail!("a name has 1 to 64 bytes");
    }
    let keys = args.keys.make()?;
    let credentials = keys.credentials(new_client_id()?, 1)?;
    let new = NewClient {
        client_id: &credentials.client_id,
        name: &args.name,
        keys: keys.to_store(),
        extras: !args.no_extras,
        fmr: ClientFmr { fmr: args.fmr, document_fmr: args.document_fmr },
    };
    let file = args.keys.new_file()?;
    clients.add(&new, args.shard).await?;
    args.keys.hand_out(&format!("{} is registered", args.name), &credentials, file)
}

async fn set(clients: &Clients, args: &SetArgs) -> Result<()> {
    let (store, client_id) = clients.resolve(&args.name).await?;
    let SetArgs { name, extras, fmr, document_fmr, .. } = args;
    let change = ClientChange { extras: *extras, fmr: *fmr, document_fmr: *document_fmr };
    store.change(&client_id, &change).await?;
    if let Some(extras) = extras {
        let what = if *extras { "all fields" } else { "the documented fields alone" };
        println!("{name} gets {what}");
    }
    for (change, of, otherwise) in [
        (fmr, "", "the configured rate"),
        (document_fmr, " about documents", "its --fmr, or else at the configured rate"),
    ] {
        match change {
            Some(FmrChange::Own(fmr)) => println!(
                "{name}'s further requests{of} are decided at a false match rate of {fmr}, score {}",
                fmr.least_match().value()
            ),
            Some(FmrChange::Default) => {
                println!("{name}'s further requests{of} are decided at {otherwise}");
            }
            None => {}
        }
    }
    Ok(())
}

async fn rotate(clients: &Clients, args: &RotateArgs) -> Result<()> {
    const TOO_LONG: &str = "--overlap is too long; some days or weeks will do";
    let (clients, client_id) = clients.resolve(&args.name).await?;
    let keys = args.keys.make()?;
    let overlap = i64::try_from(args.overlap.as_millis()).context(TOO_LONG)?;
    let until = time::Duration::try_from(args.overlap).ok();
    let until = until.and_then(|overlap| Clock::System.now_utc().checked_add(overlap));
    let until = until.context(TOO_LONG)?;
    let file = args.keys.new_file()?;
    let version = clients.rotate(&client_id, &keys.to_store(), overlap).await?;
    let credentials = keys.credentials(client_id, version)?;
    let old = if args.overlap.is_zero() {
        "the old ones are no longer good".to_owned()
    } else {
        format!("the old ones stay good until {}", format_time(until))
    };
    let news = format!("{} has new keys, version {version}; {old}", args.name);
    args.keys.hand_out(&news, &credentials, file)
}

impl KeyArgs {
    fn make(&self) -> Result<MadeKeys> {
        Ok(MadeKeys::make(self.public_key.as_deref().map(given_key).transpose()?)?)
    }

    fn new_file(&self) -> Result<Option<NewFile>> {
        self.out.as_deref().map(NewFile::create).transpose()
    }

    fn hand_out(&self, news: &str, credentials: &Credentials, file: Option<NewFile>) -> Result<()> {
        match file {
            Some(file) => {
                let path = file.fill(credentials)?;
                eprintln!("{news}; its keys are in {}", path.display());
            }
            None if self.json => println!("{}", serde_json::to_string(credentials)?),
            None => print_credentials(news, credentials),
        }
        Ok(())
    }
}

/// `90s`, `30m`, `24h`, `7d`, or `0`.
fn span(text: &str) -> Result<Duration, String> {
    let seconds = |unit: char| match unit {
        's' => Some(1),
        'm' => Some(60),
        'h' => Some(3_600),
        'd' => Some(86_400),
        _ => None,
    };
    let wrong = || "say 0, or a number with s, m, h or d".to_owned();
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let unit = text.chars().last().and_then(seconds).ok_or_else(wrong)?;
    let number: u64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    number.checked_mul(unit).map(Duration::from_secs).ok_or_else(wrong)
}

fn switch(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("say on or off".to_owned()),
    }
}

fn fmr_change(text: &str) -> Result<FmrChange, String> {
    if text == "default" {
        return Ok(FmrChange::Default);
    }
    text.parse().map(FmrChange::Own).map_err(|why: NoFmr| format!("{why}; or say default"))
}

fn given_key(path: &Path) -> Result<ClientKey> {
    let mut text = String::new();
    if path.as_os_str() == "-" {
        std::io::stdin().read_to_string(&mut text)?;
    } else {
        text = fs::read_to_string(path).with_context(|| {
            format!("{} cannot be read; a key is text, PEM or base64", path.display())
        })?;
    }
    ClientKey::from_text(&text)
        .with_context(|| format!("{} holds no public key that can be used", path.display()))
}

fn print_credentials(news: &str, c: &Credentials) {
    println!("{news}. The app needs:\n");
    println!("  Client-Id             {}", c.client_id);
    match &c.merchant_private_key {
        Some(key) => println!("  merchant private key  {key}"),
        None => println!("  merchant private key  the one that the app keeps itself"),
    }
    println!("  server public key     {}", c.server_public_key);
    println!("\n  or, for AK/SK mode\n");
    println!("  access key            {}", c.access_key);
    println!("  secret key            {}\n", c.secret_key);
    println!(
        "Private and secret key are shown this once; here only sealed or public halves are kept."
    );
}

fn list(clients: &[(u32, ClientInfo)], sharded: bool, json: bool) -> Result<()> {
    if json {
        let listed: Vec<_> =
            clients.iter().map(|(shard, client)| Listed { shard: *shard, client }).collect();
        println!("{}", serde_json::to_string_pretty(&listed)?);
        return Ok(());
    }
    let shard = if sharded { "SHARD " } else { "" };
    println!(
        "{:<18} {:<24} {:<20} {:<5} {:<8} {:<8} {:<8} {shard}STATE",
        "CLIENT-ID", "NAME", "CREATED", "KEYS", "FIELDS", "FMR", "DOC-FMR"
    );
    for (shard, client) in clients {
        let created = time::OffsetDateTime::from_unix_timestamp(client.created_at / 1_000)?;
        let created = &format_time(created)[..19];
        let state = if client.disabled_at.is_some() { "disabled" } else { "active" };
        let fields = if client.extras { "all" } else { "strict" };
        let shard = if sharded { format!("{shard:<5} ") } else { String::new() };
        let (id, name, version) = (&client.client_id, &client.name, client.key_version);
        let [all, documents] = [client.fmr.fmr, client.fmr.document_fmr]
            .map(|own| own.map_or_else(|| "-".to_owned(), |fmr| fmr.to_string()));
        println!(
            "{id:<18} {name:<24} {created:<20} v{version:<4} {fields:<8} {all:<8} {documents:<8} {shard}{state}"
        );
    }
    Ok(())
}

/// A client and where it lives, for machines.
#[derive(serde::Serialize)]
struct Listed<'a> {
    #[serde(flatten)]
    client: &'a ClientInfo,
    shard: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_number_with_a_unit() {
        for (text, seconds) in
            [("0", 0), ("90s", 90), ("30m", 1_800), ("24h", 86_400), ("7d", 604_800)]
        {
            assert_eq!(span(text), Ok(Duration::from_secs(seconds)));
        }
        for text in ["", "7", "d", "-1d", "7 d", "1w", "99999999999999999999d", "é"] {
            assert!(span(text).is_err(), "{text}");
        }
    }
}
