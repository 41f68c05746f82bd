//! The measured service: this program as a separate process, with a temporary data folder.

use std::{
    env, fs,
    io::{BufRead as _, BufReader},
    os::unix::{fs::DirBuilderExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use visavis_loadgen::{Process, Stop};
use visavis_signing::Credentials;

use super::super::block_on;
use crate::{
    app,
    clients::{ClientPolicy, MadeKeys, NewClient, new_client_id},
    compare::ClientFmr,
    config::{Config, old_variables},
};

/// A folder that is deleted when this is dropped.
pub(super) struct Scratch(PathBuf);

impl Scratch {
    /// Creates one in the temporary folder of the system.
    pub(super) fn create() -> Result<Self> {
        let name = format!("visavis-bench-{}", uuid::Uuid::new_v4().simple());
        let path = env::temp_dir().join(name);
        fs::DirBuilder::new().mode(0o700).create(&path).with_context(|| {
            format!("cannot create {}: set TMPDIR to a writable folder", path.display())
        })?;
        Ok(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // The system cleans its temporary folder.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Settings that a temporary service overrides; all others keep their configured values.
const VARIABLES: [(&str, &str); 8] = [
    ("VISAVIS_DATA_KEY_FILE", ""),
    ("VISAVIS_DATABASE_URL", ""),
    ("VISAVIS_DATABASE_URLS", ""),
    ("VISAVIS_DATABASE_SHARDS", "all"),
    ("VISAVIS_HTTP_SHUTDOWN_DELAY_MS", "0"),
    ("VISAVIS_TLS_CERT_FILE", ""),
    ("VISAVIS_TLS_KEY_FILE", ""),
    ("VISAVIS_ADMIN_LISTEN", ""),
];

/// Longer than a service needs for a graceful shutdown.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(40);
/// Interval between two checks for a request to stop.
const CHECK_INTERVAL: Duration = Duration::from_millis(100);

/// A running service. It stops when its standard input is closed, and so does not outlive this
/// process.
pub(super) struct OwnService {
    child: Child,
    url: String,
    stopped: bool,
}

impl OwnService {
    /// Starts it, and waits until it listens.
    pub(super) fn start(
        config_file: Option<&Path>,
        scratch: &Path,
        workers: usize,
        stop: &Stop,
    ) -> Result<Self> {
        let log = scratch.join("log");
        let mut command = Command::new(env::current_exe()?);
        command
            .args(["serve", "--until-input-ends", "--listen", "127.0.0.1:0"])
            .args(["--workers", &workers.to_string()])
            .arg("--data")
            .arg(scratch)
            .envs(VARIABLES)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(&log)?)
            // Ctrl-C goes to this process only, which stops the service after the measurement.
            .process_group(0);
        // Two names of one setting with two values are refused.
        for old in VARIABLES.iter().flat_map(|(name, _)| old_variables(name)) {
            command.env_remove(old);
        }
        if let Some(file) = config_file {
            command.arg("--config").arg(file);
        }
        let child = command.spawn().context("cannot start the service to measure")?;
        let mut service = Self { child, url: String::new(), stopped: false };
        let line = service.first_line(stop)?;
        let Some(url) = line.trim().strip_prefix("Visavis listens on ") else {
            let log = fs::read_to_string(&log).unwrap_or_default();
            bail!(
                "the service to measure did not start: run `visavis check` to find the reason\n{}",
                log.trim()
            );
        };
        url.clone_into(&mut service.url);
        Ok(service)
    }

    /// The first line of its output; empty if it ends without one.
    fn first_line(&mut self, stop: &Stop) -> Result<String> {
        let output = self.child.stdout.take().context("the service has no standard output")?;
        let (sender, line) = mpsc::channel();
        thread::spawn(move || {
            let mut line = String::new();
            // An error reads as no line.
            let _ = BufReader::new(output).read_line(&mut line);
            let _ = sender.send(line);
        });
        loop {
            match line.recv_timeout(CHECK_INTERVAL) {
                Ok(line) => return Ok(line),
                Err(RecvTimeoutError::Timeout) if stop.is_requested() => {
                    bail!("stopped before anything was measured");
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(String::new()),
            }
        }
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn process(&self) -> Process {
        Process(self.child.id())
    }

    /// Shuts it down gracefully.
    pub(super) fn stop(mut self) -> Result<()> {
        self.stopped = true;
        drop(self.child.stdin.take());
        let begun = Instant::now();
        loop {
            match self.child.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => bail!("the measured service exited with {status}"),
                None if begun.elapsed() > SHUTDOWN_TIMEOUT => {
                    self.stopped = false;
                    bail!(
                        "the measured service did not stop in {SHUTDOWN_TIMEOUT:?} and was killed"
                    );
                }
                None => thread::sleep(Duration::from_millis(10)),
            }
        }
    }
}

impl Drop for OwnService {
    fn drop(&mut self) {
        if !self.stopped {
            // An error means that it has ended already.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Creates the data folder of a service, with one client.
pub(super) fn register(config: &Config, scratch: &Path) -> Result<Credentials> {
    let mut config = config.clone();
    config.data.dir = scratch.to_path_buf();
    config.data.key_file.clear();
    config.data.key_variable.clear();
    config.data.key_command.clear();
    config.database.url.clear();
    config.database.urls.clear();
    "all".clone_into(&mut config.database.shards);
    block_on(async {
        let data = app::open_data(&config).await?;
        let keys = MadeKeys::make(None)?;
        let credentials = keys.credentials(new_client_id()?, 1)?;
        let new = NewClient {
            client_id: &credentials.client_id,
            name: "bench",
            keys: keys.to_store(),
            extras: true,
            fmr: ClientFmr::default(),
            policy: ClientPolicy::default(),
        };
        data.clients.add(&new, None).await?;
        data.close().await;
        Ok(credentials)
    })
}
