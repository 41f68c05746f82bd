//! The thread that owns a device.

use std::{
    borrow::Cow,
    sync::{Arc, PoisonError},
    time::Instant,
};

use super::{
    BatchNet, bucket,
    queue::{BatchKey, Next, QueuedTensor, Rows},
    shared::{NetInfo, OpenRequest, SharedState},
};
use crate::FaceError;

/// Marks the thread as ended when dropped, also by a panic.
pub(super) struct EndGuard(pub(super) Arc<SharedState>);

impl Drop for EndGuard {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.ended = true;
        state.queue.clear();
        state.openings.clear();
        if !state.unwanted {
            tracing::error!(device = %self.0.device, "the thread that runs nets has ended: restart \
                    the process");
        }
    }
}

enum OwnerTask {
    OpenNetFn(OpenRequest),
    Run(BatchKey, Vec<QueuedTensor>),
}

/// No net can be run on the device.
struct DeviceFailed;

struct OpenNet {
    digest: String,
    about: Arc<NetInfo>,
    net: Box<dyn BatchNet>,
}

/// The loop of the thread.
pub(super) struct OwnerLoop {
    shared: EndGuard,
    nets: Vec<OpenNet>,
}

impl OwnerLoop {
    /// Runs nets for the callers of `shared` until the last one is gone or the device fails.
    pub(super) fn run(shared: EndGuard) {
        let mut thread = Self { shared, nets: Vec::new() };
        while let Some(work) = thread.next() {
            match work {
                OwnerTask::OpenNetFn(opening) => thread.open(opening),
                OwnerTask::Run(kind, batch) => {
                    if let Err(DeviceFailed) = thread.run_batch(kind, &batch) {
                        return;
                    }
                }
            }
        }
    }

