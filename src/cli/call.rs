//! `visavis call`: the operator's curl.

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
    Exit code: 0 when the answer's status is S, 1 when it is F or U, 2 when there is no valid answer.")]
pub(super) struct CallArgs {
    /// Which endpoint
    endpoint: Endpoint,
    /// Two pictures, a transaction id, or for `test` an optional JSON object
    #[arg(value_name = "ARGUMENT")]
    arguments: Vec<String>,
    /// File with the keys, as `visavis client add NAME --out FILE` writes it
    #[arg(long, value_name = "FILE")]
    client: PathBuf,
    /// Scheme, host and port of the server
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    url: String,
    /// How the request is protected
    #[arg(long, value_enum, default_value_t = ModeName::Plain)]
    mode: ModeName,
    /// Length of the AES key in mode encrypted
    #[arg(long, value_name = "BITS", default_value = "256", value_parser = ["128", "192", "256"])]
    aes_bits: String,
    /// PEM file with the certificates to trust for https, instead of those of this machine
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// After asynccompare, ask for the result until it is there
    #[arg(long)]
    wait: bool,
    /// What face2 is a picture of: SELFIE or a document type code
    #[arg(long, value_name = "CODE")]
    source_of_face2: Option<String>,
    /// The caller's own id for the transaction [default: a random one]
    #[arg(long)]
    biz_id: Option<String>,
    /// Seconds to wait for an answer, and with --wait for the result
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    timeout: u64,
    /// Print only the JSON of the last answer
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Endpoint {
    /// Connectivity and keys
    Test,
    /// Compare two pictures and wait
    Compare,
    /// Have two pictures compared
    Asynccompare,
    /// Ask what became of a transaction
    Asynccheckresult,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ModeName {
    /// Signed with the key pair
    Plain,
    /// Signed with the key pair, and the body encrypted
    Encrypted,
    /// Signed with access key and secret key
    Aksk,
}

impl Endpoint {
    /// Where it is.
    fn path(self) -> &'static str {
        match self {
            Self::Test => endpoints::TEST,
            Self::Compare => endpoints::COMPARE,
            Self::Asynccompare => endpoints::ASYNC_COMPARE,
            Self::Asynccheckresult => endpoints::ASYNC_CHECK_RESULT,
        }
    }
}

/// How long to wait between two questions for a result.
const POLL: Duration = Duration::from_millis(200);

pub(super) fn run(args: &CallArgs) -> Result<ExitCode> {
    let timeout = Duration::from_secs(args.timeout);
    let credentials = credentials::read(&args.client)?;
    let ca = args.ca.as_deref();
    let client = connect(&args.url, &credentials, args.protection(), timeout, ca)?;
    let mut answer = exchange(args, &client, args.endpoint, &args.body()?)?;
    if args.wait && args.endpoint == Endpoint::Asynccompare {
        answer = wait(args, &client, answer, timeout)?;
    }
    if args.json {
        out!("{answer}");
    }
    let accepted = answer["result"]["resultStatus"] == "S";
    Ok(if accepted { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Asks until the transaction is finished.
fn wait(args: &CallArgs, client: &ApiClient, accepted: Value, timeout: Duration) -> Result<Value> {
    let Some(id) = accepted["transactionId"].as_str() else { return Ok(accepted) };
    let body = json!({ "transactionId": id });
    let begun = Instant::now();
    loop {
        let answer = exchange(args, client, Endpoint::Asynccheckresult, &body)?;
        if answer["result"]["resultCode"] != "PROCESSING" {
            return Ok(answer);
        }
        if begun.elapsed() > timeout {
            bail!("the transaction {id} is not finished after {} s", timeout.as_secs());
        }
        std::thread::sleep(POLL);
    }
}

/// One signed request and its verified answer, both printed.
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
        out!("\n{}\n", shortened_pictures(body.clone()));
    }
    let sent = client.send(path, &signed);
    let answer = sent.map_err(|error| explained(&args.url, error))?;
    if !args.json {
        for line in answer.head.lines() {
            out!("{}", shortened(line));
        }
        out!("\n{}\n", answer.body);
        let how = if answer.was_encrypted { "valid, and it came encrypted" } else { "valid" };
        out!("(the answer's signature is {how})\n");
    }
    serde_json::from_str(&answer.body).context("the answer is not JSON")
}

impl CallArgs {
    fn protection(&self) -> Protection {
        match self.mode {
            ModeName::Plain => Protection::KeyPair,
            ModeName::Aksk => Protection::SecretKey,
            ModeName::Encrypted => Protection::Encrypted(match self.aes_bits.as_str() {
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
                serde_json::from_str(text).context("the argument is not JSON")
            }
            (Endpoint::Compare | Endpoint::Asynccompare, [probe, reference]) => {
                self.pictures(probe, reference)
            }
            (Endpoint::Asynccheckresult, [id]) => Ok(json!({ "transactionId": id })),
            (Endpoint::Test, _) => bail!("test takes at most one argument, a JSON object"),
            (Endpoint::Asynccheckresult, _) => {
                bail!("asynccheckresult takes one argument, the transaction id")
            }
            (_, given) => bail!("two pictures are needed, {} given", given.len()),
        }
    }

    fn pictures(&self, probe: &str, reference: &str) -> Result<Value> {
        let content = |path: &str| -> Result<String> {
            let bytes =
                fs::read(Path::new(path)).with_context(|| format!("{path} cannot be read"))?;
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

fn shortened_pictures(mut body: Value) -> Value {
    for face in ["face1", "face2"] {
        if let Some(content) = body.pointer_mut(&format!("/{face}/content")) {
            let length = content.as_str().map_or(0, str::len);
            let start: String = content.as_str().unwrap_or_default().chars().take(16).collect();
            *content = json!(format!("{start}... ({length} characters)"));
        }
    }
    body
}
