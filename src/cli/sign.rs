//! `visavis sign`: the text that a request has to be signed over, and the headers for it, to
//! compare with what another program makes.

use std::{
    fs,
    io::{self, Read as _},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;
use visavis_loadgen::{Protection, SignedRequest, Signer};
use visavis_signing::parse_time;

use super::credentials;

/// Arguments of `sign`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    visavis sign --client app.json --path /api/v1/zoloz/authentication/test body.json\n  \
    printf %s '{}' | visavis sign --client app.json --path /api/v1/zoloz/authentication/test\n  \
    visavis sign --client app.json --path /api/v1/zoloz/facecompare/compare body.json \
    --time 2026-01-31T12:00:00+0000 --text | diff - mine.txt\n\n\
    The signature of one text with one key is always the same, except in mode encrypted, where \
    the AES key is new each time. To sign a body that is encrypted already, use mode plain.")]
pub(super) struct SignArgs {
    /// File with the body, exactly as it will be sent [default: standard input]
    #[arg(value_name = "FILE")]
    body: Option<PathBuf>,
    /// File with the keys, written by `visavis client add NAME --out FILE`
    #[arg(long, value_name = "FILE")]
    client: PathBuf,
    /// Path of the URL, without scheme and host
    #[arg(long)]
    path: String,
    /// How the request is signed and encrypted
    #[arg(long, value_enum, default_value_t = CallMode::Plain)]
    mode: CallMode,
    /// Value of the header Request-Time [default: now]
    #[arg(long)]
    time: Option<String>,
    /// Print only the text to be signed, without a line feed at its end
    #[arg(long)]
    text: bool,
}

/// How a request is signed and encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum CallMode {
    /// Signed with the key pair
    Plain,
    /// Signed with the key pair, and the body encrypted
    Encrypted,
    /// Signed with access key and secret key
    Aksk,
}

impl CallMode {
    /// With an AES key of so many bytes, if the body is encrypted.
    pub(super) fn protection(self, aes_bytes: usize) -> Protection {
        match self {
            Self::Plain => Protection::KeyPair,
            Self::Aksk => Protection::SecretKey,
            Self::Encrypted => Protection::Encrypted(aes_bytes),
        }
    }
}

pub(super) fn run(args: &SignArgs) -> Result<ExitCode> {
    if !args.path.starts_with('/') {
        bail!(
            "--path {} is not a path: it begins with a slash, without scheme and host",
            args.path
        );
    }
    if let Some(time) = args.time.as_deref().filter(|time| parse_time(time).is_none()) {
        bail!("--time {time} is not a time: use the form 2026-01-31T12:00:00+0000");
    }
    let credentials = credentials::read(&args.client)?;
    let signer = Signer::new(&credentials, args.mode.protection(32))?;
    let body = args.body()?;
    let signed = match &args.time {
        Some(time) => signer.sign(&args.path, body.into(), time)?,
        None => signer.sign_now(&args.path, body.into())?,
    };
    if args.text {
        out_part!("{}", signed.text(&args.path));
    } else {
        print(&args.path, &signed);
    }
    Ok(ExitCode::SUCCESS)
}

fn print(path: &str, signed: &SignedRequest) {
    let (text, body) = (signed.text(path), signed.body.whole());
    out!("text to sign: {}", measured(&text));
    out!("body: {}", measured(&body));
    out!("\n{text}\n");
    for (name, value) in &signed.head {
        out!("{name}: {value}");
    }
}

/// Size and digest of a text.
pub(super) fn measured(text: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    format!("{} bytes, SHA-256 {}", text.len(), hex::encode(digest.as_ref()))
}

impl SignArgs {
    fn body(&self) -> Result<String> {
        let (bytes, name) = if let Some(path) = &self.body {
            (fs::read(path), path.display().to_string())
        } else {
            let mut bytes = Vec::new();
            let read = io::stdin().lock().read_to_end(&mut bytes);
            (read.map(|_| bytes), "standard input".to_owned())
        };
        let bytes = bytes.with_context(|| format!("cannot read {name}"))?;
        String::from_utf8(bytes).with_context(|| format!("{name} is not UTF-8"))
    }
}
