//! `http.listen` and `admin.listen`: the address of a server.

use std::{
    fmt, io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _},
    str::FromStr,
};

use super::is_host_name;

/// Where a client on this machine reaches a server that listens there: one on every address is
/// reached at the loopback address.
pub(crate) fn reached_at(mut listens: SocketAddr) -> SocketAddr {
    if listens.ip().is_unspecified() {
        listens.set_ip(match listens {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    listens
}

/// An address and a port: `127.0.0.1:8080`, `[::1]:8080`, `localhost:8080`, or only a port, `:8080`
/// or `8080`, for all IPv4 addresses of the machine. Port 0 lets the system choose.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub struct ListenAddress {
    host: String,
    port: u16,
}

impl ListenAddress {
    /// The socket address; of a name the first one, IPv4 before IPv6.
    ///
    /// # Errors
    /// When the name is unknown.
    pub fn resolve(&self) -> io::Result<SocketAddr> {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        let found = (host, self.port).to_socket_addrs()?.min_by_key(SocketAddr::is_ipv6);
        found.ok_or_else(|| io::Error::other("the name has no address"))
    }

    /// Whether the system chooses the port.
    pub(crate) fn is_any_port(&self) -> bool {
        self.port == 0
    }
}

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (host, port) = text.trim().rsplit_once(':').unwrap_or(("", text.trim()));
        let is_ipv6 = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .is_some_and(|host| host.parse::<Ipv6Addr>().is_ok());
        let (true, Ok(port)) = (host.is_empty() || is_ipv6 || is_host_name(host), port.parse())
        else {
            return Err(format!(
                "`{text}` is not an address and a port: use 127.0.0.1:8080, [::1]:8080, \
                 localhost:8080, or :8080 for all addresses"
            ));
        };
        let host =
            if host.is_empty() { Ipv4Addr::UNSPECIFIED.to_string() } else { host.to_owned() };
        Ok(Self { host, port })
    }
}

impl TryFrom<String> for ListenAddress {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_names_and_bare_ports_are_taken() {
        for (text, listens) in [
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            ("[::1]:8080", "[::1]:8080"),
            (":8080", "0.0.0.0:8080"),
            ("8080", "0.0.0.0:8080"),
            ("localhost:8080", "127.0.0.1:8080"),
        ] {
            let address: ListenAddress = text.parse().unwrap();
            assert_eq!(address.resolve().unwrap(), listens.parse().unwrap(), "{text}");
        }
        assert!("no-such-host.invalid:1".parse::<ListenAddress>().unwrap().resolve().is_err());
    }

    #[test]
    fn a_server_on_every_address_is_reached_at_the_loopback_address() {
        for (listens, reached) in [
            ("0.0.0.0:80", "127.0.0.1:80"),
            ("[::]:80", "[::1]:80"),
            ("192.0.2.7:80", "192.0.2.7:80"),
        ] {
            assert_eq!(reached_at(listens.parse().unwrap()), reached.parse().unwrap());
        }
    }

    #[test]
    fn anything_else_is_refused_with_examples() {
        for text in
            ["", "localhost", ":", "127.0.0.1:", ":65536", "::1:8080", "[x]:80", "http://x:80"]
        {
            let why = text.parse::<ListenAddress>().unwrap_err();
            assert!(why.contains(&format!("`{text}`")) && why.contains("localhost:8080"), "{why}");
        }
    }
}
