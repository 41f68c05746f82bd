//! What commands do to data: only `serve`, `work`, `client add` and `migrate` create any, only
//! `serve`, `work` and `migrate` change a schema, and no one replaces a master key that is missing.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use sqlx::{Connection as _, migrate::Migrator};

use crate::support::{Ran, Run as _, cluster, in_repository, program};

/// Commands that need data and create none, each without `--data`.
const COMMANDS: [&[&str]; 18] = [
    &["check"],
    &["client", "list"],
    &["client", "list", "--json"],
    &["client", "show", "shop"],
    &["client", "export", "shop"],
    &["client", "set", "shop", "--extras", "off"],
    &["client", "rotate", "shop", "--out", "-"],
    &["client", "disable", "shop"],
    &["client", "enable", "shop"],
    &["audit"],
    &["audit", "verify"],
    &["erase", "--biz-id", "x"],
    &["erase", "--biz-id", "x", "--yes"],
    &["key", "prepare"],
    &["key", "rotate"],
    &["key", "retire"],
    &["client", "delete", "shop", "--yes"],
    &["console", "token"],
];
/// Those that read alone.
const READING: [&[&str]; 8] = [
    &["check"],
    &["client", "list"],
    &["client", "list", "--json"],
    &["client", "show", "shop"],
    &["client", "export", "shop"],
    &["audit"],
    &["audit", "verify"],
    &["erase", "--biz-id", "x"],
];
/// Those that create data.
const CREATING: [&[&str]; 3] =
    [&["migrate"], &["client", "add", "new", "--out", "-"], &["serve", "--listen", "127.0.0.1:0"]];

/// Where commands find their data.
struct Site {
    folder: tempfile::TempDir,
    url: Option<String>,
}

impl Site {
    fn sqlite() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), url: None }
    }

    async fn postgres() -> Self {
        let url = cluster().url(&cluster().new_database().await);
        Self { folder: tempfile::tempdir().unwrap(), url: Some(url) }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program();
        command.args(arguments).arg("--data").arg(self.folder.path());
        command.env("VISAVIS_ADMIN_LISTEN", "");
        command.envs(self.url.iter().map(|url| ("VISAVIS_DATABASE_URL", url)));
        command
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        self.command(arguments).ran()
    }

    /// Runs a command that has to fail; what it says.
    fn fails(&self, arguments: &[&str]) -> String {
        let ran = self.run(arguments);
        assert_ne!(ran.code, 0, "{arguments:?}: {}{}", ran.out, ran.err);
        format!("{}{}", ran.out, ran.err)
    }

    fn add(&self, name: &str) {
        let added = self.run(&["client", "add", name, "--out", "-"]);
        assert_eq!(added.code, 0, "{}", added.err);
    }
}

/// Every file of a folder with its bytes.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

#[test]
fn a_command_that_finds_no_data_says_so_and_creates_nothing() {
    let site = Site::sqlite();
    let missing = site.file("typo");
    for command in COMMANDS {
        let reported = site.fails(command);
        let folder = site.folder.path().display();
        let expected =
            format!("no Visavis data in {folder} (no visavis.db): check --data, or create");
        assert!(reported.contains(&expected), "{command:?}: {reported}");
        assert!(files(site.folder.path()).is_empty(), "{command:?}");
        let ran = program().args(command).arg("--data").arg(&missing).ran();
        assert!(ran.code != 0 && !missing.exists(), "{command:?}");
    }
    let configured = format!("sqlite:{}", site.file("typo.db").display());
    let reported = site.command(&["client", "list"]).env("VISAVIS_DATABASE_URL", configured).ran();
    assert!(reported.err.contains("(no typo.db): check database.url"), "{}", reported.err);
}

#[tokio::test]
async fn a_command_that_finds_an_empty_postgres_says_so_and_creates_nothing() {
    let site = Site::postgres().await;
    let name = site.url.as_ref().unwrap().strip_prefix("postgres://").unwrap();
    for command in &COMMANDS {
        let reported = site.fails(command);
        let expected =
            format!("no Visavis data in {name}: check database.url, or create the tables");
        assert!(reported.contains(&expected), "{command:?}: {reported}");
        assert!(files(site.folder.path()).is_empty(), "{command:?}");
    }
    let mut connection = sqlx::PgConnection::connect(site.url.as_ref().unwrap()).await.unwrap();
    let tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'";
    let tables: i64 = sqlx::query_scalar(tables).fetch_one(&mut connection).await.unwrap();
    assert_eq!(tables, 0);
}

#[test]
fn a_command_that_reads_changes_no_file() {
    let site = Site::sqlite();
    site.add("shop");
    let before = files(site.folder.path());
    assert_eq!(before.len(), 2, "{:?}", before.keys());
    for command in READING {
        let ran = site.run(command);
        let found_nothing = command[0] == "check";
        assert!(ran.code == 0 || found_nothing, "{command:?}: {}", ran.err);
        assert!(files(site.folder.path()) == before, "{command:?}");
    }
}

#[tokio::test]
async fn a_command_that_reads_sees_what_is_still_in_the_log_of_a_server_that_was_killed() {
    let site = Site::sqlite();
    site.add("shop");
    // As after a kill: the log has a client that the file does not have.
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(site.file("visavis.db"));
    let mut open = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::query("UPDATE client SET name = 'renamed'").execute(&mut open).await.unwrap();
    let copy = Site::sqlite();
    for (path, bytes) in files(site.folder.path()) {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        fs::write(copy.file(&name), bytes).unwrap();
        fs::set_permissions(copy.file(&name), fs::metadata(path).unwrap().permissions()).unwrap();
    }
    for site in [&site, &copy] {
        let listed = site.run(&["client", "list"]);
        assert!(listed.out.contains("renamed"), "{}{}", listed.out, listed.err);
    }
}

