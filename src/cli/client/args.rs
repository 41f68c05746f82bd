//! Arguments of `visavis client`.

use std::{num::NonZeroU32, path::PathBuf, str::FromStr, time::Duration};

use super::format::KeyFormat;
use crate::{
    cli::DataArgs,
    clients::{Encryption, FmrChange, Modes, PolicyChange},
    compare::{Fmr, NoFmr, SeveralFaces},
};

/// Subcommands of `client`.
#[derive(Debug, clap::Subcommand)]
pub(in crate::cli) enum ClientCommand {
    /// Register a client and write its keys to a file. Works while the server runs
    Add(AddArgs),
    /// List the registered clients
    List(ListArgs),
    /// Issue new keys for a client; the old keys remain valid during the overlap
    Rotate(RotateArgs),
    /// Change the settings of a client
    Set(SetArgs),
    /// Export a client's ids and public keys again, without secrets
    Export(ExportArgs),
    /// Block a client immediately
    Disable(NameArgs),
    /// Unblock a disabled client
    Enable(NameArgs),
    /// Show the settings, keys and use of a client
    Show(ShowArgs),
    /// Delete a client with its keys; its audit entries stay
    Delete(DeleteArgs),
}

/// Arguments of `client add`.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("what").multiple(true))]
pub(in crate::cli) struct AddArgs {
    /// Name of the new client
    pub(super) name: String,
    #[command(flatten)]
    pub(super) data: DataArgs,
    #[command(flatten)]
    pub(super) keys: KeyArgs,
    /// Return only the documented fields, for clients that reject unknown ones
    #[arg(long)]
    pub(super) no_extras: bool,
    /// Target false match rate for this client, 1e-6 to 1e-1 [default: compare.fmr and the settings
    /// for documents in the configuration]
    #[arg(long, value_name = "RATE")]
    pub(super) fmr: Option<Fmr>,
    /// Target false match rate for requests whose sourceOfFace2 is a document [default: the
    /// client's --fmr, if it is set]
    #[arg(long, value_name = "RATE")]
    pub(super) document_fmr: Option<Fmr>,
    #[command(flatten)]
    pub(super) policy: PolicyArgs,
    /// Database that stores the client and its jobs, by number from 0 [default: the one with the
    /// fewest clients]
    #[arg(long, value_name = "N")]
    pub(super) shard: Option<u32>,
}

/// Settings of a client that differ from the defaults.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(super) struct PolicyArgs {
    /// Requests per second on average, per process; `default` uses `http.client_rate_per_s`
    #[arg(long, value_name = "N|default", value_parser = or_default::<NonZeroU32>, group = "what")]
    pub(super) rate: Option<Own<NonZeroU32>>,
    /// Maximum burst of requests; `default` uses `http.client_burst`
    #[arg(long, value_name = "N|default", value_parser = or_default::<NonZeroU32>, group = "what")]
    pub(super) burst: Option<Own<NonZeroU32>>,
    /// Comparisons per day in all processes together; days end at midnight UTC; `default` is
    /// unlimited
    #[arg(long, value_name = "N|default", value_parser = or_default::<NonZeroU32>, group = "what")]
    pub(super) daily_quota: Option<Own<NonZeroU32>>,
    /// Allowed signing modes: key pair, access key, or both
    #[arg(long, value_name = "all|key-pair|access-key", value_parser = modes, group = "what")]
    pub(super) modes: Option<Modes>,
    /// Whether requests may or must be encrypted
    #[arg(long, value_name = "optional|required|off", value_parser = encryption, group = "what")]
    pub(super) encryption: Option<Encryption>,
    /// Photos that show several people: compare the largest face, or fail the photo; `default` uses
    /// `compare.several_faces`
    #[arg(
        long,
        value_name = "largest|refuse|default",
        value_parser = several_faces,
        group = "what"
    )]
    pub(super) several_faces: Option<Own<SeveralFaces>>,
}

/// A value for one client; `None` is the default.
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
            several_faces: self.several_faces.map(|own| own.0),
        }
    }
}

/// The keys, and the output.
#[derive(Debug, clap::Args)]
pub(super) struct KeyArgs {
    /// Public key of the client (PEM, base64 of DER or base64 of PEM; - for standard input)
    /// [default: a new key pair
    /// is created]
    #[arg(long, value_name = "FILE")]
    pub(super) public_key: Option<PathBuf>,
    /// New file for the keys, as JSON with mode 0600; - prints them [default: NAME.json in the
    /// current folder, and NAME-vN.json for version N of the keys]
    #[arg(long, value_name = "FILE", conflicts_with = "print")]
    pub(super) out: Option<PathBuf>,
    /// The former name of `--out -`
    #[arg(long, hide = true, conflicts_with_all = ["out", "print"])]
    pub(super) json: bool,
    /// Print the keys for people, secrets included, instead of writing a file
    #[arg(long)]
    pub(super) print: bool,
    /// Form of the RSA keys that are printed or written
    #[arg(long, value_enum, default_value_t = KeyFormat::Base64)]
    pub(super) format: KeyFormat,
}

/// Arguments of `client rotate`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct RotateArgs {
    /// Name or Client-Id of the client
    pub(super) name: String,
    #[command(flatten)]
    pub(super) data: DataArgs,
    #[command(flatten)]
    pub(super) keys: KeyArgs,
    /// How long the old keys remain valid: 0, or a duration such as 30m, 12h, 7d (at most 365d)
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = span)]
    pub(super) overlap: Duration,
}

