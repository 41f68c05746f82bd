//! What an operator does with what is stored: erasing it, rotating the master key, and reading the
//! audit. Run as an operator runs it, on both databases.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::MetadataExt as _,
    path::Path,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use visavis::{
    clients::{ClientStore, NewKeys},
    clock::Clock,
    db::SqliteDb,
    sealing::MasterKey,
};
use visavis_signing::ClientKey;

use crate::{
    crash::server::{App, Data, Server},
    nodes::{PATIENCE, Site, enqueue},
    support::{Ran, Run as _, in_repository, merchant, server_key, with_models},
};

fn run(data: &Data, arguments: &[&str]) -> Ran {
    with_models()
        .args(arguments)
        .arg("--data")
        .arg(data.folder())
        .env("USER", "jane")
        .env_remove("SUDO_UID")
        .ran()
}

/// As the audit names her: what the environment says, and what the system knows.
fn jane() -> String {
    let uid = fs::metadata("/proc/self").unwrap().uid();
    format!("jane (uid {uid})")
}

fn events(listed: &Ran) -> Vec<(String, String)> {
    let listed = listed.json();
    let text = |entry: &Value, name: &str| entry[name].as_str().unwrap().to_owned();
    listed.as_array().unwrap().iter().map(|e| (text(e, "actor"), text(e, "act"))).collect()
}

#[test]
fn every_act_on_a_client_is_kept_with_who_did_it_and_without_its_keys() {
    let data = Data::new();
    let keys = data.folder().join("app.json").display().to_string();
    assert_eq!(run(&data, &["client", "add", "app", "--out", &keys, "--rate", "5"]).code, 0);
    assert_eq!(run(&data, &["client", "add", "app"]).code, 2);
    assert_eq!(run(&data, &["client", "set", "app", "--daily-quota", "1000"]).code, 0);
    assert_eq!(run(&data, &["client", "rotate", "app", "--json"]).code, 0);
    assert_eq!(run(&data, &["client", "disable", "app"]).code, 0);
    assert_eq!(run(&data, &["client", "enable", "app"]).code, 0);
    let listed = run(&data, &["audit", "--json"]);
    let all = [
        ("client enable", "done"),
        ("client disable", "done"),
        ("client rotate", "done"),
        ("client set", "done"),
        ("client add", "refused"),
        ("client add", "done"),
    ];
    assert_eq!(events(&listed), all.map(|(act, _)| (jane(), act.to_owned())));
    let outcomes = listed.json();
    let outcomes = outcomes.as_array().unwrap().iter().map(|entry| &entry["outcome"]);
    assert!(outcomes.eq(all.iter().map(|(_, outcome)| *outcome)));
    let keys: Value = serde_json::from_str(&fs::read_to_string(keys).unwrap()).unwrap();
    for name in ["merchantPrivateKey", "secretKey"] {
        assert!(!listed.out.contains(keys[name].as_str().unwrap()), "{name}");
    }
    let table = run(&data, &["audit", "--last", "2"]);
    assert_eq!(table.out.lines().count(), 3, "{}", table.out);
}

