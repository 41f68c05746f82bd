//! The shutdown request, passed to every task.

use tokio::sync::watch;

/// Receives the shutdown request; clones receive the same one.
#[derive(Debug, Clone)]
pub struct Shutdown(watch::Receiver<bool>);

/// Requests the shutdown.
#[derive(Debug)]
pub struct ShutdownTrigger(watch::Sender<bool>);

impl Shutdown {
    /// Not yet requested, and the means to request it.
    pub fn new() -> (ShutdownTrigger, Self) {
        let (sender, receiver) = watch::channel(false);
        (ShutdownTrigger(sender), Self(receiver))
    }

    /// Whether the shutdown was requested.
    pub(crate) fn is_requested(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns once the shutdown is requested, or the trigger was dropped.
    pub(crate) async fn requested(&mut self) {
        // An error means that the trigger was dropped.
        let _ = self.0.wait_for(|stop| *stop).await;
    }
}

impl ShutdownTrigger {
    /// Requests the shutdown.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}
