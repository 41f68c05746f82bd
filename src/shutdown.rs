//! A request to stop, passed to everything that runs.

use tokio::sync::watch;

/// Learns that the process is to stop; clones learn of the same request.
#[derive(Debug, Clone)]
pub struct Shutdown(watch::Receiver<bool>);

/// Makes the request.
#[derive(Debug)]
pub struct ShutdownTrigger(watch::Sender<bool>);

impl Shutdown {
    /// Not yet requested, and the means to request it.
    pub fn new() -> (ShutdownTrigger, Self) {
        let (sender, receiver) = watch::channel(false);
        (ShutdownTrigger(sender), Self(receiver))
    }

    /// Whether the process is to stop.
    pub fn is_requested(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns once the process is to stop, or nobody is left who could request it.
    pub async fn requested(&mut self) {
        // An error means that the trigger is gone.
        let _ = self.0.wait_for(|stop| *stop).await;
    }
}

impl ShutdownTrigger {
    /// Requests the shutdown.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}