#[test]
fn the_audit_is_filtered_and_readable_in_each_form() {
    let data = Data::new();
    for name in ["=app", "other"] {
        assert_eq!(run(&data, &["client", "add", name, "--out", "-", "--rate", "5"]).code, 0);
        assert_eq!(run(&data, &["client", "disable", name]).code, 0);
    }
    let count = |filter: &[&str]| {
        let listed = run(&data, &[&["audit", "--json"], filter].concat()).json();
        listed.as_array().unwrap().len()
    };
    for (filter, expected) in [
        (&[][..], 4),
        (&["--client", "other"], 2),
        (&["--client", "other", "--act", "client add"], 1),
        (&["--act", "client disable"], 2),
        (&["--who", "jan"], 4),
        (&["--who", "jim"], 0),
        (&["--since", "2026-01-01"], 4),
        (&["--until", "2026-01-01T00:00:00+01:00"], 0),
        (&["--last", "3"], 3),
    ] {
        assert_eq!(count(filter), expected, "{filter:?}");
    }
    let added = run(&data, &["audit", "--json", "--act", "client add", "--client", "=app"]).json();
    assert_eq!(added[0]["clientName"], "=app");
    assert_eq!(added[0]["detail"]["terms"]["ratePerS"], 5, "{added}");
    let time = added[0]["time"].as_str().unwrap();
    let at = added[0]["at"].as_i64().unwrap();
    assert_eq!(visavis_signing::parse_time(time), Some(at / 1_000 * 1_000), "{time}");
    let csv = run(&data, &["audit", "--csv", "--act", "client add"]).out;
    assert!(csv.contains(",\"'=app\",\"done\",\"name==app"), "{csv}");
    let table = run(&data, &["audit", "--act", "client add"]).out;
    assert!(table.contains("name=other") && table.contains("ratePerS=5"), "{table}");
    assert_eq!(run(&data, &["audit", "--since", "yesterday"]).code, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_deletes_key_sets_that_expired_more_than_thirty_days_ago() {
    let data = Data::new();
    assert_eq!(run(&data, &["client", "add", "app", "--out", "-"]).code, 0);
    let (long_ago, clock) = Clock::mock(Clock::System.now());
    clock.advance(-31 * 24 * 60 * 60 * 1_000);
    let key = MasterKey::load_or_create(&data.folder().join("master.key")).unwrap();
    let db = SqliteDb::open(&data.database()).await.unwrap();
    let clients = ClientStore::new(db.clone(), key, long_ago);
    let client_id = clients.ids().await.unwrap().remove(0);
    let merchant_key = ClientKey::from_der(&merchant().spki_der().unwrap()).unwrap();
    let keys = NewKeys {
        merchant_key: &merchant_key,
        server_key: server_key(),
        access_key: "AK2",
        secret_key: &[7; 32],
    };
    clients.rotate(&client_id, &keys, 0).await.unwrap();
    let versions = async || {
        let client = clients.get(&client_id).await.unwrap().unwrap();
        client.keys.iter().map(|set| set.version).collect::<Vec<_>>()
    };
    assert_eq!(versions().await, [2, 1]);
    let server = tokio::task::block_in_place(|| Server::start(&data));
    let begun = Instant::now();
    while versions().await != [2] {
        assert!(begun.elapsed() < PATIENCE, "the old set is still there");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(tokio::task::block_in_place(|| server.terminate()), Some(0));
    db.close().await;
}

#[tokio::test]
async fn a_check_names_a_client_that_was_changed_in_the_database_until_it_has_new_keys() {
    let data = Data::new();
    assert_eq!(run(&data, &["client", "add", "app", "--out", "-"]).code, 0);
    let clients = || {
        let found = run(&data, &["check", "--json"]);
        let findings = found.json();
        let of_it = findings.as_array().unwrap().iter().find(|found| found["what"] == "clients");
        (
            of_it.unwrap()["ok"].as_bool().unwrap(),
            of_it.unwrap()["detail"].as_str().unwrap().to_owned(),
        )
    };
    assert_eq!(clients(), (true, "1 unchanged since Visavis stored them".to_owned()));
    let db = SqliteDb::open(&data.database()).await.unwrap();
    sqlx::query("UPDATE client SET extras = 0").execute(&db.writer).await.unwrap();
    let id: String =
        sqlx::query_scalar("SELECT client_id FROM client").fetch_one(&db.readers).await.unwrap();
    db.close().await;
    let (ok, detail) = clients();
    assert!(!ok && detail.contains(&id), "{detail}");
    let refused = run(&data, &["client", "set", "app", "--extras", "on"]);
    assert_eq!(refused.code, 2);
    let reported = format!("visavis client rotate {id} --overlap 0");
    assert!(refused.err.contains(&reported), "{}", refused.err);
    assert_eq!(run(&data, &["client", "rotate", &id, "--overlap", "0", "--out", "-"]).code, 0);
    assert!(clients().0);
}

#[tokio::test]
async fn the_audit_is_verified_and_the_first_entry_that_does_not_follow_is_named() {
    let data = Data::new();
    assert_eq!(run(&data, &["client", "add", "app", "--out", "-"]).code, 0);
    assert_eq!(run(&data, &["client", "disable", "app"]).code, 0);
    assert_eq!(run(&data, &["client", "enable", "app"]).code, 0);
    let whole = run(&data, &["audit", "verify"]);
    assert_eq!(whole.code, 0, "{}", whole.out);
    assert!(whole.out.starts_with("database 0: ok, 3 entries, "), "{}", whole.out);
    let db = SqliteDb::open(&data.database()).await.unwrap();
    sqlx::query("DELETE FROM audit WHERE act = 'client disable'")
        .execute(&db.writer)
        .await
        .unwrap();
    db.close().await;
    let broken = run(&data, &["audit", "verify"]);
    assert_eq!(broken.code, 1, "{}", broken.out);
    assert_eq!(
        broken.out,
        "database 0: FAIL: entry 2 does not follow from those before it: it or one before it was \
         changed, added or removed\n"
    );
    let checked = run(&data, &["check"]);
    assert!(checked.out.contains("FAIL audit: database 0: entry 2 does not"), "{}", checked.out);
}

#[test]
fn a_server_logs_the_digest_of_the_last_entry_of_its_audit() {
    let data = Data::new();
    assert_eq!(run(&data, &["client", "add", "app", "--out", "-"]).code, 0);
    let verified = run(&data, &["audit", "verify"]);
    let digest = verified.out.lines().next().unwrap().rsplit(' ').next().unwrap().to_owned();
    let log = data.folder().join("log");
    let mut server = with_models();
    server.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(data.folder());
    server.env("VISAVIS_ADMIN_LISTEN", "").stderr(fs::File::create(&log).unwrap());
    let mut server = server.stdout(std::process::Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    let is_logged = || {
        let lines = crate::log::lines(&fs::read_to_string(&log).unwrap(), "audit entry");
        lines.iter().any(|line| line["number"] == "1" && line["digest"] == digest)
    };
    while begun.elapsed() < PATIENCE && !is_logged() {
        std::thread::sleep(Duration::from_millis(50));
    }
    server.kill().unwrap();
    server.wait().unwrap();
    assert!(is_logged(), "{}", fs::read_to_string(&log).unwrap());
}

#[test]
fn the_policy_of_a_client_is_shown_and_can_be_reset() {
    let data = Data::new();
    assert_eq!(run(&data, &["client", "add", "app", "--out", "-", "--modes", "key-pair"]).code, 0);
    let set = run(&data, &["client", "set", "app", "--encryption", "required", "--rate", "7"]);
    assert!(set.out.contains("Encryption: required. Rate: 7 requests/s"), "{}{}", set.out, set.err);
    let listed = &run(&data, &["client", "list", "--json"]).json()[0];
    assert_eq!(
        (&listed["modes"], &listed["encryption"], &listed["ratePerS"]),
        (&json!("key-pair"), &json!("required"), &json!(7))
    );
    assert_eq!(run(&data, &["client", "set", "app", "--rate", "default"]).code, 0);
    assert_eq!(run(&data, &["client", "list", "--json"]).json()[0]["ratePerS"], Value::Null);
    let wrong = run(&data, &["client", "set", "app", "--modes", "access-key"]);
    assert_eq!(wrong.code, 2);
    assert!(wrong.err.contains("--modes all or key-pair"), "{}", wrong.err);
}

#[test]
fn what_an_app_needs_is_exported_once_more_without_a_secret() {
    let data = Data::new();
    let file = |name: &str| data.folder().join(name).display().to_string();
    let (first, again) = (file("app.json"), file("again.json"));
    assert_eq!(run(&data, &["client", "add", "app", "--out", &first]).code, 0);
    assert_eq!(run(&data, &["client", "export", "app", "--out", &again]).code, 0);
    let read =
        |path: &str| -> Value { serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap() };
    let (mut first, again) = (read(&first), read(&again));
    for secret in ["merchantPrivateKey", "secretKey"] {
        first.as_object_mut().unwrap().remove(secret).unwrap();
    }
    assert_eq!(again, first);
}

/// Whether these bytes stand in any file of a folder.
fn is_in(folder: &Path, bytes: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let content = fs::read(&path).unwrap();
            if memchr::memmem::find(&content, bytes).is_some() {
                found.push(path.display().to_string());
            }
        }
    }
    found
}

/// The sealed photos that are stored, a piece of each: what is looked for afterwards.
fn sealed(data: &Data) -> Vec<Vec<u8>> {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let copy = data.copy();
    let rows: Vec<(Vec<u8>, Vec<u8>)> = runtime.block_on(async {
        let db = visavis::db::SqliteDb::open(&copy.database()).await.unwrap();
        sqlx::query_as("SELECT probe, reference FROM job_payload")
            .fetch_all(&db.readers)
            .await
            .unwrap()
    });
    rows.into_iter().flat_map(|(a, b)| [a, b]).map(|bytes| bytes[40..72].to_vec()).collect()
}

/// Neither in clear nor sealed: not in the database, not in its log, not in its free pages.
#[test]
fn no_byte_of_a_picture_is_left_after_success_crash_erasure_or_drain() {
    let data = Data::new();
    let app = App::register(&data);
    let photo = fs::read(in_repository("samples/obama-2009.jpg")).unwrap();
    let piece = &photo[photo.len() / 2..photo.len() / 2 + 32];
    // Killed with jobs in it: they are there, sealed, and nowhere in clear.
    let server = Server::start(&data);
    let ids: Vec<_> = (0..6).map(|n| app.enqueue(&server, n)).collect();
    server.kill();
    assert_eq!(is_in(data.folder(), piece), Vec::<String>::new());
    let pieces = sealed(&data);
    assert!(!pieces.is_empty(), "the kill came too late");
    assert!(pieces.iter().all(|piece| !is_in(data.folder(), piece).is_empty()), "it can be found");
    // One is erased while it waits, the others are finished by the next process, which then drains.
    let erased = run(&data, &["erase", "--transaction", &ids[5], "--yes"]);
    assert_eq!(erased.out, "1 transaction erased, with photos and outcomes\n");
    let server = Server::start(&data);
    for id in &ids[..5] {
        app.expect_verdict(&server, id);
    }
    assert_eq!(server.terminate(), Some(0));
    for piece in pieces.iter().map(Vec::as_slice).chain([piece]) {
        assert_eq!(is_in(data.folder(), piece), Vec::<String>::new());
    }
}

#[test]
fn an_erasure_is_told_before_it_is_done_and_its_biz_id_is_not_kept() {
    let data = Data::new();
    let app = App::register(&data);
    let server = Server::start(&data);
    let ids: Vec<_> = (0..2).map(|n| app.enqueue(&server, n)).collect();
    for id in &ids {
        app.expect_verdict(&server, id);
    }
    let asked = run(&data, &["erase", "--client", "app"]);
    assert_eq!(asked.out, "2 transactions would be erased: re-run with --yes to erase\n");
    app.expect_verdict(&server, &ids[0]);
    let nobody = run(&data, &["erase", "--biz-id", "jane.doe@example.org", "--yes"]);
    assert!(nobody.out.starts_with("0 transactions"), "{}", nobody.out);
    let done = run(&data, &["erase", "--client", "app", "--yes"]);
    assert!(done.out.starts_with("2 transactions"), "{}", done.out);
    assert_eq!(app.result_code(&server, &ids[0]), "INVALID_ARGUMENT");
    let listed = run(&data, &["audit", "--json"]);
    assert_eq!(events(&listed)[..2], ["erase", "erase"].map(|act| (jane(), act.into())));
    assert!(!listed.out.contains("jane.doe"), "{}", listed.out);
    let nothing = run(&data, &["erase", "--yes"]);
    assert_eq!(nothing.code, 2, "not everything by oversight");
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn the_master_key_is_changed_under_a_running_server_with_jobs_in_its_queue() {
    let data = Data::new();
    let app = App::register(&data);
    let server = Server::start(&data);
    let first = app.enqueue(&server, 1);
    assert_eq!(run(&data, &["key", "rotate"]).code, 2, "not before it is prepared");
    assert_eq!(run(&data, &["key", "prepare"]).code, 0);
    // A running process has looked at the files by then.
    std::thread::sleep(std::time::Duration::from_secs(6));
    let rotated = run(&data, &["key", "rotate"]);
    assert_eq!(rotated.code, 0, "{}", rotated.err);
    assert_eq!(run(&data, &["key", "rotate"]).code, 0, "may be run again");
    app.expect_verdict(&server, &first);
    let second = app.enqueue(&server, 2);
    app.expect_verdict(&server, &second);
    std::thread::sleep(std::time::Duration::from_secs(6));
    let third = app.enqueue(&server, 3);
    let retired = run(&data, &["key", "retire"]);
    assert_eq!(retired.code, 0, "{}", retired.err);
    app.expect_verdict(&server, &third);
    assert_eq!(server.terminate(), Some(0));
    let names: BTreeSet<_> = fs::read_dir(data.folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains("key"))
        .collect();
    assert_eq!(names, BTreeSet::from(["master.key".to_owned()]));
    let server = Server::start(&data);
    app.expect_verdict(&server, &third);
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn a_key_is_not_retired_while_something_is_sealed_under_it() {
    let data = Data::new();
    assert_eq!(run(&data, &["client", "add", "app", "--out", "-"]).code, 0);
    assert_eq!(run(&data, &["key", "prepare"]).code, 0);
    assert_eq!(run(&data, &["key", "rotate"]).code, 0);
    // A process without the new key goes on with the old one.
    let (key, old) = (data.folder().join("master.key"), data.folder().join("master.key.old"));
    let (new, kept) = (fs::read(&key).unwrap(), fs::read(&old).unwrap());
    fs::write(&key, &kept).unwrap();
    fs::remove_file(&old).unwrap();
    fs::write(data.folder().join("master.key.next"), &new).unwrap();
    std::process::Command::new("chmod")
        .arg("600")
        .arg(data.folder().join("master.key.next"))
        .status()
        .unwrap();
    assert_eq!(run(&data, &["client", "add", "late", "--out", "-"]).code, 0);
    assert_eq!(run(&data, &["key", "retire"]).code, 2, "no old key to be seen");
    fs::rename(data.folder().join("master.key.next"), &key).unwrap();
    fs::write(&old, &kept).unwrap();
    std::process::Command::new("chmod").arg("600").arg(&old).status().unwrap();
    let refused = run(&data, &["key", "retire"]);
    assert_eq!(refused.code, 2);
    assert!(refused.err.contains("run `visavis key rotate` again"), "{}", refused.err);
    assert_eq!(run(&data, &["key", "rotate"]).code, 0);
    assert_eq!(run(&data, &["key", "retire"]).code, 0);
    assert_eq!(run(&data, &["client", "export", "late"]).code, 0);
}

#[test]
fn a_refused_step_is_in_the_audit_as_one_that_was_not_done() {
    let data = Data::new();
    assert_eq!(run(&data, &["client", "add", "app", "--out", "-"]).code, 0);
    for (step, code) in [("rotate", 2), ("retire", 2), ("prepare", 0), ("prepare", 2)] {
        assert_eq!(run(&data, &["key", step]).code, code, "{step}");
    }
    let audit = run(&data, &["audit", "--json"]).json();
    let entries = audit.as_array().unwrap().iter().rev();
    let steps: Vec<_> = entries
        .filter(|entry| entry["subject"] == "master key")
        .inspect(|entry| {
            assert_eq!((&entry["proof"], &entry["from"]), (&json!("system"), &json!(null)));
        })
        .map(|entry| [&entry["act"], &entry["outcome"]].map(|text| text.as_str().unwrap()))
        .collect();
    let expected = [
        ("key rotate", "refused"),
        ("key retire", "refused"),
        ("key prepare", "done"),
        ("key prepare", "refused"),
    ];
    let expected: Vec<_> =
        expected.iter().flat_map(|(act, outcome)| [[*act, "begun"], [*act, *outcome]]).collect();
    assert_eq!(steps, expected);
    assert_eq!(run(&data, &["audit", "verify"]).code, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_postgres_jobs_are_erased_and_sealed_anew_too() {
    let site = Site::new().await;
    tokio::task::block_in_place(|| {
        let front = site.front_end();
        let (one, other) = (site.enqueue(&front, 1), site.enqueue(&front, 2));
        assert_eq!(site.run(&["key", "prepare"]).code, 0);
        std::thread::sleep(std::time::Duration::from_secs(6));
        let rotated = site.run(&["key", "rotate"]);
        // One client, the server's own key, and two jobs.
        assert!(
            rotated.out.contains("4 values were re-encrypted"),
            "{}{}",
            rotated.out,
            rotated.err
        );
        let erased = site.run(&["erase", "--transaction", &one, "--yes"]);
        assert!(erased.out.starts_with("1 transaction erased"), "{}{}", erased.out, erased.err);
        assert_eq!(site.run(&["key", "retire"]).code, 0);
        let workers = site.workers();
        site.expect_verdict(&front, &other);
        let gone = site.call(&front, &["asynccheckresult", &one]);
        assert_eq!(gone["result"]["resultCode"], "INVALID_ARGUMENT");
        assert_eq!((front.terminate(), workers.terminate()), (Some(0), Some(0)));
    });
}

#[test]
fn a_client_is_deleted_with_its_keys_and_its_transactions_only_if_that_is_asked_for() {
    let data = Data::new();
    let app = App::register(&data);
    let server = Server::start(&data);
    let transaction = app.enqueue(&server, 1);
    let id = run(&data, &["client", "list", "--json"]).json()[0]["clientId"].clone();
    let asked = run(&data, &["client", "delete", "app"]);
    assert!(asked.out.contains("1 transaction: re-run with --with-transactions"), "{}", asked.out);
    let refused = run(&data, &["client", "delete", "app", "--yes"]);
    assert_eq!(refused.code, 2);
    assert!(refused.err.contains("--with-transactions"), "{}", refused.err);
    let access_key =
        run(&data, &["client", "show", "app", "--json"]).json()["keys"][0]["accessKey"]
            .as_str()
            .unwrap()
            .to_owned();
    let deleted = run(&data, &["client", "delete", "app", "--with-transactions", "--yes"]);
    assert_eq!(deleted.code, 0, "{}", deleted.err);
    assert_eq!(app.result_code(&server, &transaction), "MERCHANT_NOT_FOUND");
    assert_eq!(is_in(data.folder(), access_key.as_bytes()), Vec::<String>::new());
    let audit = run(&data, &["audit", "--json", "--client", id.as_str().unwrap()]).json();
    let acts: Vec<_> =
        audit.as_array().unwrap().iter().map(|e| [&e["act"], &e["outcome"]]).collect();
    let expected = [
        ["client delete", "done"],
        ["erase", "done"],
        ["erase", "begun"],
        ["client disable", "done"],
        ["client delete", "refused"],
        ["client add", "done"],
    ];
    assert!(acts.iter().zip(expected).all(|(act, expected)| *act == expected), "{acts:?}");
    assert_eq!(acts.len(), expected.len(), "{acts:?}");
    assert_eq!(run(&data, &["client", "add", "app", "--out", "-"]).code, 0, "the name is free");
    assert_eq!(server.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_postgres_a_client_is_deleted_with_its_transactions_too() {
    let site = Site::new().await;
    tokio::task::block_in_place(|| {
        let front = site.front_end();
        let keys = site.add_client("shop", &[]);
        enqueue(&keys, &front, 1);
        assert_eq!(site.run(&["client", "delete", "shop", "--yes"]).code, 2);
        let delete = ["client", "delete", "shop", "--with-transactions", "--yes"];
        assert_eq!(site.run(&delete).code, 0);
        let refused = crate::serve::call(&front.url(), &keys, &["test"]);
        assert!(refused.err.contains("MERCHANT_NOT_FOUND"), "{}", refused.err);
        let found = site.run(&["client", "list", "--json", "--search", "shop"]);
        assert_eq!(found.json(), json!([]));
        assert_eq!(site.run(&["audit", "verify"]).code, 0);
        assert_eq!(front.terminate(), Some(0));
    });
}

#[test]
fn a_client_is_shown_with_what_applies_and_its_last_use() {
    let data = Data::new();
    let app = App::register(&data);
    let show = || run(&data, &["client", "show", "app", "--json"]).json();
    let new = show();
    assert_eq!(new["lastUsed"], json!(null));
    assert_eq!(new["burst"], json!({ "value": 100, "own": false }));
    assert_eq!((&new["dailyQuota"], &new["comparisonsToday"]), (&json!(null), &json!(null)));
    let set = ["client", "set", "app", "--burst", "7", "--daily-quota", "9", "--fmr", "1e-6"];
    assert_eq!(run(&data, &set).code, 0);
    let server = Server::start(&data);
    app.enqueue(&server, 1);
    assert_eq!(server.terminate(), Some(0));
    let used = show();
    assert_eq!(used["burst"], json!({ "value": 7, "own": true }));
    assert_eq!((&used["dailyQuota"], &used["comparisonsToday"]), (&json!(9), &json!(1)));
    assert_eq!((&used["fmr"]["value"], &used["documentFmr"]["own"]), (&json!(1e-6), &json!(true)));
    let last = visavis_signing::parse_time(used["lastUsed"].as_str().unwrap()).unwrap();
    assert!((Clock::System.now() - last).abs() < 60_000, "{used}");
    assert_eq!(run(&data, &["client", "rotate", "app", "--out", "-"]).code, 0);
    let keys = show()["keys"].clone();
    assert_eq!((&keys[0]["state"], &keys[1]["state"]), (&json!("current"), &json!("overlap")));
    let text = run(&data, &["client", "show", "app"]).out;
    for line in
        ["Keys v2 ", "9 comparisons, 1 used today", "unlimited (default: http.client_rate_per_s)"]
    {
        assert!(text.contains(line), "{line}: {text}");
    }
    let found = |text: &str| {
        let listed = run(&data, &["client", "list", "--json", "--search", text]).json();
        listed.as_array().unwrap().len()
    };
    assert_eq!((found("AP"), found("other")), (1, 0));
}

/// Root prepares a key for a service that is not root.
#[test]
fn a_key_that_root_makes_belongs_to_the_owner_of_the_one_that_is_there() {
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        // No one else can make a file for another user, and then there is nothing to go wrong.
        return;
    }
    let data = Data::new();
    assert_eq!(run(&data, &["client", "add", "app", "--out", "-"]).code, 0);
    let key = data.folder().join("master.key");
    std::os::unix::fs::chown(&key, Some(65_532), Some(65_532)).unwrap();
    std::os::unix::fs::chown(data.folder(), Some(65_532), Some(65_532)).unwrap();
    assert_eq!(run(&data, &["key", "prepare"]).code, 0);
    let owner = |name: &str| fs::metadata(data.folder().join(name)).unwrap().uid();
    assert_eq!(owner("master.key.next"), 65_532);
    assert_eq!(run(&data, &["key", "rotate"]).code, 0);
    assert_eq!((owner("master.key"), owner("master.key.old")), (65_532, 65_532));
    assert_eq!(run(&data, &["key", "retire"]).code, 0);
    let other = Data::new();
    std::os::unix::fs::chown(other.folder(), Some(65_532), Some(65_532)).unwrap();
    assert_eq!(run(&other, &["client", "add", "app", "--out", "-"]).code, 0);
    assert_eq!(
        fs::metadata(other.folder().join("master.key")).unwrap().uid(),
        65_532,
        "the first one too"
    );
}

/// More than one statement goes through, and nothing but what is meant.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erasure_goes_through_all_transactions_and_erases_those_that_are_meant() {
    use sqlx::Connection as _;
    let site = Site::new().await;
    let mut connection = sqlx::PgConnection::connect(&site.urls[0]).await.unwrap();
    sqlx::query(
        "INSERT INTO job (transaction_id, client_id, biz_id, state, due_at, bytes, options, \
         created_at, finished_at)
         SELECT 'G' || n, 'c' || n % 3, 'b' || n, 3, now(), 1, '{}', now(), now() FROM generate_series(1, 9000) AS n",
    )
    .execute(&mut connection)
    .await
    .unwrap();
    let store = visavis::db::PostgresDb::open(&site.urls[0], 2).await.unwrap();
    let key = visavis::sealing::MasterKey::random().unwrap();
    let store = visavis::queue::Store::new(store, key, visavis::clock::Clock::System);
    let which = visavis::queue::Erasure::new(None, None, Some("c1".to_owned())).unwrap();
    assert_eq!(store.would_erase(&which).await.unwrap(), 3_000);
    assert_eq!(store.erase(&which).await.unwrap(), (3_000, true));
    // A session that still sees what is erased next.
    let mut reader = sqlx::PgConnection::connect(&site.urls[0]).await.unwrap();
    sqlx::raw_sql("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM job")
        .execute(&mut reader)
        .await
        .unwrap();
    let next = visavis::queue::Erasure::new(None, None, Some("c2".to_owned())).unwrap();
    assert_eq!(store.erase(&next).await.unwrap(), (3_000, false));
    sqlx::raw_sql("COMMIT").execute(&mut reader).await.unwrap();
    assert_eq!(store.erase(&next).await.unwrap(), (0, true));
    let left: Vec<(String, i64)> =
        sqlx::query_as("SELECT client_id, count(*) FROM job GROUP BY 1 ORDER BY 1")
            .fetch_all(&mut connection)
            .await
            .unwrap();
    assert_eq!(left, [("c0".to_owned(), 3_000)]);
}

/// Someone reads while the log should be emptied: it is said, and not waited for without end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_keeps_copies_in_the_log_is_told() {
    let data = Data::new();
    let db = visavis::db::SqliteDb::open(&data.database()).await.unwrap();
    let key = visavis::sealing::MasterKey::random().unwrap();
    let store = visavis::queue::Store::new(db.clone(), key, visavis::clock::Clock::System);
    let mut reader = db.readers.begin().await.unwrap();
    let _: i64 =
        sqlx::query_scalar("SELECT count(*) FROM job").fetch_one(&mut *reader).await.unwrap();
    sqlx::query("CREATE TABLE later (n)").execute(&db.writer).await.unwrap();
    let which = visavis::queue::Erasure::new(None, None, Some("c1".to_owned())).unwrap();
    assert_eq!(store.erase(&which).await.unwrap(), (0, false));
    reader.rollback().await.unwrap();
    assert_eq!(store.erase(&which).await.unwrap(), (0, true));
}
