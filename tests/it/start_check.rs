//! `visavis check` tries what a start does: it listens, looks at folders, certificate and clocks.

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use serde_json::Value;
use sqlx::Connection as _;
use visavis::clock::Clock;

use crate::{
    crash::server::{Data, Server},
    serve::free_address,
    support::{Ran, Run as _, cluster, create_data, program},
};

/// Runs `check` on a folder; the findings by their names.
fn check(folder: &Path, variables: &[(&str, &str)]) -> (Ran, impl Fn(&str) -> Value + use<>) {
    let mut command = program();
    command.args(["check", "--json", "--data"]).arg(folder).envs(variables.iter().copied());
    let ran = command.ran();
    let findings = ran.json();
    let find = move |what: &str| {
        let all = findings.as_array().unwrap();
        all.iter().find(|finding| finding["what"] == what).cloned().unwrap_or_default()
    };
    (ran, find)
}

fn detail(finding: &Value) -> &str {
    finding["detail"].as_str().unwrap()
}

/// Whether it is `ok`, `WARN` or `FAIL`.
fn weight(finding: &Value) -> &str {
    match (finding["ok"].as_bool().unwrap(), finding["warning"].as_bool().unwrap_or(false)) {
        (true, false) => "ok",
        (true, true) => "WARN",
        (false, _) => "FAIL",
    }
}

#[test]
fn a_port_that_is_taken_is_named_with_its_setting_and_an_example() {
    let folder = tempfile::tempdir().unwrap();
    create_data(folder.path());
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (variable, setting, example) in [
        ("VISAVIS_HTTP_LISTEN", "http.listen", "VISAVIS_HTTP_LISTEN=127.0.0.1:8081"),
        ("VISAVIS_ADMIN_LISTEN", "admin.listen", "VISAVIS_ADMIN_LISTEN=127.0.0.1:9465"),
    ] {
        let (ran, find) = check(folder.path(), &[(variable, &address)]);
        let ports = find("ports");
        assert_eq!((ran.code, weight(&ports)), (1, "FAIL"), "{ports}");
        let reported = format!("{setting}: {address} cannot be listened on: ");
        assert!(detail(&ports).contains(&reported) && detail(&ports).contains(example), "{ports}");
    }
    drop(taken);
    let (_, find) = check(folder.path(), &[("VISAVIS_HTTP_LISTEN", &address)]);
    let ports = find("ports");
    assert_eq!(weight(&ports), "ok", "{ports}");
    assert!(TcpListener::bind(&address).is_ok(), "it is released");
}

#[test]
fn one_address_for_both_servers_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let address = free_address().to_string();
    let mut command = program();
    command.args(["check", "--data"]).arg(folder.path());
    command.env("VISAVIS_HTTP_LISTEN", &address).env("VISAVIS_ADMIN_LISTEN", &address);
    let refused = command.ran();
    assert_eq!(refused.code, 2, "{}", refused.err);
    let reported = "admin.listen: must be another address or port than http.listen";
    assert!(refused.err.contains(reported), "{}", refused.err);
    // One of them for all addresses.
    let port = address.split(':').next_back().unwrap().to_owned();
    let (_, find) =
        check(folder.path(), &[("VISAVIS_HTTP_LISTEN", &port), ("VISAVIS_ADMIN_LISTEN", &address)]);
    let ports = find("ports");
    assert!(weight(&ports) == "FAIL" && detail(&ports).contains("admin.listen"), "{ports}");
}

#[test]
fn the_ports_of_this_service_are_no_failure_while_it_runs_and_those_of_another_one_a_warning() {
    let (data, other) = (Data::new(), tempfile::tempdir().unwrap());
    create_data(other.path());
    let server = Server::start(&data);
    let url = server.url();
    let address = url.strip_prefix("http://").unwrap();
    let variables = [("VISAVIS_HTTP_LISTEN", address)];
    let (_, find) = check(data.folder(), &variables);
    let own = find("ports");
    let reported = format!("http.listen {address} is in use by this service");
    assert!(weight(&own) == "ok" && detail(&own).contains(&reported), "{own}");
    let (_, find) = check(other.path(), &variables);
    let ports = find("ports");
    assert!(weight(&ports) == "WARN" && detail(&ports).contains("choose another"), "{ports}");
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn a_second_server_on_one_machine_is_told_how_to_get_an_address_of_its_own() {
    let data = Data::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, said) = data.serve_and_fail_with(&[("VISAVIS_ADMIN_LISTEN", &address)]);
    assert_eq!(code, Some(2), "{said}");
    let reported = format!("admin.listen: {address} cannot be listened on: Address already in use");
    assert!(said.contains(&reported), "{said}");
    assert!(said.contains("VISAVIS_ADMIN_LISTEN=127.0.0.1:9465"), "{said}");
}

