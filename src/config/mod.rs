//! Configuration: the compiled-in defaults, then files, then the environment; unknown keys refused.
//!
//! No function takes more than one section, and nothing but [`Config::load`] reads a file or the
//! environment for settings.

mod decision;
mod deprecated;
mod device;
mod layers;
mod listen;
mod logins;
mod ranges;
mod sections;

use std::path::{Path, PathBuf};

pub use deprecated::{Deprecation, RENAMED, old_variables};
pub use layers::ConfigError;
pub use listen::ListenAddress;
pub(crate) use listen::reached_at;
pub use ranges::{MEASURE_RANGES, RANGES};
pub use sections::{
    AdminSection, CompareSection, Config, DataSection, DatabaseSection, HttpSection, LogFormat,
    LogSection, MemorySection, ModelSection, OidcSection, QualitySection, QueueSection,
    RuntimeSection, TlsSection, TracesSection, WorkerSection,
};

use crate::secret::SecretSource;

/// The defaults, as text.
pub const DEFAULTS: &str = include_str!("../../config/default.toml");

/// Number of bodies of the largest size that must fit into the memory budget.
const BODIES_IN_BUDGET: usize = 6;
/// Minimum for decoded pixels, bytes: a photo of a phone needs that much.
pub(crate) const MIN_PIXELS_BYTES: u64 = 64 << 20;

impl Config {
    /// Reads the defaults, `files` in their order, and every `VISAVIS_` variable of `environment`.
    ///
    /// # Errors
    /// [`ConfigError`], naming the key or the variable and what is allowed.
    pub fn load<'a>(
        files: impl IntoIterator<Item = &'a Path>,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let mut deprecated = Vec::new();
        let loaded = Self::load_layers(files, environment, &mut deprecated);
        let loaded = loaded.map_err(|error| deprecated::with_old_names(error, &deprecated))?;
        Ok(Self { deprecated, ..loaded })
    }

    fn load_layers<'a>(
        files: impl IntoIterator<Item = &'a Path>,
        environment: impl Iterator<Item = (String, String)>,
        deprecated: &mut Vec<Deprecation>,
    ) -> Result<Self, ConfigError> {
        let mut tree = layers::parse("the built-in defaults", DEFAULTS)?;
        let known = layers::variables(&tree);
        for path in files {
            let name = path.display().to_string();
            let text = std::fs::read_to_string(path)
                .map_err(|e| ConfigError::new(&name, format!("cannot be read: {e}")))?;
            let mut file = layers::parse(&name, &text)?;
            deprecated::rename_keys(&mut file, &name, deprecated)?;
            layers::merge(&mut tree, file, &name)?;
        }
        let mut environment =
            environment.filter(|(name, _)| name.starts_with("VISAVIS_")).collect();
        deprecated::rename_variables(&mut environment, deprecated)?;
        layers::apply_environment(&mut tree, &known, environment)?;
        ranges::check(&tree)?;
        let config: Self = serde_path_to_error::deserialize(tree).map_err(|error| {
            let problem = error.inner().message().to_owned();
            ConfigError::new(&error.path().to_string(), problem)
        })?;
        config.validate()?;
        Ok(config)
    }

    /// What no type can express.
    fn validate(&self) -> Result<(), ConfigError> {
        let wrong = |key: &str, why: &str| Err(ConfigError::new(key, why.to_owned()));
        if self.queue.job_deadline_ms >= self.queue.lease_ms {
            return wrong("queue.job_deadline_ms", "must be less than queue.lease_ms");
        }
        if self.http.body_budget_bytes / BODIES_IN_BUDGET < self.http.body_limit_bytes {
            return wrong(
                "http.body_budget_bytes",
                "must be at least six times http.body_limit_bytes: half of it is for bodies that \
                 arrive, and parsing takes three times a body",
            );
        }
        let data = &self.data;
        let sources = [
            !data.key_file.is_empty(),
            !data.key_variable.is_empty(),
            !data.key_command.is_empty(),
        ];
        if sources.into_iter().filter(|is_set| *is_set).count() > 1 {
            return wrong(
                "data.key_command",
                "only one of data.key_file, data.key_variable and data.key_command can be set",
            );
        }
        if data.key_variable.starts_with("VISAVIS_") {
            return wrong(
                "data.key_variable",
                "must not begin with VISAVIS_, which are settings: choose another name",
            );
        }
        let database = &self.database;
        one_source("database.password", &database.password_file, &database.password_command)?;
        if self.tls.cert_file.is_empty() != self.tls.key_file.is_empty() {
            return wrong("tls.cert_file", "and tls.key_file must both be set, or neither");
        }
        if self.admin.address()?.as_ref() == Some(&self.http.listen)
            && !self.http.listen.is_any_port()
        {
            return wrong("admin.listen", "must be another address or port than http.listen");
        }
        if let Some(host) = self.admin.hosts.iter().find(|host| !is_host_name(host)) {
            let why = format!("must be names without scheme and port; `{host}` is none");
            return wrong("admin.hosts", &why);
        }
        logins::check_headers(&self.admin)?;
        logins::check_provider(&self.oidc, &self.admin)?;
        if self.image.min_side > self.image.max_side {
            return wrong("image.min_side", "must be at most image.max_side");
        }
        let url = &self.database.url;
        let known = ["sqlite:", "postgres://", "postgresql://"];
        if !(url.is_empty() || known.iter().any(|scheme| url.starts_with(scheme))) {
            return wrong(
                "database.url",
                "must be empty, sqlite:PATH, or postgres://USER@HOST/DATABASE",
            );
        }
        if self.database.connections == 1 {
            return wrong("database.connections", "must be at least 2, or 0 for the default");
        }
        if self.queue.client_share == 0.0 {
            return wrong("queue.client_share", "must be more than 0");
        }
        // A request is fresh for that long before and after its time.
        if self.queue.dedupe && self.queue.retention_s < 2 * u64::from(self.http.freshness_s) {
            return wrong(
                "queue.retention_s",
                "must be at least twice http.freshness_s: a recorded request would be compared \
                 again",
            );
        }
        if self.worker.drain_timeout_ms < self.queue.job_deadline_ms {
            return wrong(
                "worker.drain_timeout_ms",
                "must be at least queue.job_deadline_ms: a shutdown would cut off jobs that could \
                 still end",
            );
        }
        if self.worker.hang_timeout_ms <= self.queue.job_deadline_ms {
            return wrong("worker.hang_timeout_ms", "must be more than queue.job_deadline_ms");
        }
        if self.memory.pixels_bytes != 0 && self.memory.pixels_bytes < MIN_PIXELS_BYTES {
            let why = format!("must be at least {MIN_PIXELS_BYTES}, or 0 for what is free");
            return Err(ConfigError::new("memory.pixels_bytes", why));
        }
        crate::telemetry::parse_filter(&self.log.level)
            .map_err(|why| ConfigError::new("log.level", why))?;
        self.runtime.validate()?;
        self.compare.fmr_settings()?;
        self.database.validate()
    }
}

