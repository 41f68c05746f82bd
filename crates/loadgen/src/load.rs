//! Requests in flight: as many as saturate, or so many a second whether the service keeps up or
//! not.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::{
    client::SignedRequest,
    exchange::Outcome,
    photos::Photos,
    stock::{Signed, Stock},
    stop::Stop,
};

/// How long after the end of a slice requests that were due in it are still sent.
const GRACE: Duration = Duration::from_secs(5);
/// How long before it is due a sender takes a request: none holds one for longer than that.
const AHEAD: Duration = Duration::from_millis(50);
/// After a failure, so that a service that is gone is not asked as fast as the machine can.
const PAUSE: Duration = Duration::from_millis(100);
/// Interval between two checks for a request to stop.
const CHECK_INTERVAL: Duration = Duration::from_millis(100);
/// The error of a request that was due and could not be sent, because all senders waited for
/// responses.
const NOT_SENT: &str = "NOT_SENT";
/// The error of a request without a valid response.
const NO_ANSWER: &str = "NO_VALID_ANSWER";

/// What became of the pairs of a slice, or of several.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Of every pair that was compared.
    pub(super) latencies: Vec<Duration>,
    /// The same of every request that was refused.
    pub(super) refusals: Vec<Duration>,
    /// How often each result code came that was not expected.
    pub(super) errors: BTreeMap<String, u64>,
    /// What went wrong first.
    pub(super) first_error: Option<String>,
}

impl Tally {
    /// Pairs that were compared.
    pub(super) fn pairs(&self) -> usize {
        self.latencies.len()
    }

    pub(super) fn errors(&self) -> u64 {
        self.errors.values().sum()
    }

    pub(super) fn add(&mut self, other: Self) {
        self.latencies.extend(other.latencies);
        self.refusals.extend(other.refusals);
        for (kind, count) in other.errors {
            *self.errors.entry(kind).or_default() += count;
        }
        self.first_error = self.first_error.take().or(other.first_error);
    }

    fn error(&mut self, kind: &str, what: impl FnOnce() -> String) {
        *self.errors.entry(kind.to_owned()).or_default() += 1;
        self.first_error.get_or_insert_with(what);
    }
}

/// What a slice measured.
#[derive(Debug)]
pub(super) struct Slice {
    pub(super) tally: Tally,
    /// Until its last pair was finished.
    pub(super) elapsed: Duration,
}

/// The senders' common ground.
pub(super) struct Load<'a> {
    /// Sends a request and waits for the outcome.
    pub(super) send: &'a (dyn Fn(&SignedRequest) -> Outcome + Sync),
    pub(super) stock: &'a Stock,
    pub(super) photos: &'a Photos,
    pub(super) stop: &'a Stop,
}

impl Load<'_> {
    /// Each sender sends its next request as soon as it has the outcome of the last one.
    pub(super) fn saturate(&self, in_flight: usize, length: Duration) -> Slice {
        let begun = Instant::now();
        gather(in_flight, begun, || {
            let mut tally = Tally::default();
            while begun.elapsed() < length && !self.stop.is_requested() {
                let Some(signed) = self.stock.take() else { break };
                self.exchange(&signed, Instant::now(), &mut tally);
            }
            tally
        })
    }

    /// Requests are due at the times of the plan, and their latency counts from then, however late
    /// they could be sent: so a stalled service is measured as all clients that send meanwhile see
    /// it.
    pub(super) fn follow(&self, plan: &[Duration], senders: usize, length: Duration) -> Slice {
        let begun = Instant::now();
        let next = AtomicUsize::new(0);
        let mut slice = gather(senders, begun, || {
            let mut tally = Tally::default();
            while let Some(due) = plan.get(next.fetch_add(1, Ordering::Relaxed)) {
                let due = begun + *due;
                self.sleep_until(due.checked_sub(AHEAD).unwrap_or(begun));
                if self.stop.is_requested() {
                    break;
                }
                if begun.elapsed() > length + GRACE {
                    tally.error(NOT_SENT, || "the service is too slow for this rate".to_owned());
                    continue;
                }
                let Some(signed) = self.stock.take() else { break };
                self.sleep_until(due);
                self.exchange(&signed, due, &mut tally);
            }
            tally
        });
        if !self.stop.is_requested() {
            slice.elapsed = slice.elapsed.max(length);
        }
        slice
    }

    fn exchange(&self, signed: &Signed, due: Instant, tally: &mut Tally) {
        match (self.send)(&signed.request) {
            Outcome::Compared => tally.latencies.push(due.elapsed()),
            Outcome::Refused => tally.refusals.push(due.elapsed()),
            Outcome::Other(code, response) => {
                tally.error(&code, || format!("{}: {response}", self.photos.name(signed.pair)));
            }
            Outcome::Failed(why) => {
                tally.error(NO_ANSWER, || why);
                thread::sleep(PAUSE);
            }
        }
    }

    fn sleep_until(&self, due: Instant) {
        while !self.stop.is_requested() {
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            thread::sleep(left.min(CHECK_INTERVAL));
        }
    }
}

