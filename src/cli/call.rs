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
use visavis_loadgen::{ApiClient, SignedRequest};
use visavis_signing::endpoints;

use super::{
    connection::{connect, explained},
    credentials,
    sign::{CallMode, measured},
};

/// Arguments of `call`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    visavis call test --client app.json\n  \
    visavis call compare a.jpg b.jpg --client app.json --url https://faces.example.com\n  \
    visavis call asynccompare a.jpg b.jpg --client app.json --wait\n  \
    visavis call test --client app.json --mode encrypted --aes-bits 128\n  \
    visavis call test --client app.json --mode aksk\n  \
    visavis call asynccheckresult G000000000FID2026… --client app.json\n  \
    visavis call delete G000000000FID2026… --client app.json\n  \
    visavis call compare a.jpg b.jpg --client app.json --curl | sh\n\n\
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
    #[command(flatten)]
    output: OutputArgs,
}

/// What `call` prints.
#[derive(Debug, clap::Args)]
struct OutputArgs {
    /// Print only the JSON of the last response
    #[arg(long)]
    json: bool,
    /// Print the texts over which request and response are signed too
    #[arg(long, conflicts_with = "json")]
    explain: bool,
    /// Send nothing; print a shell command that sends the signed request with curl
    #[arg(long, conflicts_with_all = ["json", "explain", "wait"])]
    curl: bool,
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
    /// Delete a transaction with its photos and result
    Delete,
}

impl Endpoint {
    /// The path of its URL.
    fn path(self) -> &'static str {
        match self {
            Self::Test => endpoints::TEST,
            Self::Compare => endpoints::COMPARE,
            Self::Asynccompare => endpoints::ASYNC_COMPARE,
            Self::Asynccheckresult => endpoints::ASYNC_CHECK_RESULT,
            Self::Delete => endpoints::PRIVACY_DELETE,
        }
    }
}

/// Interval between two polls for a result.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

pub(super) fn run(args: &CallArgs) -> Result<ExitCode> {
    let timeout = Duration::from_secs(args.timeout);
    let credentials = credentials::read(&args.client)?;
    let ca = args.ca.as_deref();
    let protection = args.mode.protection(args.aes_bytes());
    let client = connect(&args.url, &credentials, protection, timeout, ca)?;
    if args.output.curl {
        let path = args.endpoint.path();
        let signed = client.sign(path, args.body()?.to_string().into())?;
        out_part!("{}", curl(args.url.trim_end_matches('/'), path, &signed));
        return Ok(ExitCode::SUCCESS);
    }
    let mut response = exchange(args, &client, args.endpoint, &args.body()?)?;
    if args.wait && args.endpoint == Endpoint::Asynccompare {
        response = wait(args, &client, response, timeout)?;
    }
    if args.output.json {
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
    if !args.output.json {
        out!("POST {path} HTTP/1.1");
        for (name, value) in &signed.head {
            out!("{name}: {}", shortened(value));
        }
        let shown = shortened_photos(body.clone());
        out!("\n{shown}\n");
        if args.output.explain {
            let text = signed.text(path);
            out!("(the request is signed over this text: {})", measured(&text));
            let shown = if args.mode == CallMode::Encrypted {
                shortened(&signed.body.whole())
            } else {
                shown.to_string()
            };
            out!("{}{shown}\n", &text[..text.len() - signed.body.whole().len()]);
        }
    }
    let sent = client.send(path, &signed);
    let response = sent.map_err(|error| explained(&args.url, error))?;
    if !args.output.json {
        for line in response.head.lines() {
            out!("{}", shortened(line));
        }
        out!("\n{}\n", response.body);
        let encrypted = if response.encrypted.is_some() { ", and it was encrypted" } else { "" };
        out!("(the response's signature is valid{encrypted})\n");
        if args.output.explain {
            let text = client.signed_text(path, &response);
            out!("(the response is signed over this text: {})", measured(&text));
            out!("{}\n", shortened_text(&text));
        }
    }
    serde_json::from_str(&response.body).context("the response is not JSON")
}

impl CallArgs {
    fn aes_bytes(&self) -> usize {
        match self.aes_bits.as_str() {
            "128" => 16,
            "192" => 24,
            _ => 32,
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
            (Endpoint::Asynccheckresult | Endpoint::Delete, [id]) => {
                Ok(json!({ "transactionId": id }))
            }
            (Endpoint::Test, _) => bail!("test takes at most one argument, a JSON object"),
            (Endpoint::Asynccheckresult, _) => {
                bail!("asynccheckresult takes one argument, the transaction id")
            }
            (Endpoint::Delete, _) => bail!("delete takes one argument, the transaction id"),
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

/// A command for a POSIX shell that sends a signed request. The body goes through a pipe, because
/// photos are longer than an argument may be.
fn curl(url: &str, path: &str, signed: &SignedRequest) -> String {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "'\\''"));
    let header = |(name, value): &(&str, String)| {
        format!("--header {}", quoted(&format!("{name}: {value}")))
    };
    let options = ["curl --silent --show-error --include --data-binary @-".to_owned()];
    let headers = signed.head.iter().map(header);
    let url = [quoted(&format!("{url}{path}"))];
    let request: Vec<_> = options.into_iter().chain(headers).chain(url).collect();
    format!(
        "# The server accepts it for a few minutes after Request-Time.\nprintf %s {} |\n  {}\n",
        quoted(&signed.body.whole()),
        request.join(" \\\n  ")
    )
}

/// A signed text with its last line shortened if it is long.
fn shortened_text(text: &str) -> String {
    const LONGEST: usize = 2_000;
    if text.len() <= LONGEST {
        return text.to_owned();
    }
    let (first, second) = text.split_once('\n').unwrap_or_default();
    format!("{first}\n{}", shortened(second))
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
