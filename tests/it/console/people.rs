//! People: accounts, roles, passwords, one-time codes, sessions, and what the audit has of them.

use std::net::SocketAddr;

use aws_lc_rs::hmac;
use axum::{extract::ConnectInfo, http::Method};
use serde_json::{Value, json};
use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};
use visavis::{
    accounts::{AccountStore, NewUser, PasswordHash, Role, RoleGroups, UserChange},
    clients::{AuditFilter, Clients},
    console::ProxyLogin,
};

use super::{ALL, Desk, Logins, Reply, own};
use crate::log::hear;

pub(super) const PASSWORD: &str = "correct horse battery";

impl Desk {
    fn accounts(&self) -> AccountStore {
        AccountStore::new(self.app.clients.clone())
    }

    pub(super) async fn add_user(&self, name: &str, role: Role) {
        let password = PasswordHash::new(PASSWORD).unwrap();
        self.accounts().add(NewUser { name, role, password }).await.unwrap();
    }

    pub(super) async fn log_in_as(&self, name: &str, password: &str, code: &str) -> Reply {
        let body = json!({ "name": name, "password": password, "code": code }).to_string();
        self.send(own(Method::POST, "/console/api/login", "", body)).await
    }

    /// The cookie of a login by name.
    async fn cookie_of(&self, name: &str) -> String {
        cookie(&self.log_in_as(name, PASSWORD, "").await)
    }