/// The tallies of so many senders together.
fn gather(senders: usize, begun: Instant, sender: impl Fn() -> Tally + Sync) -> Slice {
    let mut tally = Tally::default();
    thread::scope(|scope| {
        let senders: Vec<_> = (0..senders).map(|_| scope.spawn(&sender)).collect();
        for sender in senders {
            match sender.join() {
                Ok(other) => tally.add(other),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
    });
    Slice { tally, elapsed: begun.elapsed() }
}

/// Times at which requests are due: independent arrivals, the same ones in every run.
pub(super) fn arrivals(rate: f64, length: Duration, seed: u64) -> Vec<Duration> {
    let mut random = SplitMix(seed);
    let mut at = 0.0;
    let mut plan = Vec::new();
    loop {
        // Between independent arrivals of a constant rate lie exponentially distributed times.
        at -= random.unit().ln() / rate;
        if at >= length.as_secs_f64() {
            return plan;
        }
        plan.push(Duration::from_secs_f64(at));
    }
}

/// `SplitMix64`: small, and the same everywhere.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// In (0, 1].
    fn unit(&mut self) -> f64 {
        ((self.next() >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use std::{cmp::Reverse, collections::BinaryHeap, sync::atomic::AtomicUsize};

    use super::*;
    use crate::stock::{Closing, testing::signed};

    /// The result of a load whose responses come from `send`.
    fn load(
        send: impl Fn() -> Outcome + Sync,
        stop: &Stop,
        measure: impl Fn(&Load<'_>) -> Slice,
    ) -> Slice {
        let (stock, photos) = (Stock::new(1_000), Photos::default());
        thread::scope(|scope| {
            let _closing = Closing(&stock);
            scope.spawn(|| stock.sign(|| Ok(signed("{}"))));
            stock.fill(1, 1, &Stop::default()).unwrap();
            measure(&Load { send: &|_| send(), stock: &stock, photos: &photos, stop })
        })
    }

    #[test]
    fn a_request_that_had_to_wait_for_its_turn_has_waited_since_it_was_due() {
        const TIME: Duration = Duration::from_millis(20);
        let slow = || {
            thread::sleep(TIME);
            Outcome::Compared
        };
        let length = Duration::from_millis(1);
        let slice =
            load(slow, &Stop::default(), |load| load.follow(&[Duration::ZERO; 5], 1, length));
        for (before, latency) in (1..).zip(&slice.tally.latencies) {
            assert!(*latency >= before * TIME, "{:?}", slice.tally.latencies);
        }
        assert_eq!(slice.tally.pairs(), 5);
    }

    #[test]
    fn what_becomes_of_each_request_is_counted_under_its_name() {
        let next = AtomicUsize::new(0);
        let send = || match next.fetch_add(1, Ordering::Relaxed) {
            0 => Outcome::Compared,
            1 => Outcome::Refused,
            2 => Outcome::Failed("no response".to_owned()),
            _ => Outcome::Failed("again no response".to_owned()),
        };
        let plan = [Duration::ZERO; 4];
        let Slice { tally, elapsed } =
            load(send, &Stop::default(), |load| load.follow(&plan, 1, Duration::from_millis(1)));
        assert_eq!((tally.pairs(), tally.refusals.len(), tally.errors()), (1, 1, 2));
        assert_eq!(tally.errors, [(NO_ANSWER.to_owned(), 2)].into());
        assert_eq!(tally.first_error.as_deref(), Some("no response"));
        assert!(elapsed >= Duration::from_millis(1));
    }

    #[test]
    fn a_saturating_load_has_as_many_requests_under_way_as_it_may_until_it_is_stopped() {
        let (now, stop) = (AtomicUsize::new(0), Stop::default());
        let send = || {
            now.fetch_add(1, Ordering::SeqCst);
            // None gets a response before there are three.
            while now.load(Ordering::SeqCst) < 3 {
                thread::yield_now();
            }
            stop.request();
            Outcome::Compared
        };
        let slice = load(send, &stop, |load| load.saturate(3, Duration::from_hours(1)));
        assert!(slice.tally.pairs() >= 3);
    }

    #[test]
    fn arrivals_come_at_their_rate_and_the_same_in_every_run() {
        let minute = Duration::from_mins(1);
        let plan = arrivals(50.0, minute, 1);
        assert!((2_800..3_200).contains(&plan.len()), "{}", plan.len());
        assert!(plan.is_sorted() && plan.last().unwrap() < &minute);
        assert_eq!(plan, arrivals(50.0, minute, 1));
        assert_ne!(plan, arrivals(50.0, minute, 2));
    }

    /// How long the middle and the slowest percent of 100,000 pairs take, in multiples of a
    /// comparison, if so many workers take them in the order in which they come, and are at work
    /// for this share of the time.
    fn in_line(workers: u32, share: f64) -> [f64; 2] {
        let rate = share * f64::from(workers);
        let mut free: BinaryHeap<_> = (0..workers).map(|_| Reverse(Duration::ZERO)).collect();
        let comparison = Duration::from_secs(1);
        let mut taken: Vec<_> = arrivals(rate, Duration::from_secs_f64(1e5 / rate), 1)
            .into_iter()
            .map(|at| {
                let Reverse(worker) = free.pop().unwrap();
                let done = at.max(worker) + comparison;
                free.push(Reverse(done));
                done.saturating_sub(at)
            })
            .collect();
        taken.sort();
        [50, 99].map(|percent| taken[taken.len() * percent / 100].as_secs_f64())
    }

    #[test]
    fn the_page_on_scaling_says_how_long_a_line_gets() {
        let page = include_str!("../../../docs/SCALING.md");
        for share in [50, 60, 70, 80, 90] {
            let cells = [1, 2, 4, 16].map(|workers| {
                let [middle, slow] = in_line(workers, f64::from(share) / 100.0);
                format!("{middle:.1}, {slow:.1}")
            });
            let row = format!("| {share} % | {} |\n", cells.join(" | "));
            assert!(page.contains(&row), "{row}");
        }
    }

    #[test]
    fn arrivals_are_independent_of_each_other() {
        let plan = arrivals(10.0, Duration::from_mins(10), 7);
        let gaps: Vec<f64> =
            plan.windows(2).map(|w| w[1].as_secs_f64() - w[0].as_secs_f64()).collect();
        let longer = gaps.iter().filter(|gap| **gap > 0.1).count() as f64 / gaps.len() as f64;
        assert!(
            (longer - (-1.0_f64).exp()).abs() < 0.03,
            "{longer} of the gaps are longer than the mean"
        );
    }
}
