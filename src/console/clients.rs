//! The apps that may call, managed as `visavis client` does it.

use std::{str::FromStr, time::Duration};

use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use visavis_signing::{ClientKey, Credentials};

use super::{
    Shared,
    api::{Posted, Told},
    audit::{Act, audit},
    error::Refused,
    own_client::make_keys,
};
use crate::{
    clients::{
        CONSOLE, ClientChange, ClientInfo, ClientPolicy, Encryption, FmrChange, Modes, NewClient,
        PolicyChange, check_name, new_client_id,
    },
    clock::UnixMillis,
    compare::{ClientFmr, Fmr},
};

/// What a client gets, as the form has it: a field that is absent stays as it is. A further setting is one more
/// member here, one more line in [`change`](Settings::change), and one in `FIELDS` of `assets/clients.js`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(super) struct Settings {
    extras: Option<bool>,
    /// A rate, or empty for the installation's.
    fmr: Option<String>,
    /// The same for documents.
    document_fmr: Option<String>,
    /// A whole number, or empty for the installation's.
    rate_per_s: Option<String>,
    /// The same.
    burst: Option<String>,
    /// A whole number, or empty for any number of comparisons.
    daily_quota: Option<String>,
    modes: Option<Modes>,
    encryption: Option<Encryption>,
}

impl Settings {
    fn change(&self) -> Result<ClientChange, Refused> {
        Ok(ClientChange {
            extras: self.extras,
            fmr: self.fmr.as_deref().map(rate).transpose()?,
            document_fmr: self.document_fmr.as_deref().map(rate).transpose()?,
            policy: PolicyChange {
                rate_per_s: self.rate_per_s.as_deref().map(number).transpose()?,
                burst: self.burst.as_deref().map(number).transpose()?,
                daily_quota: self.daily_quota.as_deref().map(number).transpose()?,
                modes: self.modes,
                encryption: self.encryption,
            },
        })
    }
}

fn rate(text: &str) -> Result<FmrChange, Refused> {
    match text.trim() {
        "" => Ok(FmrChange::Default),
        text => text.parse().map(FmrChange::Own).map_err(|_| Refused::RateUnfit),
    }
}

fn number<T: FromStr>(text: &str) -> Result<Option<T>, Refused> {
    match text.trim() {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|_| Refused::NumberUnfit),
    }
}

fn own(change: Option<FmrChange>) -> Option<Fmr> {
    match change {
        Some(FmrChange::Own(fmr)) => Some(fmr),
        Some(FmrChange::Default) | None => None,
    }
}

/// All clients.
#[derive(Serialize)]
pub(super) struct Listed {
    clients: Vec<ListedClient>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ListedClient {
    #[serde(flatten)]
    client: ClientInfo,
    shard: u32,
    /// Whether it is the one that the console calls as.
    own: bool,
}

pub(super) async fn list(State(console): State<Shared>) -> Result<Told<Listed>, Refused> {
    let clients = console.parts.clients.list().await?;
    let listed = clients.into_iter().map(|(shard, client)| {
        let own = client.name == CONSOLE;
        ListedClient { client, shard, own }
    });
    Ok(Told(Listed { clients: listed.collect() }))
}

/// A client to be registered.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Added {
    name: String,
    /// The app's own public key; empty to have a pair made for it.
    #[serde(default)]
    public_key: String,
    #[serde(default)]
    settings: Settings,
}

/// Keys that are shown this once.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Handed {
    name: String,
    /// The file that `visavis client add --out` writes.
    credentials: Credentials,
    /// Until when the earlier keys stay good; absent if there are none, or not any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    earlier_until: Option<UnixMillis>,
}