    /// Changes the database as an attacker would who has no master key.
    pub(super) async fn run_sql(&self, sql: &str) {
        let path = self.app.folder.path().join("visavis.db");
        let options = SqliteConnectOptions::new().filename(path);
        let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
        sqlx::query(sqlx::AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
    }

    /// What the audit has, newest first: who, what, to whom.
    pub(super) async fn audited(&self) -> Vec<(String, String)> {
        let clients = Clients::from(self.app.clients.clone());
        let acts = clients.audit(&AuditFilter::default(), None, 100).await.unwrap().entries;
        acts.into_iter().map(|entry| (entry.actor, entry.act)).collect()
    }
}

fn cookie(reply: &Reply) -> String {
    assert_eq!(reply.status, 200, "{}", reply.text);
    reply.header("set-cookie").split(';').next().unwrap().to_owned()
}

pub(super) fn named(who: &str, what: &str) -> (String, String) {
    (who.to_owned(), what.to_owned())
}

/// Every route behind the login, and the least role that may use it.
const ROUTES: [(&str, &str, Option<Role>); 28] = [
    ("GET", "about", Some(Role::Viewer)),
    ("GET", "account", Some(Role::Viewer)),
    ("POST", "account/password", Some(Role::Viewer)),
    ("POST", "account/code", Some(Role::Viewer)),
    ("POST", "account/code/offer", Some(Role::Viewer)),
    ("POST", "account/code/remove", Some(Role::Viewer)),
    ("POST", "account/sessions/x/end", Some(Role::Viewer)),
    ("GET", "live", Some(Role::Viewer)),
    ("GET", "clients", Some(Role::Viewer)),
    ("POST", "transactions", Some(Role::Viewer)),
    ("POST", "transactions/csv", Some(Role::Viewer)),
    ("GET", "transactions/G000000000FID20260101000000000000000000", Some(Role::Viewer)),
    ("POST", "audit", Some(Role::Viewer)),
    ("POST", "look", Some(Role::Operator)),
    ("POST", "compare", Some(Role::Operator)),
    ("POST", "clients", Some(Role::Operator)),
    ("POST", "clients/app/rotate", Some(Role::Operator)),
    ("POST", "clients/app/change", Some(Role::Operator)),
    ("POST", "clients/app/disable", Some(Role::Operator)),
    ("POST", "clients/app/enable", Some(Role::Operator)),
    ("POST", "clients/app/delete", Some(Role::Operator)),
    ("GET", "users", Some(Role::Administrator)),
    ("POST", "users", Some(Role::Administrator)),
    ("POST", "users/x/change", Some(Role::Administrator)),
    ("POST", "users/x/delete", Some(Role::Administrator)),
    ("POST", "sessions/x/end", Some(Role::Administrator)),
    // With a token alone.
    ("POST", "administrator", None),
    // Last: it ends the session.
    ("POST", "logout", Some(Role::Viewer)),
];

#[tokio::test]
async fn each_role_gets_what_it_may_and_nothing_else_on_every_route() {
    let source = include_str!("../../../src/console/mod.rs");
    let routes = source.lines().filter(|line| line.trim().starts_with("(\"/")).count();
    assert_eq!(routes, ROUTES.len(), "every route is tested here");
    let desk = Desk::new().await;
    for role in [Role::Viewer, Role::Operator, Role::Administrator] {
        let name = format!("{role:?}");
        desk.add_user(&name, role).await;
        let cookie = desk.cookie_of(&name).await;
        for (method, path, least) in ROUTES {
            let request = || {
                let path = format!("/console/api/{path}");
                own(method.parse().unwrap(), &path, &cookie, "\"malformed\"".to_owned())
            };
            let reply = desk.send(request()).await;
            let is_allowed = least.is_some_and(|least| role >= least);
            let error = if reply.status == 200 { String::new() } else { reply.error() };
            assert_eq!(error != "notAllowed", is_allowed, "{role:?} {path}: {}", reply.text);
            assert_ne!(error, "loggedOut", "{role:?} {path}");
            assert_eq!(reply.status == 403, !is_allowed, "{role:?} {path}: {}", reply.text);
            if is_allowed && path == "about" {
                let may = reply.json()["may"].as_array().unwrap().len();
                assert_eq!(may, [2, 4, 5][role as usize], "{}", reply.text);
            }
        }
    }
    let refused = named("Viewer", "step refused");
    assert!(desk.audited().await.contains(&refused));
}

#[tokio::test]
async fn the_token_makes_the_first_administrator_and_opens_nothing_afterwards() {
    let desk = Desk::new().await;
    let token = desk.log_in().await;
    let state = desk.get("", "login").await.json();
    assert_eq!(state, json!({ "loggedIn": false, "byName": false, "provider": false }));
    let about = desk.get(&token, "about").await.json();
    assert_eq!((&about["user"], &about["login"]), (&json!("token"), &json!("token")));
    let short = json!({ "name": "ann", "password": "too short" });
    assert_eq!(desk.post(&token, "administrator", &short).await.error(), "passwordUnfit");
    let ann = json!({ "name": "ann", "password": PASSWORD });
    assert_eq!(desk.post(&token, "administrator", &ann).await.status, 200);

    assert!(!desk.app.folder.path().join("console.token").exists());
    assert_eq!(desk.log_in_with(&desk.token).await.error(), "wrongToken");
    assert_eq!(desk.get(&token, "about").await.error(), "loggedOut", "its sessions have ended");
    let state = desk.get("", "login").await.json();
    assert_eq!(state["byName"], true);
    let cookie = desk.cookie_of("ann").await;
    let about = desk.get(&cookie, "about").await.json();
    assert_eq!((&about["user"], &about["login"]), (&json!("ann"), &json!("account")));
    // A token from before, in another data folder.
    let earlier = desk.file.renew(false).unwrap();
    assert_eq!(desk.log_in_with(&earlier).await.error(), "wrongToken");
}

#[tokio::test]
async fn a_recovery_token_resets_an_administrator_once_and_does_nothing_else() {
    let desk = Desk::new().await;
    desk.add_user("ann", Role::Administrator).await;
    let lost = UserChange { code_key: Some(Some(vec![1, 2, 3])), ..UserChange::default() };
    desk.accounts().change("ann", &lost).await.unwrap();
    let token = desk.file.renew(true).unwrap();
    let cookie = cookie(&desk.log_in_with(&token).await);
    for path in ["live", "clients", "users"] {
        assert_eq!(desk.get(&cookie, path).await.error(), "notAllowed", "{path}");
    }
    let ann = json!({ "name": "Ann", "password": "another long password" });
    assert_eq!(desk.post(&cookie, "administrator", &ann).await.status, 200);
    assert_eq!(desk.get(&cookie, "about").await.error(), "loggedOut");
    assert_eq!(desk.log_in_with(&token).await.error(), "wrongToken");
    assert_eq!(desk.log_in_as("ann", "another long password", "").await.status, 200);
    let audited = desk.audited().await;
    assert!(
        audited.contains(&named("token", "login")) && audited.contains(&named("token", "user set"))
    );
}

#[tokio::test]
async fn wrong_passwords_lock_an_account_for_minutes_but_not_for_who_was_there_before() {
    let desk = Desk::new().await;
    desk.add_user("ann", Role::Operator).await;
    let wrong = async || desk.log_in_as("ann", "wrong password", "").await.error();
    // Two of them: as many from one address are refused in any case.
    for _ in 0..4 {
        assert_eq!(wrong().await, "wrongPassword");
    }
    desk.app.clock.advance(61_000);
    assert_eq!(wrong().await, "wrongPassword");
    assert_eq!(wrong().await, "tooManyLogins", "the account is locked");
    let right = async || desk.log_in_as("ann", PASSWORD, "").await;
    assert_eq!(right().await.error(), "tooManyLogins", "for the right password too");
    desk.app.clock.advance(61_000);
    assert_eq!(right().await.status, 200, "a lock ends by itself");
    assert_eq!(wrong().await, "wrongPassword", "and the count begins again");

    let from = async |address: &str, password: &str| {
        let body = json!({ "name": "ann", "password": password }).to_string();
        let mut request = own(Method::POST, "/console/api/login", "", body);
        let address: SocketAddr = format!("{address}:1").parse().unwrap();
        request.extensions_mut().insert(ConnectInfo(address));
        desk.send(request).await.status
    };
    assert_eq!(from("192.0.2.1", PASSWORD).await, 200);
    for attacker in 2..7 {
        assert_eq!(from(&format!("192.0.2.{attacker}"), "wrong").await, 401);
    }
    assert_eq!(from("192.0.2.7", PASSWORD).await, 429, "locked");
    assert_eq!(from("192.0.2.1", PASSWORD).await, 200, "attackers elsewhere lock out no user");
}

#[tokio::test]
async fn one_address_gets_five_wrong_logins_a_minute_whatever_the_name() {
    let (kept, _hearing) = hear();
    let desk = Desk::new().await;
    desk.add_user("ann", Role::Operator).await;
    for n in 0..5 {
        let reply = desk.log_in_as(&format!("nobody{n}"), "a secret typed as a name", "").await;
        assert_eq!((reply.status, reply.error().as_str()), (401, "wrongPassword"));
    }
    assert_eq!(desk.log_in_as("ann", PASSWORD, "").await.error(), "tooManyLogins");
    desk.app.clock.advance(60_000);
    assert_eq!(desk.log_in_as("ann", PASSWORD, "").await.status, 200);
    for _ in 0..30 {
        desk.log_in_as("nobody", "wrong", "").await;
    }
    let refused = desk.audited().await;
    let refused = refused.iter().filter(|(_, act)| act == "login refused").count();
    assert_eq!(refused, 10, "the audit is not filled by callers without a login");
    assert!(!kept.text().contains("nobody") && !kept.text().contains("typed as a name"));
}

/// The code of a secret in base32, computed apart from the program.
fn code_of(secret: &str, now_ms: i64) -> String {
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let bits = secret.chars().flat_map(|c| {
        let value = alphabet.find(c).unwrap();
        (0..5).rev().map(move |bit| u8::from(value >> bit & 1 == 1))
    });
    let bits: Vec<u8> = bits.collect();
    let byte = |bits: &[u8]| bits.iter().fold(0_u8, |byte, bit| byte << 1 | bit);
    let key: Vec<u8> = bits.chunks_exact(8).map(byte).collect();
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &key);
    let tag = hmac::sign(&key, &(now_ms / 30_000).to_be_bytes());
    let at = usize::from(tag.as_ref()[19] & 15);
    let number = u32::from_be_bytes(tag.as_ref()[at..at + 4].try_into().unwrap());
    format!("{:06}", (number & 0x7fff_ffff) % 1_000_000)
}

