//! `visavis client`: the apps that may call.

use std::{fs, io::Read as _, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result, bail};
use aws_lc_rs::rand;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use super::{DataArgs, block_on, wire_client::Credentials};
use crate::{
    app,
    clients::{ClientInfo, NewClient},
    config::Config,
    signing::{ClientKey, ServerKey, bare_base64},
};

/// Subcommands of `client`.
#[derive(Debug, clap::Subcommand)]
pub(super) enum ClientCommand {
    /// Register an app and print what it needs. Works while the server runs
    Add(AddArgs),
    /// List the registered apps
    List(ListArgs),
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
        ClientCommand::List(args) => &args.data,
        ClientCommand::Disable(args) | ClientCommand::Enable(args) => &args.data,
    };
    data.apply(&mut config);
    block_on(async {
        let data = app::open_data(&config).await?;
        match command {
            ClientCommand::Add(args) => add(&data.clients, args).await?,
            ClientCommand::List(args) => list(&data.clients.list().await?, args.json)?,
            ClientCommand::Disable(args) => {
                data.clients.set_disabled(&args.name, true).await?;
                println!("{} may not call any more", args.name);
            }
            ClientCommand::Enable(args) => {
                data.clients.set_disabled(&args.name, false).await?;
                println!("{} may call again", args.name);
            }
        }
        data.db.close().await;
        Ok(ExitCode::SUCCESS)
    })
}

async fn add(clients: &crate::clients::ClientStore, args: &AddArgs) -> Result<()> {
    if args.name.trim().is_empty() || args.name.len() > 64 {
        bail!("a name has 1 to 64 bytes");
    }
    let (merchant_private, merchant_key) = if let Some(path) = &args.public_key {
        (None, given_key(path)?)
    } else {
        let key = ServerKey::generate()?;
        let public = ClientKey::from_der(&key.spki_der()?)?;
        (Some(bare_base64(key.pkcs8_der())), public)
    };
    let server_key = ServerKey::generate()?;
    let secret_key = Zeroizing::new(random::<32>()?);
    let credentials = Credentials {
        client_id: client_id()?,
        merchant_private_key: merchant_private,
        merchant_public_key: bare_base64(merchant_key.spki_der()),
        server_public_key: bare_base64(&server_key.spki_der()?),
        access_key: format!("AK{}", URL_SAFE_NO_PAD.encode(random::<12>()?)),
        secret_key: URL_SAFE_NO_PAD.encode(secret_key.as_slice()),
    };
    clients
        .add(&NewClient {
            client_id: &credentials.client_id,
            name: &args.name,
            merchant_key: &merchant_key,
            server_key: &server_key,
            access_key: &credentials.access_key,
            secret_key: secret_key.as_slice(),
        })
        .await?;
    match &args.out {
        Some(path) => {
            credentials.write_new(path)?;
            eprintln!("{} is registered; its keys are in {}", args.name, path.display());
        }
        None if args.json => println!("{}", serde_json::to_string(&credentials)?),
        None => print_credentials(&args.name, &credentials),
    }
    Ok(())
}

fn given_key(path: &PathBuf) -> Result<ClientKey> {
    let mut text = String::new();
    if path.as_os_str() == "-" {
        std::io::stdin().read_to_string(&mut text)?;
    } else {
        text = fs::read_to_string(path)
            .with_context(|| format!("{} cannot be read", path.display()))?;
    }
    ClientKey::from_text(&text).with_context(|| format!("{}", path.display()))
}

/// 16 digits, as the vendor's ids have.
fn client_id() -> Result<String> {
    let number = u64::from_be_bytes(random::<8>()?) % 1_000_000_000_000;
    Ok(format!("2188{number:012}"))
}

fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).ok().context("no random numbers")?;
    Ok(bytes)
}

fn print_credentials(name: &str, c: &Credentials) {
    println!("{name} is registered. The app needs:\n");
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

fn list(clients: &[ClientInfo], json: bool) -> Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(clients)?);
        return Ok(());
    }
    println!("{:<18} {:<24} {:<20} STATE", "CLIENT-ID", "NAME", "CREATED");
    for client in clients {
        let created = time::OffsetDateTime::from_unix_timestamp(client.created_at / 1_000)?;
        let created = crate::signing::format_time(created);
        let state = if client.disabled_at.is_some() { "disabled" } else { "active" };
        println!("{:<18} {:<24} {:<20} {state}", client.client_id, client.name, &created[..19]);
    }
    Ok(())
}
