//! `visavis client show`: the settings of a client as they apply, its keys and its use.

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::args::ShowArgs;
use crate::{
    clients::{ClientInfo, ClientPolicy, Clients, Encryption, Modes, iso_time, printable},
    clock::Clock,
    compare::SeveralFaces,
    config::Config,
};

/// What is shown. A setting that the client does not have is that of the installation.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownClient {
    client_id: String,
    name: String,
    shard: u32,
    enabled: bool,
    created: String,
    last_used: Option<String>,
    extras: bool,
    modes: Modes,
    encryption: Encryption,
    rate_per_s: Effective<u32>,
    burst: Effective<u32>,
    /// `None`: unlimited.
    daily_quota: Option<u32>,
    /// `None` without a quota: nothing is counted then.
    comparisons_today: Option<i64>,
    fmr: Effective<f64>,
    document_fmr: Effective<f64>,
    several_faces: Effective<SeveralFaces>,
    keys: Vec<ShownKeys>,
}

/// The value that applies.
#[derive(Serialize)]
struct Effective<T> {
    value: T,
    /// Whether the client has it of its own.
    own: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownKeys {
    version: u32,
    access_key: String,
    /// `current`, `overlap` or `expired`.
    state: &'static str,
    valid_until: Option<String>,
}

pub(super) async fn show(clients: &Clients, config: &Config, args: &ShowArgs) -> Result<()> {
    let (store, client_id) = clients.resolve(&args.name).await?;
    let stored = store.get(&client_id).await?.context("the client was deleted meanwhile")?;
    let mut listed = clients.list().await?.into_iter();
    let (shard, info) = listed
        .find(|(_, client)| client.client_id == client_id)
        .context("the client was deleted meanwhile")?;
    let now = Clock::System.now();
    let keys = stored.keys.iter().map(|set| ShownKeys {
        version: set.version,
        access_key: set.access_key.clone(),
        state: match set.expires_at {
            None => "current",
            Some(_) if set.is_valid(now) => "overlap",
            Some(_) => "expired",
        },
        valid_until: set.expires_at.map(iso_time),
    });
    let shown = shown(config, shard, &info, keys.collect())?;
    if args.json {
        out!("{}", serde_json::to_string_pretty(&shown)?);
    } else {
        shown.print();
    }
    Ok(())
}

fn shown(
    config: &Config,
    shard: u32,
    info: &ClientInfo,
    keys: Vec<ShownKeys>,
) -> Result<ShownClient> {
    let ClientPolicy { rate_per_s, burst, daily_quota, modes, encryption, several_faces } =
        info.policy;
    let defaults = config.compare.fmr_settings()?;
    let document_fmr = info.fmr.document_fmr.or(info.fmr.fmr);
    Ok(ShownClient {
        client_id: info.client_id.clone(),
        name: info.name.clone(),
        shard,
        enabled: info.disabled_at.is_none(),
        created: iso_time(info.created_at),
        last_used: info.last_used_at.map(iso_time),
        extras: info.extras,
        modes,
        encryption,
        rate_per_s: effective(rate_per_s.map(u32::from), config.http.client_rate_per_s),
        burst: effective(burst.map(u32::from), config.http.client_burst),
        daily_quota: daily_quota.map(u32::from),
        comparisons_today: daily_quota.map(|_| info.comparisons_today),
        fmr: effective(info.fmr.fmr.map(f64::from), defaults.fmr().value()),
        document_fmr: effective(document_fmr.map(f64::from), defaults.for_documents().value()),
        several_faces: effective(several_faces, config.compare.several_faces),
        keys,
    })
}

fn effective<T>(own: Option<T>, default: T) -> Effective<T> {
    Effective { own: own.is_some(), value: own.unwrap_or(default) }
}

impl ShownClient {
    fn print(&self) {
        let line = |name: &str, value: &str| out!("{name:<20} {value}");
        line("Client-Id", &self.client_id);
        line("Name", &printable(&self.name));
        line("Database", &self.shard.to_string());
        line("State", if self.enabled { "enabled" } else { "disabled" });
        line("Created", &self.created);
        line("Last used", self.last_used.as_deref().unwrap_or("never, as far as is known"));
        line("Response fields", if self.extras { "all" } else { "only the documented ones" });
        line(
            "Signing",
            match self.modes {
                Modes::All => "key pair or access key",
                Modes::KeyPair => "key pair",
                Modes::AccessKey => "access key",
            },
        );
        line(
            "Encryption",
            match self.encryption {
                Encryption::Optional => "optional",
                Encryption::Required => "required",
                Encryption::Off => "off",
            },
        );
        let rate = match self.rate_per_s.value {
            0 => "unlimited".to_owned(),
            rate => format!("{rate} requests/s per process"),
        };
        line("Rate", &self.rate_per_s.marked(&rate, "http.client_rate_per_s"));
        let burst = format!("{} requests", self.burst.value);
        line("Burst", &self.burst.marked(&burst, "http.client_burst"));
        line(
            "Daily quota",
            &match (self.daily_quota, self.comparisons_today) {
                (Some(quota), Some(used)) => {
                    format!("{quota} comparisons, {used} used today (UTC)")
                }
                _ => "unlimited, not counted".to_owned(),
            },
        );
        line("False match rate", &self.fmr.rate("compare.fmr"));
        line("  for documents", &self.document_fmr.rate("compare.document_fmr, compare.fmr"));
        let several =
            if self.several_faces.value == SeveralFaces::Largest { "largest" } else { "refuse" };
        line("Several faces", &self.several_faces.marked(several, "compare.several_faces"));
        for keys in &self.keys {
            let until = keys.valid_until.as_ref().map(|until| format!(", until {until}"));
            let until = until.unwrap_or_default();
            let ShownKeys { version, access_key, state, .. } = keys;
            line(&format!("Keys v{version}"), &format!("{state}{until}, access key {access_key}"));
        }
    }
}

impl<T> Effective<T> {
    /// A value, with the setting that it comes from.
    fn marked(&self, value: &str, setting: &str) -> String {
        if self.own { value.to_owned() } else { format!("{value} (default: {setting})") }
    }
}

impl Effective<f64> {
    fn rate(&self, setting: &str) -> String {
        self.marked(&format!("{:e}", self.value), setting)
    }
}
