//! The client table, on both databases.

use visavis::{
    clients::{
        CONSOLE, ClientChange, ClientError, ClientStore, ClientTable, ClientTerms, Clients,
        FmrChange, NewClient, NewKeys,
    },
    clock::{Clock, MockClock},
    compare::{ClientFmr, Fmr},
    db::{Db, PostgresDb, SqliteDb},
    sealing::MasterKey,
    signing::{ClientKey, ServerKey},
};

use crate::support::{cluster, merchant, server_key};

const NOW: i64 = 1_767_225_600_000;

/// A table, the hands of its clock, and what else opens it.
struct Table {
    clients: ClientStore,
    clock: MockClock,
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
        let clients = ClientStore::new(db.clone(), MasterKey::random().unwrap(), time);
        Self { clients, clock, db, _folder: folder }
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
                terms: ClientTerms::default(),
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
        terms: ClientTerms::default(),
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
            let update = sqlx::AssertSqlSafe(format!("UPDATE client SET {column} = {rate}"));
            let ran = match &table.db {
                Db::Sqlite(db) => sqlx::query(update).execute(&db.writer).await.map(|_| ()),
                Db::Postgres(db) => sqlx::query(update).execute(&db.pool).await.map(|_| ()),
            };
            assert_eq!(ran.is_ok(), taken, "{column} {rate}: {ran:?}");
        }
    }
    let client = table.clients.get("1").await.unwrap().unwrap();
    assert_eq!(client.fmr, ClientFmr { fmr: Some(Fmr::MOST), document_fmr: Some(Fmr::MOST) });
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
    let told: Vec<_> = client.keys.iter().map(|set| (set.version, set.expires_at)).collect();
    assert_eq!(told, [(3, None), (2, Some(NOW + 1_500)), (1, Some(NOW + 1_000))]);
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
    let stranger = ClientStore::new(table.db.clone(), MasterKey::random().unwrap(), Clock::System);
    assert!(matches!(stranger.get("1").await, Err(ClientError::Seal(_))));
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
