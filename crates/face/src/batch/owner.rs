//! The handle of the thread that owns a device.

use std::{
    fmt,
    sync::{Arc, Condvar, Mutex, mpsc},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{
    BatchNet,
    queue::{BatchKey, QueuedTensor, Rows},
    shared::{NetInfo, OpenRequest, SharedState},
    thread::{EndGuard, OwnerLoop},
};
use crate::{Device, FaceError};

/// The thread that owns a device; it ends with the last clone.
#[derive(Clone)]
pub(crate) struct OwnerThread(Arc<ThreadHandle>);

/// Ends the thread when dropped, and waits for it: a process that ends while a GPU is busy crashes.
struct ThreadHandle {
    shared: Arc<SharedState>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for ThreadHandle {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.shared.update(|state| state.unwanted = true);
        if let Some(thread) = self.thread.take() {
            // An error is a panic of the thread, which was reported.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for OwnerThread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Owner({})", self.shared().device)
    }
}

impl OwnerThread {
    /// Starts the thread for `device`; tensors wait for a batch for at most `wait`.
    ///
    /// # Errors
    /// [`FaceError::Device`] when the thread cannot be started.
    pub(crate) fn start(device: Device, wait: Duration) -> Result<Self, FaceError> {
        let shared = Arc::new(SharedState {
            device,
            wait,
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let ending = EndGuard(Arc::clone(&shared));
        let thread = thread::Builder::new()
            .name(format!("owner-{device}"))
            // Created there, because only that thread has the nets.
            .spawn(move || OwnerLoop::run(ending))
            .map_err(|e| FaceError::Device { device, reason: e.to_string() })?;
        Ok(Self(Arc::new(ThreadHandle { shared, thread: Some(thread) })))
    }

    fn shared(&self) -> &Arc<SharedState> {
        &self.0.shared
    }

    /// The net with this digest; `open` creates it, if it has not been opened before.
    ///
    /// # Errors
    /// The error of `open`, or [`FaceError::DeviceGone`].
    pub(crate) fn open(
        &self,
        digest: String,
        open: impl FnOnce() -> Result<Box<dyn BatchNet>, FaceError> + Send + 'static,
    ) -> Result<SharedNet, FaceError> {
        let shared = self.shared();
        let (reply, answer) = mpsc::channel();
        let opening = OpenRequest { digest, open: Box::new(open), reply };
        shared.update(|state| state.openings.push_back(opening))?;
        let about = answer.recv().map_err(|_| shared.gone())??;
        Ok(SharedNet { owner: self.clone(), about })
    }

    /// Counts the calling thread as active until the result is dropped: batches may wait for it.
    pub(crate) fn mark_active(&self) -> ActiveThread {
        // An error means that no batch waits any longer.
        let _ = self.shared().update(|state| state.queue.active_threads += 1);
        ActiveThread(self.clone())
    }

    /// Whether the thread has ended because the device failed.
    pub(crate) fn is_gone(&self) -> bool {
        self.shared().lock().ended
    }
}

/// Counts a thread as active until it is dropped.
#[derive(Debug)]
pub struct ActiveThread(OwnerThread);

impl Drop for ActiveThread {
    fn drop(&mut self) {
        // Wakes the owner thread: a batch may have waited only for this thread.
        let _ = self.0.shared().update(|state| state.queue.active_threads -= 1);
    }
}

/// The handle of a net of the owner thread.
#[derive(Debug)]
pub(crate) struct SharedNet {
    owner: OwnerThread,
    about: Arc<NetInfo>,
}

impl SharedNet {
    /// Names of the outputs, in the order in which [`run`](Self::run) returns them.
    pub(crate) fn outputs(&self) -> &[String] {
        &self.about.outputs
    }

    /// Runs the net on one tensor of shape [1, 3, `height`, `width`], with others in a batch; all
    /// outputs.
    ///
    /// # Errors
    /// [`FaceError::Contract`] when the tensor has another length, [`FaceError::DeviceGone`], or
    /// the error of the net.
    pub(crate) fn run(
        &self,
        tensor: &[f32],
        (width, height): (usize, usize),
    ) -> Result<Rows, FaceError> {
        let expected = 3 * width * height;
        if tensor.len() != expected {
            return Err(FaceError::Contract {
                net: self.about.name.clone(),
                expected: format!("a tensor of {expected} numbers"),
                found: format!("{} numbers", tensor.len()),
            });
        }
        let shared = self.owner.shared();
        let kind = BatchKey { net: self.about.number, height, width };
        let (reply, answer) = mpsc::channel();
        let waiting = QueuedTensor { kind, tensor: tensor.to_vec(), since: Instant::now(), reply };
        shared.update(|state| state.queue.push(waiting))?;
        answer.recv().map_err(|_| shared.gone())?
    }
}

#[cfg(test)]
impl OwnerThread {
    /// Queues a tensor for a caller that may be gone.
    pub(super) fn leave(&self, waiting: QueuedTensor) {
        self.shared().update(|state| state.queue.push(waiting)).unwrap();
    }

    /// A reference that is alive as long as the thread.
    pub(super) fn life(&self) -> std::sync::Weak<SharedState> {
        Arc::downgrade(self.shared())
    }
}