/// Arguments of `client set`.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(true))]
pub(in crate::cli) struct SetArgs {
    /// Name or Client-Id of the client
    pub(super) name: String,
    #[command(flatten)]
    pub(super) data: DataArgs,
    /// Whether responses have fields beyond the documented ones: quality reasons, threshold, model
    #[arg(long, value_name = "on|off", value_parser = switch, group = "what")]
    pub(super) extras: Option<bool>,
    /// Target false match rate for this client, 1e-6 to 1e-1; `default` uses compare.fmr. Applies
    /// to new requests
    #[arg(long, value_name = "RATE|default", value_parser = fmr_change, group = "what")]
    pub(super) fmr: Option<FmrChange>,
    /// Target false match rate for requests whose sourceOfFace2 is a document; `default` uses the
    /// client's --fmr, if it is set
    #[arg(long, value_name = "RATE|default", value_parser = fmr_change, group = "what")]
    pub(super) document_fmr: Option<FmrChange>,
    #[command(flatten)]
    pub(super) policy: PolicyArgs,
}

/// Arguments of `client export`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct ExportArgs {
    /// Name or Client-Id of the client
    pub(super) name: String,
    #[command(flatten)]
    pub(super) data: DataArgs,
    /// Write the JSON object to this new file instead of printing it
    #[arg(long, value_name = "FILE")]
    pub(super) out: Option<PathBuf>,
    /// Form of the public keys
    #[arg(long, value_enum, default_value_t = KeyFormat::Base64)]
    pub(super) format: KeyFormat,
}

/// Arguments of `client list`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct ListArgs {
    #[command(flatten)]
    pub(super) data: DataArgs,
    /// Only clients whose name or Client-Id contains this text, in upper or lower case
    #[arg(long, value_name = "TEXT")]
    pub(super) search: Option<String>,
    /// Print one JSON array
    #[arg(long)]
    pub(super) json: bool,
}

/// Arguments of `client show`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct ShowArgs {
    /// Name or Client-Id of the client
    pub(super) name: String,
    #[command(flatten)]
    pub(super) data: DataArgs,
    /// Print one JSON object
    #[arg(long)]
    pub(super) json: bool,
}

/// Arguments of `client delete`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct DeleteArgs {
    /// Name or Client-Id of the client
    pub(super) name: String,
    #[command(flatten)]
    pub(super) data: DataArgs,
    /// Delete its transactions too, those that wait or run included; without this, a client that
    /// has any is not deleted
    #[arg(long)]
    pub(super) with_transactions: bool,
    /// Delete; without this, only report what would be deleted
    #[arg(long)]
    pub(super) yes: bool,
}

/// Arguments that name a client.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct NameArgs {
    /// Name or Client-Id of the client
    pub(super) name: String,
    #[command(flatten)]
    pub(super) data: DataArgs,
}

/// The longest time for which old keys remain valid.
const MAX_OVERLAP: Duration = Duration::from_hours(365 * 24);

/// `90s`, `30m`, `24h`, `7d`, or `0`.
fn span(text: &str) -> Result<Duration, String> {
    let seconds = |unit: char| match unit {
        's' => Some(1),
        'm' => Some(60),
        'h' => Some(3_600),
        'd' => Some(86_400),
        _ => None,
    };
    let wrong = || "expected 0 or a duration such as 30m, 12h, 7d".to_owned();
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let unit = text.chars().last().and_then(seconds).ok_or_else(wrong)?;
    let number: u64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    let overlap = number.checked_mul(unit).map(Duration::from_secs).ok_or_else(wrong)?;
    if overlap > MAX_OVERLAP {
        return Err("must be at most 365d".to_owned());
    }
    Ok(overlap)
}

fn or_default<T: FromStr>(text: &str) -> Result<Own<T>, String> {
    match text {
        "default" => Ok(Own(None)),
        number => {
            let number =
                number.parse().map_err(|_| "expected a positive integer or default".to_owned())?;
            Ok(Own(Some(number)))
        }
    }
}

fn modes(text: &str) -> Result<Modes, String> {
    match text {
        "all" => Ok(Modes::All),
        "key-pair" => Ok(Modes::KeyPair),
        "access-key" => Ok(Modes::AccessKey),
        _ => Err("expected all, key-pair or access-key".to_owned()),
    }
}

fn encryption(text: &str) -> Result<Encryption, String> {
    match text {
        "optional" => Ok(Encryption::Optional),
        "required" => Ok(Encryption::Required),
        "off" => Ok(Encryption::Off),
        _ => Err("expected optional, required or off".to_owned()),
    }
}

fn several_faces(text: &str) -> Result<Own<SeveralFaces>, String> {
    match SeveralFaces::parse(text) {
        Some(policy) => Ok(Own(Some(policy))),
        None if text == "default" => Ok(Own(None)),
        None => Err("expected largest, refuse or default".to_owned()),
    }
}

fn switch(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("expected on or off".to_owned()),
    }
}

fn fmr_change(text: &str) -> Result<FmrChange, String> {
    if text == "default" {
        return Ok(FmrChange::Default);
    }
    text.parse().map(FmrChange::Own).map_err(|why: NoFmr| format!("{why}; or use default"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_number_with_a_unit() {
        for (text, seconds) in
            [("0", 0), ("90s", 90), ("30m", 1_800), ("24h", 86_400), ("365d", 31_536_000)]
        {
            assert_eq!(span(text), Ok(Duration::from_secs(seconds)));
        }
        for text in ["", "7", "d", "-1d", "7 d", "1w", "366d", "99999999999999999999d", "é"] {
            assert!(span(text).is_err(), "{text}");
        }
    }
}
