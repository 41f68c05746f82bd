//! One thread owns a device and runs batches on it for all compute threads.
//!
//! ```text
//! compute thread: decode, detect … ─ tensor ─▶ Line ─ batch ─▶ owner: the sessions of the device
//!                                ◀── its rows ─────────────────────┘
//! ```
//!
//! A GPU takes about as long for sixteen small tensors as for one, so tensors for the same net and
//! of the same size wait for each other: until the batch is full, until all active threads wait, or
//! until the first tensor has waited for [`BatchOptions::wait`]. Batches are padded with zeros to a
//! power of two, with one session per size, because the libraries of a GPU plan for one size at a
//! time. Once the oldest tensor has waited long enough, its batch is run first.
//!
//! If a batch fails, its tensors are run one by one, so that only the bad one fails. If the device
//! fails, the thread ends: its callers get [`FaceError::DeviceGone`] from then on, and the process
//! must be restarted.

mod net;
mod owner;
mod queue;
mod shared;
mod thread;

use std::time::Duration;

pub use self::owner::ActiveThread;
pub(super) use self::{
    net::OrtNet,
    owner::{OwnerThread, SharedNet},
};
use super::error::FaceError;

/// Sizes of batches, and the memory of a GPU that they may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchOptions {
    /// How long the first tensor of a batch may wait for others.
    pub wait: Duration,
    /// The maximum number of tensors in a batch.
    pub most: usize,
    /// The most that the arena of each net may take on a GPU, for each size of batch, in bytes; 0
    /// for no limit.
    pub memory: usize,
}

impl BatchOptions {
    /// The sizes of padded batches in rows, ascending from one to the maximum.
    pub fn sizes(&self) -> impl Iterator<Item = usize> + use<> {
        sizes(self.most)
    }
}

/// A net that runs whole batches.
pub(super) trait BatchNet {
    /// The model's file name.
    fn name(&self) -> &str;

    /// Names of the outputs, in the order in which [`run`](Self::run) returns them.
    fn outputs(&self) -> &[String];

    /// The maximum batch size.
    fn most(&self) -> usize;

    /// Height and width of an input with which it ran successfully when it was opened.
    fn tried(&self) -> (usize, usize);

    /// Runs tensors of shape [`rows`, 3, `height`, `width`] that lie one behind the other, and
    /// returns each output for all of them, row by row. `rows` is a power of two, or
    /// [`most`](Self::most).
    ///
    /// # Errors
    /// [`FaceError::Inference`] or [`FaceError::Contract`]; [`FaceError::Manifest`] for any other
    /// number of rows.
    fn run(&mut self, tensors: &[f32], shape: [usize; 4]) -> Result<Vec<Vec<f32>>, FaceError>;
}

/// The size to which a batch of `rows` is padded.
fn bucket(rows: usize, most: usize) -> usize {
    rows.next_power_of_two().min(most)
}

/// All values of [`bucket`], ascending to `most`.
fn sizes(most: usize) -> impl Iterator<Item = usize> + use<> {
    std::iter::successors(Some(1), move |rows| (*rows < most).then(|| bucket(rows + 1, most)))
}

#[cfg(test)]
mod tests {
    use super::{bucket, sizes};

    #[test]
    fn a_batch_is_filled_up_to_a_power_of_two_or_to_the_most_there_may_be() {
        let buckets = [1, 2, 3, 5, 9, 17, 20].map(|rows| bucket(rows, 20));
        assert_eq!(buckets, [1, 2, 4, 8, 16, 20, 20]);
        assert_eq!(bucket(1, 1), 1);
        assert_eq!(sizes(20).collect::<Vec<_>>(), [1, 2, 4, 8, 16, 20]);
        assert_eq!(sizes(1).collect::<Vec<_>>(), [1]);
    }
}