#[tokio::test]
async fn a_one_time_code_is_set_up_asked_for_and_accepted_once() {
    let desk = Desk::new().await;
    desk.add_user("ann", Role::Viewer).await;
    let first = desk.cookie_of("ann").await;
    let offer = desk.post(&first, "account/code/offer", &json!({})).await.json();
    let secret = offer["secret"].as_str().unwrap();
    assert!(offer["uri"].as_str().unwrap().starts_with("otpauth://totp/Visavis:ann?secret="));
    let now = 1_767_225_600_000;
    let set = |password: &str, code: &str| json!({ "password": password, "sealed": offer["sealed"], "code": code });
    let code = code_of(secret, now);
    let wrong = format!("{:06}", (code.parse::<u32>().unwrap() + 1) % 1_000_000);
    for (password, code, error) in
        [("wrong", code.as_str(), "wrongPassword"), (PASSWORD, wrong.as_str(), "wrongCode")]
    {
        assert_eq!(desk.post(&first, "account/code", &set(password, code)).await.error(), error);
    }
    let done = desk.post(&first, "account/code", &set(PASSWORD, &code)).await;
    let second = cookie(&done);
    assert_eq!(desk.get(&first, "account").await.error(), "loggedOut", "earlier sessions end");
    assert_eq!(desk.get(&second, "account").await.json()["hasCode"], true);

    assert_eq!(desk.log_in_as("ann", PASSWORD, "").await.error(), "codeNeeded");
    assert_eq!(desk.log_in_as("ann", PASSWORD, &wrong).await.error(), "wrongCode");
    assert_eq!(desk.log_in_as("ann", PASSWORD, &code).await.status, 200);
    assert_eq!(desk.log_in_as("ann", PASSWORD, &code).await.error(), "wrongCode", "once");
    desk.app.clock.advance(30_000);
    let next = code_of(secret, now + 30_000);
    let third = cookie(&desk.log_in_as("ann", PASSWORD, &next).await);
    let sessions = desk.get(&third, "account").await.json()["sessions"].clone();
    assert_eq!(sessions[0]["proof"], "password-and-code", "{sessions}");
    let removed = desk.post(&third, "account/code/remove", &json!({ "password": PASSWORD })).await;
    assert_eq!(removed.status, 200);
    assert_eq!(desk.log_in_as("ann", PASSWORD, "").await.status, 200);
}

