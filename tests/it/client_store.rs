//! The client table, on both databases.

use visavis::{
    clients::{
        ActOutcome, AuditBreak, CONSOLE, ClientChange, ClientError, ClientPolicy, ClientStore,
        ClientTable, Clients, FmrChange, NewClient, NewKeys,
    },
    clock::{Clock, MockClock},
    compare::{ClientFmr, Fmr},
    db::{Db, PostgresDb, SqliteDb},
    sealing::MasterKey,
};
use visavis_signing::{ClientKey, ServerKey};

use crate::support::{audit_of, cluster, merchant, server_key};

const NOW: i64 = 1_767_225_600_000;

/// A table, the hands of its clock, and what else opens it.
struct Table {
    clients: ClientStore,
    key: MasterKey,
    clock: MockClock,
    time: Clock,
    db: Db,
    _folder: tempfile::TempDir,
}

impl Table {
    async fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let db = SqliteDb::open(&folder.path().join("visavis.db")).await.unwrap();
        Self::of(db.into(), folder)
    }

    async fn postgres() -> Self {
        let url = cluster().url(&cluster().new_database().await);
        let db = PostgresDb::open(&url, 4).await.unwrap();
        Self::of(db.into(), tempfile::tempdir().unwrap())
    }

    fn of(db: Db, folder: tempfile::TempDir) -> Self {
        let (time, clock) = Clock::mock(NOW);
        let key = MasterKey::random().unwrap();
        let clients = ClientStore::new(db.clone(), key.clone(), time.clone());
        Self { clients, key, clock, time, db, _folder: folder }
    }

    /// What someone does who can write the database and nothing else.
    async fn write(&self, statement: &str) {
        let ran = self.try_write(statement).await;
        assert_eq!(ran.unwrap_or_else(|error| panic!("{statement}: {error}")), 1, "{statement}");
    }

    async fn try_write(&self, statement: &str) -> Result<u64, sqlx::Error> {
        let query = sqlx::AssertSqlSafe(statement.to_owned());
        Ok(match &self.db {
            Db::Sqlite(db) => sqlx::query(query).execute(&db.writer).await?.rows_affected(),
            Db::Postgres(db) => sqlx::query(query).execute(&db.pool()).await?.rows_affected(),
        })
    }

    /// What is stored, as a constant of SQL.
    fn blob(&self, bytes: &[u8]) -> String {
        let hex = crate::migrations::hex(bytes);
        match &self.db {
            Db::Sqlite(_) => format!("x'{hex}'"),
            Db::Postgres(_) => format!("'\\x{hex}'::bytea"),
        }
    }

    async fn is_tampered(&self, client_id: &str) -> bool {
        let got = self.clients.get(client_id).await;
        let refused = matches!(&got, Err(ClientError::Tampered(id)) if id == client_id);
        assert!(refused || got.is_ok(), "{got:?}");
        let listed = self.clients.tampered().await.unwrap();
        assert_eq!(listed.iter().any(|id| id == client_id), refused);
        refused
    }

    async fn add(&self, client_id: &str, name: &str) -> Result<(), ClientError> {
        let merchant_key = ClientKey::from_der(&merchant().spki_der().unwrap()).unwrap();
        let access_key = format!("AK{client_id}");
        let keys = keys(&merchant_key, &access_key);
        self.clients
            .add(&NewClient {
                client_id,
                name,
                keys,
                extras: true,
                fmr: ClientFmr::default(),
                policy: ClientPolicy::default(),
            })
            .await
    }
}

fn keys<'a>(merchant_key: &'a ClientKey, access_key: &'a str) -> NewKeys<'a> {
    NewKeys { merchant_key, server_key: server_key(), access_key, secret_key: &[7; 32] }
}

/// The public half of a pair, and the name of a secret.
fn keys_of(pair: &ServerKey, version: u32) -> (ClientKey, String) {
    (ClientKey::from_der(&pair.spki_der().unwrap()).unwrap(), format!("AK{version}"))
}

