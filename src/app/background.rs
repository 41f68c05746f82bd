//! The background tasks of a process. docs/ARCHITECTURE.md lists them.

use std::{sync::Arc, time::Duration};

use visavis_face::Runtime;

use super::{
    audit_log, client_use, expired_keys, open_files, process_metrics,
    settings::{maintenance_config, runner_config, tls_files},
};
use crate::{
    clients::Clients,
    config::Config,
    db::Db,
    http::{AppState, TlsReload},
    queue::Shard,
    shutdown::Shutdown,
    supervisor::{Ends, Supervisor},
    telemetry,
    worker::{ComputePool, Maintenance, Runner, watch},
};

/// Starts each task under the supervisor.
pub(super) struct Background {
    pub(super) supervisor: Supervisor,
    shutdown: Shutdown,
}

impl Background {
    pub(super) fn new(app: &AppState, shutdown: &Shutdown) -> Self {
        let supervisor = Supervisor::new(app.tasks.clone(), shutdown.clone());
        Self { supervisor, shutdown: shutdown.clone() }
    }

    /// Maintenance, workers and notifications of one database.
    pub(super) fn start_shard(
        &mut self,
        config: &Config,
        shard: &Shard,
        db: &Db,
        pool: Option<&ComputePool>,
    ) {
        let number = shard.number;
        let maintenance = Maintenance::new(
            shard.store.clone(),
            shard.admission.clone(),
            maintenance_config(&config.queue),
            number,
        );
        let cleaning = maintenance.clone();
        self.until_shutdown(format!("queue-watch-{number}"), move |shutdown| {
            maintenance.clone().watch_queue(shutdown)
        });
        self.until_shutdown(format!("cleaning-{number}"), move |shutdown| {
            cleaning.clone().clean(shutdown)
        });
        if let Some(pool) = pool {
            let here = Arc::clone(shard.wake.here());
            let runner =
                Runner::new(shard.store.clone(), pool.clone(), runner_config(config), here);
            let leases = runner.clone();
            self.until_shutdown(format!("runner-{number}"), move |shutdown| {
                runner.clone().run(shutdown)
            });
            // To the end: the runner finishes its jobs after the shutdown was requested.
            self.until_the_end(format!("heartbeat-{number}"), move || leases.clone().heartbeat());
        }
        if let Db::Postgres(db) = db {
            let (wake, to) = (shard.wake.clone(), db.clone());
            self.until_shutdown(format!("notify-{number}"), move |shutdown| {
                wake.clone().announce(to.clone(), shutdown)
            });
            if pool.is_some() {
                let (wake, from) = (shard.wake.clone(), db.clone());
                self.until_shutdown(format!("listen-{number}"), move |shutdown| {
                    wake.clone().listen(from.clone(), shutdown)
                });
            }
        }
    }

    /// Looks for the outcomes that callers of `compare` wait for.
    pub(super) fn start_waiting_room(&mut self, shard: &Shard) {
        let (waiting, store) = (shard.waiting.clone(), shard.store.clone());
        let name = format!("waiting-room-{}", shard.number);
        self.until_the_end(name, move || waiting.clone().serve(store.clone()));
    }

    /// Periodic tasks of every process.
    pub(super) fn start_housekeeping(
        &mut self,
        config: &Config,
        app: &AppState,
        clients: &Clients,
    ) {
        let (of_keys, of_audit, app) = (clients.clone(), clients.clone(), app.clone());
        let registry = Arc::clone(&app.clients);
        self.until_shutdown("client-use", move |shutdown| {
            client_use::run(Arc::clone(&registry), shutdown)
        });
        self.until_shutdown("expired-keys", move |shutdown| {
            expired_keys::purge(of_keys.clone(), shutdown)
        });
        self.until_shutdown("audit-log", move |shutdown| {
            audit_log::run(of_audit.clone(), shutdown)
        });
        self.until_the_end("open-files", open_files::watch);
        self.until_the_end("idle-clients", move || forget_idle_clients(app.clone()));
        if !config.admin.listen.is_empty() {
            let (of_expiry, files) = (clients.clone(), tls_files(config));
            self.until_shutdown("expiry", move |shutdown| {
                process_metrics::watch_expiry(of_expiry.clone(), files.clone(), shutdown)
            });
            self.until_the_end("process-metrics", process_metrics::measure);
            self.until_the_end("metrics", telemetry::run_upkeep);
        }
    }

    /// Reloads a renewed certificate.
    pub(super) fn start_tls_reload(&mut self, reload: TlsReload) {
        self.until_the_end("tls-reload", move || reload.clone().run());
    }

    /// Ends the process when a comparison hangs or the device has failed.
    pub(super) fn start_watchdog(&mut self, config: &Config, pool: ComputePool, runtime: Runtime) {
        let limit = Duration::from_millis(config.worker.hang_timeout_ms);
        let (runtime, health) = (Arc::new(runtime), self.supervisor.health().clone());
        self.until_shutdown("watchdog", move |shutdown| {
            let runtime = Arc::clone(&runtime);
            watch(pool.clone(), limit, move || runtime.is_gone(), health.clone(), shutdown)
        });
    }

    fn until_shutdown<F>(
        &mut self,
        name: impl Into<String>,
        task: impl Fn(Shutdown) -> F + Send + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let shutdown = self.shutdown.clone();
        self.supervisor.start(name, Ends::OnShutdown, move || task(shutdown.clone()));
    }

    fn until_the_end<F>(&mut self, name: impl Into<String>, task: impl Fn() -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.supervisor.start(name, Ends::Last, task);
    }
}

/// How often idle clients are dropped from the rate limits.
const FORGET_INTERVAL: Duration = Duration::from_mins(1);

async fn forget_idle_clients(app: AppState) {
    loop {
        tokio::time::sleep(FORGET_INTERVAL).await;
        app.gate.forget_idle_clients();
    }
}
