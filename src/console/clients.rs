//! Registered clients: the same actions as `visavis client`.

use std::{num::NonZeroU32, str::FromStr, time::Duration};

use axum::{
    Extension,
    extract::{Path, State},
};
use serde::{Deserialize, Serialize};
use visavis_signing::{ClientKey, Credentials};

use super::{
    Shared,
    access::Login,
    api::{JsonBody, NoStoreJson},
    audit::{AuditEvent, audit},
    error::ConsoleError,
    own_client::make_keys,
};
use crate::{
    clients::{
        CONSOLE, ClientChange, ClientInfo, ClientPolicy, ClientStore, Clients, Encryption,
        FmrChange, Modes, NewClient, PolicyChange, check_name, new_client_id,
    },
    clock::UnixMillis,
    compare::{ClientFmr, Fmr, SeveralFaces},
    http::GatewayConfig,
};

/// The settings of a client in the form of the page; an absent field is not changed. A new setting
/// needs a field here, a line in [`change`](ClientSettings::change), and one in `FIELDS` of
/// `assets/clients.js`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(super) struct ClientSettings {
    extras: Option<bool>,
    /// A false match rate, or empty for the default of the installation.
    fmr: Option<String>,
    /// The same for documents.
    document_fmr: Option<String>,
    /// A positive integer, or empty for the default of the installation.
    rate_per_s: Option<String>,
    /// The same.
    burst: Option<String>,
    /// A positive integer, or empty for no quota.
    daily_quota: Option<String>,
    modes: Option<Modes>,
    encryption: Option<Encryption>,
    /// A policy, or empty for the default of the installation.
    several_faces: Option<String>,
}

impl ClientSettings {
    fn change(&self) -> Result<ClientChange, ConsoleError> {
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
                several_faces: self.several_faces.as_deref().map(several_faces).transpose()?,
            },
        })
    }
}

fn rate(text: &str) -> Result<FmrChange, ConsoleError> {
    match text.trim() {
        "" => Ok(FmrChange::Default),
        text => text.parse().map(FmrChange::Own).map_err(|_| ConsoleError::InvalidRate),
    }
}

fn number<T: FromStr>(text: &str) -> Result<Option<T>, ConsoleError> {
    match text.trim() {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|_| ConsoleError::InvalidNumber),
    }
}

fn several_faces(text: &str) -> Result<Option<SeveralFaces>, ConsoleError> {
    match text {
        "" => Ok(None),
        text => SeveralFaces::parse(text).map(Some).ok_or(ConsoleError::Malformed),
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
pub(super) struct ClientList {
    clients: Vec<ListedClient>,
    defaults: Defaults,
}

/// What applies to a client without a value of its own.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Defaults {
    fmr: Fmr,
    document_fmr: Fmr,
    /// Absent: unlimited.
    rate_per_s: Option<NonZeroU32>,
    burst: NonZeroU32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ListedClient {
    #[serde(flatten)]
    client: ClientInfo,
    shard: u32,
    /// Whether it is the console's own client.
    own: bool,
}

pub(super) async fn list(
    State(console): State<Shared>,
) -> Result<NoStoreJson<ClientList>, ConsoleError> {
    let clients = console.parts.clients.list().await?;
    let listed = clients.into_iter().map(|(shard, client)| {
        let own = client.name == CONSOLE;
        ListedClient { client, shard, own }
    });
    let GatewayConfig { fmr, gate, .. } = &*console.parts.app.config;
    let defaults = Defaults {
        fmr: fmr.fmr(),
        document_fmr: fmr.for_documents(),
        rate_per_s: gate.client_rate.map(|rate| rate.per_second),
        burst: gate.client_rate.map_or(gate.client_burst, |rate| rate.burst),
    };
    Ok(NoStoreJson(ClientList { clients: listed.collect(), defaults }))
}

/// A client to be registered.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct NewClientForm {
    name: String,
    /// The app's public key; empty to generate a key pair.
    #[serde(default)]
    public_key: String,
    #[serde(default)]
    settings: ClientSettings,
}

/// Newly issued keys, which are shown only once.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct IssuedKeys {
    name: String,
    /// The file that `visavis client add --out` writes.
    credentials: Credentials,
    /// When the previous keys expire; absent if no previous keys are valid.
    #[serde(skip_serializing_if = "Option::is_none")]
    earlier_until: Option<UnixMillis>,
}

pub(super) async fn add(
    State(console): State<Shared>,
    Extension(login): Extension<Login>,
    JsonBody(added): JsonBody<NewClientForm>,
) -> Result<NoStoreJson<IssuedKeys>, ConsoleError> {
    check_name(&added.name)?;
    if added.name == CONSOLE {
        return Err(ConsoleError::ReservedName);
    }
    let change = added.settings.change()?;
    let policy = change.policy.applied_to(ClientPolicy::default());
    if policy.is_contradictory() {
        return Err(ConsoleError::Contradiction);
    }
    let keys = make_keys(console.parse_key(&added.public_key).await?).await?;
    let credentials = keys.credentials(new_client_id()?, 1)?;
    let new = NewClient {
        client_id: &credentials.client_id,
        name: &added.name,
        keys: keys.to_store(),
        extras: change.extras.unwrap_or(true),
        fmr: ClientFmr { fmr: own(change.fmr), document_fmr: own(change.document_fmr) },
        policy,
    };
    console.clients_as(&login).add(&new, None).await?;
    audit(login.name(), &AuditEvent::ClientAdded { client: &credentials.client_id });
    Ok(NoStoreJson(IssuedKeys { name: added.name, credentials, earlier_until: None }))
}