#[test]
fn names_and_bare_ports_are_listened_on_and_anything_else_is_refused_with_its_setting() {
    let port = free_address().port();
    for (listen, listens) in [
        (format!("localhost:{port}"), format!("http://127.0.0.1:{port}")),
        (format!(":{port}"), format!("http://0.0.0.0:{port}")),
        (port.to_string(), format!("http://0.0.0.0:{port}")),
    ] {
        let server = Server::start_on(&Data::new(), &listen);
        assert_eq!(server.url(), listens);
        assert_eq!(server.terminate(), Some(0));
    }
    for (variable, setting) in
        [("VISAVIS_HTTP_LISTEN", "http.listen"), ("VISAVIS_ADMIN_LISTEN", "admin.listen")]
    {
        let refused = program().arg("check").env(variable, "localhost").ran();
        let reported =
            format!("{setting}: `localhost` is not an address and a port: use 127.0.0.1:8080");
        assert!(refused.err.contains(&reported), "{}", refused.err);
        let (_, find) = check(Path::new("/nowhere"), &[(variable, "no-such-host.invalid:80")]);
        let reported = format!("{setting}: no-such-host.invalid:80 cannot be resolved");
        assert!(detail(&find("ports")).contains(&reported), "{}", find("ports"));
    }
}

#[test]
fn a_folder_that_a_start_would_create_can_be_written() {
    let folder = tempfile::tempdir().unwrap();
    let (_, find) = check(&folder.path().join("new"), &[]);
    assert_eq!(weight(&find("folders")), "ok");
}

/// Certificate and key of this kind in a folder.
fn certificate(folder: &Path, change: impl FnOnce(&mut CertificateParams)) -> [PathBuf; 2] {
    let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    let made = params.self_signed(&key).unwrap();
    let files = [folder.join("cert.pem"), folder.join("key.pem")];
    fs::write(&files[0], made.pem()).unwrap();
    fs::write(&files[1], key.serialize_pem()).unwrap();
    fs::set_permissions(&files[1], fs::Permissions::from_mode(0o600)).unwrap();
    files
}

fn in_days(days: i64) -> time::OffsetDateTime {
    Clock::System.now_utc() + time::Duration::days(days) + time::Duration::hours(1)
}

#[test]
fn a_certificate_that_clients_refuse_or_that_ends_soon_is_warned_of() {
    type Change = fn(&mut CertificateParams);
    let cases: [(Change, &str, &str); 6] = [
        (|_| (), "ok", "and its key are usable"),
        (|params| params.not_after = in_days(31), "ok", "and its key are usable"),
        (|params| params.not_after = in_days(29), "WARN", "expires in 29 days: renew it"),
        (|params| params.not_after = in_days(-2), "FAIL", "has expired: renew it"),
        (
            |params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained),
            "WARN",
            "(CA:TRUE), which most clients refuse: create it with -addext \
             basicConstraints=critical,CA:FALSE",
        ),
        (
            |params| {
                params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
                params.not_after = in_days(3);
            },
            "WARN",
            "expires in 3 days",
        ),
    ];
    for (change, expected, reported) in cases {
        let folder = tempfile::tempdir().unwrap();
        let [cert, key] = certificate(folder.path(), change);
        let variables = [
            ("VISAVIS_TLS_CERT_FILE", cert.to_str().unwrap()),
            ("VISAVIS_TLS_KEY_FILE", key.to_str().unwrap()),
        ];
        let (_, find) = check(folder.path(), &variables);
        let tls = find("tls");
        assert!(weight(&tls) == expected && detail(&tls).contains(reported), "{reported}: {tls}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_of_a_database_that_differs_by_a_second_is_a_warning_and_by_six_a_failure() {
    let url = cluster().url(&cluster().new_database().await);
    let folder = tempfile::tempdir().unwrap();
    let variables = [("VISAVIS_DATABASE_URL", url.as_str())];
    let migrated = program().args(["migrate", "--data"]).arg(folder.path()).envs(variables).ran();
    assert_eq!(migrated.code, 0, "{}", migrated.err);
    let mut connection = sqlx::PgConnection::connect(&url).await.unwrap();
    for (ahead_ms, expected, reported) in [
        (0, "ok", "agree to"),
        (1_500, "WARN", "ms ahead of this machine's: set both by NTP"),
        (-1_500, "WARN", "ms behind this machine's"),
        (6_500, "FAIL", "ms ahead of this machine's"),
    ] {
        let clock = format!(
            "CREATE OR REPLACE FUNCTION visavis_millis(moment timestamptz) RETURNS bigint LANGUAGE \
             sql IMMUTABLE
             AS $$ SELECT (extract(epoch FROM moment) * 1000)::bigint + {ahead_ms} $$"
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(clock)).execute(&mut connection).await.unwrap();
        let (_, find) = check(folder.path(), &variables);
        let clocks = find("clocks");
        assert!(weight(&clocks) == expected && detail(&clocks).contains(reported), "{clocks}");
    }
}
