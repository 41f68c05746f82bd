//! Poolers between the program and Postgres.

use std::time::Instant;

use super::PATIENCE;
use crate::support::{cluster, left_out};

/// A pooler before the tests' server, ended when dropped.
struct Pooler {
    child: std::process::Child,
    port: u16,
    folder: tempfile::TempDir,
}

impl Pooler {
    /// `None` where the pooler is not installed.
    fn start(mode: &str) -> Option<Self> {
        let program = ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer"];
        let Some(program) = program.into_iter().find(|path| std::path::Path::new(path).exists())
        else {
            left_out("pgbouncer is not on this machine, so it is not seen to be refused");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = format!(
            "[databases]\n* = host=127.0.0.1 port={} user=visavis\n[pgbouncer]\nlisten_addr = \
             127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir =\nauth_type = any\npool_mode = \
             {mode}\ndefault_pool_size = 4\n\
             ignore_startup_parameters = extra_float_digits\n",
            cluster().port()
        );
        let path = folder.path().join("pgbouncer.ini");
        std::fs::write(&path, config).unwrap();
        let open =
            std::process::Command::new("chmod").args(["-R", "a+rX"]).arg(folder.path()).status();
        assert!(open.unwrap().success());
        let child = crate::support::as_server_user(std::path::Path::new(program))
            .arg(&path)
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let begun = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begun.elapsed() < PATIENCE, "the pooler does not start");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        Some(Self { child, port, folder })
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_is_refused_in_transaction_mode_and_taken_in_session_mode() {
    let name = cluster().new_database().await;
    for (mode, taken) in [("transaction", false), ("session", true)] {
        let Some(pooler) = Pooler::start(mode) else { return };
        let url = format!("postgres://visavis@127.0.0.1:{}/{name}", pooler.port);
        let opened = visavis::db::PostgresDb::open(&url, 2).await;
        assert_eq!(opened.is_ok(), taken, "{mode}: {opened:?} {}", pooler.folder.path().display());
        if let Err(error) = opened {
            assert!(error.to_string().contains("session mode"), "{error}");
        }
    }
}
