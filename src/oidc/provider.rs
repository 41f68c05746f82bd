//! The requests of a login: to the browser, and to the provider.

use std::{
    path::PathBuf,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use aws_lc_rs::digest::{SHA256, digest};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use ureq::{
    Agent, Body,
    http::{Response, StatusCode},
};
use url::{Url, form_urlencoded::byte_serialize};
use zeroize::Zeroizing;

use super::{
    claims::{Claims, Identity, claim, texts},
    error::OidcError,
    id_token::{Expected, KeySet, verify},
    metadata::{Metadata, has_tls},
};
use crate::{bearer::random_bearer, outgoing, secret::SecretSource};

/// Time for one request to the provider.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Longer responses are refused.
const MAX_RESPONSE_BYTES: u64 = 256 << 10;
/// How long its metadata are used: short, so that no one is sent to a provider that is away,
const METADATA_AGE: Duration = Duration::from_secs(5);
/// and how long it is not asked for them after a failure.
const PAUSE: Duration = Duration::from_secs(2);

/// How to reach a provider, and what its claims mean.
#[derive(Debug, Clone)]
pub struct ProviderSettings {
    /// The issuer, as the provider writes it.
    pub(crate) issuer: String,
    /// The client that the provider knows.
    pub(crate) client_id: String,
    /// Its secret; `None` for a public client.
    pub(crate) client_secret: Option<SecretSource>,
    /// PEM file with the authorities to trust instead of those of the operating system.
    pub(crate) ca_file: Option<PathBuf>,
    /// Scopes besides `openid`.
    pub(crate) scopes: Vec<String>,
    /// The claim with the name of a person.
    pub(crate) name_claim: String,
    /// The claim with the groups of a person.
    pub(crate) groups_claim: String,
}

/// A login that has begun; the browser keeps it, sealed, until it comes back from the provider.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct LoginAttempt {
    state: Zeroizing<String>,
    nonce: Zeroizing<String>,
    verifier: Zeroizing<String>,
    redirect_uri: String,
}

/// What the browser brings back.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Returned {
    /// Names the attempt.
    state: String,
    /// The authorization code.
    code: Zeroizing<String>,
    /// The issuer (RFC 9207); empty if the provider does not name it.
    #[serde(default)]
    iss: String,
    /// An error code instead of the code; empty without an error.
    #[serde(default)]
    error: String,
}

/// A provider at which people log in.
#[derive(Debug)]
pub struct Provider {
    settings: ProviderSettings,
    agent: Agent,
    /// Held during a request, so that the provider is asked once however many wait.
    metadata: Mutex<Option<LastAnswer>>,
}

/// What the last request for the metadata gave, and when.
type LastAnswer = (Result<Metadata, OidcError>, Instant);

/// A response of the token endpoint.
#[derive(Deserialize)]
struct Tokens {
    id_token: Zeroizing<String>,
    access_token: Option<Zeroizing<String>>,
}

impl LoginAttempt {
    /// A new one; `redirect_uri` is where the provider sends the browser.
    ///
    /// # Errors
    /// [`OidcError::Random`].
    pub(crate) fn new(redirect_uri: String) -> Result<Self, OidcError> {
        Ok(Self {
            state: random_bearer()?,
            nonce: random_bearer()?,
            verifier: random_bearer()?,
            redirect_uri,
        })
    }

    /// Whether a browser came back from this attempt.
    pub(crate) fn is_of(&self, returned: &Returned) -> bool {
        *self.state == returned.state
    }
}

impl Provider {
    /// A provider, which is not asked yet.
    ///
    /// # Errors
    /// [`OidcError::Unusable`] when the file of authorities cannot be read.
    pub fn new(settings: ProviderSettings) -> Result<Self, OidcError> {
        let authorities = settings.ca_file.as_deref().map(outgoing::authorities).transpose();
        let unusable = |error| OidcError::Unusable(format!("oidc.ca_file: {error}"));
        let mut agent = outgoing::agent(authorities.map_err(unusable)?);
        if !has_tls(&settings.issuer) {
            // What has no TLS must not leave the machine.
            agent = agent.proxy(None);
        }
        let agent = agent
            .timeout_global(Some(TIMEOUT))
            .http_status_as_error(false)
            // Codes and secrets go to the endpoints of the metadata, and nowhere else.
            .max_redirects(0)
            .build()
            .new_agent();
        Ok(Self { settings, agent, metadata: Mutex::default() })
    }