fn is_host_name(text: &str) -> bool {
    let in_name = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    !text.is_empty() && text.chars().all(in_name)
}

impl AdminSection {
    /// The address for operators; `None` if it is disabled.
    ///
    /// # Errors
    /// [`ConfigError`] when it is no address and port.
    pub(crate) fn address(&self) -> Result<Option<ListenAddress>, ConfigError> {
        let wrong = |why| ConfigError::new("admin.listen", format!("{why}, or nothing for none"));
        let listen = Some(self.listen.trim()).filter(|listen| !listen.is_empty());
        listen.map(|listen| listen.parse().map_err(wrong)).transpose()
    }
}

impl DatabaseSection {
    fn validate(&self) -> Result<(), ConfigError> {
        let wrong = |key: &str, why: String| Err(ConfigError::new(key, why));
        let postgres =
            |url: &String| url.starts_with("postgres://") || url.starts_with("postgresql://");
        if !(self.urls.is_empty() || self.url.is_empty()) {
            return wrong("database.urls", "and database.url cannot both be set".to_owned());
        }
        if let Some(place) = self.urls.iter().position(|url| !postgres(url)) {
            let why =
                format!("must be addresses postgres://USER@HOST/DATABASE; number {place} is not");
            return wrong("database.urls", why);
        }
        let repeated = (1..self.urls.len()).find(|n| self.urls[..*n].contains(&self.urls[*n]));
        if let Some(place) = repeated {
            return wrong("database.urls", format!("has number {place} twice"));
        }
        self.served().map(|_| ())
    }