    /// Waits for the next task; `None` when the last caller is gone.
    fn next(&self) -> Option<OwnerTask> {
        let SharedState { wait, changed, .. } = &*self.shared.0;
        let mut state = self.shared.0.lock();
        loop {
            if state.unwanted {
                return None;
            }
            if let Some(opening) = state.openings.pop_front() {
                return Some(OwnerTask::OpenNetFn(opening));
            }
            let now = Instant::now();
            state = match state.queue.next(now, *wait) {
                Next::Run(kind) => return Some(OwnerTask::Run(kind, state.queue.take(kind))),
                Next::Wait(until) => {
                    let woken = changed.wait_timeout(state, until - now);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
                Next::Idle => changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    fn open(&mut self, opening: OpenRequest) {
        let OpenRequest { digest, open, reply } = opening;
        let known = self.nets.iter().find(|net| net.digest == digest);
        let about = match known {
            Some(net) => Ok(Arc::clone(&net.about)),
            None => open().map(|net| self.add(digest, net)),
        };
        let _ = reply.send(about);
    }

    fn add(&mut self, digest: String, net: Box<dyn BatchNet>) -> Arc<NetInfo> {
        let about = Arc::new(NetInfo {
            number: self.nets.len(),
            name: net.name().to_owned(),
            outputs: net.outputs().to_vec(),
        });
        self.shared.0.lock().queue.add_net(net.most());
        self.nets.push(OpenNet { digest, about: Arc::clone(&about), net });
        about
    }

    /// Runs a batch; if it fails, runs its tensors one by one.
    fn run_batch(&mut self, kind: BatchKey, batch: &[QueuedTensor]) -> Result<(), DeviceFailed> {
        let OpenNet { net, about, .. } = &mut self.nets[kind.net];
        count(&about.name, batch);
        let mut works = true;
        match attempt(&mut **net, kind, batch) {
            Ok(rows) => {
                for (waiting, rows) in batch.iter().zip(rows) {
                    let _ = waiting.reply.send(Ok(rows));
                }
            }
            Err(error) if batch.len() > 1 => {
                let (net, rows) = (&mut **net, batch.len());
                tracing::warn!(net = about.name, rows, %error, "a batch failed: its rows are run \
                        one by one");
                metrics::counter!("visavis_batch_failures_total", "net" => about.name.clone())
                    .increment(1);
                works = false;
                for waiting in batch {
                    let row = attempt(net, kind, std::slice::from_ref(waiting));
                    works |= row.is_ok();
                    let _ = waiting.reply.send(row.map(|mut rows| rows.pop().unwrap_or_default()));
                }
            }
            Err(error) => {
                works = false;
                let _ = batch[0].reply.send(Err(error));
            }
        }
        if works { Ok(()) } else { self.check_device(kind) }
    }

    /// Runs a black image of a size that worked before: if that fails, the device has failed. A
    /// tensor of the size that failed could be too large for the device.
    fn check_device(&mut self, kind: BatchKey) -> Result<(), DeviceFailed> {
        let OpenNet { net, about, .. } = &mut self.nets[kind.net];
        let (height, width) = net.tried();
        let black = vec![0.0; 3 * height * width];
        match net.run(&black, [1, 3, height, width]) {
            Ok(_) => Ok(()),
            Err(error) => {
                let device = self.shared.0.device;
                tracing::error!(%device, net = about.name, %error, "the device has failed: no net \
                        can be run on it");
                Err(DeviceFailed)
            }
        }
    }
}

/// Runs tensors of one key as a batch, padded with zeros, and returns the outputs of each.
fn attempt(
    net: &mut dyn BatchNet,
    kind: BatchKey,
    batch: &[QueuedTensor],
) -> Result<Vec<Rows>, FaceError> {
    let BatchKey { height, width, .. } = kind;
    let rows = bucket(batch.len(), net.most());
    let tensors = if let [one] = batch {
        Cow::Borrowed(&one.tensor)
    } else {
        let mut all = Vec::with_capacity(rows * 3 * height * width);
        for waiting in batch {
            all.extend_from_slice(&waiting.tensor);
        }
        all.resize(rows * 3 * height * width, 0.0);
        Cow::Owned(all)
    };
    let outputs = net.run(&tensors, [rows, 3, height, width])?;
    if let Some(output) = outputs.iter().find(|output| output.len() % rows != 0) {
        return Err(FaceError::Contract {
            net: net.name().to_owned(),
            expected: format!("{rows} rows"),
            found: format!("{} numbers", output.len()),
        });
    }
    let row = |n: usize| {
        let part = |output: &Vec<f32>| {
            let length = output.len() / rows;
            output[n * length..(n + 1) * length].to_vec()
        };
        outputs.iter().map(part).collect()
    };
    Ok((0..batch.len()).map(row).collect())
}

fn count(net: &str, batch: &[QueuedTensor]) {
    let rows = metrics::histogram!("visavis_batch_rows", "net" => net.to_owned());
    rows.record(batch.len() as f64);
    let waits = metrics::histogram!("visavis_batch_wait_seconds", "net" => net.to_owned());
    for waiting in batch {
        waits.record(waiting.since.elapsed());
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Mutex,
            mpsc::{self, RecvTimeoutError},
        },
        thread,
        time::Duration,
    };

    use super::*;
    use crate::{
        Device,
        batch::owner::{OwnerThread, SharedNet},
    };

    /// Longer than any step of a test takes, even on a busy machine.
    const TIMEOUT: Duration = Duration::from_secs(30);
    /// Longer than any test may take.
    const NO_LIMIT: Duration = Duration::from_hours(1);
    /// A tensor with this value cannot be run.
    const BAD: f32 = 13.0;
    /// A tensor with this value makes the thread panic.
    const DEADLY: f32 = 666.0;
    /// After a tensor with this value, every run fails.
    const DESTRUCTIVE: f32 = 999.0;

    /// Returns its input; records the sizes of its batches.
    struct Fake {
        most: usize,
        broken: bool,
        outputs: Vec<String>,
        batches: Arc<Mutex<Vec<usize>>>,
    }

    impl BatchNet for Fake {
        fn name(&self) -> &'static str {
            "fake.onnx"
        }

        fn outputs(&self) -> &[String] {
            &self.outputs
        }

        fn most(&self) -> usize {
            self.most
        }

        fn tried(&self) -> (usize, usize) {
            (1, 1)
        }

        fn run(&mut self, tensors: &[f32], shape: [usize; 4]) -> Result<Vec<Vec<f32>>, FaceError> {
            let [rows, channels, height, width] = shape;
            assert_eq!(tensors.len(), rows * channels * height * width);
            self.batches.lock().unwrap().push(rows);
            assert!(!tensors.contains(&DEADLY), "this panic is part of a test");
            self.broken |= tensors.contains(&DESTRUCTIVE);
            if self.broken || tensors.contains(&BAD) {
                return Err(FaceError::Manifest("cannot be run".to_owned()));
            }
            let first: Vec<_> = tensors.chunks(channels * height * width).map(|t| t[0]).collect();
            let twice = first.iter().flat_map(|value| [*value, 2.0 * value]).collect();
            Ok(vec![first, twice])
        }
    }

    struct Fixture {
        owner: OwnerThread,
        batches: Arc<Mutex<Vec<usize>>>,
    }

    impl Fixture {
        fn new(wait: Duration) -> Self {
            let owner = OwnerThread::start(Device::CpuBatched, wait).unwrap();
            Self { owner, batches: Arc::default() }
        }

        /// A net with batches of eight.
        fn net(&self) -> SharedNet {
            let batches = Arc::clone(&self.batches);
            let outputs = ["one", "two"].map(str::to_owned).to_vec();
            let fake = || Fake { most: 8, broken: false, outputs, batches };
            self.owner.open("digest".to_owned(), || Ok(Box::new(fake()))).unwrap()
        }

        /// The sizes of the batches so far.
        fn batches(&self) -> Vec<usize> {
            self.batches.lock().unwrap().clone()
        }

        /// Runs a tensor on a separate thread; returns its result.
        fn bring(&self, value: f32, width: usize) -> mpsc::Receiver<Reply> {
            let (net, (sender, reply)) = (self.net(), mpsc::channel());
            thread::spawn(move || sender.send(net.run(&vec![value; 6 * width], (width, 2))));
            reply
        }

        fn run(&self, value: f32) -> Reply {
            received(&self.bring(value, 2))
        }

        /// The results of as many active threads, each with one tensor.
        fn together(&self, values: &[f32]) -> Vec<Reply> {
            let _active: Vec<_> = values.iter().map(|_| self.owner.mark_active()).collect();
            let brought: Vec<_> = values.iter().map(|value| self.bring(*value, 2)).collect();
            brought.iter().map(received).collect()
        }

        fn ends(&self) -> bool {
            soon(|| self.owner.is_gone())
        }
    }

    type Reply = Result<Rows, FaceError>;

    fn received(reply: &mpsc::Receiver<Reply>) -> Reply {
        reply.recv_timeout(TIMEOUT).expect("no thread hangs")
    }

    fn soon(mut true_at_last: impl FnMut() -> bool) -> bool {
        let begun = Instant::now();
        while begun.elapsed() < TIMEOUT {
            if true_at_last() {
                return true;
            }
            thread::sleep(Duration::from_millis(1));
        }
        false
    }

    #[test]
    fn everybody_gets_the_rows_of_his_own_tensor_out_of_one_batch() {
        let bench = Fixture::new(NO_LIMIT);
        let values = [1.0, 2.0, 3.0, 4.0, 5.0];
        for (rows, value) in bench.together(&values).into_iter().zip(values) {
            assert_eq!(rows.unwrap(), [vec![value], vec![value, 2.0 * value]]);
        }
        assert_eq!(bench.batches(), [8], "five tensors, filled up");
    }

    #[test]
    fn more_tensors_than_a_batch_may_have_are_several_batches() {
        let bench = Fixture::new(Duration::from_millis(1));
        let values: Vec<_> = (20..60).map(|n| n as f32).collect();
        for (rows, value) in bench.together(&values).into_iter().zip(&values) {
            assert_eq!(rows.unwrap()[0], [*value]);
        }
        assert!(bench.batches().iter().all(|rows| *rows <= 8), "{:?}", bench.batches());
    }

    #[test]
    fn whoever_is_alone_does_not_wait() {
        let bench = Fixture::new(NO_LIMIT);
        assert!(bench.run(1.0).is_ok(), "without an active thread");
        let _active = bench.owner.mark_active();
        assert!(bench.run(1.0).is_ok(), "without another active thread");
        assert_eq!(bench.batches(), [1, 1]);
    }

    #[test]
    fn a_tensor_waits_for_others_as_long_as_it_may_and_no_longer() {
        let wait = Duration::from_millis(50);
        let bench = Fixture::new(wait);
        let _others = [bench.owner.mark_active(), bench.owner.mark_active()];
        let begun = Instant::now();
        bench.run(1.0).unwrap();
        let waited = begun.elapsed();
        assert!(waited >= wait && waited < TIMEOUT / 2, "{waited:?}");
    }

    #[test]
    fn nobody_waits_for_a_thread_that_has_finished_its_picture() {
        let bench = Fixture::new(NO_LIMIT);
        let others = [bench.owner.mark_active(), bench.owner.mark_active()];
        let reply = bench.bring(1.0, 2);
        let early = reply.recv_timeout(Duration::from_millis(20));
        assert!(early.is_err(), "two may still bring something");
        drop(others);
        assert!(received(&reply).is_ok());
    }

    #[test]
    fn a_tensor_that_cannot_be_run_fails_alone() {
        let bench = Fixture::new(NO_LIMIT);
        let values = [1.0, 2.0, BAD, 4.0];
        for (rows, value) in bench.together(&values).into_iter().zip(values) {
            if value.to_bits() == BAD.to_bits() {
                assert!(matches!(rows, Err(FaceError::Manifest(_))), "{rows:?}");
            } else {
                assert_eq!(rows.unwrap()[0], [value]);
            }
        }
        assert_eq!(bench.batches(), [4, 1, 1, 1, 1]);
        assert!(bench.run(BAD).is_err());
        assert!(bench.run(1.0).is_ok() && !bench.owner.is_gone(), "and nothing is broken");
    }

    #[test]
    fn when_nothing_works_any_more_the_thread_ends_and_says_so() {
        let bench = Fixture::new(NO_LIMIT);
        let replies = bench.together(&[1.0, DESTRUCTIVE, 3.0]);
        assert!(replies.iter().all(Result::is_err), "{replies:?}");
        assert!(bench.ends());
        let late = bench.owner.open("other".to_owned(), || Err(FaceError::Panicked));
        assert!(matches!(late, Err(FaceError::DeviceGone { .. })), "{late:?}");
    }

    #[test]
    fn a_panic_on_the_thread_is_an_error_for_everybody_and_nobody_hangs() {
        let bench = Fixture::new(NO_LIMIT);
        let net = bench.net();
        let _active: Vec<_> = (0..4).map(|_| bench.owner.mark_active()).collect();
        let (deadly, deaths) = mpsc::channel();
        bench.owner.leave(QueuedTensor {
            kind: BatchKey { net: 0, height: 2, width: 2 },
            tensor: vec![DEADLY; 12],
            since: Instant::now(),
            reply: deadly,
        });
        // One in the same batch, and two that are queued meanwhile.
        let others = [2, 4, 4].map(|width| bench.bring(1.0, width));
        for reply in [&deaths].into_iter().chain(&others) {
            // The queued one gets no reply: its sender is dropped.
            match reply.recv_timeout(TIMEOUT) {
                Ok(Err(FaceError::DeviceGone { .. })) | Err(RecvTimeoutError::Disconnected) => {}
                other => panic!("{other:?}"),
            }
        }
        assert!(bench.ends());
        let late = net.run(&[1.0; 12], (2, 2));
        assert!(matches!(late, Err(FaceError::DeviceGone { .. })), "{late:?}");
    }

    #[test]
    fn whoever_has_gone_away_is_not_missed() {
        let bench = Fixture::new(NO_LIMIT);
        let (_net, kind) = (bench.net(), BatchKey { net: 0, height: 2, width: 2 });
        let _active = [bench.owner.mark_active(), bench.owner.mark_active()];
        let (reply, gone) = mpsc::channel();
        drop(gone);
        let since = Instant::now();
        bench.owner.leave(QueuedTensor { kind, tensor: vec![1.0; 12], since, reply });
        assert_eq!(bench.run(2.0).unwrap()[0], [2.0]);
        assert_eq!(bench.batches(), [2]);
    }

    #[test]
    fn a_tensor_of_another_length_never_joins_a_batch() {
        let bench = Fixture::new(NO_LIMIT);
        let reply = bench.net().run(&[1.0; 11], (2, 2));
        assert!(matches!(reply, Err(FaceError::Contract { .. })), "{reply:?}");
        assert!(bench.batches().is_empty());
    }

    #[test]
    fn a_net_is_opened_once_for_all_and_one_that_failed_is_tried_again() {
        let bench = Fixture::new(NO_LIMIT);
        let failed = bench.owner.open("digest".to_owned(), || Err(FaceError::Panicked));
        assert!(matches!(failed, Err(FaceError::Panicked)));
        bench.net();
        let again = bench.owner.open("digest".to_owned(), || panic!("it is open already"));
        assert_eq!(again.unwrap().outputs(), ["one", "two"]);
    }

    #[test]
    fn the_thread_ends_with_its_last_caller() {
        let bench = Fixture::new(NO_LIMIT);
        let (net, life) = (bench.net(), bench.owner.life());
        drop(bench);
        assert!(net.run(&[1.0; 12], (2, 2)).is_ok());
        drop(net);
        assert_eq!(life.strong_count(), 0, "the last caller has waited for the end");
    }
}