#[tokio::test]
async fn a_session_ends_when_idle_at_the_end_of_its_day_and_when_its_user_is_changed() {
    let desk = Desk::new().await;
    desk.add_user("ann", Role::Operator).await;
    let minutes = |n: i64| desk.app.clock.advance(n * 60_000);
    let cookie = desk.cookie_of("ann").await;
    minutes(29);
    assert_eq!(desk.get(&cookie, "about").await.status, 200);
    minutes(29);
    assert_eq!(desk.get(&cookie, "live").await.status, 200, "not yet idle");
    minutes(2);
    assert_eq!(desk.get(&cookie, "about").await.error(), "loggedOut", "polling extends nothing");
    let cookie = desk.cookie_of("ann").await;
    for _ in 0..23 {
        minutes(20);
        assert_eq!(desk.get(&cookie, "about").await.status, 200);
    }
    minutes(20);
    assert_eq!(desk.get(&cookie, "about").await.error(), "loggedOut", "after eight hours");

    for change in [
        UserChange { role: Some(Role::Viewer), ..UserChange::default() },
        UserChange {
            password: Some(PasswordHash::new(PASSWORD).unwrap()),
            ..UserChange::default()
        },
        UserChange { disabled: Some(true), ..UserChange::default() },
    ] {
        let cookie = desk.cookie_of("ann").await;
        desk.accounts().change("ann", &change).await.unwrap();
        assert_eq!(desk.get(&cookie, "about").await.error(), "loggedOut", "{change:?}");
    }
    assert_eq!(desk.log_in_as("ann", PASSWORD, "").await.error(), "wrongPassword", "disabled");
}

