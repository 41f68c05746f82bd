//! Logins by an authenticating proxy: it names the user and their groups in headers. They are
//! believed only if the request comes directly from an address of the settings.

use std::net::SocketAddr;

use axum::{
    extract::ConnectInfo,
    http::{Extensions, HeaderMap, HeaderName},
};

use crate::{
    accounts::{Role, RoleGroups},
    clients::is_person_name,
    gate::{Network, contain},
};

/// How an authenticating proxy names users.
#[derive(Debug)]
pub struct ProxyLogin {
    /// The header with the name of the user.
    pub user_header: HeaderName,
    /// The header with the groups, separated by commas.
    pub groups_header: HeaderName,
    /// The addresses of the proxy.
    pub proxies: Vec<Network>,
}

/// A user whom the proxy named, and the highest role of their groups; `None` without one.
pub(super) struct NamedUser {
    pub(super) name: String,
    pub(super) role: Option<Role>,
}

impl ProxyLogin {
    /// Who sent a request; `None` if it does not come from the proxy, or has no valid name.
    pub(super) fn user(
        &self,
        groups: &RoleGroups,
        extensions: &Extensions,
        headers: &HeaderMap,
    ) -> Option<NamedUser> {
        let ConnectInfo(peer) = extensions.get::<ConnectInfo<SocketAddr>>()?;
        if !contain(&self.proxies, peer.ip()) {
            return None;
        }
        // Two headers: one of them may be of the sender.
        let mut names = headers.get_all(&self.user_header).iter();
        let (Some(name), None) = (names.next(), names.next()) else { return None };
        let name = std::str::from_utf8(name.as_bytes()).ok()?;
        if !is_person_name(name) {
            return None;
        }
        let mut lines = headers.get_all(&self.groups_header).iter();
        let line = match (lines.next(), lines.next()) {
            (Some(line), None) => std::str::from_utf8(line.as_bytes()).unwrap_or_default(),
            _ => "",
        };
        let given: Vec<_> = line.split(',').map(str::trim).collect();
        Some(NamedUser { name: name.to_owned(), role: groups.role(&given) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login() -> ProxyLogin {
        ProxyLogin {
            user_header: HeaderName::from_static("x-user"),
            groups_header: HeaderName::from_static("x-groups"),
            proxies: vec!["10.0.0.1".parse().unwrap()],
        }
    }

    fn user(peer: &str, lines: &[(&'static str, &str)]) -> Option<(String, Option<Role>)> {
        let mut extensions = Extensions::new();
        extensions.insert(ConnectInfo(SocketAddr::new(peer.parse().unwrap(), 1)));
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        let groups = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let groups = RoleGroups {
            viewer: groups(&["staff"]),
            operator: groups(&["ops", "lead"]),
            ..RoleGroups::default()
        };
        login().user(&groups, &extensions, &headers).map(|user| (user.name, user.role))
    }

    #[test]
    fn a_user_has_the_highest_role_of_the_groups() {
        let ann = |groups| user("10.0.0.1", &[("x-user", "ann"), ("x-groups", groups)]).unwrap();
        assert_eq!(ann("staff"), ("ann".to_owned(), Some(Role::Viewer)));
        assert_eq!(ann("ops, staff").1, Some(Role::Operator));
        assert_eq!(ann("others,lead").1, Some(Role::Operator));
        assert_eq!(ann("stafff, op").1, None);
        assert_eq!(user("10.0.0.1", &[("x-user", "ann")]).unwrap().1, None);
    }

    #[test]
    fn headers_of_other_senders_and_ambiguous_ones_name_no_one() {
        let groups = ("x-groups", "ops");
        assert_eq!(user("10.0.0.2", &[("x-user", "ann"), groups]), None);
        assert_eq!(user("10.0.0.1", &[("x-user", "ann"), ("x-user", "bob"), groups]), None);
        assert_eq!(user("10.0.0.1", &[("x-user", ""), groups]), None);
        assert_eq!(user("10.0.0.1", &[groups]), None);
        let twice = [("x-user", "ann"), groups, ("x-groups", "staff")];
        assert_eq!(user("10.0.0.1", &twice).unwrap().1, None);
    }
}
