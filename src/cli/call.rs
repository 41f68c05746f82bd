//! `visavis call`: sends one signed request and verifies the response.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use clap::ValueEnum;
use serde_json::{Value, json};
use visavis_loadgen::{ApiClient, Protection};
use visavis_signing::endpoints;

use super::{
    connection::{connect, explained},
    credentials,
};

/// Arguments of `call`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    visavis call test --client app.json\n  \
    visavis call compare a.jpg b.jpg --client app.json --url https://faces.example.com\n  \
    visavis call asynccompare a.jpg b.jpg --client app.json --wait\n  \
    visavis call test --client app.json --mode encrypted --aes-bits 128\n  \
    visavis call test --client app.json --mode aksk\n  \
    visavis call asynccheckresult G000000000FID2026… --client app.json\n\n\
    Exit code: 0 if the response has the status S, 1 for F or U, 2 without a valid response.")]
pub(super) struct CallArgs {
    /// Which endpoint
    endpoint: Endpoint,
    /// Two photos, a transaction id, or for `test` an optional JSON object
    #[arg(value_name = "ARGUMENT")]
    arguments: Vec<String>,
    /// File with the keys, written by `visavis client add NAME --out FILE`
    #[arg(long, value_name = "FILE")]
    client: PathBuf,
    /// Scheme, host and port of the server
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    url: String,
    /// How the request is signed and encrypted
    #[arg(long, value_enum, default_value_t = CallMode::Plain)]
    mode: CallMode,
    /// Length of the AES key in mode encrypted
    #[arg(long, value_name = "BITS", default_value = "256", value_parser = ["128", "192", "256"])]
    aes_bits: String,
    /// PEM file of the certificates to trust for HTTPS, instead of those of this machine
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// After asynccompare, poll until the result is available
    #[arg(long)]
    wait: bool,
    /// Source of face2: SELFIE or a document type code
    #[arg(long, value_name = "CODE")]
    source_of_face2: Option<String>,
    /// Your own id for the transaction [default: a random one]
    #[arg(long)]
    biz_id: Option<String>,
    /// Seconds to wait for a response, and with --wait for the result
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    timeout: u64,
    /// Print only the JSON of the last response
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Endpoint {
    /// Check connection and keys
    Test,
    /// Compare two photos and wait for the result
    Compare,
    /// Submit two photos for comparison
    Asynccompare,
    /// Get the result of a transaction
    Asynccheckresult,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum CallMode {
    /// Signed with the key pair
    Plain,
    /// Signed with the key pair, and the body encrypted
    Encrypted,
    /// Signed with access key and secret key
    Aksk,
}

impl Endpoint {
    /// The path of its URL.
    fn path(self) -> &'static str {
        match self {
            Self::Test => endpoints::TEST,
            Self::Compare => endpoints::COMPARE,
            Self::Asynccompare => endpoints::ASYNC_COMPARE,
            Self::Asynccheckresult => endpoints::ASYNC_CHECK_RESULT,
        }
    }
}

/// Interval between two polls for a result.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

pub(super) fn run(args: &CallArgs) -> Result<ExitCode> {
    let timeout = Duration::from_secs(args.timeout);
    let credentials = credentials::read(&args.client)?;
    let ca = args.ca.as_deref();
    let client = connect(&args.url, &credentials, args.protection(), timeout, ca)?;
    let mut response = exchange(args, &client, args.endpoint, &args.body()?)?;
    if args.wait && args.endpoint == Endpoint::Asynccompare {
        response = wait(args, &client, response, timeout)?;
    }
    if args.json {
        out!("{response}");
    }
    let accepted = response["result"]["resultStatus"] == "S";
    Ok(if accepted { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Polls until the transaction is finished.
fn wait(args: &CallArgs, client: &ApiClient, accepted: Value, timeout: Duration) -> Result<Value> {
    let Some(id) = accepted["transactionId"].as_str() else { return Ok(accepted) };
    let body = json!({ "transactionId": id });
    let begun = Instant::now();
    loop {
        let response = exchange(args, client, Endpoint::Asynccheckresult, &body)?;
        if response["result"]["resultCode"] != "PROCESSING" {
            return Ok(response);
        }
        if begun.elapsed() > timeout {
            bail!(
                "transaction {id} is not finished after {} s: raise --timeout, or get its result \
                 later with `visavis call asynccheckresult`",
                timeout.as_secs()
            );
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}

/// Sends one signed request and verifies the response; prints both.
fn exchange(
    args: &CallArgs,
    client: &ApiClient,
    endpoint: Endpoint,
    body: &Value,
) -> Result<Value> {
    let path = endpoint.path();
    let signed = client.sign(path, body.to_string().into())?;
    if !args.json {
        out!("POST {path} HTTP/1.1");
        for (name, value) in &signed.head {
            out!("{name}: {}", shortened(value));
        }
        out!("\n{}\n", shortened_photos(body.clone()));
    }
    let sent = client.send(path, &signed);
    let response = sent.map_err(|error| explained(&args.url, error))?;
    if !args.json {
        for line in response.head.lines() {
            out!("{}", shortened(line));
        }
        out!("\n{}\n", response.body);
        let encrypted = if response.was_encrypted { ", and it was encrypted" } else { "" };
        out!("(the response's signature is valid{encrypted})\n");
    }
    serde_json::from_str(&response.body).context("the response is not JSON")
}

impl CallArgs {
    fn protection(&self) -> Protection {
        match self.mode {
            CallMode::Plain => Protection::KeyPair,
            CallMode::Aksk => Protection::SecretKey,
            CallMode::Encrypted => Protection::Encrypted(match self.aes_bits.as_str() {
                "128" => 16,
                "192" => 24,
                _ => 32,
            }),
        }
    }

    fn body(&self) -> Result<Value> {
        match (self.endpoint, self.arguments.as_slice()) {
            (Endpoint::Test, []) => {
                Ok(json!({ "title": "hello", "description": "just for demonstration." }))
            }
            (Endpoint::Test, [text]) => {
                serde_json::from_str(text).context("the argument of test is not JSON")
            }
            (Endpoint::Compare | Endpoint::Asynccompare, [probe, reference]) => {
                self.photos(probe, reference)
            }
            (Endpoint::Asynccheckresult, [id]) => Ok(json!({ "transactionId": id })),
            (Endpoint::Test, _) => bail!("test takes at most one argument, a JSON object"),
            (Endpoint::Asynccheckresult, _) => {
                bail!("asynccheckresult takes one argument, the transaction id")
            }
            (_, given) => bail!("expected two photos, got {}", given.len()),
        }
    }

    fn photos(&self, probe: &str, reference: &str) -> Result<Value> {
        let content = |path: &str| -> Result<String> {
            let bytes = fs::read(Path::new(path)).with_context(|| format!("cannot read {path}"))?;
            Ok(STANDARD.encode(bytes))
        };
        let random = || uuid::Uuid::new_v4().simple().to_string();
        let mut body = json!({
            "bizId": self.biz_id.clone().unwrap_or_else(random),
            "face1": { "content": content(probe)? },
            "face2": { "content": content(reference)? },
        });
        if let Some(source) = &self.source_of_face2 {
            body["sourceOfFace2"] = json!(source);
        }
        Ok(body)
    }
}

/// Long enough to recognise, short enough for a screen.
fn shortened(text: &str) -> String {
    const ENDS: usize = 44;
    if text.len() <= 2 * ENDS + 8 || !text.is_ascii() {
        return text.to_owned();
    }
    format!("{}...{}", &text[..ENDS], &text[text.len() - 8..])
}

fn shortened_photos(mut body: Value) -> Value {
    for face in ["face1", "face2"] {
        if let Some(content) = body.pointer_mut(&format!("/{face}/content")) {
            let length = content.as_str().map_or(0, str::len);
            let start: String = content.as_str().unwrap_or_default().chars().take(16).collect();
            *content = json!(format!("{start}... ({length} characters)"));
        }
    }
    body
}
