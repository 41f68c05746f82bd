//! The host names of the admin address.
//!
//! A page of another site can have its own name lead to this address (DNS rebinding); for a browser
//! both are then one site. What such a page sends has that name in `Host`.

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderName, HeaderValue, StatusCode, header, uri::Authority},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse as _, Response},
};

/// Names that a request may give, beside IP addresses and localhost.
#[derive(Debug)]
struct AllowedHosts {
    names: Vec<String>,
    has_warned: AtomicBool,
}

/// Refuses requests to a router whose `Host` is no IP address, no localhost, and none of `names`.
pub fn restrict_hosts(router: Router, names: &[String]) -> Router {
    let names = names.iter().map(|name| plain_name(name)).collect();
    let allowed = Arc::new(AllowedHosts { names, has_warned: AtomicBool::new(false) });
    router.layer(from_fn_with_state(allowed, check_host))
}

/// In lower case, and without the dot of a complete name.
fn plain_name(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

async fn check_host(
    State(allowed): State<Arc<AllowedHosts>>,
    request: Request,
    next: Next,
) -> Response {
    let Some(foreign) = allowed.foreign_host(&request) else {
        return next.run(request).await;
    };
    // Once per process: such requests must not fill the log.
    if !allowed.has_warned.swap(true, Ordering::Relaxed) {
        tracing::warn!(
            host = foreign,
            "refused a request to the admin address; add the host to admin.hosts if it is yours"
        );
    }
    let text = format!(
        "unknown Host {foreign:?}: use an IP address or localhost, or add the name to admin.hosts\n"
    );
    (StatusCode::MISDIRECTED_REQUEST, [NO_SNIFF], text).into_response()
}

const NO_SNIFF: (HeaderName, &str) = (header::X_CONTENT_TYPE_OPTIONS, "nosniff");

impl AllowedHosts {
    /// What a request gives as its host and is not allowed. A request without a host is not one of
    /// a browser.
    fn foreign_host(&self, request: &Request) -> Option<String> {
        let in_target = request.uri().authority().map(Authority::as_str);
        let in_headers = request.headers().get_all(header::HOST).iter();
        let mut given =
            in_target.map(str::as_bytes).into_iter().chain(in_headers.map(HeaderValue::as_bytes));
        let foreign = given.find(|host| !self.allows(host))?;
        Some(String::from_utf8_lossy(foreign).chars().take(MAX_SHOWN_CHARS).collect())
    }

    fn allows(&self, host: &[u8]) -> bool {
        if host.is_empty() {
            return true;
        }
        let Some(host) = std::str::from_utf8(host).ok().and_then(without_port) else {
            return false;
        };
        let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        if host.parse::<Ipv4Addr>().is_ok()
            || address.is_some_and(|host| host.parse::<Ipv6Addr>().is_ok())
        {
            return true;
        }
        let name = plain_name(host);
        name == "localhost" || name.ends_with(".localhost") || self.names.contains(&name)
    }
}

/// The host of `HOST` or `HOST:PORT`; an IPv6 address keeps its brackets.
fn without_port(text: &str) -> Option<&str> {
    let end = if text.starts_with('[') {
        text.find(']')? + 1
    } else {
        text.find(':').unwrap_or(text.len())
    };
    let (host, port) = text.split_at(end);
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    (port.is_empty() || port.strip_prefix(':').is_some_and(is_port)).then_some(host)
}

/// As long as the name of a host can be.
const MAX_SHOWN_CHARS: usize = 253;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_localhost_and_given_names_are_hosts_of_the_admin_address_and_others_are_not() {
        let names = ["front-1", "Faces.Example."].map(plain_name).to_vec();
        let allowed = AllowedHosts { names, has_warned: AtomicBool::new(false) };
        for host in [
            "127.0.0.1:9464",
            "10.1.2.3",
            "[::1]:9464",
            "[2001:db8::1]",
            "localhost",
            "LOCALHOST:9464",
            "localhost.",
            "console.localhost:80",
            "front-1:9464",
            "faces.example",
            "FACES.EXAMPLE.:9464",
            "",
        ] {
            assert!(allowed.allows(host.as_bytes()), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:9464",
            "front-2:9464",
            "notlocalhost",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "0x7f.1",
            "[::1].evil.example",
            "localhost..",
            "localhost:x",
            "localhost@evil.example",
            "evil.example@localhost",
            "\u{7f}",
        ] {
            assert!(!allowed.allows(host.as_bytes()), "{host}");
        }
        let request = |target: &str, hosts: &[&str]| {
            let mut request = Request::builder().uri(target);
            for host in hosts {
                request = request.header("host", *host);
            }
            allowed.foreign_host(&request.body(axum::body::Body::empty()).unwrap())
        };
        assert_eq!(request("/", &[]), None);
        assert_eq!(request("http://localhost/", &["localhost"]), None);
        let evil = Some("evil.example".to_owned());
        assert_eq!(request("http://evil.example/", &["localhost"]), evil);
        assert_eq!(request("/", &["localhost", "evil.example"]), evil);
    }
}