pub(super) async fn add(
    State(console): State<Shared>,
    Posted(added): Posted<Added>,
) -> Result<Told<Handed>, Refused> {
    check_name(&added.name)?;
    if added.name == CONSOLE {
        return Err(Refused::NameOwn);
    }
    let change = added.settings.change()?;
    let policy = change.policy.applied_to(ClientPolicy::default());
    if policy.is_contradictory() {
        return Err(Refused::Contradiction);
    }
    let keys = make_keys(console.given(&added.public_key).await?).await?;
    let credentials = keys.credentials(new_client_id()?, 1)?;
    let new = NewClient {
        client_id: &credentials.client_id,
        name: &added.name,
        keys: keys.to_store(),
        extras: change.extras.unwrap_or(true),
        fmr: ClientFmr { fmr: own(change.fmr), document_fmr: own(change.document_fmr) },
        policy,
    };
    console.parts.clients.add(&new, None).await?;
    audit(&Act::ClientAdded { client: &credentials.client_id });
    Ok(Told(Handed { name: added.name, credentials, earlier_until: None }))
}

/// New keys for a client.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Rotated {
    /// How long the old ones stay good.
    overlap_s: u32,
    #[serde(default)]
    public_key: String,
}

pub(super) async fn rotate(
    State(console): State<Shared>,
    Path(id): Path<String>,
    Posted(rotated): Posted<Rotated>,
) -> Result<Told<Handed>, Refused> {
    /// Longer than any change-over takes.
    const LONGEST: Duration = Duration::from_hours(24 * 365);
    let overlap = Duration::from_secs(rotated.overlap_s.into());
    if overlap > LONGEST {
        return Err(Refused::OverlapUnfit);
    }
    let (store, client_id) = console.parts.clients.resolve(&id).await?;
    let keys = make_keys(console.given(&rotated.public_key).await?).await?;
    let overlap_ms = i64::from(rotated.overlap_s) * 1_000;
    let version = store.rotate(&client_id, &keys.to_store(), overlap_ms).await?;
    audit(&Act::KeysRotated { client: &client_id });
    let earlier_until = (overlap_ms > 0).then(|| console.parts.app.clock.now() + overlap_ms);
    let name = console.name_of(&client_id).await?;
    let credentials = keys.credentials(client_id, version)?;
    Ok(Told(Handed { name, credentials, earlier_until }))
}

pub(super) async fn change(
    State(console): State<Shared>,
    Path(id): Path<String>,
    Posted(settings): Posted<Settings>,
) -> Result<Told<Listed>, Refused> {
    let (store, client_id) = console.parts.clients.resolve(&id).await?;
    store.change(&client_id, &settings.change()?).await?;
    audit(&Act::ClientChanged { client: &client_id });
    list(State(console)).await
}

pub(super) async fn disable(
    State(console): State<Shared>,
    Path(id): Path<String>,
) -> Result<Told<Listed>, Refused> {
    let (store, client_id) = console.parts.clients.resolve(&id).await?;
    store.set_disabled(&client_id, true).await?;
    audit(&Act::ClientDisabled { client: &client_id });
    list(State(console)).await
}

pub(super) async fn enable(
    State(console): State<Shared>,
    Path(id): Path<String>,
) -> Result<Told<Listed>, Refused> {
    let (store, client_id) = console.parts.clients.resolve(&id).await?;
    store.set_disabled(&client_id, false).await?;
    audit(&Act::ClientEnabled { client: &client_id });
    list(State(console)).await
}

impl super::Console {
    async fn name_of(&self, client_id: &str) -> Result<String, Refused> {
        let clients = self.parts.clients.list().await?;
        let found = clients.into_iter().find(|(_, client)| client.client_id == client_id);
        found.map(|(_, client)| client.name).ok_or(Refused::UnknownClient)
    }

    /// The public key of a form, if it has one.
    async fn given(&self, text: &str) -> Result<Option<ClientKey>, Refused> {
        if text.trim().is_empty() {
            return Ok(None);
        }
        let key = ClientKey::from_text(text).map_err(|_| Refused::KeyUnfit)?;
        self.parts.clients.check_key(&key).await?;
        Ok(Some(key))
    }
}