    /// Where the browser goes to log in.
    ///
    /// # Errors
    /// When the metadata cannot be had.
    pub(crate) fn authorization_url(&self, attempt: &LoginAttempt) -> Result<Url, OidcError> {
        let mut url = self.metadata()?.authorization_endpoint;
        let challenge = digest(&SHA256, attempt.verifier.as_bytes());
        let mut scopes = vec!["openid"];
        scopes.extend(self.settings.scopes.iter().map(String::as_str));
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.settings.client_id)
            .append_pair("redirect_uri", &attempt.redirect_uri)
            .append_pair("scope", &scopes.join(" "))
            .append_pair("state", &attempt.state)
            .append_pair("nonce", &attempt.nonce)
            .append_pair("code_challenge", &URL_SAFE_NO_PAD.encode(challenge))
            .append_pair("code_challenge_method", "S256");
        Ok(url)
    }

    /// Where a browser ends its login at the provider; `None` if the provider has no such page.
    ///
    /// # Errors
    /// When the metadata cannot be had.
    pub(crate) fn logout_url(&self) -> Result<Option<Url>, OidcError> {
        let mut url = self.metadata()?.end_session_endpoint;
        if let Some(url) = &mut url {
            url.query_pairs_mut().append_pair("client_id", &self.settings.client_id);
        }
        Ok(url)
    }

    /// The issuer, which names the provider.
    pub(crate) fn issuer(&self) -> &str {
        &self.settings.issuer
    }

    /// Exchanges the code that a browser brought back, verifies the ID token and reads its claims.
    /// A claim that the token lacks is asked for at the user info endpoint.
    ///
    /// # Errors
    /// [`OidcError::Refused`] for a code that was used or has expired; or another failure.
    pub(crate) fn log_in(
        &self,
        attempt: &LoginAttempt,
        returned: &Returned,
    ) -> Result<Identity, OidcError> {
        if !returned.error.is_empty() {
            return Err(OidcError::Refused(printable(&returned.error)));
        }
        let metadata = self.metadata()?;
        let issuer = &self.settings.issuer;
        let is_named =
            !returned.iss.is_empty() || metadata.authorization_response_iss_parameter_supported;
        if is_named && returned.iss != *issuer {
            return Err(OidcError::unusable("the response", "it is of another issuer (iss)"));
        }
        let tokens = self.exchange(&metadata, attempt, &returned.code)?;
        let keys: KeySet = body(self.get(metadata.jwks_uri.as_str(), None)?, "the key set")?;
        let expected =
            Expected { issuer, client_id: &self.settings.client_id, nonce: &attempt.nonce };
        let claims = verify(&tokens.id_token, &keys, &expected)?;
        let mut info = Claims::new();
        if let (Some(endpoint), Some(token), true) =
            (&metadata.userinfo_endpoint, &tokens.access_token, self.lacks_any(&claims))
        {
            info = body(self.get(endpoint.as_str(), Some(token))?, "the user info")?;
            if info.get("sub") != claims.get("sub") {
                return Err(OidcError::unusable("the user info", "it is of another person (sub)"));
            }
        }
        // What the token says is signed, so it counts first.
        let find = |name: &str| claim(&claims, name).or_else(|| claim(&info, name));
        let subject = claims.get("sub").and_then(Value::as_str).unwrap_or_default().to_owned();
        let name = find(&self.settings.name_claim).and_then(Value::as_str);
        let groups = find(&self.settings.groups_claim).map(texts).unwrap_or_default();
        Ok(Identity { subject, name: name.map(str::to_owned), groups })
    }

    /// Whether the provider responds and the settings can be used; in words.
    ///
    /// # Errors
    /// What is wrong.
    pub(crate) fn check(&self) -> Result<String, OidcError> {
        self.secret()?;
        let metadata = self.metadata()?;
        let keys: KeySet = body(self.get(metadata.jwks_uri.as_str(), None)?, "the key set")?;
        if keys.is_empty() {
            return Err(OidcError::unusable("the key set", "it has no key for signatures"));
        }
        Ok(format!("{} responds; its ID tokens can be verified", self.settings.issuer))
    }

    fn lacks_any(&self, claims: &Claims) -> bool {
        let names = [&self.settings.name_claim, &self.settings.groups_claim];
        names.iter().any(|name| claim(claims, name).is_none())
    }

    fn secret(&self) -> Result<Option<Zeroizing<String>>, OidcError> {
        let secret = self.settings.client_secret.as_ref().map(SecretSource::read_line);
        let unusable = |error| OidcError::Unusable(format!("oidc client secret: {error}"));
        secret.transpose().map_err(unusable)
    }

    fn metadata(&self) -> Result<Metadata, OidcError> {
        let mut last = self.metadata.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((answer, at)) = &*last
            && at.elapsed() < if answer.is_ok() { METADATA_AGE } else { PAUSE }
        {
            return answer.clone();
        }
        let answer = self
            .get(&Metadata::url(&self.settings.issuer), None)
            .and_then(|response| bytes(response, "the metadata"))
            .and_then(|bytes| Metadata::read(&bytes, &self.settings.issuer));
        *last = Some((answer.clone(), Instant::now()));
        answer
    }

    fn exchange(
        &self,
        metadata: &Metadata,
        attempt: &LoginAttempt,
        code: &str,
    ) -> Result<Tokens, OidcError> {
        let client_id = self.settings.client_id.as_str();
        let secret = self.secret()?;
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", &attempt.redirect_uri),
            ("code_verifier", &attempt.verifier),
        ];
        let mut request = self.agent.post(metadata.token_endpoint.as_str());
        match &secret {
            Some(secret) if metadata.takes_basic() => {
                request = request.header("authorization", &*basic(client_id, secret));
            }
            Some(secret) => form.extend([("client_id", client_id), ("client_secret", secret)]),
            None => form.push(("client_id", client_id)),
        }
        let response = request
            .header("accept", "application/json")
            .send_form(form)
            .map_err(|error| away(&error))?;
        let status = response.status();
        if status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS {
            return Err(match error_code(response).as_str() {
                code @ "invalid_grant" => OidcError::Refused(code.to_owned()),
                code => OidcError::Unusable(format!(
                    "the OpenID provider refuses this client with {code}: check oidc.client_id and \
                     its secret"
                )),
            });
        }
        body(successful(response, "the token endpoint")?, "the response of the token endpoint")
    }

    fn get(&self, url: &str, token: Option<&str>) -> Result<Response<Body>, OidcError> {
        let mut request = self.agent.get(url).header("accept", "application/json");
        if let Some(token) = token {
            request = request.header("authorization", &*bearer(token));
        }
        successful(request.call().map_err(|error| away(&error))?, url)
    }
}

