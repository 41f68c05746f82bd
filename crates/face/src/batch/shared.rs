//! The state that callers share with the thread that owns a device.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc::Sender},
    time::Duration,
};

use super::{BatchNet, queue::BatchQueue};
use crate::{device::Device, error::FaceError};

/// Creates a net; called on the thread that owns it.
pub(super) type OpenNetFn = Box<dyn FnOnce() -> Result<Box<dyn BatchNet>, FaceError> + Send>;

/// A request to open a net.
pub(super) struct OpenRequest {
    pub(super) digest: String,
    pub(super) open: OpenNetFn,
    pub(super) reply: Sender<Result<Arc<NetInfo>, FaceError>>,
}

/// The description of a net for its callers.
#[derive(Debug)]
pub(super) struct NetInfo {
    pub(super) number: usize,
    pub(super) name: String,
    pub(super) outputs: Vec<String>,
}

#[derive(Default)]
pub(super) struct OwnerState {
    pub(super) queue: BatchQueue,
    pub(super) openings: VecDeque<OpenRequest>,
    /// The last caller is gone.
    pub(super) unwanted: bool,
    /// The thread is gone.
    pub(super) ended: bool,
}

pub(super) struct SharedState {
    pub(super) device: Device,
    pub(super) wait: Duration,
    pub(super) state: Mutex<OwnerState>,
    pub(super) changed: Condvar,
}

impl SharedState {
    pub(super) fn lock(&self) -> MutexGuard<'_, OwnerState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn gone(&self) -> FaceError {
        FaceError::DeviceGone { device: self.device }
    }

    /// Changes the state, if the thread still runs.
    pub(super) fn update(&self, change: impl FnOnce(&mut OwnerState)) -> Result<(), FaceError> {
        let mut state = self.lock();
        if state.ended {
            return Err(self.gone());
        }
        change(&mut state);
        self.changed.notify_one();
        Ok(())
    }
}