macro_rules! on_both {
    ($($case:ident),+ $(,)?) => {
        mod on_sqlite {
            $(#[tokio::test] async fn $case() { super::$case(super::Table::sqlite().await).await; })+
        }
        mod on_postgres {
            $(#[tokio::test] async fn $case() { super::$case(super::Table::postgres().await).await; })+
        }
    };
}

on_both! {
    a_client_comes_back_with_its_keys,
    a_name_is_taken_once_and_leaves_nothing_behind,
    a_client_is_found_by_id_and_by_name,
    every_change_raises_the_revision,
    rates_of_its_own_are_kept_changed_one_by_one_and_taken_away,
    the_table_takes_no_rate_that_nothing_can_be_decided_at,
    keys_follow_each_other_and_the_old_ones_end,
    key_sets_are_deleted_thirty_days_after_they_expired_and_the_newest_never,
    expired_key_sets_of_many_clients_are_deleted_in_batches,
    the_value_that_checks_the_master_key_is_made_once,
    another_master_key_opens_nothing,
    a_client_that_was_changed_in_the_database_is_not_served,
    no_change_gives_a_mac_to_what_somebody_else_wrote,
    new_keys_without_an_overlap_repair_a_client_that_was_changed_in_the_database,
    clients_of_an_earlier_version_get_macs_once,
    a_change_that_is_not_made_is_in_the_audit_with_its_reason,
    an_audit_shows_whether_an_entry_was_changed_added_or_removed,
    a_further_entry_does_not_hide_that_entries_were_removed,
    entries_that_are_made_together_follow_each_other,
    entries_of_an_earlier_version_are_the_beginning_of_the_chain,
    the_consoles_own_client_is_nobody_else_who_waits,
}

async fn a_client_comes_back_with_its_keys(table: Table) {
    table.add("1", "app").await.unwrap();
    let client = table.clients.get("1").await.unwrap().unwrap();
    assert_eq!((client.extras, client.disabled), (true, false));
    let [keys] = &client.keys[..] else { panic!("one set") };
    assert_eq!((keys.version, keys.access_key.as_str(), keys.expires_at), (1, "AK1", None));
    assert_eq!(keys.server_key.pkcs8_der(), server_key().pkcs8_der());
    assert_eq!(keys.merchant_key.spki_der(), merchant().spki_der().unwrap());
    assert_eq!(keys.secret_key.as_bytes(), [7; 32]);
    assert!(table.clients.get("2").await.unwrap().is_none());
    assert_eq!(table.clients.revision("2").await.unwrap(), None);
}

async fn a_name_is_taken_once_and_leaves_nothing_behind(table: Table) {
    table.add("1", "app").await.unwrap();
    let again = table.add("2", "app").await;
    assert!(matches!(again, Err(ClientError::NameTaken(name)) if name == "app"));
    let listed = table.clients.list().await.unwrap();
    assert_eq!(listed.iter().map(|c| c.client_id.as_str()).collect::<Vec<_>>(), ["1"]);
    assert_eq!((listed[0].created_at, listed[0].key_version), (NOW, 1));
}

async fn a_client_is_found_by_id_and_by_name(table: Table) {
    table.add("1", "app").await.unwrap();
    let clients = Clients::from(table.clients.clone());
    for name in ["1", "app"] {
        assert_eq!(clients.resolve(name).await.unwrap().1, "1");
    }
    let unknown = clients.resolve("2").await;
    assert!(matches!(unknown, Err(ClientError::Unknown(name)) if name == "2"));
}

#[tokio::test]
async fn an_id_takes_precedence_over_the_name_of_another_client_in_every_database() {
    let (first, second) = (Table::sqlite().await, Table::sqlite().await);
    let (id, other) = ("2188000000000001", "2188000000000002");
    first.add(other, id).await.unwrap();
    second.add(id, "app").await.unwrap();
    let table = |shard: u32, table: &Table| ClientTable { shard, store: table.clients.clone() };
    let clients = Clients::new(vec![table(0, &first), table(1, &second)], 2);
    let (store, found) = clients.resolve(id).await.unwrap();
    assert_eq!(found, id);
    assert!(store.revision(id).await.unwrap().is_some(), "in the database of that client");
    assert_eq!(clients.resolve("app").await.unwrap().1, id);
    assert_eq!(clients.resolve(other).await.unwrap().1, other);
}

async fn every_change_raises_the_revision(table: Table) {
    table.add("1", "app").await.unwrap();
    let mut seen = vec![table.clients.revision("1").await.unwrap()];
    let strict = ClientChange { extras: Some(false), ..Default::default() };
    table.clients.change("1", &strict).await.unwrap();
    seen.push(table.clients.revision("1").await.unwrap());
    table.clients.set_disabled("1", true).await.unwrap();
    seen.push(table.clients.revision("1").await.unwrap());
    let client = table.clients.get("1").await.unwrap().unwrap();
    assert_eq!((client.extras, client.disabled), (false, true));
    assert_eq!(table.clients.list().await.unwrap()[0].disabled_at, Some(NOW));
    table.clients.set_disabled("1", false).await.unwrap();
    seen.push(table.clients.revision("1").await.unwrap());
    assert!(seen.is_sorted_by(|a, b| a < b), "{seen:?}");
    assert!(table.clients.change("2", &strict).await.is_err());
    assert!(table.clients.set_disabled("2", true).await.is_err());
}

async fn rates_of_its_own_are_kept_changed_one_by_one_and_taken_away(table: Table) {
    let fmr = |rate| Fmr::new(rate).unwrap();
    let own = |rate| Some(FmrChange::Own(fmr(rate)));
    table.add("1", "plain").await.unwrap();
    let merchant_key = ClientKey::from_der(&merchant().spki_der().unwrap()).unwrap();
    let keys = keys(&merchant_key, "AK2");
    let given = ClientFmr { fmr: Some(Fmr::LEAST), document_fmr: Some(Fmr::MOST) };
    let new = NewClient {
        client_id: "2",
        name: "careful",
        keys,
        extras: true,
        fmr: given,
        policy: ClientPolicy::default(),
    };
    table.clients.add(&new).await.unwrap();
    assert_eq!(table.clients.get("2").await.unwrap().unwrap().fmr, given);

    let changes = [
        (ClientChange { fmr: own(1e-4), ..Default::default() }, (Some(1e-4), Some(1e-1)), true),
        (
            ClientChange { extras: Some(false), ..Default::default() },
            (Some(1e-4), Some(1e-1)),
            false,
        ),
        (
            ClientChange { document_fmr: Some(FmrChange::Default), ..Default::default() },
            (Some(1e-4), None),
            false,
        ),
        (
            ClientChange {
                extras: Some(true),
                fmr: Some(FmrChange::Default),
                document_fmr: own(2.5e-3),
                ..Default::default()
            },
            (None, Some(2.5e-3)),
            true,
        ),
    ];
    for (change, (all, documents), extras) in changes {
        table.clients.change("2", &change).await.unwrap();
        let expected = ClientFmr { fmr: all.map(fmr), document_fmr: documents.map(fmr) };
        let client = table.clients.get("2").await.unwrap().unwrap();
        assert_eq!((client.fmr, client.extras), (expected, extras), "{change:?}");
        let listed = table.clients.list().await.unwrap();
        assert_eq!((listed[0].fmr, listed[1].fmr), (ClientFmr::default(), expected));
    }
}

async fn the_table_takes_no_rate_that_nothing_can_be_decided_at(table: Table) {
    table.add("1", "app").await.unwrap();
    for column in ["fmr", "document_fmr"] {
        for (rate, taken) in [("1e-6", true), ("0.1", true), ("9e-7", false), ("0.2", false)] {
            let ran = table.try_write(&format!("UPDATE client SET {column} = {rate}")).await;
            assert_eq!(ran.is_ok(), taken, "{column} {rate}: {ran:?}");
        }
    }
    let listed = table.clients.list().await.unwrap();
    assert_eq!(listed[0].fmr, ClientFmr { fmr: Some(Fmr::MOST), document_fmr: Some(Fmr::MOST) });
}

async fn keys_follow_each_other_and_the_old_ones_end(table: Table) {
    table.add("1", "app").await.unwrap();
    let key = |key: &ServerKey| ClientKey::from_der(&key.spki_der().unwrap()).unwrap();
    let same = key(merchant());
    let refused = table.clients.rotate("1", &keys(&same, "AK2"), 1_000).await;
    assert!(matches!(refused, Err(ClientError::SameKey)));
    let other = key(&ServerKey::generate().unwrap());
    assert_eq!(table.clients.rotate("1", &keys(&other, "AK2"), 1_000).await.unwrap(), 2);
    table.clock.advance(500);
    let third = key(&ServerKey::generate().unwrap());
    assert_eq!(table.clients.rotate("1", &keys(&third, "AK3"), 1_000).await.unwrap(), 3);
    let client = table.clients.get("1").await.unwrap().unwrap();
    let reported: Vec<_> = client.keys.iter().map(|set| (set.version, set.expires_at)).collect();
    assert_eq!(reported, [(3, None), (2, Some(NOW + 1_500)), (1, Some(NOW + 1_000))]);
    assert_eq!(client.keys[0].server_key.pkcs8_der(), server_key().pkcs8_der());
    let unknown = table.clients.rotate("2", &keys(&other, "AK4"), 0).await;
    assert!(matches!(unknown, Err(ClientError::Unknown(_))));
}

async fn key_sets_are_deleted_thirty_days_after_they_expired_and_the_newest_never(table: Table) {
    const DAY: i64 = 24 * 60 * 60 * 1_000;
    table.add("1", "app").await.unwrap();
    let other = |n| keys_of(&ServerKey::generate().unwrap(), n);
    for version in 2..5 {
        let (key, access_key) = other(version);
        let overlap = i64::from(version) * 1_000;
        table.clients.rotate("1", &keys(&key, &access_key), overlap).await.unwrap();
    }
    let versions = async || {
        let client = table.clients.get("1").await.unwrap().unwrap();
        client.keys.iter().map(|set| set.version).collect::<Vec<_>>()
    };
    let revision = table.clients.revision("1").await.unwrap();
    table.clock.advance(30 * DAY + 2_000);
    assert_eq!(table.clients.purge_expired_keys().await.unwrap(), 0, "not before");
    assert_eq!(versions().await, [4, 3, 2, 1]);
    table.clock.advance(1);
    assert_eq!(table.clients.purge_expired_keys().await.unwrap(), 1);
    assert_eq!(versions().await, [4, 3, 2]);
    table.clock.advance(400 * DAY);
    assert_eq!(table.clients.purge_expired_keys().await.unwrap(), 2);
    assert_eq!(versions().await, [4], "the newest has no end");
    assert_eq!(table.clients.revision("1").await.unwrap(), revision, "nobody used them");
    let (key, access_key) = other(5);
    assert_eq!(table.clients.rotate("1", &keys(&key, &access_key), 0).await.unwrap(), 5);
}

async fn expired_key_sets_of_many_clients_are_deleted_in_batches(table: Table) {
    let merchant_key = ClientKey::from_der(&merchant().spki_der().unwrap()).unwrap();
    for n in 0..103 {
        let client_id = format!("{n}");
        table.add(&client_id, &format!("app {n}")).await.unwrap();
        let access_key = format!("AK2-{n}");
        table.clients.rotate(&client_id, &keys(&merchant_key, &access_key), 0).await.unwrap();
    }
    table.clock.advance(31 * 24 * 60 * 60 * 1_000);
    assert_eq!(table.clients.purge_expired_keys().await.unwrap(), 103);
    assert_eq!(table.clients.purge_expired_keys().await.unwrap(), 0);
    let listed = table.clients.list().await.unwrap();
    assert!(listed.len() == 103 && listed.iter().all(|client| client.key_version == 2));
}

async fn the_value_that_checks_the_master_key_is_made_once(table: Table) {
    table.clients.check_master_key().await.unwrap();
    table.clients.check_master_key().await.unwrap();
    let other = ClientStore::new(table.db.clone(), MasterKey::random().unwrap(), Clock::System);
    assert!(matches!(other.check_master_key().await, Err(ClientError::Seal(_))));
}

async fn another_master_key_opens_nothing(table: Table) {
    table.add("1", "app").await.unwrap();
    let outsider = ClientStore::new(table.db.clone(), MasterKey::random().unwrap(), Clock::System);
    assert!(matches!(outsider.get("1").await, Err(ClientError::Seal(_))));
}

/// What would let someone call in the name of client 1, or give it what its operator did not.
const CHANGES: [&str; 16] = [
    "UPDATE client_key SET merchant_key = (SELECT merchant_key FROM client_key WHERE client_id = \
     'other')
     WHERE client_id = '1' AND version = 2",
    "UPDATE client_key SET access_key = 'AKx' WHERE client_id = '1' AND version = 2",
    "UPDATE client_key SET expires_at = NULL WHERE client_id = '1' AND version = 1",
    "UPDATE client_key SET expires_at = expires_at + 1 WHERE client_id = '1' AND version = 1",
    "DELETE FROM client_key WHERE client_id = '1' AND version = 2",
    "DELETE FROM client_key WHERE client_id = '1' AND version = 1",
    "UPDATE client_key SET client_id = '1', version = 3 WHERE client_id = 'other'",
    "UPDATE client SET disabled_at = NULL WHERE client_id = '1'",
    "UPDATE client SET name = 'x' WHERE client_id = '1'",
    "UPDATE client SET extras = NOT extras WHERE client_id = '1'",
    "UPDATE client SET fmr = 0.1 WHERE client_id = '1'",
    "UPDATE client SET document_fmr = NULL WHERE client_id = '1'",
    "UPDATE client SET terms = NULL WHERE client_id = '1'",
    "UPDATE client SET revision = revision - 1 WHERE client_id = '1'",
    "UPDATE client SET mac = NULL WHERE client_id = '1'",
    "UPDATE client SET mac = (SELECT mac FROM client WHERE client_id = 'other') WHERE client_id = \
     '1'",
];

/// A client that is disabled, with keys that end, rates and policy; and another one.
async fn add_a_client_of_every_setting(table: &Table) {
    let given = |key: &ServerKey| ClientKey::from_der(&key.spki_der().unwrap()).unwrap();
    let (first, second) = (given(merchant()), given(&ServerKey::generate().unwrap()));
    let policy =
        ClientPolicy { daily_quota: std::num::NonZeroU32::new(7), ..ClientPolicy::default() };
    let new = NewClient {
        client_id: "1",
        name: "app",
        keys: keys(&first, "AK1"),
        extras: true,
        fmr: ClientFmr { fmr: Some(Fmr::LEAST), document_fmr: Some(Fmr::LEAST) },
        policy,
    };
    table.clients.add(&new).await.unwrap();
    table.clients.rotate("1", &keys(&second, "AK2"), 1_000).await.unwrap();
    table.clients.set_disabled("1", true).await.unwrap();
    let new = NewClient { client_id: "other", name: "other", keys: keys(&first, "AK"), ..new };
    table.clients.add(&new).await.unwrap();
}

async fn a_client_that_was_changed_in_the_database_is_not_served(table: Table) {
    for change in CHANGES {
        for statement in ["DELETE FROM client_key", "DELETE FROM client"] {
            table.try_write(statement).await.unwrap();
        }
        add_a_client_of_every_setting(&table).await;
        assert!(!table.is_tampered("1").await);
        table.write(change).await;
        assert!(table.is_tampered("1").await, "{change}");
    }
}

async fn no_change_gives_a_mac_to_what_somebody_else_wrote(table: Table) {
    add_a_client_of_every_setting(&table).await;
    table.write("UPDATE client SET name = 'x' WHERE client_id = '1'").await;
    let tampered = |result| matches!(result, Err(ClientError::Tampered(id)) if id == "1");
    let strict = ClientChange { extras: Some(false), ..Default::default() };
    assert!(tampered(table.clients.change("1", &strict).await));
    let quota = visavis::clients::PolicyChange { daily_quota: Some(None), ..Default::default() };
    let policy = ClientChange { policy: quota, ..Default::default() };
    assert!(tampered(table.clients.change("1", &policy).await));
    assert!(tampered(table.clients.set_disabled("1", false).await));
    let (key, access_key) = keys_of(&ServerKey::generate().unwrap(), 3);
    let rotated = table.clients.rotate("1", &keys(&key, &access_key), 1_000).await;
    assert!(tampered(rotated.map(drop)));
    table.clients.reseal(false).await.unwrap();
    table.clients.reseal(true).await.unwrap();
    table.clients.check_master_key().await.unwrap();
    table.clock.advance(400 * 24 * 60 * 60 * 1_000);
    assert_eq!(table.clients.purge_expired_keys().await.unwrap(), 0);
    assert!(table.is_tampered("1").await);
    table.clients.set_disabled("1", true).await.unwrap();
    assert!(table.is_tampered("1").await, "disabled, and still not trusted");
    assert!(!table.is_tampered("other").await);
}

async fn new_keys_without_an_overlap_repair_a_client_that_was_changed_in_the_database(
    table: Table,
) {
    add_a_client_of_every_setting(&table).await;
    table.write(CHANGES[0]).await;
    let (key, access_key) = keys_of(&ServerKey::generate().unwrap(), 3);
    table.clients.rotate("1", &keys(&key, &access_key), 0).await.unwrap();
    let client = table.clients.get("1").await.unwrap().unwrap();
    let now = table.time.now();
    let good: Vec<_> = client.keys.iter().filter(|set| set.is_valid(now)).collect();
    let [newest] = &good[..] else { panic!("{good:?}") };
    assert_eq!(newest.merchant_key.spki_der(), key.spki_der());
    assert!(client.disabled);
}

async fn clients_of_an_earlier_version_get_macs_once(table: Table) {
    add_a_client_of_every_setting(&table).await;
    let old = table.key.seal("server-key/gateway", server_key().pkcs8_der()).unwrap();
    let old = table.blob(&old);
    table
        .write(&format!(
            "INSERT INTO server_key (purpose, sealed, created_at) VALUES ('gateway', {old}, 1)"
        ))
        .await;
    table.write("UPDATE client SET mac = NULL WHERE client_id = '1'").await;
    assert!(table.is_tampered("1").await, "not before the start");
    table.clients.check_master_key().await.unwrap();
    assert!(!table.is_tampered("1").await);

    table.write("UPDATE client SET mac = NULL WHERE client_id = '1'").await;
    table.clients.check_master_key().await.unwrap();
    assert!(table.is_tampered("1").await, "once");
    table.write("DELETE FROM server_key").await;
    table.clients.check_master_key().await.unwrap();
    assert!(table.is_tampered("1").await, "nor for somebody who takes away that it was done");
}

/// A new audit with four entries.
async fn begin_an_audit(table: &Table) {
    for name in ["client_key", "client", "server_key", "audit", "audit_head"] {
        table.try_write(&format!("DELETE FROM {name}")).await.unwrap();
    }
    table.clients.check_master_key().await.unwrap();
    for subject in ["one", "two", "three", "four"] {
        table
            .clients
            .record_audit_event("erase", subject, ActOutcome::Done, &serde_json::json!({}))
            .await
            .unwrap();
    }
}

async fn an_audit_shows_whether_an_entry_was_changed_added_or_removed(table: Table) {
    let verify = || table.clients.verify_audit();
    let earlier = "INSERT INTO audit (at, actor, act, subject, detail)
                   SELECT at, actor, act, subject, detail FROM audit WHERE number = 1";
    for (change, broken) in [
        ("UPDATE audit SET actor = 'x' WHERE number = 2", AuditBreak::Entry(2)),
        ("UPDATE audit SET act = 'x' WHERE number = 2", AuditBreak::Entry(2)),
        ("UPDATE audit SET subject = 'x' WHERE number = 3", AuditBreak::Entry(3)),
        ("UPDATE audit SET detail = 'x' WHERE number = 4", AuditBreak::Entry(4)),
        ("UPDATE audit SET address = 'x' WHERE number = 2", AuditBreak::Entry(2)),
        ("UPDATE audit SET proof = NULL WHERE number = 2", AuditBreak::Entry(2)),
        ("UPDATE audit SET outcome = 'refused' WHERE number = 2", AuditBreak::Entry(2)),
        ("UPDATE audit SET proof = NULL, outcome = NULL WHERE number = 2", AuditBreak::Entry(2)),
        ("UPDATE audit SET at = at + 1 WHERE number = 1", AuditBreak::Entry(1)),
        ("UPDATE audit SET digest = NULL WHERE number = 3", AuditBreak::Entry(3)),
        ("DELETE FROM audit WHERE number = 1", AuditBreak::Entry(1)),
        ("DELETE FROM audit WHERE number = 2", AuditBreak::Entry(2)),
        ("DELETE FROM audit WHERE number = 4", AuditBreak::EndsAfter(3)),
        ("UPDATE audit SET number = NULL WHERE number = 1", AuditBreak::Entry(1)),
        (earlier, AuditBreak::Entry(5)),
        ("UPDATE audit_head SET number = number + 1", AuditBreak::EndsAfter(4)),
        ("UPDATE audit_head SET number = number - 1", AuditBreak::Head(3)),
        ("DELETE FROM audit_head", AuditBreak::NoHead),
    ] {
        begin_an_audit(&table).await;
        assert_eq!(verify().await.unwrap().unwrap().number, 4);
        table.write(change).await;
        assert_eq!(verify().await.unwrap(), Err(broken), "{change}");
    }
    begin_an_audit(&table).await;
    assert_eq!(table.try_write("DELETE FROM audit").await.unwrap(), 4);
    assert_eq!(verify().await.unwrap(), Err(AuditBreak::EndsAfter(0)));
}

async fn a_change_that_is_not_made_is_in_the_audit_with_its_reason(table: Table) {
    table.clients.check_master_key().await.unwrap();
    table.add("1", "app").await.unwrap();
    assert!(table.add("2", "app").await.is_err());
    let (key, access_key) = keys_of(merchant(), 2);
    table.clients.rotate("1", &keys(&key, &access_key), 1_000).await.unwrap_err();
    let audit = audit_of(&table.clients).await;
    let shown: Vec<_> =
        audit.iter().map(|entry| (entry.act.as_str(), entry.outcome.as_deref())).collect();
    let refused = Some("refused");
    let expected =
        [("client rotate", refused), ("client add", refused), ("client add", Some("done"))];
    assert_eq!(shown, expected);
    assert!(audit[0].detail.contains("already has this public key"), "{:?}", audit[0]);
    assert_eq!(table.clients.verify_audit().await.unwrap().unwrap().number, 3);
}

async fn a_further_entry_does_not_hide_that_entries_were_removed(table: Table) {
    begin_an_audit(&table).await;
    table.write("DELETE FROM audit WHERE number = 4").await;
    table
        .write(
            "UPDATE audit_head SET number = 3, digest = (SELECT digest FROM audit WHERE number = \
             3)",
        )
        .await;
    assert_eq!(table.clients.verify_audit().await.unwrap(), Err(AuditBreak::Head(3)));
    table
        .clients
        .record_audit_event("erase", "five", ActOutcome::Done, &serde_json::json!({}))
        .await
        .unwrap();
    assert_eq!(table.clients.verify_audit().await.unwrap(), Err(AuditBreak::Head(4)));
    table.write("DELETE FROM audit_head").await;
    table.write("DELETE FROM server_key").await;
    table.add("1", "app").await.unwrap();
    table.clients.check_master_key().await.unwrap();
    assert!(table.clients.verify_audit().await.unwrap().is_err());
}

async fn entries_that_are_made_together_follow_each_other(table: Table) {
    begin_an_audit(&table).await;
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..20 {
        let clients = table.clients.clone();
        tasks.spawn(async move {
            clients
                .record_audit_event(
                    "erase",
                    &n.to_string(),
                    ActOutcome::Done,
                    &serde_json::json!({}),
                )
                .await
                .unwrap();
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
        assert!(table.clients.verify_audit().await.unwrap().is_ok(), "meanwhile");
    }
    assert_eq!(table.clients.verify_audit().await.unwrap().unwrap().number, 24);
}

async fn entries_of_an_earlier_version_are_the_beginning_of_the_chain(table: Table) {
    for subject in ["one", "two"] {
        table
            .write(&format!(
                "INSERT INTO audit (at, actor, act, subject, detail) VALUES (1, 'jane', 'erase', \
                 '{subject}', '')"
            ))
            .await;
    }
    let old = table.blob(&table.key.seal("server-key/gateway", b"").unwrap());
    table
        .write(&format!(
            "INSERT INTO server_key (purpose, sealed, created_at) VALUES ('gateway', {old}, 1)"
        ))
        .await;
    table.clients.check_master_key().await.unwrap();
    assert_eq!(table.clients.verify_audit().await.unwrap().unwrap().number, 0);
    table
        .clients
        .record_audit_event("erase", "three", ActOutcome::Done, &serde_json::json!({}))
        .await
        .unwrap();
    let end = table.clients.verify_audit().await.unwrap().unwrap();
    assert_eq!((end.number, end.digest.len()), (1, 64));
    assert_eq!(table.clients.audit_ends(Some(0)).await.unwrap(), [end]);
    table.write("DELETE FROM audit WHERE subject = 'two'").await;
    assert_eq!(table.clients.verify_audit().await.unwrap(), Err(AuditBreak::Entry(1)));
}

#[tokio::test]
async fn macs_under_the_old_master_key_are_made_anew_before_it_is_retired() {
    let table = Table::sqlite().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("master.key");
    let store = || {
        let key = MasterKey::load_or_create(&path).unwrap();
        ClientStore::new(table.db.clone(), key, Clock::System)
    };
    store().check_master_key().await.unwrap();
    crate::support::add_client(&store(), "1", "app").await;
    visavis::sealing::prepare(&path).unwrap();
    visavis::sealing::promote(&path).unwrap();
    let changing = store();
    assert!(changing.get("1").await.is_ok(), "both keys hold meanwhile");
    assert!(changing.reseal(true).await.is_err());
    changing.reseal(false).await.unwrap();
    changing.reseal(true).await.unwrap();
    visavis::sealing::retire(&path).unwrap();
    assert!(store().get("1").await.is_ok());
    assert_eq!(store().verify_audit().await.unwrap().unwrap().number, 1);
}

async fn the_consoles_own_client_is_nobody_else_who_waits(table: Table) {
    table.add("1", "app").await.unwrap();
    table.add("2", CONSOLE).await.unwrap();
    assert_eq!(table.clients.count().await.unwrap(), 1);
    table.add("3", "other").await.unwrap();
    assert_eq!(table.clients.count().await.unwrap(), 2);
    table.clients.set_disabled("3", true).await.unwrap();
    assert_eq!(table.clients.count().await.unwrap(), 1);
}
