//! Opens the configured data folder and databases.

use std::{
    fs::TryLockError,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use crate::{
    clients::{ClientStore, ClientTable, Clients},
    clock::Clock,
    config::{Config, DatabaseSection},
    db::{Access, Db, DbError, PostgresDb, SqliteDb, address_name},
    private_file,
    queue::Store,
    sealing::MasterKey,
    secret::SecretSource,
};

/// The opened data folder: databases, key, and clients.
#[derive(Debug, Clone)]
pub struct Data {
    /// The databases that this process serves, at least one.
    pub(crate) databases: Vec<Database>,
    /// The clients in all of them.
    pub clients: Clients,
}

/// One opened database.
#[derive(Debug, Clone)]
pub struct Database {
    /// Its number in transaction ids.
    pub(crate) number: u32,
    /// Its jobs.
    pub(crate) store: Store,
    /// The connections.
    pub(crate) db: Db,
}

/// Default number of connections of a process to each Postgres, by its role.
const FRONT_END_CONNECTIONS: u32 = 10;
const WORKER_CONNECTIONS: u32 = 4;

/// Opens the data of a front end: creates folder, key and tables that are missing, and brings the
/// schema up to date.
///
/// # Errors
/// When folder, key or a database cannot be created or used, or the key is missing that a database
/// needs.
pub async fn open_data(config: &Config) -> Result<Data> {
    open(config, FRONT_END_CONNECTIONS, Access::Migrate).await
}

/// The same for a process with workers only.
pub(super) async fn open_worker_data(config: &Config) -> Result<Data> {
    open(config, WORKER_CONNECTIONS, Access::Migrate).await
}

/// Opens the data for a command that needs no more than `access`.
///
/// # Errors
/// As [`open_data`], and when something is missing that must not be created.
pub async fn open_data_for(config: &Config, access: Access) -> Result<Data> {
    open(config, WORKER_CONNECTIONS, access).await
}

async fn open(config: &Config, default_connections: u32, access: Access) -> Result<Data> {
    if access >= Access::Create {
        make_folder(&config.data.dir)?;
    } else {
        check_database_file(config)?;
    }
    let source = config.data.key_source();
    let path = config.data.key_path();
    // A key that does not come from a file is not created.
    let is_file = matches!(source, SecretSource::File(_));
    let password = match config.database.password_source() {
        Some(source) => {
            let read = tokio::task::spawn_blocking(move || source.read_line()).await?;
            Some(read.context("database password")?)
        }
        None => None,
    };
    let password = password.as_ref().map(|password| password.as_str());
    let has_key =
        !is_file || path.try_exists().with_context(|| format!("master key {}", path.display()))?;
    if !has_key {
        check_no_key_needed(config, password, access).await?;
        if access < Access::Create {
            bail!(
                "master key {} does not exist: copy it from the machine that has it, or create it \
                 with `visavis client add` or `visavis serve`",
                path.display()
            );
        }
    }
    let connections = match config.database.connections {
        0 => default_connections,
        n => n,
    };
    let mut opened = Vec::new();
    for (number, url) in config.database.served()? {
        let db = open_database(config, (url, password), connections, access).await?;
        if let Db::Postgres(db) = &db {
            // A command that only reads does not decide which number a new database gets.
            if access >= Access::Create {
                db.claim_number(number).await?;
            } else {
                db.check_number(number).await?;
            }
        }
        opened.push((number, db));
    }
    // Last, so that a database which cannot be used leaves no key behind.
    let key = if !is_file {
        let from = source.clone();
        let secret = tokio::task::spawn_blocking(move || source.read()).await?;
        MasterKey::from_secret(&from, &secret.context("master key")?)?
    } else if access >= Access::Create {
        MasterKey::load_or_create(&path)?
    } else {
        MasterKey::load(&path)?
    };
    let (mut databases, mut tables) = (Vec::new(), Vec::new());
    for (number, db) in opened {
        let store = Store::new(db.clone(), key.clone(), Clock::System);
        let clients = ClientStore::new(db.clone(), key.clone(), Clock::System);
        tables.push(ClientTable { shard: number, store: clients });
        databases.push(Database { number, store, db });
    }
    Ok(Data { databases, clients: Clients::new(tables, config.database.count()) })
}

async fn open_database(
    config: &Config,
    (url, password): (&str, Option<&str>),
    connections: u32,
    access: Access,
) -> Result<Db, DbError> {
    if !config.database.is_shared() {
        let path = config.data.database_path(&config.database);
        return Ok(SqliteDb::open_for(&path, access).await?.into());
    }
    // Processes that serve are started together with their database. A command is not kept waiting.
    let patience = Duration::from_millis(config.database.start_timeout_ms);
    let begun = Instant::now();
    loop {
        match PostgresDb::open_for(url, password, connections, access).await {
            Err(error @ DbError::Away { .. })
                if access == Access::Migrate && begun.elapsed() < patience =>
            {
                tracing::warn!(%error, "waiting for the database");
                tokio::time::sleep(START_RETRY).await;
            }
            opened => return Ok(opened?.into()),
        }
    }
}

/// Pause between two attempts to reach a database at the start.
const START_RETRY: Duration = Duration::from_secs(1);

/// Whether the embedded database exists, if one is configured.
pub fn check_database_file(config: &Config) -> Result<()> {
    let path = config.data.database_path(&config.database);
    // Without permission on the folder this fails.
    let cannot_read = || format!("cannot read {}", path.display());
    if config.database.is_shared() || path.try_exists().with_context(cannot_read)? {
        return Ok(());
    }
    let setting = if config.database.url.is_empty() { "--data" } else { "database.url" };
    let folder = path.parent().unwrap_or(Path::new("."));
    bail!(
        "no Visavis data in {} (no {}): check {setting}, or create it with `visavis client add` or \
         `visavis serve`",
        folder.display(),
        path.file_name().unwrap_or_default().to_string_lossy()
    )
}

/// Fails if the databases need the missing key: a new key could not open what it sealed.
async fn check_no_key_needed(
    config: &Config,
    password: Option<&str>,
    access: Access,
) -> Result<()> {
    let path = config.data.key_path();
    let path = path.display();
    if check_database_file(config).is_err() {
        return Ok(());
    }
    for (_, url) in config.database.served()? {
        let db =
            match open_database(config, (url, password), WORKER_CONNECTIONS, Access::Read).await {
                Ok(db) => db,
                Err(DbError::NoSchema { .. }) if access >= Access::Create => continue,
                Err(DbError::Schema { path: database, .. }) => bail!(
                    "master key {path} is missing, but the database {database} of another version \
                 exists: restore the key from your backup, or copy it from the machine that has it"
                ),
                Err(error) => return Err(error.into()),
            };
        // Any key will do: nothing is opened with it.
        let store = ClientStore::new(db.clone(), MasterKey::random()?, Clock::System);
        let sealed = store.sealed().await;
        db.close().await;
        match sealed? {
            None => {}
            Some(0) => bail!(
                "master key {path} is missing, but the database holds values that are sealed with \
                 it: restore it from your backup, or copy it from the machine that has it"
            ),
            Some(clients) => {
                let clients =
                    if clients == 1 { "1 client".to_owned() } else { format!("{clients} clients") };
                bail!(
                    "master key {path} is missing, but the database contains {clients}: restore it \
                     from your backup, or copy it from the machine that has it; without it their \
                     keys cannot be recovered"
                )
            }
        }
    }
    Ok(())
}

impl Data {
    /// Waits for the statements under way and closes all connections.
    pub(crate) async fn close(&self) {
        for database in &self.databases {
            database.db.close().await;
        }
    }
}

/// The configured databases as operators may see them: a file, or Postgres with user, host and
/// database and without the password.
pub fn database_name(config: &Config) -> String {
    let database: &DatabaseSection = &config.database;
    if !database.is_shared() {
        return config.data.database_path(database).display().to_string();
    }
    let served = database.served().unwrap_or_default();
    let names: Vec<_> = served.into_iter().filter_map(|(_, url)| address_name(url)).collect();
    format!("Postgres at {}", names.join(", "))
}

/// Creates the data folder with mode 0700 if it does not exist.
fn make_folder(dir: &Path) -> Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .with_context(|| format!("cannot create the data folder {}", dir.display()))
}