/// The header of RFC 6749, section 2.3.1.
fn basic(client_id: &str, secret: &str) -> Zeroizing<String> {
    let encoded = |text: &str| Zeroizing::new(byte_serialize(text.as_bytes()).collect::<String>());
    let pair = Zeroizing::new(format!("{}:{}", &*encoded(client_id), &*encoded(secret)));
    Zeroizing::new(format!("Basic {}", &*Zeroizing::new(STANDARD.encode(pair.as_bytes()))))
}

fn bearer(token: &str) -> Zeroizing<String> {
    Zeroizing::new(format!("Bearer {token}"))
}

/// An error of the connection. Its text has the address at most.
fn away(error: &ureq::Error) -> OidcError {
    OidcError::Away(error.to_string())
}

fn successful(response: Response<Body>, what: &str) -> Result<Response<Body>, OidcError> {
    let status = response.status();
    if status.is_success() {
        Ok(response)
    } else {
        Err(OidcError::Away(format!("{what}: HTTP {}", status.as_u16())))
    }
}

fn bytes(mut response: Response<Body>, what: &str) -> Result<Zeroizing<Vec<u8>>, OidcError> {
    let read = response.body_mut().with_config().limit(MAX_RESPONSE_BYTES).read_to_vec();
    read.map(Zeroizing::new).map_err(|error| OidcError::Away(format!("{what}: {error}")))
}

fn body<T: DeserializeOwned>(response: Response<Body>, what: &str) -> Result<T, OidcError> {
    // The error of a parser may quote a token: only its place is reported.
    serde_json::from_slice(&bytes(response, what)?).map_err(|error| {
        OidcError::unusable(what, format!("not the expected JSON, column {}", error.column()))
    })
}

/// The error code of a token endpoint; its status without one.
fn error_code(response: Response<Body>) -> String {
    let status = response.status().as_u16();
    let said = body::<Value>(response, "the error").ok();
    let code = said.as_ref().and_then(|said| said["error"].as_str()).unwrap_or_default();
    if code.is_empty() { format!("HTTP {status}") } else { printable(code) }
}

/// An error code, which has only printable ASCII (RFC 6749, section 5.2), as it may be logged.
fn printable(code: &str) -> String {
    code.chars().filter(char::is_ascii_graphic).take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_id_and_secret_are_encoded_before_they_are_joined() {
        let header = basic("a b", "s:é");
        let decoded = STANDARD.decode(header.strip_prefix("Basic ").unwrap()).unwrap();
        assert_eq!(String::from_utf8(decoded).unwrap(), "a+b:s%3A%C3%A9");
    }

    #[test]
    fn no_two_attempts_are_alike() {
        let attempt = || LoginAttempt::new("https://a.example/console/".to_owned()).unwrap();
        let (a, b) = (attempt(), attempt());
        let of = |attempt: &LoginAttempt| {
            [attempt.state.clone(), attempt.nonce.clone(), attempt.verifier.clone()]
        };
        assert!(of(&a).iter().all(|value| !of(&b).contains(value) && value.len() == 43));
        assert_ne!(a.state, a.nonce);
        assert_ne!(a.nonce, a.verifier);
    }
}
