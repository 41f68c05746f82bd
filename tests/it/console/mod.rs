//! The operators' console: who gets in, what it lets out, and that what it shows is the gateway's.

mod clients;
mod command;
mod gate;
mod people;
mod provider;
mod quiet;
mod served;
mod showing;

use std::sync::Arc;

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{HeaderMap, Method, Request},
};
use serde_json::{Value, json};
use tower::ServiceExt as _;
use visavis::{
    accounts::RoleGroups,
    compare::QualityLimits,
    console::{Limits, Parts, ProxyLogin, TokenFile, console},
    http::About,
    oidc::Provider,
    worker::LocalComparer,
};

use crate::support::TestApp;

/// A console in front of a whole service in memory.
struct Desk {
    app: TestApp,
    router: Router,
    token: String,
    file: TokenFile,
}

/// A response of the console.
#[derive(Debug)]
struct Reply {
    status: u16,
    headers: HeaderMap,
    text: String,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {}", self.text))
    }

    fn error(&self) -> String {
        self.json()["error"].as_str().unwrap_or_default().to_owned()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// What this process does.
#[derive(Clone, Copy)]
struct Does {
    front_end: bool,
    workers: bool,
}

/// Logins that are proven elsewhere.
#[derive(Default)]
struct Logins {
    proxy: Option<ProxyLogin>,
    provider: Option<Arc<Provider>>,
    groups: RoleGroups,
}

const ALL: Does = Does { front_end: true, workers: true };
const HOST: &str = "127.0.0.1:9464";

impl Desk {
    async fn new() -> Self {
        Self::of(ALL).await
    }

    async fn of(does: Does) -> Self {
        Self::with(does, Logins::default()).await
    }

    async fn with(does: Does, logins: Logins) -> Self {
        let app = TestApp::new().await;
        let file = TokenFile::in_folder(app.folder.path());
        let token = file.make_if_absent().unwrap().unwrap().to_string();
        let router = Self::serve(&app, &file, does, logins);
        Self { app, router, token, file }
    }

    /// The same service, with a console that has other logins.
    fn with_logins(mut self, logins: Logins) -> Self {
        self.router = Self::serve(&self.app, &self.file, ALL, logins);
        self
    }

    fn serve(app: &TestApp, file: &TokenFile, does: Does, logins: Logins) -> Router {
        let comparer = does.workers.then(|| LocalComparer::new(app.pool.clone(), 8));
        console(Parts {
            app: app.state.clone(),
            clients: app.clients.clone().into(),
            about: about(),
            front_end: does.front_end,
            comparer,
            limits: Limits { selfie: QualityLimits::default(), document: QualityLimits::default() },
            token: file.clone(),
            proxy: logins.proxy,
            provider: logins.provider,
            has_external_administrators: !logins.groups.administrator.is_empty(),
            groups: logins.groups,
        })
    }

    async fn send(&self, request: Request<Body>) -> Reply {
        send_to(self.router.clone(), request).await
    }

    async fn log_in_with(&self, token: &str) -> Reply {
        let body = json!({ "token": token }).to_string();
        self.send(own(Method::POST, "/console/api/login", "", body)).await
    }

    /// The cookie of a login.
    async fn log_in(&self) -> String {
        let reply = self.log_in_with(&self.token).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        reply.header("set-cookie").split(';').next().unwrap().to_owned()
    }

    async fn get(&self, cookie: &str, path: &str) -> Reply {
        self.send(own(Method::GET, &format!("/console/api/{path}"), cookie, String::new())).await
    }

    async fn post(&self, cookie: &str, path: &str, body: &Value) -> Reply {
        let path = format!("/console/api/{path}");
        self.send(own(Method::POST, &path, cookie, body.to_string())).await
    }
}

async fn send_to(router: Router, request: Request<Body>) -> Reply {
    let response = router.oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let text = String::from_utf8(to_bytes(body, usize::MAX).await.unwrap().to_vec()).unwrap();
    Reply { status: parts.status.as_u16(), headers: parts.headers, text }
}

fn about() -> About {
    About {
        version: "1",
        provider: "CPU",
        device: "cpu".to_owned(),
        device_name: String::new(),
        jpeg: "fake",
        pack: "fake".to_owned(),
        calibration: "test".to_owned(),
    }
}

/// A request as the console's own page sends it.
fn own(method: Method, path: &str, cookie: &str, body: String) -> Request<Body> {
    Request::builder()
        .method(method)
        .uri(path)
        .header("host", HOST)
        .header("origin", format!("http://{HOST}"))
        .header("sec-fetch-site", "same-origin")
        .header("x-visavis-console", "1")
        .header("content-type", "application/json")
        .header("cookie", cookie)
        .body(Body::from(body))
        .unwrap()
}
