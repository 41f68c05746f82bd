//! A private Postgres for the tests of this process: made by `initdb` in a folder of its own,
//! reached through a socket there and a port on loopback, and gone with the process, however that
//! ends.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

/// How long it may take to start.
const PATIENCE: Duration = Duration::from_mins(1);

/// A running server.
pub struct Cluster {
    folder: PathBuf,
    port: u16,
    own: &'static str,
    variables: Vec<(&'static str, String)>,
    made: AtomicU32,
    /// Ends the server and removes the folder when its standard input is closed: at our end at the
    /// latest.
    _keeper: Mutex<Child>,
}

/// The server of this process, started when first asked for.
pub fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(Cluster::start)
}

/// Another server beside it.
pub fn second_cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(Cluster::start)
}

/// Where the server's programs are: on the path, or where Debian puts them.
pub fn binaries() -> PathBuf {
    let on_path = std::env::var_os("PATH")
        .and_then(|path| std::env::split_paths(&path).find(|dir| dir.join("initdb").exists()));
    let mut versions: Vec<_> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|version| version.path().join("bin"))
        .filter(|dir| dir.join("initdb").exists())
        .collect();
    versions.sort();
    on_path
        .or_else(|| versions.pop())
        .expect("the tests need the programs of a Postgres server: apt-get install postgresql")
}

/// As the user `postgres` if we are root, because the server refuses root.
pub fn as_server_user(program: &Path) -> Command {
    let uid = Command::new("id").arg("-u").output().unwrap().stdout;
    if uid.trim_ascii() != b"0" {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]).arg(program);
    command
}

fn succeed(command: &mut Command) {
    let ran = command.stdin(Stdio::null()).output().unwrap();
    assert!(ran.status.success(), "{command:?}: {}", String::from_utf8_lossy(&ran.stderr));
}

/// For tests: no data has to survive the machine, and some tests read the whole write-ahead log.
/// Autovacuum would lock tables that are emptied again and again, to truncate them.
const QUICK: &str = "-c fsync=off -c full_page_writes=off -c shared_buffers=64MB \
                     -c max_wal_size=64MB -c min_wal_size=32MB -c autovacuum=off";

/// A script that stops the server and removes its folder when its input ends.
const STOP_AT_END_OF_INPUT: &str = r#"cat; folder=$1; shift; cd /
"$@" stop --mode=immediate -D "$folder/data"
rm -rf "$folder""#;

fn start_server(folder: &Path, port: u16, own: &str, variables: &[(&'static str, String)]) {
    let settings = format!(
        "-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={} \
         -c max_connections=400 {own}",
        folder.display()
    );
    succeed(
        as_server_user(Path::new("env"))
            // For the server alone: what it loads may not be meant for another user.
            .args(variables.iter().map(|(name, value)| format!("{name}={value}")))
            .arg(binaries().join("pg_ctl"))
            .args(["start", "--wait", "--silent", "-o", &settings, "-D"])
            .arg(folder.join("data"))
            .arg("-l")
            .arg(folder.join("log"))
            .current_dir(folder)
            .stdout(Stdio::null()),
    );
}

impl Cluster {
    /// Makes a server that is quick and careless, and starts it.
    pub fn start() -> Self {
        Self::with(QUICK)
    }

    /// The same with these settings beside those of every server here.
    pub fn with(own: &'static str) -> Self {
        Self::start_with(own, Vec::new())
    }

    /// The same as [`start`](Self::start) with these variables for the server.
    pub fn under(variables: Vec<(&'static str, String)>) -> Self {
        Self::start_with(QUICK, variables)
    }

    fn start_with(own: &'static str, variables: Vec<(&'static str, String)>) -> Self {
        let folder = tempfile::Builder::new().prefix("visavis-pg-").tempdir().unwrap().keep();
        let binaries = binaries();
        let data = folder.join("data");
        // The folder is ours, the data in it the server's.
        succeed(Command::new("chmod").arg("777").arg(&folder));
        succeed(
            as_server_user(&binaries.join("initdb"))
                .args([
                    "--auth=trust",
                    "--username=visavis",
                    "--encoding=UTF8",
                    "--locale=C",
                    "--no-sync",
                    "-D",
                ])
                .arg(&data)
                .current_dir(&folder),
        );
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let control = binaries.join("pg_ctl");
        start_server(&folder, port, own, &variables);
        let stop = as_server_user(&control);
        let stop: Vec<_> = std::iter::once(stop.get_program()).chain(stop.get_args()).collect();
        let keeper = Command::new("bash")
            .args(["-c", STOP_AT_END_OF_INPUT, "keeper"])
            .arg(&folder)
            .args(stop)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let cluster = Self {
            folder,
            port,
            own,
            variables,
            made: AtomicU32::new(0),
            _keeper: Mutex::new(keeper),
        };
        cluster.wait();
        cluster
    }

    /// Ends the server as a crash does: without notice and clean-up.
    pub fn stop_at_once(&self) {
        self.control(&["stop", "--mode=immediate"]);
    }

    /// Ends it in order, and starts it as a standby without a primary: readable, and without
    /// writes.
    pub fn become_standby(&self) {
        self.control(&["stop", "--mode=fast", "--wait"]);
        succeed(as_server_user(Path::new("touch")).arg(self.data().join("standby.signal")));
        self.start_again();
    }

    /// Makes a standby the primary.
    pub fn promote(&self) {
        self.control(&["promote", "--wait"]);
    }

    fn control(&self, arguments: &[&str]) {
        let mut control = as_server_user(&binaries().join("pg_ctl"));
        succeed(control.args(arguments).arg("-D").arg(self.data()).current_dir("/"));
    }

    /// Starts it again where it was.
    pub fn start_again(&self) {
        start_server(&self.folder, self.port, self.own, &self.variables);
        self.wait();
    }

    fn wait(&self) {
        let begun = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(begun.elapsed() < PATIENCE, "Postgres does not start");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The address of a database.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://visavis@127.0.0.1:{}/{database}", self.port)
    }

    /// Makes an empty database and returns its name.
    pub async fn new_database(&self) -> String {
        use sqlx::{Connection as _, Executor as _};
        let name = format!("test_{}", self.made.fetch_add(1, Ordering::SeqCst));
        let mut admin = sqlx::PgConnection::connect(&self.url("postgres")).await.unwrap();
        admin.execute(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).await.unwrap();
        admin.close().await.unwrap();
        name
    }

    /// Where it listens on loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where the server keeps everything.
    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }
}
