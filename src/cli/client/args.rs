//! What `visavis client` takes.

use std::{num::NonZeroU32, path::PathBuf, str::FromStr, time::Duration};

use crate::{
    cli::DataArgs,
    clients::{Encryption, FmrChange, Modes, PolicyChange},
    compare::{Fmr, NoFmr},
};

/// Subcommands of `client`.
#[derive(Debug, clap::Subcommand)]
pub(in crate::cli) enum ClientCommand {
    /// Register an app and print what it needs. Works while the server runs
    Add(AddArgs),
    /// List the registered apps
    List(ListArgs),
    /// Give an app new keys; its old ones stay good for a while, so that it can be changed over
    Rotate(RotateArgs),
    /// Change what an app gets and what it may do
    Set(SetArgs),
    /// Write what an app needs to a file once more: its ids and public keys, without any secret
    Export(ExportArgs),
    /// Take an app's right to call away, at once
    Disable(NameArgs),
    /// Give it back
    Enable(NameArgs),
}

/// Arguments of `client add`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct AddArgs {
    /// What to call it
    pub(super) name: String,
    #[command(flatten)]
    pub(super) data: DataArgs,
    #[command(flatten)]
    pub(super) keys: KeyArgs,
    /// Answer with the documented fields alone, for a client that refuses any other
    #[arg(long)]
    pub(super) no_extras: bool,
    /// The false match rate at which its decisions turn, 1e-6 to 1e-1 [default: compare.fmr and those beside
    /// it in the configuration]
    #[arg(long, value_name = "RATE")]
    pub(super) fmr: Option<Fmr>,
    /// The same for requests whose sourceOfFace2 is a document [default: the client's --fmr, if it has one]
    #[arg(long, value_name = "RATE")]
    pub(super) document_fmr: Option<Fmr>,
    #[command(flatten)]
    pub(super) policy: PolicyArgs,
    /// Which of several databases it and its jobs live in, by number from 0 [default: the one with the
    /// fewest clients]
    #[arg(long, value_name = "N")]
    pub(super) shard: Option<u32>,
}

/// What an app may do, where it differs from the settings of the installation.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(super) struct PolicyArgs {
    /// Requests a second on average, for each process of the installation; `default`: as configured
    #[arg(long, value_name = "N|default", value_parser = or_default::<NonZeroU32>, group = "what")]
    pub(super) rate: Option<Own<NonZeroU32>>,
    /// Requests at once after a pause; `default`: as configured
    #[arg(long, value_name = "N|default", value_parser = or_default::<NonZeroU32>, group = "what")]
    pub(super) burst: Option<Own<NonZeroU32>>,
    /// Comparisons a day, in all processes together; days end at midnight UTC; `default`: any number
    #[arg(long, value_name = "N|default", value_parser = or_default::<NonZeroU32>, group = "what")]
    pub(super) daily_quota: Option<Own<NonZeroU32>>,
    /// How it may sign: with its key pair, with its access key, or as it likes
    #[arg(long, value_name = "all|key-pair|access-key", value_parser = modes, group = "what")]
    pub(super) modes: Option<Modes>,
    /// Whether it encrypts its requests
    #[arg(long, value_name = "optional|required|off", value_parser = encryption, group = "what")]
    pub(super) encryption: Option<Encryption>,
}

/// A value of the app's own; `None`: what is configured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Own<T>(Option<T>);

impl PolicyArgs {
    pub(super) fn change(self) -> PolicyChange {
        PolicyChange {
            rate_per_s: self.rate.map(|own| own.0),
            burst: self.burst.map(|own| own.0),
            daily_quota: self.daily_quota.map(|own| own.0),
            modes: self.modes,
            encryption: self.encryption,
        }
    }
}

/// Whose keys, and where the result goes.
#[derive(Debug, clap::Args)]
pub(super) struct KeyArgs {
    /// The app's own public key (PEM or bare base64; - for standard input). Without it a key pair is
    /// made for the app
    #[arg(long, value_name = "FILE")]
    pub(super) public_key: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub(super) json: bool,
    /// Write the JSON object to this new file, readable by its owner alone, instead of printing it
    #[arg(long, value_name = "FILE")]
    pub(super) out: Option<PathBuf>,
}

/// Arguments of `client rotate`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct RotateArgs {
    /// Its name or its Client-Id
    pub(super) name: String,
    #[command(flatten)]
    pub(super) data: DataArgs,
    #[command(flatten)]
    pub(super) keys: KeyArgs,
    /// How long the old keys stay good: 0, or a number with s, m, h or d
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = span)]
    pub(super) overlap: Duration,
}

/// Arguments of `client set`.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(true))]
pub(in crate::cli) struct SetArgs {
    /// Its name or its Client-Id
    pub(super) name: String,
    #[command(flatten)]
    pub(super) data: DataArgs,
    /// Whether answers carry fields beyond the documented ones: quality reasons, threshold, model
    #[arg(long, value_name = "on|off", value_parser = switch, group = "what")]
    pub(super) extras: Option<bool>,
    /// The false match rate at which its decisions turn, 1e-6 to 1e-1; `default`: as configured. Counts for
    /// requests that come later
    #[arg(long, value_name = "RATE|default", value_parser = fmr_change, group = "what")]
    pub(super) fmr: Option<FmrChange>,
    /// The same for requests whose sourceOfFace2 is a document; `default`: the client's --fmr, if it has one
    #[arg(long, value_name = "RATE|default", value_parser = fmr_change, group = "what")]
    pub(super) document_fmr: Option<FmrChange>,
    #[command(flatten)]
    pub(super) policy: PolicyArgs,
}

/// Arguments of `client export`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct ExportArgs {
    /// Its name or its Client-Id
    pub(super) name: String,
    #[command(flatten)]
    pub(super) data: DataArgs,
    /// Write the JSON object to this new file instead of printing it
    #[arg(long, value_name = "FILE")]
    pub(super) out: Option<PathBuf>,
}

/// Arguments of `client list`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct ListArgs {
    #[command(flatten)]
    pub(super) data: DataArgs,
    /// Print one JSON array
    #[arg(long)]
    pub(super) json: bool,
}

/// Arguments that name a client.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct NameArgs {
    /// Its name or its Client-Id
    pub(super) name: String,
    #[command(flatten)]
    pub(super) data: DataArgs,
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

fn or_default<T: FromStr>(text: &str) -> Result<Own<T>, String> {
    match text {
        "default" => Ok(Own(None)),
        number => {
            let number = number.parse().map_err(|_| "say a whole number, or default".to_owned())?;
            Ok(Own(Some(number)))
        }
    }
}

fn modes(text: &str) -> Result<Modes, String> {
    match text {
        "all" => Ok(Modes::All),
        "key-pair" => Ok(Modes::KeyPair),
        "access-key" => Ok(Modes::AccessKey),
        _ => Err("say all, key-pair or access-key".to_owned()),
    }
}

fn encryption(text: &str) -> Result<Encryption, String> {
    match text {
        "optional" => Ok(Encryption::Optional),
        "required" => Ok(Encryption::Required),
        "off" => Ok(Encryption::Off),
        _ => Err("say optional, required or off".to_owned()),
    }
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