    /// The numbers and addresses of the databases that this process serves; an embedded one has an
    /// empty address.
    ///
    /// # Errors
    /// [`ConfigError`] when `shards` is no list of their numbers.
    pub(crate) fn served(&self) -> Result<Vec<(u32, &str)>, ConfigError> {
        let all: Vec<_> =
            if self.urls.is_empty() { vec![&self.url] } else { self.urls.iter().collect() };
        let numbered = (0..).zip(all.iter().map(|url| url.as_str()));
        if self.shards.trim() == "all" {
            return Ok(numbered.collect());
        }
        let wanted = self.shards.split(',').map(|number| number.trim().parse::<u32>());
        let wanted = wanted.collect::<Result<std::collections::BTreeSet<_>, _>>();
        let wanted = wanted.ok().filter(|wanted| wanted.iter().all(|n| (*n as usize) < all.len()));
        let Some(wanted) = wanted else {
            let why = format!("must be `all`, or numbers from 0 to {} with commas", all.len() - 1);
            return Err(ConfigError::new("database.shards", why));
        };
        Ok(numbered.filter(|(number, _)| wanted.contains(number)).collect())
    }

    /// How many databases the installation has.
    pub(crate) fn count(&self) -> u32 {
        u32::try_from(self.urls.len()).unwrap_or(u32::MAX).max(1)
    }

    /// Where the password comes from, if it is not part of the address or of the environment.
    pub(crate) fn password_source(&self) -> Option<SecretSource> {
        SecretSource::chosen(&self.password_file, &self.password_command)
    }

    /// Whether several processes can share it.
    pub(crate) fn is_shared(&self) -> bool {
        !self.urls.is_empty() || crate::db::is_postgres(&self.url)
    }
}

impl DataSection {
    /// Where the master key comes from.
    pub(crate) fn key_source(&self) -> SecretSource {
        if !self.key_command.is_empty() {
            SecretSource::Command(self.key_command.clone())
        } else if !self.key_variable.is_empty() {
            SecretSource::Variable(self.key_variable.clone())
        } else {
            SecretSource::File(self.key_path())
        }
    }

    /// The file of the master key, if it comes from one.
    pub(crate) fn key_path(&self) -> PathBuf {
        if self.key_file.is_empty() {
            self.dir.join("master.key")
        } else {
            PathBuf::from(&self.key_file)
        }
    }

    /// The file of the embedded database.
    pub(crate) fn database_path(&self, database: &DatabaseSection) -> PathBuf {
        match database.url.strip_prefix("sqlite:") {
            Some(path) => PathBuf::from(path.trim_start_matches("//")),
            None => self.dir.join("visavis.db"),
        }
    }
}

