//! The console's own client, as which it calls the gateway. It is in the client table like any
//! other, so its signature is checked, its limits apply, and it can be disabled.

use std::{sync::Arc, time::Instant};

use axum::{
    body::{Body, to_bytes},
    http::Request,
};
use serde::Serialize;
use tower::ServiceExt as _;
use visavis_signing::{Content, format_time, mac_header, parse_mac};

use super::{Console, error::ConsoleError};
use crate::{
    clients::{
        CONSOLE, Caller, ClientError, ClientPolicy, Clients, KeySet, MadeKeys, NewClient,
        new_client_id,
    },
    compare::ClientFmr,
};

/// A request and its response as they were on the wire.
#[derive(Debug)]
pub(super) struct ApiCall {
    /// The headers that were sent.
    pub(super) sent: Vec<(&'static str, String)>,
    /// The headers of the response.
    pub(super) received: Vec<(String, String)>,
    /// The body of the response.
    pub(super) body: String,
    /// The HTTP status of the response.
    pub(super) status: u16,
    /// Whether the signature of the response is valid for this client's secret.
    pub(super) signature_valid: bool,
    /// How long it took.
    pub(super) elapsed_ms: f64,
}

/// A header line.
#[derive(Debug, Serialize)]
pub(super) struct HeaderLine<'a> {
    pub(super) name: &'a str,
    pub(super) value: &'a str,
}

impl Console {
    /// The console's client, created on first use.
    pub(super) async fn own_client(&self, clients: &Clients) -> Result<Arc<Caller>, ConsoleError> {
        let found = clients.resolve(CONSOLE).await;
        let client_id = match found {
            Ok((_, client_id)) => client_id,
            Err(ClientError::Unknown(_)) => self.create_own_client(clients).await?,
            Err(error) => return Err(error.into()),
        };
        self.parts.app.clients.find(&client_id).await?.ok_or(ConsoleError::UnknownClient)
    }

    async fn create_own_client(&self, clients: &Clients) -> Result<String, ConsoleError> {
        let _guard = self.creation.lock().await;
        if let Ok((_, client_id)) = clients.resolve(CONSOLE).await {
            return Ok(client_id);
        }
        let keys = make_keys(None).await?;
        let client_id = new_client_id()?;
        let new = NewClient {
            client_id: &client_id,
            name: CONSOLE,
            keys: keys.to_store(),
            extras: true,
            fmr: ClientFmr::default(),
            policy: ClientPolicy::default(),
        };
        match clients.add(&new, None).await {
            Ok(_) => Ok(client_id),
            // Another process was first.
            Err(ClientError::NameTaken(_)) => Ok(clients.resolve(CONSOLE).await?.1),
            Err(error) => Err(error.into()),
        }
    }

    /// Signs a request in AK/SK mode, hands it to the gateway of this process, and checks the
    /// response.
    pub(super) async fn call(
        &self,
        caller: &Caller,
        path: &'static str,
        body: String,
    ) -> Result<ApiCall, ConsoleError> {
        let gateway = self.gateway.clone().ok_or(ConsoleError::NoFrontEnd)?;
        let keys = caller.newest().ok_or(ConsoleError::Internal)?;
        let time = format_time(self.parts.app.clock.now_utc());
        let content =
            Content { uri: path, client_id: &caller.client_id, time: &time, body: body.as_bytes() };
        let sent = vec![
            ("Client-Id", caller.client_id.clone()),
            ("Request-Time", time.clone()),
            ("Content-Type", "application/json; charset=UTF-8".to_owned()),
            ("Auth-Type", "AKSK".to_owned()),
            ("Access-Key", keys.access_key.clone()),
            ("Signature", mac_header(&keys.secret_key.sign(&content))),
        ];
        let mut request = Request::post(path);
        for (name, value) in &sent {
            request = request.header(*name, value);
        }
        let request = request.body(Body::from(body)).map_err(|e| ConsoleError::internal(&e))?;
        let begun = Instant::now();
        let Ok(response) = gateway.oneshot(request).await;
        let elapsed_ms = begun.elapsed().as_secs_f64() * 1_000.0;
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, usize::MAX).await.map_err(|e| ConsoleError::internal(&e))?;
        let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let signature_valid =
            header("signature").zip(header("response-time")).is_some_and(|(signature, time)| {
                is_signed(
                    keys,
                    signature,
                    &Content { uri: path, client_id: &caller.client_id, time, body: &body },
                )
            });
        let received = parts.headers.iter().map(|(name, value)| {
            (title_case(name.as_str()), String::from_utf8_lossy(value.as_bytes()).into_owned())
        });
        Ok(ApiCall {
            received: received.collect(),
            body: String::from_utf8_lossy(&body).into_owned(),
            status: parts.status.as_u16(),
            sent,
            signature_valid,
            elapsed_ms,
        })
    }
}

fn is_signed(keys: &KeySet, signature: &str, content: &Content<'_>) -> bool {
    parse_mac(signature).is_ok_and(|mac| keys.secret_key.verify(content, &mac).is_ok())
}

/// A header name as the server writes it in HTTP/1.1.
fn title_case(name: &str) -> String {
    let part = |part: &str| {
        let mut characters = part.chars();
        let first = characters.next().map(|first| first.to_ascii_uppercase());
        first.into_iter().chain(characters).collect::<String>()
    };
    name.split('-').map(part).collect::<Vec<_>>().join("-")
}

/// Makes keys outside of the threads that serve connections: RSA keys take long.
pub(super) async fn make_keys(
    given: Option<visavis_signing::ClientKey>,
) -> Result<MadeKeys, ConsoleError> {
    let made = tokio::task::spawn_blocking(move || MadeKeys::make(given)).await;
    Ok(made.map_err(|e| ConsoleError::internal(&e))??)
}
