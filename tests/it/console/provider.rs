//! Logins at an `OpenID` provider: a fake one behind real HTTP, which can also misbehave.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use aws_lc_rs::{
    digest::{SHA256, digest},
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};
use axum::{
    Router,
    extract::State,
    http::{
        HeaderMap, Method, StatusCode,
        header::{CONTENT_TYPE, LOCATION},
    },
    response::{IntoResponse, Response},
    routing::{get, post},
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, jwk::Jwk};
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    task::{JoinHandle, JoinSet},
};
use url::{Url, form_urlencoded};
use visavis::{
    accounts::{Role, RoleGroups},
    clients::{AuditFilter, Clients},
    clock::Clock,
    config::Config,
    oidc::Provider,
};

use super::{
    ALL, Desk, HOST, Logins, Reply, own,
    people::{PASSWORD, named},
    send_to,
};
use crate::log::hear;

const LOGIN: &str = "/console/api/provider/login";
const SECRET: &str = "s3cret of the client";

/// A provider whose next login is of `claims`.
struct Fake {
    issuer: String,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

struct Shared {
    key: EncodingKey,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    issuer: String,
    /// What goes into the ID token, over what belongs there.
    claims: Value,
    /// What goes into the user info.
    info: Value,
    /// What the token endpoint responds instead of tokens: status and error code.
    failure: Option<(StatusCode, &'static str)>,
    /// Whether a redirect was followed.
    was_followed: bool,
    /// Nonce and challenge of each code that was not exchanged.
    codes: HashMap<String, (String, String)>,
}

impl Shared {
    fn known<T>(&self, what: impl FnOnce(&mut Known) -> T) -> T {
        what(&mut self.known.lock().unwrap())
    }
}

impl Fake {
    async fn start() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let key = EncodingKey::from_ec_der(pair.to_pkcs8v1().unwrap().as_ref());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let claims = json!({ "preferred_username": "carol", "groups": ["staff", "ops"] });
        let known = Known { issuer: issuer.clone(), claims, ..Known::default() };
        let shared = Arc::new(Shared { key, known: Mutex::new(known) });
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(metadata))
            .route("/token", post(token))
            .route("/keys", get(keys))
            .route("/me", get(user_info))
            .route("/elsewhere", get(elsewhere))
            .with_state(Arc::clone(&shared));
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { issuer, shared, server }
    }

    /// A console with this provider.
    async fn desk(&self, groups: RoleGroups) -> Desk {
        let logins = Logins { provider: Some(self.provider()), groups, ..Logins::default() };
        Desk::with(ALL, logins).await
    }

