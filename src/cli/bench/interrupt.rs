//! Ctrl-C ends a measurement early and prints its result; a second one ends the program.

use std::thread;

use anyhow::{Result, bail};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::oneshot,
};
use visavis_loadgen::Stop;

/// Does the work on a separate thread. The first SIGINT or SIGTERM requests it to stop, the second
/// one ends the wait.
pub(super) fn until_interrupted<T: Send + 'static>(
    work: impl FnOnce(&Stop) -> Result<T> + Send + 'static,
) -> Result<T> {
    super::super::block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let stop = Stop::default();
        let (finished, done) = oneshot::channel();
        let worker = stop.clone();
        thread::spawn(move || finished.send(work(&worker)));
        tokio::pin!(done);
        loop {
            tokio::select! {
                result = &mut done => match result {
                    Ok(result) => return result,
                    // The panic has been printed.
                    Err(_) => bail!("bug: the benchmark thread panicked"),
                },
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if stop.request() {
                bail!("stopped before the requests in flight had finished");
            }
        }
    })
}
