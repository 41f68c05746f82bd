//! Background tasks that panic, in a service with everything that it can have: TLS, workers, either
//! database.

use std::{
    collections::BTreeSet,
    fs,
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};

use visavis::{
    app::{Roles, Service, start},
    config::Config,
    shutdown::{Shutdown, ShutdownTrigger},
};

use crate::{
    crash::server::Data,
    serve::{call, certificate, get},
    support::{
        Run as _, cluster, in_repository,
        models::{pack, root},
        pack_folder, program, runtime_library,
    },
};

/// The tasks that docs/ARCHITECTURE.md lists, and whether they exist on Postgres alone.
fn listed() -> BTreeSet<(String, bool)> {
    let text = fs::read_to_string(root().join("docs/ARCHITECTURE.md")).unwrap();
    let section = text.split("## Background tasks").nth(1).unwrap();
    let rows = section.lines().take_while(|line| !line.starts_with("## "));
    let names = rows.filter_map(|row| {
        let mut cells = row.strip_prefix("| `")?.split(" | ");
        let name = cells.next()?.trim_end_matches('`').to_owned();
        Some((name, cells.next()? == "Postgres"))
    });
    names.collect()
}

struct Running {
    service: Service,
    trigger: ShutdownTrigger,
    admin: SocketAddr,
}

impl Running {
    async fn start(data: &Data, variables: &[(&str, &str)]) -> Self {
        let (cert, key) = certificate(data.folder());
        let (folder, models, runtime) = (
            data.folder().display().to_string(),
            pack_folder().parent().unwrap().display().to_string(),
            runtime_library().display().to_string(),
        );
        let own = [
            ("VISAVIS_HTTP_LISTEN", "127.0.0.1:0"),
            ("VISAVIS_ADMIN_LISTEN", "127.0.0.1:0"),
            ("VISAVIS_DATA_DIR", &folder),
            ("VISAVIS_MODEL_DIR", &models),
            ("VISAVIS_MODEL_PACK", &pack().name),
            ("VISAVIS_RUNTIME_LIBRARY", &runtime),
            ("VISAVIS_WORKER_THREADS", "1"),
            ("VISAVIS_TLS_CERT_FILE", &cert),
            ("VISAVIS_TLS_KEY_FILE", &key),
        ];
        let all = own.iter().chain(variables);
        let all = all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let config = Config::load(None::<&Path>, all).unwrap();
        let (trigger, shutdown) = Shutdown::new();
        let roles = Roles { front_end: true, workers: true };
        let service = start(&config, roles, &shutdown).await.unwrap();
        let admin = service.admin.as_ref().unwrap().address;
        Self { service, trigger, admin }
    }

    /// What the admin address returns.
    async fn get(&self, path: &'static str) -> String {
        let admin = self.admin;
        tokio::task::spawn_blocking(move || get(admin, path)).await.unwrap()
    }

    async fn wait_until(&self, what: &str, is_down: bool) -> Duration {
        let begun = Instant::now();
        while self.service.app.tasks.down().is_some() != is_down {
            assert!(begun.elapsed() < Duration::from_secs(1), "{what}: down should be {is_down}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        begun.elapsed()
    }

    async fn stop(self) {
        self.trigger.stop();
        self.service.stop().await.unwrap();
    }
}

async fn every_task_comes_back(variables: &[(&str, &str)], is_postgres: bool) {
    let data = Data::new();
    let running = Running::start(&data, variables).await;
    let tasks = listed().into_iter().filter(|(_, postgres)| is_postgres || !postgres);
    let tasks: Vec<_> = tasks.map(|(name, _)| name).collect();
    for name in &tasks {
        running.service.app.tasks.inject_panic(name);
        running.wait_until(name, true).await;
        assert_eq!(running.service.app.tasks.down().as_deref(), Some(name.as_str()));
        let ready = running.get("/health/ready").await;
        assert!(ready.starts_with("HTTP/1.1 503 "), "{ready}");
        assert!(ready.ends_with(&format!("background tasks are down: {name}\n")), "{ready}");
        running.wait_until(name, false).await;
        assert!(running.get("/health/ready").await.starts_with("HTTP/1.1 200 "));
    }
    let metrics = running.get("/metrics").await;
    let counted = metrics.lines().filter_map(|line| {
        line.strip_prefix("visavis_task_restarts_total{task=\"")?.split('"').next()
    });
    for name in &tasks {
        assert!(counted.clone().any(|counted| counted == name), "{name} is not in\n{metrics}");
    }
    // Everything still works.
    let served = running.service.serving.as_ref().unwrap();
    let url = format!("https://localhost:{}", served.address.port());
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let variables: Vec<_> = variables.collect();
    let asked = tokio::task::spawn_blocking(move || {
        let folder = data.folder().display().to_string();
        let file = |name: &str| data.folder().join(name).display().to_string();
        let (cert, keys) = (file("cert.pem"), file("app.json"));
        let added = ["client", "add", "app", "--data", &folder, "--out", &keys];
        let added = program().args(added).envs(variables).ran();
        assert_eq!(added.code, 0, "{}", added.err);
        let photo = in_repository("samples/hopper.jpg");
        call(&url, &keys, &["asynccompare", &photo, &photo, "--wait", "--ca", &cert])
    });
    let asked = asked.await.unwrap();
    assert_eq!(asked.code, 0, "{}{}", asked.out, asked.err);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_background_task_that_panics_on_sqlite_is_back_within_a_second() {
    Box::pin(every_task_comes_back(&[], false)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_background_task_that_panics_on_postgres_is_back_within_a_second() {
    let database = cluster().new_database().await;
    let url = cluster().url(&database);
    Box::pin(every_task_comes_back(&[("VISAVIS_DATABASE_URL", &url)], true)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_background_task_that_panics_again_and_again_ends_the_process() {
    let data = Data::new();
    let running = Running::start(&data, &[]).await;
    let tasks = running.service.app.tasks.clone();
    let panicking = tokio::spawn(async move {
        loop {
            tasks.inject_panic("cleaning-0");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let failed = tokio::time::timeout(Duration::from_secs(10), running.service.failed()).await;
    assert_eq!(failed.unwrap(), "background task cleaning-0 keeps ending");
    panicking.abort();
    running.stop().await;
}