/// Refuses a secret with two sources, `KEY_file` and `KEY_command`.
fn one_source(key: &str, file: &str, command: &[String]) -> Result<(), ConfigError> {
    if file.is_empty() || command.is_empty() {
        return Ok(());
    }
    let why = format!("and {key}_file cannot both be set");
    Err(ConfigError::new(&format!("{key}_command"), why))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn load(file: Option<&str>, environment: &[(&str, &str)]) -> Result<Config, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("visavis.toml");
        if let Some(text) = file {
            std::fs::write(&path, text).unwrap();
        }
        let variables = environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        Config::load(file.map(|_| path.as_path()), variables).map_err(|e| e.to_string())
    }

    #[test]
    fn the_defaults_load() {
        let config = load(None, &[]).unwrap();
        assert_eq!(config.http.listen.to_string(), "127.0.0.1:8080");
        assert_eq!(config.quality.selfie.yaw_deg.fail_above, Some(50.0));
        assert_eq!(config.runtime.device().unwrap(), None);
        assert_eq!(config.runtime.batches().wait, Duration::from_millis(2));
    }

    #[test]
    fn the_file_wins_over_the_defaults_and_the_environment_over_the_file() {
        let file = "[http]\nfreshness_s = 60\ncompare_timeout_ms = 5\n\
                    [quality.selfie]\nyaw_deg = { fail_above = 20 }\n";
        let config = load(
            Some(file),
            &[
                ("VISAVIS_HTTP_COMPARE_TIMEOUT_MS", "7"),
                ("VISAVIS_COMPARE_FMR", "1e-4"),
                ("VISAVIS_MODEL_MIRROR", "/mirror"),
                ("VISAVIS_QUEUE_DEDUPE", "false"),
                ("HOME", "/"),
            ],
        )
        .unwrap();
        assert_eq!((config.http.freshness_s, config.http.compare_timeout_ms), (60, 7));
        assert!((config.compare.fmr - 1e-4).abs() < 1e-12 && !config.queue.dedupe);
        assert_eq!(config.model.mirror, "/mirror");
        assert_eq!(config.quality.selfie.yaw_deg.fail_above, Some(20.0));
        assert_eq!(config.quality.selfie.yaw_deg.warn_above, None);
    }

    #[test]
    fn rates_by_code_are_a_table_in_a_file_and_pairs_in_the_environment() {
        let file = "[compare]\ndocument_fmr = 1e-4\n\
                    [compare.fmr_by_source]\n00000001007 = 1e-3\nX = 0.1\n";
        let pairs = [("00000001007".to_owned(), 1e-3), ("X".to_owned(), 0.1)];
        let config = load(Some(file), &[]).unwrap();
        assert_eq!(config.compare.fmr_by_source, pairs.clone().into());
        assert!((config.compare.document_fmr - 1e-4).abs() < 1e-12);
        let variable = ("VISAVIS_COMPARE_FMR_BY_SOURCE", " 00000001007=1e-3  X=0.1");
        assert_eq!(load(None, &[variable]).unwrap().compare.fmr_by_source, pairs.into());
        let replaced = load(Some(file), &[(variable.0, "Y=1e-2")]).unwrap().compare.fmr_by_source;
        assert_eq!(replaced, [("Y".to_owned(), 1e-2)].into());
        assert_eq!(load(Some(file), &[(variable.0, "")]).unwrap().compare.fmr_by_source, [].into());
    }

    #[test]
    fn several_databases_are_numbered_and_a_process_may_serve_some_of_them() {
        let urls = ("VISAVIS_DATABASE_URLS", "postgres://a/x  postgres://b/x\npostgres://c/x");
        let config = load(None, &[urls, ("VISAVIS_DATABASE_SHARDS", "2, 0")]).unwrap();
        let served = [(0, "postgres://a/x"), (2, "postgres://c/x")];
        assert_eq!(config.database.served().unwrap(), served);
        assert_eq!(config.database.count(), 3);
        let all = load(Some("[database]\nurls = [\"postgres://a/x\"]\n"), &[]).unwrap();
        assert_eq!(all.database.served().unwrap(), [(0, "postgres://a/x")]);
        assert_eq!(load(None, &[]).unwrap().database.served().unwrap(), [(0, "")]);
    }

    #[test]
    fn variables_of_kubernetes_and_of_the_examples_are_ignored() {
        for (name, value) in [
            ("VISAVIS_SERVICE_HOST", "10.0.0.1"),
            ("VISAVIS_SERVICE_PORT", "80"),
            ("VISAVIS_SERVICE_PORT_HTTP", "80"),
            ("VISAVIS_PORT", "tcp://10.0.0.1:80"),
            ("VISAVIS_PORT_80_TCP", "tcp://10.0.0.1:80"),
            ("VISAVIS_PORT_80_TCP_PROTO", "tcp"),
            ("VISAVIS_PORT_80_TCP_PORT", "80"),
            ("VISAVIS_PORT_80_TCP_ADDR", "10.0.0.1"),
            ("VISAVIS_ADMIN_SERVICE_HOST", "10.0.0.1"),
            ("VISAVIS_ADMIN_SERVICE_PORT_METRICS", "9464"),
            ("VISAVIS_ADMIN_PORT", "udp://10.0.0.1:53"),
            ("VISAVIS_ADMIN_PORT_53_UDP_ADDR", "10.0.0.1"),
            ("VISAVIS_URL", "http://127.0.0.1:8080"),
            ("VISAVIS_PROXY_LISTEN", "443"),
        ] {
            assert!(load(None, &[(name, value)]).is_ok(), "{name}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        type Case = (Option<&'static str>, &'static [(&'static str, &'static str)], &'static str);
        let cases: [Case; 43] = [
            (Some("[http]\nlisten_on = 1\n"), &[], "http.listen_on"),
            (Some("[htp]\nlisten = \"x\"\n"), &[], "htp"),
            (None, &[("VISAVIS_ADMIN_HOSTS", "faces.example http://x:1")], "admin.hosts"),
            (None, &[("VISAVIS_ADMIN_USER_HEADER", "X-User")], "admin.user_header"),
            (None, &[("VISAVIS_ADMIN_GROUPS_HEADER", "a group")], "admin.groups_header"),
            (
                None,
                &[("VISAVIS_OIDC_ISSUER", "http://login.example")],
                "oidc.issuer: must be an https",
            ),
            (None, &[("VISAVIS_OIDC_ISSUER", "https://login.example")], "oidc.client_id"),
            (
                None,
                &[("VISAVIS_OIDC_ISSUER", "https://a.example"), ("VISAVIS_OIDC_CLIENT_ID", "c")],
                "oidc.issuer: needs admin.viewer_groups",
            ),
            (
                None,
                &[
                    ("VISAVIS_OIDC_CLIENT_SECRET_FILE", "a"),
                    ("VISAVIS_OIDC_CLIENT_SECRET_COMMAND", "b"),
                ],
                "oidc.client_secret_command: and oidc.client_secret_file cannot both be set",
            ),
            (Some("[http]\nfreshness_s = \"soon\"\n"), &[], "http.freshness_s"),
            (Some("[quality.selfie]\nyaw_deg = { fail_abov = 20 }\n"), &[], "fail_abov"),
            (Some("[http\n"), &[], "visavis.toml"),
            (None, &[("VISAVIS_HTTP_PATIENCE", "7")], "VISAVIS_HTTP_PATIENCE"),
            (
                None,
                &[("VISAVIS_HTTP_COMPARE_TIMEOUT_MS", "soon")],
                "VISAVIS_HTTP_COMPARE_TIMEOUT_MS",
            ),
            (
                None,
                &[("VISAVIS_PORT", "8080")],
                "VISAVIS_PORT: unknown environment variable: unset it",
            ),
            (None, &[("VISAVIS_HTTP_FRESHNES_S", "60")], "did you mean VISAVIS_HTTP_FRESHNESS_S?"),
            (None, &[("VISAVIS_SERVICE_PORTS", "80")], "VISAVIS_SERVICE_PORTS: unknown"),
            (
                None,
                &[("VISAVIS_HTTP_LISTEN", "localhost")],
                "http.listen: `localhost` is not an address",
            ),
            (None, &[("VISAVIS_ADMIN_LISTEN", "localhost")], "admin.listen: `localhost` is not an"),
            (None, &[("VISAVIS_ADMIN_LISTEN", "127.0.0.1:8080")], "admin.listen: must be another"),
            (None, &[("VISAVIS_LOG_FORMAT", "JSON")], "log.format: unknown variant `JSON`"),
            (None, &[("VISAVIS_LOG_LEVEL", "verbose")], "log.level: unknown level `verbose`"),
            (
                Some("[log]\nlevel = \"info,visavis=loud\"\n"),
                &[],
                "log.level: unknown level `loud`",
            ),
            (None, &[("VISAVIS_QUEUE_LEASE_MS", "1000")], "queue.job_deadline_ms"),
            (None, &[("VISAVIS_WORKER_DRAIN_TIMEOUT_MS", "19999")], "worker.drain_timeout_ms"),
            (None, &[("VISAVIS_DATABASE_URL", "mysql://x")], "database.url"),
            (None, &[("VISAVIS_DATABASE_URLS", "sqlite:x")], "database.urls"),
            (None, &[("VISAVIS_DATABASE_URLS", "postgres://a/x postgres://a/x")], "number 1 twice"),
            (None, &[("VISAVIS_DATABASE_SHARDS", "1")], "database.shards"),
            (None, &[("VISAVIS_QUEUE_RETENTION_S", "1799")], "queue.retention_s"),
            (None, &[("VISAVIS_HTTP_BODY_BUDGET_BYTES", "200000000")], "http.body_budget_bytes"),
            (None, &[("VISAVIS_QUEUE_CLIENT_SHARE", "0")], "queue.client_share"),
            (None, &[("VISAVIS_WORKER_HANG_TIMEOUT_MS", "20000")], "worker.hang_timeout_ms"),
            (None, &[("VISAVIS_COMPARE_FMR", "80")], "compare.fmr"),
            (None, &[("VISAVIS_COMPARE_DOCUMENT_FMR", "0.5")], "compare.document_fmr"),
            (Some("[compare]\nfmr_by_source = { X = 1 }\n"), &[], "compare.fmr_by_source.X"),
            (Some("[compare]\nfmr_by_source = { X = \"1e-4\" }\n"), &[], "compare.fmr_by_source.X"),
            (Some("[compare]\nfmr_by_source = 1e-4\n"), &[], "compare.fmr_by_source"),
            (None, &[("VISAVIS_COMPARE_FMR_BY_SOURCE", "X:1e-4")], "CODE=RATE"),
            (None, &[("VISAVIS_RUNTIME_DEVICE", "gpu")], "runtime.device: `gpu` is not a device"),
            (None, &[("VISAVIS_RUNTIME_BATCH_WAIT_MS", "1001")], "runtime.batch_wait_ms"),
            (None, &[("VISAVIS_RUNTIME_BATCH_MAX", "0")], "runtime.batch_max"),
            (None, &[("VISAVIS_RUNTIME_GPU_MEMORY_BYTES", "1")], "runtime.gpu_memory_bytes"),
        ];
        for (file, environment, named) in cases {
            let error = load(file, environment).unwrap_err();
            assert!(error.contains(named), "{named}: {error}");
        }
    }
}
