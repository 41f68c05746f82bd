//! Owns every background task. A task that panics or ends is restarted; one that keeps ending ends
//! the process.

use std::{
    collections::{BTreeSet, VecDeque},
    fmt::Write as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::{
    sync::{Notify, watch},
    task::{JoinHandle, JoinSet},
};

use crate::shutdown::Shutdown;

/// Delay before a task is restarted.
const RESTART_DELAY: Duration = Duration::from_millis(100);
/// A task that ends more often than this within [`RESTART_WINDOW`] ends the process.
const MAX_RESTARTS: usize = 5;
const RESTART_WINDOW: Duration = Duration::from_mins(1);

/// How a task ends at shutdown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ends {
    /// By itself, soon after the request; the process waits for it.
    OnShutdown,
    /// Aborted after all others have ended.
    Last,
}

/// Starts background tasks and watches them.
#[derive(Debug)]
pub(crate) struct Supervisor {
    health: TaskHealth,
    shutdown: Shutdown,
    ending: Vec<JoinHandle<()>>,
    last: JoinSet<()>,
}

/// The background tasks that are down; clones share it.
#[derive(Debug, Clone)]
pub struct TaskHealth(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    down: Mutex<BTreeSet<String>>,
    failed: watch::Sender<Option<String>>,
    /// Tasks that a test asks to panic, and the notification.
    panics: Mutex<BTreeSet<String>>,
    asked: Notify,
}

impl Supervisor {
    /// A supervisor without tasks. `health` shows their state.
    pub(crate) fn new(health: TaskHealth, shutdown: Shutdown) -> Self {
        Self { health, shutdown, ending: Vec::new(), last: JoinSet::new() }
    }

    /// Starts a task, and restarts it whenever it panics or returns before shutdown.
    pub(crate) fn start<F>(
        &mut self,
        name: impl Into<String>,
        ends: Ends,
        task: impl Fn() -> F + Send + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let supervised = supervise(name.into(), task, self.health.clone(), self.shutdown.clone());
        match ends {
            Ends::OnShutdown => self.ending.push(tokio::spawn(supervised)),
            Ends::Last => drop(self.last.spawn(supervised)),
        }
    }

    /// The state of its tasks.
    pub(crate) fn health(&self) -> &TaskHealth {
        &self.health
    }

    /// Waits for the tasks that end by themselves. The others go on until [`end`](Self::end).
    pub(crate) async fn stop(&mut self) {
        for task in self.ending.drain(..) {
            // An error means that the supervision itself panicked: there is nothing to wait for.
            let _ = task.await;
        }
    }

    /// Ends all tasks.
    pub(crate) async fn end(mut self) {
        self.last.shutdown().await;
    }
}

impl Default for TaskHealth {
    fn default() -> Self {
        Self(Arc::new(Shared {
            down: Mutex::default(),
            failed: watch::Sender::new(None),
            panics: Mutex::default(),
            asked: Notify::new(),
        }))
    }
}

impl TaskHealth {
    /// The tasks that are down at this moment, separated by commas; `None` when all of them run.
    pub fn down(&self) -> Option<String> {
        let down = locked(&self.0.down);
        let mut names = String::new();
        for name in &*down {
            let comma = if names.is_empty() { "" } else { ", " };
            let _ = write!(names, "{comma}{name}");
        }
        Some(names).filter(|names| !names.is_empty())
    }

    /// Ends the process after a failure that only a restart can repair.
    pub(crate) fn fail(&self, reason: impl Into<String>) {
        let reason = reason.into();
        self.0.failed.send_if_modified(|failed| {
            let first = failed.is_none();
            failed.get_or_insert(reason);
            first
        });
    }

    /// Returns once the process has to end, with the reason.
    pub async fn failed(&self) -> String {
        let mut failed = self.0.failed.subscribe();
        // An error means that the sender is gone, which lives as long as `self`.
        let reason = failed.wait_for(Option::is_some).await.ok();
        reason.and_then(|reason| reason.clone()).unwrap_or_default()
    }

    /// Has the task of that name panic. For tests: nothing else can end a task from outside.
    pub fn inject_panic(&self, name: &str) {
        locked(&self.0.panics).insert(name.to_owned());
        self.0.asked.notify_waiters();
    }

