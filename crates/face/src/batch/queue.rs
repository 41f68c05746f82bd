//! The queue of tensors that wait for a batch.

use std::{
    collections::VecDeque,
    sync::mpsc::Sender,
    time::{Duration, Instant},
};

use crate::FaceError;

/// The largest size of a batch of several tensors: thirteen of 640 × 640 pixels.
const BATCH_BYTES: usize = 64 << 20;

/// The outputs of one tensor, in the order of the net.
pub(super) type Rows = Vec<Vec<f32>>;

/// Tensors with the same key can share a batch: number of the net, height and width of its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BatchKey {
    pub(super) net: usize,
    pub(super) height: usize,
    pub(super) width: usize,
}

/// A tensor that waits.
#[derive(Debug)]
pub(super) struct QueuedTensor {
    pub(super) kind: BatchKey,
    pub(super) tensor: Vec<f32>,
    pub(super) since: Instant,
    /// An error on sending is ignored: the caller has gone.
    pub(super) reply: Sender<Result<Rows, FaceError>>,
}

/// The next action.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Run a batch of this key.
    Run(BatchKey),
    /// Check again at this time, or when something changes.
    Wait(Instant),
    /// Nothing to do.
    Idle,
}

/// The waiting tensors, in order of arrival.
#[derive(Debug, Default)]
pub(super) struct BatchQueue {
    waiting: VecDeque<QueuedTensor>,
    /// The maximum batch size of each net, by its number.
    most: Vec<usize>,
    /// Number of threads that analyse a photo: each may add a tensor, and then waits for it.
    pub(super) active_threads: usize,
}

impl BatchQueue {
    /// The maximum batch size for a key: that of the net, and no more than fit into
    /// [`BATCH_BYTES`].
    fn most(&self, kind: BatchKey) -> usize {
        let bytes = 3 * kind.height * kind.width * size_of::<f32>();
        self.most[kind.net].min(BATCH_BYTES / bytes.max(1)).max(1)
    }

    /// Adds the next net, with its maximum batch size.
    pub(super) fn add_net(&mut self, most: usize) {
        self.most.push(most);
    }

    /// Adds a tensor at the end of the queue.
    pub(super) fn push(&mut self, waiting: QueuedTensor) {
        self.waiting.push_back(waiting);
    }

    /// Drops all waiting tensors: their callers get an error, because the senders are dropped.
    pub(super) fn clear(&mut self) {
        self.waiting.clear();
    }

    /// The batch of the oldest tensor once it has waited for `wait`, or if all active threads wait;
    /// before that, any full batch.
    pub(super) fn next(&self, now: Instant, wait: Duration) -> Next {
        let Some(oldest) = self.waiting.front() else { return Next::Idle };
        let due = oldest.since + wait;
        if now >= due || self.waiting.len() >= self.active_threads {
            return Next::Run(oldest.kind);
        }
        let full = self.waiting.iter().map(|waiting| waiting.kind).find(|kind| {
            self.waiting.iter().filter(|w| w.kind == *kind).count() >= self.most(*kind)
        });
        full.map_or(Next::Wait(due), Next::Run)
    }

    /// Takes the oldest tensors of a key, up to its maximum batch size.
    pub(super) fn take(&mut self, kind: BatchKey) -> Vec<QueuedTensor> {
        let most = self.most(kind);
        let (mut batch, mut others) = (Vec::new(), VecDeque::new());
        for waiting in self.waiting.drain(..) {
            if waiting.kind == kind && batch.len() < most {
                batch.push(waiting);
            } else {
                others.push_back(waiting);
            }
        }
        self.waiting = others;
        batch
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const WAIT: Duration = Duration::from_millis(2);

    fn kind(net: usize, width: usize) -> BatchKey {
        BatchKey { net, height: 32, width }
    }

    /// Two nets with batches of four and of one, ten active threads, and tensors that arrived one
    /// millisecond apart.
    fn line(kinds: &[BatchKey]) -> (BatchQueue, Instant) {
        let begin = Instant::now();
        let mut line = BatchQueue { active_threads: 10, ..BatchQueue::default() };
        line.add_net(4);
        line.add_net(1);
        for (kind, n) in kinds.iter().zip(0..) {
            let since = begin + Duration::from_millis(n);
            let (reply, _) = mpsc::channel();
            line.push(QueuedTensor { kind: *kind, tensor: vec![n as f32], since, reply });
        }
        (line, begin)
    }

    #[test]
    fn the_first_tensor_waits_for_others_and_never_longer_than_the_wait() {
        let (line, begin) = line(&[kind(0, 32), kind(0, 64)]);
        assert_eq!(line.next(begin, WAIT), Next::Wait(begin + WAIT));
        assert_eq!(line.next(begin + WAIT / 2, WAIT), Next::Wait(begin + WAIT));
        assert_eq!(line.next(begin + WAIT, WAIT), Next::Run(kind(0, 32)));
        assert_eq!(BatchQueue::default().next(begin, WAIT), Next::Idle);
    }

    #[test]
    fn nobody_waits_when_everybody_does() {
        let (mut line, begin) = line(&[kind(0, 32), kind(0, 64)]);
        line.active_threads = 3;
        assert_eq!(line.next(begin, WAIT), Next::Wait(begin + WAIT), "a third may bring one");
        line.active_threads = 2;
        assert_eq!(line.next(begin, WAIT), Next::Run(kind(0, 32)));
    }

    #[test]
    fn what_is_full_need_not_wait_and_what_is_due_goes_first() {
        let full = kind(0, 64);
        let (line, begin) = line(&[kind(0, 32), full, full, full, full]);
        assert_eq!(line.next(begin, WAIT), Next::Run(full));
        assert_eq!(line.next(begin + WAIT, WAIT), Next::Run(kind(0, 32)));
    }

    #[test]
    fn a_net_that_takes_one_at_a_time_waits_for_nobody() {
        let (line, begin) = line(&[kind(0, 32), kind(1, 32)]);
        assert_eq!(line.next(begin, WAIT), Next::Run(kind(1, 32)));
    }

    #[test]
    fn a_batch_has_the_oldest_of_its_kind_and_leaves_the_others_in_order() {
        let (a, b) = (kind(0, 32), kind(0, 64));
        let (mut line, _) = line(&[a, b, a, a, b, a, a]);
        let mut taken =
            |kind| -> Vec<f32> { line.take(kind).iter().map(|w| w.tensor[0]).collect() };
        assert_eq!(taken(a), [0.0, 2.0, 3.0, 5.0]);
        assert_eq!(taken(a), [6.0]);
        assert_eq!(taken(b), [1.0, 4.0]);
    }
}