#[tokio::test]
async fn sessions_are_listed_and_ended_own_ones_by_all_and_all_by_administrators() {
    let desk = Desk::new().await;
    desk.add_user("ann", Role::Administrator).await;
    desk.add_user("bob", Role::Viewer).await;
    let (ann, bob, other) =
        (desk.cookie_of("ann").await, desk.cookie_of("bob").await, desk.cookie_of("bob").await);
    let all = desk.get(&ann, "users").await.json()["sessions"].clone();
    assert_eq!(all.as_array().unwrap().len(), 3, "{all}");
    let of = |list: &Value, name: &str| {
        let found = list.as_array().unwrap().iter().find(|session| session["name"] == name);
        found.unwrap()["id"].as_str().unwrap().to_owned()
    };
    let foreign = format!("account/sessions/{}/end", of(&all, "ann"));
    assert_eq!(desk.post(&bob, &foreign, &json!({})).await.status, 200);
    assert_eq!(desk.get(&ann, "about").await.status, 200, "not one's own, so it goes on");
    let own_ones = desk.get(&bob, "account").await.json();
    let current = own_ones["session"].as_str().unwrap();
    let mine = own_ones["sessions"].as_array().unwrap();
    assert_eq!(mine.len(), 2);
    let second = mine.iter().find(|session| session["id"] != current).unwrap();
    let end = format!("account/sessions/{}/end", second["id"].as_str().unwrap());
    assert_eq!(desk.post(&bob, &end, &json!({})).await.status, 200);
    assert_eq!(desk.get(&other, "about").await.error(), "loggedOut");
    assert_eq!(desk.get(&bob, "about").await.status, 200);
    let end = format!("sessions/{current}/end");
    assert_eq!(desk.post(&ann, &end, &json!({})).await.status, 200);
    assert_eq!(desk.get(&bob, "about").await.error(), "loggedOut");
    assert_eq!(desk.audited().await[0], named("ann", "session end"));
    for _ in 0..20 {
        desk.cookie_of("bob").await;
    }
    let all = desk.get(&ann, "users").await.json()["sessions"].as_array().unwrap().len();
    assert_eq!(all, 17, "not more than sixteen of one user");
}

#[tokio::test]
async fn users_are_managed_and_the_last_administrator_stays() {
    let desk = Desk::new().await;
    desk.add_user("ann", Role::Administrator).await;
    let ann = desk.cookie_of("ann").await;
    let bob = json!({ "name": "Bob", "role": "viewer", "password": PASSWORD });
    let added = desk.post(&ann, "users", &bob).await.json();
    assert_eq!(added["users"].as_array().unwrap().len(), 2, "{added}");
    for (name, password, error) in [
        ("BOB", PASSWORD, "userNameTaken"),
        ("token", PASSWORD, "userNameUnfit"),
        (" bob", PASSWORD, "userNameUnfit"),
        ("eve", "short", "passwordUnfit"),
        ("a long user name", "A long user name", "passwordUnfit"),
    ] {
        let user = json!({ "name": name, "role": "viewer", "password": password });
        assert_eq!(desk.post(&ann, "users", &user).await.error(), error, "{name}");
    }
    for change in [json!({ "role": "viewer" }), json!({ "disabled": true })] {
        assert_eq!(desk.post(&ann, "users/ann/change", &change).await.error(), "lastAdministrator");
    }
    assert_eq!(desk.post(&ann, "users/ann/delete", &json!({})).await.error(), "lastAdministrator");
    assert_eq!(desk.post(&ann, "users/eve/delete", &json!({})).await.error(), "unknownUser");
    let change = json!({ "role": "operator", "password": "another long password" });
    assert_eq!(desk.post(&ann, "users/bob/change", &change).await.status, 200);
    assert_eq!(desk.log_in_as("bob", "another long password", "").await.status, 200);
    assert_eq!(desk.post(&ann, "users/bob/delete", &json!({})).await.status, 200);
    assert_eq!(desk.log_in_as("bob", "another long password", "").await.error(), "wrongPassword");
    let audited = desk.audited().await;
    for act in ["user add", "user set", "user delete", "login"] {
        assert!(audited.contains(&named("ann", act)), "{act}: {audited:?}");
    }
}

