//! Ctrl-C ends a measurement with what was measured so far; a second one ends the program.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use anyhow::{Result, bail};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::oneshot,
};

/// The request to stop; clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Requests it; returns whether it was requested before.
    pub(super) fn request(&self) -> bool {
        self.0.swap(true, Ordering::Relaxed)
    }

    /// Whether it was requested.
    pub(super) fn is_requested(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Does the work on a thread of its own. SIGINT or SIGTERM tell it to stop, the second of them ends the wait.
pub(super) fn until_told<T: Send + 'static>(
    work: impl FnOnce(&Stop) -> Result<T> + Send + 'static,
) -> Result<T> {
    super::super::block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let stop = Stop::default();
        let (told, done) = oneshot::channel();
        let worker = stop.clone();
        thread::spawn(move || told.send(work(&worker)));
        tokio::pin!(done);
        loop {
            tokio::select! {
                result = &mut done => match result {
                    Ok(result) => return result,
                    // Its panic has been printed.
                    Err(_) => bail!("the measurement broke off; that is a fault of this program"),
                },
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if stop.request() {
                bail!("stopped before the requests under way were answered");
            }
        }
    })
}