fn lock_path(dir: &Path) -> PathBuf {
    dir.join("serve.lock")
}

/// The files of an embedded database that other users may open and should not, whatever umask made
/// them.
pub fn open_to_others(config: &Config) -> Vec<PathBuf> {
    if config.database.is_shared() {
        return Vec::new();
    }
    let database = config.data.database_path(&config.database);
    let beside = |end| {
        let mut name = database.clone().into_os_string();
        name.push(end);
        PathBuf::from(name)
    };
    let files = [lock_path(&config.data.dir), database.clone(), beside("-wal"), beside("-shm")];
    files.into_iter().filter(|path| private_file::excess_mode(path) != 0).collect()
}

/// Takes the access of other users from these files; to be called before they are opened.
pub(super) fn close_to_others(config: &Config) {
    let (mut closed, mut open) = (Vec::new(), Vec::new());
    for path in open_to_others(config) {
        match private_file::close_to_others(&path) {
            Ok(()) => closed.push(path.display().to_string()),
            Err(error) => open.push(format!("{}: {error}", path.display())),
        }
    }
    if !closed.is_empty() {
        tracing::warn!(files = closed.join(", "), "closed files that other users could open");
    }
    if !open.is_empty() {
        let files = open.join(", ");
        tracing::warn!(files, "other users can open files of the service: run chmod 600 on them");
    }
}

/// Locks the data folder, which one process can serve. The lock ends with the process.
pub(super) fn lock(dir: &Path) -> Result<std::fs::File> {
    make_folder(dir)?;
    let path = lock_path(dir);
    let file = private_file::open_or_create(&path)
        .with_context(|| format!("cannot open {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(_) => bail!(
            "another process serves the data folder {}: SQLite is for one process; stop it, or use \
             another folder",
            dir.display()
        ),
    }
}

/// Whether a process serves the embedded database now.
pub fn is_served(config: &Config) -> bool {
    let lock = std::fs::File::open(lock_path(&config.data.dir));
    lock.is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{PermissionsExt as _, symlink},
    };

    use super::*;

    #[test]
    fn the_lock_is_its_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        drop(lock(folder.path()).unwrap());
        let lock = fs::metadata(folder.path().join("serve.lock")).unwrap();
        assert_eq!(lock.permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_lock_that_is_a_link_is_refused_and_its_file_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let victim = folder.path().join("victim");
        fs::write(&victim, "kept").unwrap();
        symlink(&victim, folder.path().join("serve.lock")).unwrap();
        let refused = format!("{:#}", lock(folder.path()).unwrap_err());
        assert!(refused.ends_with("it is a link; remove it"), "{refused}");
        assert_eq!(fs::read_to_string(&victim).unwrap(), "kept");
    }
}