#[tokio::test]
async fn changes_to_clients_are_audited_under_the_name_of_who_made_them() {
    let desk = Desk::new().await;
    desk.add_user("ann", Role::Operator).await;
    let ann = desk.cookie_of("ann").await;
    assert_eq!(desk.post(&ann, "clients", &json!({ "name": "shop" })).await.status, 200);
    assert_eq!(desk.post(&ann, "clients/shop/disable", &json!({})).await.status, 200);
    let audited = desk.audited().await;
    assert_eq!(audited[..2], [named("ann", "client disable"), named("ann", "client add")]);
}

#[tokio::test]
async fn an_account_or_a_session_that_is_written_without_the_master_key_opens_nothing() {
    let desk = Desk::new().await;
    desk.add_user("ann", Role::Viewer).await;
    let cookie = desk.cookie_of("ann").await;
    let run = async |sql| desk.run_sql(sql).await;
    run("UPDATE console_session SET begun_at = begun_at + 1").await;
    assert_eq!(desk.get(&cookie, "about").await.error(), "loggedOut");
    run("UPDATE console_session SET begun_at = begun_at - 1").await;
    assert_eq!(desk.get(&cookie, "about").await.status, 200);
    run("UPDATE console_user SET role = 'administrator'").await;
    assert_eq!(desk.get(&cookie, "about").await.error(), "loggedOut");
    assert_eq!(desk.log_in_as("ann", PASSWORD, "").await.error(), "tamperedUser");
    run("UPDATE console_user SET role = 'viewer'").await;
    assert_eq!(desk.get(&cookie, "about").await.status, 200);
    // Nothing of the password or the cookie is in the database.
    let file = |name: &str| std::fs::read(desk.app.folder.path().join(name)).unwrap();
    let bytes = [file("visavis.db"), file("visavis.db-wal")].concat();
    assert!(bytes.windows(9).any(|part| part == b"$argon2id"));
    let secret = cookie.split('=').nth(1).unwrap();
    for text in [PASSWORD, secret] {
        assert!(!bytes.windows(text.len()).any(|part| part == text.as_bytes()));
    }
}

#[tokio::test]
async fn an_authenticating_proxy_names_the_user_and_no_other_sender_does() {
    let proxy = ProxyLogin {
        user_header: "x-user".parse().unwrap(),
        groups_header: "x-groups".parse().unwrap(),
        proxies: vec!["10.0.0.1".parse().unwrap()],
    };
    let groups = RoleGroups { operator: vec!["ops".to_owned()], ..RoleGroups::default() };
    let desk = Desk::with(ALL, Logins { proxy: Some(proxy), groups, ..Logins::default() }).await;
    let send = async |peer: &str, method: Method, path: &str, groups: &'static str| {
        let path = format!("/console/api/{path}");
        let mut request = own(method, &path, "", json!({ "name": "shop" }).to_string());
        let peer: SocketAddr = format!("{peer}:1").parse().unwrap();
        request.extensions_mut().insert(ConnectInfo(peer));
        request.headers_mut().insert("x-user", "carol".parse().unwrap());
        request.headers_mut().insert("x-groups", groups.parse().unwrap());
        desk.send(request).await
    };
    assert_eq!(desk.log_in_with(&desk.token).await.status, 200, "no group has administrators");
    let about = send("10.0.0.1", Method::GET, "about", "ops").await.json();
    assert_eq!((&about["user"], &about["login"]), (&json!("carol"), &json!("proxy")), "{about}");
    let state = send("10.0.0.1", Method::GET, "login", "ops").await.json();
    assert_eq!(state["loggedIn"], true);
    assert_eq!(send("10.0.0.1", Method::POST, "clients", "ops").await.status, 200);
    assert_eq!(desk.audited().await[0], named("carol", "client add"));
    let error = async |peer, path, groups| send(peer, Method::GET, path, groups).await.error();
    assert_eq!(error("10.0.0.1", "users", "ops").await, "notAllowed");
    assert_eq!(error("10.0.0.1", "account", "ops").await, "noAccount");
    assert_eq!(error("10.0.0.1", "about", "others").await, "noRole");
    assert_eq!(error("10.0.0.2", "about", "ops").await, "loggedOut");
    assert_eq!(send("10.0.0.1", Method::POST, "logout", "ops").await.status, 200);
}
