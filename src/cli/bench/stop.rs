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

/// The wish to stop; clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Expresses it; whether it was expressed before.
    pub(super) fn wish(&self) -> bool {
        self.0.swap(true, Ordering::Relaxed)
    }

    /// Whether it was expressed.
    pub(super) fn is_wished(&self) -> bool {
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
            if stop.wish() {
                bail!("stopped before the requests under way were answered");
            }
        }
    })
}
