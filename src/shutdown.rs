//! One wish to stop, passed to everything that runs.

use tokio::sync::watch;

/// Hears when the process is to stop; clones hear the same wish.
#[derive(Debug, Clone)]
pub struct Shutdown(watch::Receiver<bool>);

/// Expresses the wish.
#[derive(Debug)]
pub struct ShutdownTrigger(watch::Sender<bool>);

impl Shutdown {
    /// A wish not yet expressed, and the means to express it.
    pub fn new() -> (ShutdownTrigger, Self) {
        let (sender, receiver) = watch::channel(false);
        (ShutdownTrigger(sender), Self(receiver))
    }

    /// Whether the wish was expressed.
    pub fn is_wished(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns once the wish is expressed, or can no longer be.
    pub async fn wished(&mut self) {
        // An error means that the trigger is gone, and with it whoever could have waited for us.
        let _ = self.0.wait_for(|stop| *stop).await;
    }
}

impl ShutdownTrigger {
    /// Everything that hears it begins to stop.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}
