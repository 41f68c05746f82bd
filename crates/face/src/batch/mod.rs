//! One thread that owns a device, and the batches that it runs there for all compute threads.
//!
//! ```text
//! compute thread: decode, detect … ─ tensor ─▶ Line ─ batch ─▶ owner: the sessions of the device
//!                                ◀── its rows ─────────────────────┘
//! ```
//!
//! A GPU takes about as long for sixteen small tensors as for one, so tensors for the same net and of the same size
//! wait for each other: until there are as many as a batch may have, until everybody who could still bring one waits,
//! or until the first has waited long enough ([`BatchOptions::wait`]). Batches are filled up with zeros to a power of
//! two, and there is a session for each, because the libraries of a GPU plan for one size at a time. The oldest tensor
//! is never passed over once its time is up.
//!
//! When a batch fails its tensors are run one by one, so that only the bad one fails. When nothing works any more the
//! thread ends: its callers get [`FaceError::DeviceGone`], at once and from then on, and the process has to be started
//! again.

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

/// How batches are made, and how much memory of a GPU they may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchOptions {
    /// How long the first tensor of a batch may wait for others.
    pub wait: Duration,
    /// How many tensors a batch may have.
    pub most: usize,
    /// The most that the arena of each net may take on a GPU, for each size of batch, in bytes; 0 for no limit.
    pub memory: usize,
}

impl BatchOptions {
    /// How many rows there are in a batch once it is filled up, from one to as many as there may be.
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

    /// How many tensors it takes at once.
    fn most(&self) -> usize;

    /// Height and width of an input with which it ran when it was opened.
    fn tried(&self) -> (usize, usize);

    /// Runs tensors of shape [`rows`, 3, `height`, `width`] that lie one behind the other, and returns each output for
    /// all of them, row by row. `rows` is a power of two, or [`most`](Self::most).
    ///
    /// # Errors
    /// [`FaceError::Inference`] or [`FaceError::Contract`]; [`FaceError::Manifest`] for any other number of rows.
    fn run(&mut self, tensors: &[f32], shape: [usize; 4]) -> Result<Vec<Vec<f32>>, FaceError>;
}

/// To how many rows a batch of `rows` is filled up.
fn bucket(rows: usize, most: usize) -> usize {
    rows.next_power_of_two().min(most)
}

/// What [`bucket`] can come to, from the fewest rows to `most`.
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
