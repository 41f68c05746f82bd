//! The program of today on the databases that earlier ones left behind when they were killed: what
//! waited is finished, what was finished is reported as it was, and the client goes on with its keys.

use std::{
    fs,
    io::Read as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use flate2::read::GzDecoder;
use serde_json::Value;
use sqlx::Connection as _;

use crate::{
    crash::server::{Data, Server},
    nodes::PATIENCE,
    serve::call,
    support::{cluster, in_repository},
};

/// What those programs were asked: bizId, and whether the two are one person.
const WAITING: [(&str, bool); 3] = [("same", true), ("other", false), ("third", false)];
/// Longer than any of these databases is old.
const FOR_EVER: (&str, &str) = ("VISAVIS_QUEUE_RETENTION_S", "3153600000");

/// The database of a folder, and a data folder with its keys.
fn unpack(folder: &Path) -> (Vec<u8>, Data, String) {
    let (packed, data) = (fs::read(folder.join("database.gz")).unwrap(), Data::new());
    let mut database = Vec::new();
    GzDecoder::new(packed.as_slice()).read_to_end(&mut database).unwrap();
    for name in ["master.key", "shop.json"] {
        fs::copy(folder.join(name), data.folder().join(name)).unwrap();
    }
    let key = data.folder().join("master.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let keys = data.folder().join("shop.json").display().to_string();
    (database, data, keys)
}

fn goes_on(name: &str, folder: &Path, keys: &str, server: &Server, jobs: &[(String, String)]) {
    let begun = Instant::now();
    let reported = |id: &str| {
        loop {
            let reported = call(&server.url(), keys, &["asynccheckresult", id, "--json"]).json();
            if reported["result"]["resultCode"] != "PROCESSING" {
                return reported;
            }
            assert!(begun.elapsed() < PATIENCE, "{name}: {id} is not finished");
            thread::sleep(Duration::from_millis(50));
        }
    };
    let id = |biz_id: &str| {
        let of_it = jobs.iter().find(|(of, _)| of == biz_id);
        &of_it.unwrap_or_else(|| panic!("{name} has no job {biz_id}")).1
    };
    let answered = fs::read_to_string(folder.join("answered.json")).unwrap();
    let answered: Value = serde_json::from_str(&answered).unwrap();
    let again = reported(id("done"));
    for member in ["transactionId", "score", "samePerson", "threshold", "model", "calibration"] {
        assert_eq!(again[member], answered[member], "{name}: {member}");
    }
    for (biz_id, same) in WAITING {
        assert_eq!(reported(id(biz_id))["samePerson"], same, "{name}: {biz_id}");
    }
    let photo = in_repository("samples/hopper.jpg");
    let new = call(&server.url(), keys, &["compare", &photo, &photo, "--json"]).json();
    assert_eq!(
        (&new["samePerson"], &new["threshold"]),
        (&true.into(), &70.into()),
        "{name}: {new}"
    );
}

/// The folders of one database.
fn folders(kind: &str) -> Vec<(String, PathBuf)> {
    let all = fs::read_dir(in_repository("tests/upgrade")).unwrap().map(|entry| entry.unwrap());
    let of_it = all.filter(|entry| entry.file_name().to_string_lossy().starts_with(kind));
    let of_it: Vec<_> =
        of_it.map(|e| (e.file_name().to_string_lossy().into_owned(), e.path())).collect();
    assert!(!of_it.is_empty(), "tests/upgrade has nothing for {kind}");
    of_it
}

const JOBS: &str = "SELECT biz_id, transaction_id FROM job";
/// A dump leaves its session without a search path.
const JOBS_OF_A_DUMP: &str = "SELECT biz_id, transaction_id FROM public.job";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_sqlite_it_finishes_what_every_earlier_version_has_left() {
    for (name, folder) in folders("sqlite-") {
        let (database, data, keys) = unpack(&folder);
        fs::write(data.database(), database).unwrap();
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(data.database());
        let mut connection = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
        let jobs = sqlx::query_as(JOBS).fetch_all(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        tokio::task::block_in_place(|| {
            let server = Server::start_with(&data, &[], &[FOR_EVER]);
            goes_on(&name, &folder, &keys, &server, &jobs);
            assert_eq!(server.terminate(), Some(0));
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_postgres_it_finishes_what_every_earlier_version_has_left() {
    for (name, folder) in folders("postgres-") {
        let (database, data, keys) = unpack(&folder);
        let url = cluster().url(&cluster().new_database().await);
        let mut connection = sqlx::PgConnection::connect(&url).await.unwrap();
        let statements = String::from_utf8(database).unwrap();
        sqlx::raw_sql(sqlx::AssertSqlSafe(statements)).execute(&mut connection).await.unwrap();
        let jobs = sqlx::query_as(JOBS_OF_A_DUMP).fetch_all(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        tokio::task::block_in_place(|| {
            let variables = [("VISAVIS_DATABASE_URL", url.as_str()), FOR_EVER];
            let server = Server::start_with(&data, &[], &variables);
            goes_on(&name, &folder, &keys, &server, &jobs);
            assert_eq!(server.terminate(), Some(0));
        });
    }
}