    fn provider(&self) -> Arc<Provider> {
        let variables = [
            ("VISAVIS_OIDC_ISSUER", self.issuer.as_str()),
            ("VISAVIS_OIDC_CLIENT_ID", "console"),
            ("VISAVIS_OIDC_CLIENT_SECRET_COMMAND", "echo s3cret of the client"),
            ("VISAVIS_ADMIN_OPERATOR_GROUPS", "ops"),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let config = Config::load([], variables.into_iter()).unwrap();
        Arc::new(Provider::new(config.oidc.provider().unwrap()).unwrap())
    }

    fn set(&self, name: &str, value: Value) {
        self.shared.known(|known| known.claims[name] = value);
    }

    /// A person logs in on the page where the browser was sent; what the browser brings back.
    fn approve(&self, url: &str) -> Value {
        let url = Url::parse(url).unwrap();
        let sent: HashMap<_, _> = url.query_pairs().into_owned().collect();
        assert_eq!(url.path(), "/authorize");
        for (name, value) in [
            ("response_type", "code"),
            ("client_id", "console"),
            ("redirect_uri", &format!("http://{HOST}/console/")),
            ("scope", "openid profile"),
            ("code_challenge_method", "S256"),
        ] {
            assert_eq!(sent[name], value, "{name}");
        }
        let code = format!("code{}", self.shared.known(|known| known.codes.len()));
        let value = (sent["nonce"].clone(), sent["code_challenge"].clone());
        self.shared.known(|known| known.codes.insert(code.clone(), value));
        json!({ "state": sent["state"], "code": code, "iss": self.issuer })
    }
}

fn respond(body: &Value) -> Response {
    ([(CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

async fn metadata(State(shared): State<Arc<Shared>>) -> Response {
    let issuer = shared.known(|known| known.issuer.clone());
    respond(&json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("{issuer}/token"),
        "jwks_uri": format!("{issuer}/keys"),
        "userinfo_endpoint": format!("{issuer}/me"),
        "end_session_endpoint": format!("{issuer}/end"),
        "authorization_response_iss_parameter_supported": true,
    }))
}

async fn keys(State(shared): State<Arc<Shared>>) -> Response {
    let key = Jwk::from_encoding_key(&shared.key, Algorithm::ES256).unwrap();
    respond(&json!({ "keys": [key] }))
}

async fn token(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: String) -> Response {
    if let Some((status, error)) = shared.known(|known| known.failure) {
        let elsewhere = [(LOCATION, "/elsewhere")];
        return (status, elsewhere, respond(&json!({ "error": error }))).into_response();
    }
    let form: HashMap<_, _> = form_urlencoded::parse(body.as_bytes()).into_owned().collect();
    let basic = STANDARD.encode(format!("console:{}", SECRET.replace(' ', "+")));
    assert_eq!(headers["authorization"], format!("Basic {basic}"));
    assert_eq!(form["grant_type"], "authorization_code");
    assert_eq!(form["redirect_uri"], format!("http://{HOST}/console/"));
    let Some((nonce, challenge)) = shared.known(|known| known.codes.remove(&form["code"])) else {
        let error = json!({ "error": "invalid_grant", "error_description": "used" });
        return (StatusCode::BAD_REQUEST, respond(&error)).into_response();
    };
    let verifier = digest(&SHA256, form["code_verifier"].as_bytes());
    assert_eq!(URL_SAFE_NO_PAD.encode(verifier), challenge);
    let now = Clock::System.now() / 1_000;
    let (issuer, more) = shared.known(|known| (known.issuer.clone(), known.claims.clone()));
    let mut claims = json!({
        "iss": issuer, "aud": "console", "sub": "7", "nonce": nonce, "iat": now, "exp": now + 60,
    });
    for (name, value) in more.as_object().unwrap() {
        claims[name] = value.clone();
    }
    let id_token = encode(&Header::new(Algorithm::ES256), &claims, &shared.key).unwrap();
    respond(&json!({ "id_token": id_token, "access_token": "a", "token_type": "Bearer" }))
}

async fn elsewhere(State(shared): State<Arc<Shared>>) -> StatusCode {
    shared.known(|known| known.was_followed = true);
    StatusCode::OK
}

async fn user_info(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    assert_eq!(headers["authorization"], "Bearer a");
    respond(&shared.known(|known| known.info.clone()))
}

/// The groups of the tests.
fn groups() -> RoleGroups {
    let of = |name: &str| vec![name.to_owned()];
    RoleGroups { viewer: of("staff"), operator: of("ops"), administrator: of("admins") }
}

/// A browser that was sent to the provider: its cookie, and where it was sent.
async fn begin(desk: &Desk) -> (String, String) {
    let reply = desk.post("", "provider", &json!({})).await;
    let url = reply.json()["url"].as_str().unwrap().to_owned();
    (set_cookie(&reply, "visavis-login"), url)
}

/// The cookie of a name that a response sets.
fn set_cookie(reply: &Reply, name: &str) -> String {
    assert_eq!(reply.status, 200, "{}", reply.text);
    let all = reply.headers.get_all("set-cookie").iter().map(|value| value.to_str().unwrap());
    let wanted = all.into_iter().find(|value| value.starts_with(name)).unwrap();
    assert!(wanted.contains("; HttpOnly; SameSite=Strict"), "{wanted}");
    wanted.split(';').next().unwrap().to_owned()
}

impl Desk {
    /// The detail of the newest entry of the audit.
    async fn refusal(&self) -> Value {
        let clients = Clients::from(self.app.clients.clone());
        let audit = clients.audit(&AuditFilter::default(), None, 1).await.unwrap().entries;
        serde_json::from_str(&audit[0].detail).unwrap()
    }
}

async fn log_in(fake: &Fake, desk: &Desk) -> Reply {
    let (cookie, url) = begin(desk).await;
    desk.post(&cookie, "provider/login", &fake.approve(&url)).await
}

async fn session(fake: &Fake, desk: &Desk) -> String {
    set_cookie(&log_in(fake, desk).await, "visavis_console")
}

#[tokio::test]
async fn a_person_of_the_provider_has_the_role_of_their_groups() {
    let fake = Fake::start().await;
    let desk = fake.desk(groups()).await;
    assert_eq!(desk.get("", "login").await.json()["provider"], true);
    let cookie = session(&fake, &desk).await;
    let about = desk.get(&cookie, "about").await.json();
    assert_eq!((&about["user"], &about["login"]), (&json!("carol"), &json!("provider")), "{about}");
    assert_eq!(desk.post(&cookie, "clients", &json!({ "name": "shop" })).await.status, 200);
    assert_eq!(desk.get(&cookie, "users").await.error(), "notAllowed");
    assert_eq!(desk.get(&cookie, "account").await.error(), "noAccount");
    let clients = Clients::from(desk.app.clients.clone());
    let audit = clients.audit(&AuditFilter::default(), None, 100).await.unwrap().entries;
    let login = audit.iter().find(|entry| entry.act == "login").unwrap();
    assert_eq!((login.actor.as_str(), login.proof.as_deref()), ("carol", Some("openid-connect")));
    assert_eq!(login.detail, json!({ "subject": "7", "role": "operator" }).to_string());

    desk.app.clock.advance(1_000);
    fake.set("groups", json!(["admins"]));
    let chief = session(&fake, &desk).await;
    let sessions = desk.get(&chief, "users").await.json()["sessions"].clone();
    assert_eq!(sessions.as_array().unwrap().len(), 2, "{sessions}");
    let earlier = &sessions[1];
    assert_eq!((&earlier["name"], &earlier["proof"]), (&json!("carol"), &json!("openid-connect")));
    let end = format!("sessions/{}/end", earlier["id"].as_str().unwrap());
    assert_eq!(desk.post(&chief, &end, &json!({})).await.status, 200);
    assert_eq!(desk.get(&cookie, "about").await.error(), "loggedOut");
    assert_eq!(desk.get(&chief, "about").await.status, 200);
}

#[tokio::test]
async fn an_operator_logs_out_here_and_is_shown_where_the_provider_does() {
    let fake = Fake::start().await;
    let desk = fake.desk(groups()).await;
    let cookie = session(&fake, &desk).await;
    assert_eq!(desk.post(&cookie, "logout", &json!({})).await.status, 200);
    assert_eq!(desk.get(&cookie, "about").await.error(), "loggedOut");
    assert_eq!(desk.audited().await[0], named("carol", "logout"));
    let out = desk.post("", "provider/logout", &json!({})).await.json();
    assert_eq!(out["url"], format!("{}/end?client_id=console", fake.issuer));
}

#[tokio::test]
async fn a_login_belongs_to_the_browser_that_began_it_for_ten_minutes() {
    let fake = Fake::start().await;
    let desk = fake.desk(groups()).await;
    let (cookie, url) = begin(&desk).await;
    let returned = fake.approve(&url);
    let (others, _) = begin(&desk).await;
    for wrong in ["", "visavis-login=AAAA", others.as_str()] {
        let reply = desk.post(wrong, "provider/login", &returned).await;
        assert_eq!((reply.status, reply.error().as_str()), (401, "loginExpired"), "{wrong}");
    }
    let mut other_state = returned.clone();
    other_state["state"] = json!("x");
    let reply = desk.post(&cookie, "provider/login", &other_state).await;
    assert_eq!(reply.error(), "loginExpired");
    desk.app.clock.advance(10 * 60_000 - 1);
    let reply = desk.post(&cookie, "provider/login", &returned).await;
    set_cookie(&reply, "visavis_console");
    // The browser forgets the attempt.
    assert_eq!(set_cookie(&reply, "visavis-login"), "visavis-login=");
    desk.app.clock.advance(1);
    let reply = desk.post(&cookie, "provider/login", &returned).await;
    assert_eq!(reply.error(), "loginExpired");
}

#[tokio::test]
async fn a_code_opens_one_session_and_five_wrong_ones_hold_an_address_back() {
    let fake = Fake::start().await;
    let desk = fake.desk(groups()).await;
    let (cookie, url) = begin(&desk).await;
    let returned = fake.approve(&url);
    assert_eq!(desk.post(&cookie, "provider/login", &returned).await.status, 200);
    for _ in 0..5 {
        let reply = desk.post(&cookie, "provider/login", &returned).await;
        assert_eq!((reply.status, reply.error().as_str()), (401, "providerRefused"));
    }
    let reply = desk.post(&cookie, "provider/login", &returned).await;
    assert_eq!((reply.status, reply.error().as_str()), (429, "tooManyLogins"));
    assert_eq!(desk.refusal().await, json!({ "heldBack": true }));
    // Passwords are another matter, and a minute later codes are taken again.
    desk.add_user("ann", Role::Viewer).await;
    assert_eq!(desk.log_in_as("ann", PASSWORD, "").await.status, 200);
    desk.app.clock.advance(60_000);
    session(&fake, &desk).await;
}

#[tokio::test]
async fn codes_that_arrive_together_are_held_back_as_those_that_arrive_in_turn() {
    let fake = Fake::start().await;
    let desk = fake.desk(groups()).await;
    let (cookie, url) = begin(&desk).await;
    let mut returned = fake.approve(&url);
    returned["code"] = json!("made up");
    let mut all = JoinSet::new();
    for _ in 0..30 {
        let request = own(Method::POST, LOGIN, &cookie, returned.to_string());
        all.spawn(send_to(desk.router.clone(), request));
    }
    let mut refused = 0;
    while let Some(reply) = all.join_next().await {
        match reply.unwrap().error().as_str() {
            "providerRefused" => refused += 1,
            "tooManyLogins" => {}
            other => panic!("{other}"),
        }
    }
    assert!((5..=8).contains(&refused), "{refused} were sent to the provider");
}

#[tokio::test]
async fn a_failure_of_the_provider_is_no_wrong_login_and_is_audited_with_its_reason() {
    let fake = Fake::start().await;
    let desk = fake.desk(groups()).await;
    for status in [StatusCode::INTERNAL_SERVER_ERROR, StatusCode::FOUND] {
        fake.shared.known(|known| known.failure = Some((status, "")));
        for _ in 0..6 {
            let reply = log_in(&fake, &desk).await;
            assert_eq!((reply.status, reply.error().as_str()), (502, "providerAway"), "{status}");
        }
    }
    assert!(!fake.shared.known(|known| known.was_followed));
    assert_eq!(desk.refusal().await, json!({ "reason": "providerAway", "subject": null }));
    fake.shared.known(|known| known.failure = Some((StatusCode::UNAUTHORIZED, "invalid_client")));
    assert_eq!(log_in(&fake, &desk).await.error(), "providerUnusable");
    fake.shared.known(|known| known.failure = Some((StatusCode::FORBIDDEN, "invalid_grant")));
    assert_eq!(log_in(&fake, &desk).await.error(), "providerRefused");
    fake.shared.known(|known| known.failure = None);
    session(&fake, &desk).await;
}

#[tokio::test]
async fn a_login_that_the_provider_ends_with_an_error_is_refused_with_its_code_in_the_log() {
    let (heard, _hearing) = hear();
    let fake = Fake::start().await;
    let desk = fake.desk(groups()).await;
    let (cookie, url) = begin(&desk).await;
    let mut returned = fake.approve(&url);
    returned["error"] = json!("access_denied\u{1b}[1m\n");
    let reply = desk.post(&cookie, "provider/login", &returned).await;
    assert_eq!((reply.status, reply.error().as_str()), (401, "providerRefused"));
    assert!(heard.text().contains("refused the login: access_denied[1m"), "{}", heard.text());
    assert_eq!(desk.refusal().await, json!({ "reason": "providerRefused", "subject": null }));
}

#[tokio::test]
async fn a_person_without_a_role_or_a_usable_name_is_refused_and_audited() {
    let fake = Fake::start().await;
    let desk = fake.desk(groups()).await;
    fake.set("groups", json!(["others"]));
    let reply = log_in(&fake, &desk).await;
    assert_eq!((reply.status, reply.error().as_str()), (403, "noRole"));
    assert_eq!(desk.audited().await[0], named("carol", "login refused"));
    assert_eq!(desk.refusal().await, json!({ "reason": "noRole", "subject": "7" }));
    fake.set("groups", json!("ops"));
    for name in [json!("a\nb"), json!("x".repeat(255)), json!("Token"), json!(7), json!("")] {
        fake.set("preferred_username", name.clone());
        let reply = log_in(&fake, &desk).await;
        assert_eq!((reply.status, reply.error().as_str()), (403, "noName"), "{name}");
    }
}

#[tokio::test]
async fn claims_that_the_token_lacks_come_from_the_user_info_of_the_same_person() {
    let fake = Fake::start().await;
    let desk = fake.desk(groups()).await;
    fake.shared.known(|known| {
        known.claims = json!({ "preferred_username": "carol" });
        known.info = json!({ "sub": "7", "preferred_username": "mallory", "groups": ["admins"] });
    });
    let cookie = session(&fake, &desk).await;
    assert_eq!(desk.get(&cookie, "about").await.json()["user"], "carol");
    assert_eq!(desk.get(&cookie, "users").await.status, 200);
    fake.shared.known(|known| known.info["sub"] = json!("8"));
    let reply = log_in(&fake, &desk).await;
    assert_eq!((reply.status, reply.error().as_str()), (502, "providerUnusable"));
}

#[tokio::test]
async fn what_the_provider_does_not_sign_for_this_login_opens_nothing_and_is_not_logged() {
    let (heard, _hearing) = hear();
    let fake = Fake::start().await;
    for (claim, value, reason) in [
        ("nonce", json!("of another login"), "nonce"),
        ("iss", json!("http://127.0.0.1:1"), "another issuer"),
        ("aud", json!("other"), "check oidc.client_id"),
        ("exp", json!(1), "check the clocks"),
    ] {
        let desk = fake.desk(groups()).await;
        let (cookie, url) = begin(&desk).await;
        let returned = fake.approve(&url);
        let kept = fake.shared.known(|known| known.claims.clone());
        fake.set(claim, value);
        let reply = desk.post(&cookie, "provider/login", &returned).await;
        fake.shared.known(|known| known.claims = kept);
        assert_eq!((reply.status, reply.error().as_str()), (502, "providerUnusable"), "{claim}");
        assert!(heard.text().contains(reason), "{claim}: {}", heard.text());
    }
    let desk = fake.desk(groups()).await;
    let (cookie, url) = begin(&desk).await;
    let mut returned = fake.approve(&url);
    returned["iss"] = json!("http://127.0.0.1:1");
    let reply = desk.post(&cookie, "provider/login", &returned).await;
    assert_eq!(reply.error(), "providerUnusable");
    for secret in [SECRET, "code0", "eyJ"] {
        assert!(!heard.text().contains(secret), "{secret}");
    }
}

#[tokio::test]
async fn without_a_provider_no_login_begins_and_accounts_still_work() {
    let fake = Fake::start().await;
    let desk = fake.desk(groups()).await;
    desk.add_user("ann", Role::Viewer).await;
    let cookie = session(&fake, &desk).await;
    fake.server.abort();
    while !fake.server.is_finished() {
        tokio::task::yield_now().await;
    }
    // Who is logged in stays so.
    assert_eq!(desk.get(&cookie, "about").await.status, 200);
    let other = fake.desk(groups()).await;
    let reply = other.post("", "provider", &json!({})).await;
    assert_eq!((reply.status, reply.error().as_str()), (502, "providerAway"));
    assert_eq!(desk.log_in_as("ann", PASSWORD, "").await.status, 200);
    let without = Desk::new().await;
    for (path, body) in [
        ("provider", json!({})),
        ("provider/login", json!({ "state": "s", "code": "c" })),
        ("provider/logout", json!({})),
    ] {
        assert_eq!(without.post("", path, &body).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn a_session_of_the_provider_is_covered_by_the_mac_and_follows_the_settings() {
    let fake = Fake::start().await;
    let desk = fake.desk(groups()).await;
    let cookie = session(&fake, &desk).await;
    for (change, back) in [
        ("'[\"staff\"', '[\"admins\"'", "'[\"admins\"', '[\"staff\"'"),
        ("'carol', 'bob'", "'bob', 'carol'"),
        ("'\"7\"', '\"8\"'", "'\"8\"', '\"7\"'"),
    ] {
        let replace = |what| format!("UPDATE console_session SET person = replace(person, {what})");
        desk.run_sql(&replace(change)).await;
        assert_eq!(desk.get(&cookie, "about").await.error(), "loggedOut", "{change}");
        desk.run_sql(&replace(back)).await;
        assert_eq!(desk.get(&cookie, "about").await.status, 200);
    }
    let without = desk.with_logins(Logins::default());
    assert_eq!(without.get(&cookie, "about").await.error(), "loggedOut");
    // A group that has lost its role, and another provider.
    let fewer = RoleGroups { operator: Vec::new(), ..groups() };
    let provider = Some(fake.provider());
    let desk = without.with_logins(Logins { provider, groups: fewer, ..Logins::default() });
    let may = desk.get(&cookie, "about").await.json()["may"].clone();
    assert_eq!(may, json!(["own", "view"]));
    let other = Fake::start().await;
    let logins = Logins { provider: Some(other.provider()), groups: groups(), ..Logins::default() };
    let desk = desk.with_logins(logins);
    assert_eq!(desk.get(&cookie, "about").await.error(), "loggedOut");
}

#[tokio::test]
async fn two_people_of_one_name_have_sessions_of_their_own() {
    let fake = Fake::start().await;
    let desk = fake.desk(groups()).await;
    let first = session(&fake, &desk).await;
    fake.set("sub", json!("8"));
    for _ in 0..17 {
        desk.app.clock.advance(1_000);
        session(&fake, &desk).await;
    }
    assert_eq!(desk.get(&first, "about").await.status, 200);
}

#[tokio::test]
async fn the_first_token_opens_nothing_where_a_group_has_administrators() {
    let fake = Fake::start().await;
    let desk = fake.desk(groups()).await;
    assert_eq!(desk.log_in_with(&desk.token).await.error(), "wrongToken");
    let recovery = desk.file.renew(true).unwrap();
    assert_eq!(desk.log_in_with(&recovery).await.status, 200);
    let desk = fake.desk(RoleGroups { administrator: Vec::new(), ..groups() }).await;
    assert_eq!(desk.log_in_with(&desk.token).await.status, 200);
}

#[tokio::test]
async fn a_login_is_only_begun_and_finished_by_the_consoles_own_page() {
    let fake = Fake::start().await;
    let desk = fake.desk(groups()).await;
    for path in ["provider", "provider/login", "provider/logout"] {
        let mut request =
            own(Method::POST, &format!("/console/api/{path}"), "", json!({}).to_string());
        request.headers_mut().remove("x-visavis-console");
        assert_eq!(desk.send(request).await.error(), "foreign", "{path}");
    }
    let mut request = own(Method::POST, "/console/api/provider", "", json!({}).to_string());
    request.headers_mut().remove("origin");
    assert_eq!(desk.send(request).await.error(), "malformed");
}