    /// Panics once a test has asked for it.
    async fn asked_to_panic(&self, name: &str) {
        loop {
            let asked = self.0.asked.notified();
            assert!(!locked(&self.0.panics).remove(name), "a test asked for it");
            asked.await;
        }
    }

    fn set_down(&self, name: &str, is_down: bool) {
        let mut down = locked(&self.0.down);
        if is_down {
            down.insert(name.to_owned());
        } else {
            down.remove(name);
        }
    }
}

async fn supervise<F>(
    name: String,
    task: impl Fn() -> F + Send + 'static,
    health: TaskHealth,
    mut shutdown: Shutdown,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let mut restarts = VecDeque::new();
    loop {
        // A set, because it aborts its task when it is dropped.
        let mut running = JoinSet::new();
        let (asked, work) = (health.clone(), task());
        let its_name = name.clone();
        running.spawn(async move {
            tokio::select! {
                () = work => {}
                () = asked.asked_to_panic(&its_name) => {}
            }
        });
        health.set_down(&name, false);
        let why = match running.join_next().await {
            _ if shutdown.is_requested() => return,
            Some(Err(error)) if error.is_panic() => "panicked",
            Some(Ok(())) => "returned",
            // The runtime is going down.
            Some(Err(_)) | None => return,
        };
        health.set_down(&name, true);
        metrics::counter!("visavis_task_restarts_total", "task" => name.clone()).increment(1);
        restarts.push_back(Instant::now());
        restarts.retain(|restart| restart.elapsed() < RESTART_WINDOW);
        if restarts.len() > MAX_RESTARTS {
            tracing::error!(task = name, why, "background task keeps ending: the process ends");
            health.fail(format!("background task {name} keeps ending"));
            return;
        }
        tracing::error!(task = name, why, "background task ended: restarting it");
        tokio::select! {
            () = tokio::time::sleep(RESTART_DELAY) => {}
            () = shutdown.requested() => return,
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::shutdown::ShutdownTrigger;

    /// A supervisor without tasks.
    fn supervised() -> (ShutdownTrigger, Shutdown, TaskHealth, Supervisor) {
        let (trigger, shutdown) = Shutdown::new();
        let health = TaskHealth::default();
        let supervisor = Supervisor::new(health.clone(), shutdown.clone());
        (trigger, shutdown, health, supervisor)
    }

    /// The same task, with its starts counted.
    fn counted<F>(starts: &Arc<AtomicUsize>, task: fn() -> F) -> impl Fn() -> F + use<F> {
        let starts = Arc::clone(starts);
        move || {
            starts.fetch_add(1, Ordering::SeqCst);
            task()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_panics_is_down_and_then_runs_again() {
        let (trigger, _, health, mut supervisor) = supervised();
        let starts = Arc::default();
        supervisor.start("cleaning", Ends::Last, counted(&starts, std::future::pending));
        tokio::time::sleep(Duration::from_millis(1)).await;
        health.inject_panic("cleaning");
        tokio::time::sleep(RESTART_DELAY / 2).await;
        assert_eq!(health.down().as_deref(), Some("cleaning"));
        tokio::time::sleep(RESTART_DELAY).await;
        assert_eq!((health.down(), starts.load(Ordering::SeqCst)), (None, 2));
        trigger.stop();
        supervisor.stop().await;
        supervisor.end().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_keeps_ending_ends_the_process_with_its_name() {
        let (_trigger, _, health, mut supervisor) = supervised();
        let starts = Arc::default();
        let ending = counted(&starts, || std::future::ready(()));
        supervisor.start("cleaning", Ends::OnShutdown, ending);
        assert_eq!(health.failed().await, "background task cleaning keeps ending");
        assert_eq!(starts.load(Ordering::SeqCst), MAX_RESTARTS + 1);
        assert!(health.down().is_some());
    }

    #[tokio::test]
    async fn a_task_that_returns_because_the_process_stops_is_not_started_again() {
        let (trigger, shutdown, health, mut supervisor) = supervised();
        supervisor.start("cleaning", Ends::OnShutdown, move || {
            let mut shutdown = shutdown.clone();
            async move { shutdown.requested().await }
        });
        trigger.stop();
        supervisor.stop().await;
        assert_eq!(health.down(), None);
    }
}