async fn steps(site: &Site) -> Migrator {
    let kind = if site.url.is_some() { "postgres" } else { "sqlite" };
    let folder = in_repository(&format!("migrations/{kind}"));
    Migrator::new(Path::new(&folder)).await.unwrap()
}

/// The schema of this program.
async fn newest(site: &Site) -> i64 {
    steps(site).await.iter().last().unwrap().version
}

/// A database with the schema of a step, or of a version that is yet to come.
async fn migrated_to(site: &Site, version: i64) {
    let (steps, newest) = (steps(site).await, newest(site).await);
    let future = "INSERT INTO _sqlx_migrations (version, description, success, checksum, \
                  execution_time)
                  SELECT version + 1, description, success, checksum, execution_time FROM _sqlx_migrations
                  WHERE version = (SELECT max(version) FROM _sqlx_migrations)";
    if let Some(url) = &site.url {
        let pool = sqlx::PgPool::connect(url).await.unwrap();
        steps.run_to(version.min(newest), &pool).await.unwrap();
        if version > newest {
            sqlx::query(future).execute(&pool).await.unwrap();
        }
        pool.close().await;
    } else {
        let options = sqlx::sqlite::SqliteConnectOptions::new();
        let options = options.filename(site.file("visavis.db")).create_if_missing(true);
        let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
        steps.run_to(version.min(newest), &pool).await.unwrap();
        if version > newest {
            sqlx::query(future).execute(&pool).await.unwrap();
        }
        pool.close().await;
    }
}

/// The last step that was taken.
async fn version(site: &Site) -> i64 {
    let last = "SELECT max(version) FROM _sqlx_migrations";
    if let Some(url) = &site.url {
        let mut connection = sqlx::PgConnection::connect(url).await.unwrap();
        return sqlx::query_scalar(last).fetch_one(&mut connection).await.unwrap();
    }
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(site.file("visavis.db"));
    let mut connection = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::query_scalar(last).fetch_one(&mut connection).await.unwrap()
}

fn give_key(site: &Site) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::write(site.file("master.key"), [7; 32]).unwrap();
    fs::set_permissions(site.file("master.key"), fs::Permissions::from_mode(0o600)).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_schema_is_named_by_every_command_and_changed_by_a_migration_alone() {
    for site in [Site::sqlite(), Site::postgres().await] {
        let needed = newest(&site).await;
        migrated_to(&site, needed - 1).await;
        give_key(&site);
        let reported =
            format!("version {}, this program needs {needed}: stop all processes, ", needed - 1);
        let adding: &[&str] = &["client", "add", "new", "--out", "-"];
        for command in COMMANDS.iter().chain([&adding]) {
            let ran = site.run(command);
            let said = format!("{}{}", ran.out, ran.err);
            assert!(said.contains(&reported), "{command:?}: {said}");
            assert_eq!(version(&site).await, needed - 1, "{command:?}");
        }
        let checked = site.run(&["check"]).out;
        let (line, failed) = (format!("WARN schema: {reported}"), "FAIL schema");
        assert!(checked.contains(&line) && !checked.contains(failed), "{checked}");
        assert_eq!(site.run(&["migrate"]).code, 0);
        assert_eq!(version(&site).await, needed);
        assert!(!site.run(&["check"]).out.contains("schema"));
        assert_eq!(site.run(&["client", "list"]).code, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_schema_is_refused_by_every_command_and_by_a_start() {
    for site in [Site::sqlite(), Site::postgres().await] {
        let newer = newest(&site).await + 1;
        migrated_to(&site, newer).await;
        give_key(&site);
        let reported =
            format!("version {newer}, this program needs {}: use the version", newer - 1);
        for command in COMMANDS.iter().chain(&CREATING) {
            let said = site.fails(command);
            assert!(said.contains(&reported), "{command:?}: {said}");
        }
        assert!(site.run(&["check"]).out.contains("FAIL schema: "));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_master_key_is_an_error_beside_clients_and_no_new_one_is_created() {
    for site in [Site::sqlite(), Site::postgres().await] {
        for name in ["shop", "bank", "taxi"] {
            site.add(name);
        }
        fs::remove_file(site.file("master.key")).unwrap();
        let key = site.file("master.key").display().to_string();
        let reported = format!(
            "master key {key} is missing, but the database contains 3 clients: restore it from \
             your backup"
        );
        let working: &[&str] = &["work", "--workers", "1"];
        let working = site.url.is_some().then_some(working);
        let commands = COMMANDS.into_iter().chain(CREATING).chain(working);
        for command in commands {
            let said = site.fails(command);
            assert!(said.contains(&reported), "{command:?}: {said}");
            assert!(!site.file("master.key").exists(), "{command:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_master_key_is_an_error_beside_an_older_schema_too() {
    let site = Site::sqlite();
    migrated_to(&site, 5).await;
    for command in CREATING {
        let said = site.fails(command);
        assert!(said.contains("is missing, but the database"), "{command:?}: {said}");
    }
    assert!(!site.file("master.key").exists());
    assert_eq!(version(&site).await, 5);
}