/// New keys for a client.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RotationForm {
    /// How long the old keys remain valid, seconds.
    overlap_s: u32,
    #[serde(default)]
    public_key: String,
}

pub(super) async fn rotate(
    State(console): State<Shared>,
    Extension(login): Extension<Login>,
    Path(id): Path<String>,
    JsonBody(rotated): JsonBody<RotationForm>,
) -> Result<NoStoreJson<IssuedKeys>, ConsoleError> {
    /// The longest overlap.
    const MAX_OVERLAP: Duration = Duration::from_hours(24 * 365);
    let overlap = Duration::from_secs(rotated.overlap_s.into());
    if overlap > MAX_OVERLAP {
        return Err(ConsoleError::OverlapTooLong);
    }
    let (store, client_id) = console.client_as(&login, &id).await?;
    let keys = make_keys(console.parse_key(&rotated.public_key).await?).await?;
    let overlap_ms = i64::from(rotated.overlap_s) * 1_000;
    let version = store.rotate(&client_id, &keys.to_store(), overlap_ms).await?;
    audit(login.name(), &AuditEvent::KeysRotated { client: &client_id });
    let earlier_until = (overlap_ms > 0).then(|| console.parts.app.clock.now() + overlap_ms);
    let name = console.name_of(&client_id).await?;
    let credentials = keys.credentials(client_id, version)?;
    Ok(NoStoreJson(IssuedKeys { name, credentials, earlier_until }))
}

pub(super) async fn change(
    State(console): State<Shared>,
    Extension(login): Extension<Login>,
    Path(id): Path<String>,
    JsonBody(settings): JsonBody<ClientSettings>,
) -> Result<NoStoreJson<ClientList>, ConsoleError> {
    let (store, client_id) = console.client_as(&login, &id).await?;
    store.change(&client_id, &settings.change()?).await?;
    audit(login.name(), &AuditEvent::ClientChanged { client: &client_id });
    list(State(console)).await
}

pub(super) async fn disable(
    State(console): State<Shared>,
    Extension(login): Extension<Login>,
    Path(id): Path<String>,
) -> Result<NoStoreJson<ClientList>, ConsoleError> {
    let (store, client_id) = console.client_as(&login, &id).await?;
    store.set_disabled(&client_id, true).await?;
    audit(login.name(), &AuditEvent::ClientDisabled { client: &client_id });
    list(State(console)).await
}

pub(super) async fn enable(
    State(console): State<Shared>,
    Extension(login): Extension<Login>,
    Path(id): Path<String>,
) -> Result<NoStoreJson<ClientList>, ConsoleError> {
    let (store, client_id) = console.client_as(&login, &id).await?;
    store.set_disabled(&client_id, false).await?;
    audit(login.name(), &AuditEvent::ClientEnabled { client: &client_id });
    list(State(console)).await
}

pub(super) async fn delete(
    State(console): State<Shared>,
    Extension(login): Extension<Login>,
    Path(id): Path<String>,
) -> Result<NoStoreJson<ClientList>, ConsoleError> {
    let (store, client_id) = console.client_as(&login, &id).await?;
    let listed = store.list().await?.into_iter().find(|client| client.client_id == client_id);
    if listed.is_some_and(|client| client.disabled_at.is_none()) {
        return Err(ConsoleError::ActiveClient);
    }
    store.delete(&client_id).await?;
    audit(login.name(), &AuditEvent::ClientDeleted { client: &client_id });
    list(State(console)).await
}

impl super::Console {
    /// The clients, changed by who sent the request.
    pub(super) fn clients_as(&self, login: &Login) -> Clients {
        self.parts.clients.clone().with_actor(&login.actor())
    }

    /// The database of a client, changed by who sent the request, and its Client-Id.
    async fn client_as(
        &self,
        login: &Login,
        id_or_name: &str,
    ) -> Result<(ClientStore, String), ConsoleError> {
        let clients = self.clients_as(login);
        let (store, client_id) = clients.resolve(id_or_name).await?;
        Ok((store.clone(), client_id))
    }

    async fn name_of(&self, client_id: &str) -> Result<String, ConsoleError> {
        let clients = self.parts.clients.list().await?;
        let found = clients.into_iter().find(|(_, client)| client.client_id == client_id);
        found.map(|(_, client)| client.name).ok_or(ConsoleError::UnknownClient)
    }

    /// Parses and checks the public key of a form, if it has one.
    async fn parse_key(&self, text: &str) -> Result<Option<ClientKey>, ConsoleError> {
        if text.trim().is_empty() {
            return Ok(None);
        }
        let key = ClientKey::from_text(text).map_err(|_| ConsoleError::InvalidKey)?;
        self.parts.clients.check_key(&key).await?;
        Ok(Some(key))
    }
}
