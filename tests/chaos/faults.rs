//! One fault of the network after the other, for every connection at once: how long a call takes at
//! most, and how long after the end of the fault everything goes again.

use std::time::{Duration, Instant};

use tokio::{sync::watch, task::JoinSet};
use visavis::{
    clock::Clock,
    compare::{Outcome, Refusal, Side},
    db::PostgresDb,
    queue::{QueueError, Store},
    sealing::MasterKey,
};

use crate::{
    dice::Dice,
    proxy::{Proxy, Weather},
    roles::{CLIENT, LEASE, new_job, request},
    site::Site,
    support::cluster,
    wakes,
};

/// A call is given up after 8 s, further tries included.
const LONGEST_CALL: Duration = Duration::from_secs(9);
/// Everything goes again after this.
const RECOVERY: Duration = Duration::from_secs(5);
/// How long recovery is waited for.
const PATIENCE: Duration = Duration::from_secs(30);
const CALLERS: u64 = 6;

/// What was seen of one fault.
struct Seen {
    calls: usize,
    failed: usize,
    longest: Duration,
    /// When the last caller got a response again, after the end of the fault.
    recovered: Option<Duration>,
}

struct Call {
    begun: Instant,
    ended: Instant,
    good: bool,
}

/// All faults side by side, each with a network and a database of its own.
pub fn recovers_from_every_fault(site: &Site) -> Vec<String> {
    let short = Duration::from_secs(5);
    // Longer than a call takes at most, or nothing would be given up.
    let hole = Duration::from_secs(if site.long.is_some() { 30 } else { 12 });
    let faults = [
        ("100 ms in each direction", Weather::Slow(Duration::from_millis(100)), short),
        ("reset", Weather::Reset, short),
        ("half-closed", Weather::HalfClosed, short),
        ("black hole", Weather::Hole, hole),
        // After a fail-over the old connections are not closed: they stay silent.
        ("dead connections", Weather::Grave, hole),
    ];
    let (seen, started, woken) = site.runtime.block_on(async {
        let mut trials = Vec::new();
        for (name, weather, time) in faults {
            let trial = tokio::spawn(trial(site.dice(), weather, time));
            trials.push((name, trial));
        }
        let start = tokio::spawn(start_without_responses(site.dice()));
        let wakes = tokio::spawn(wakes::after_dead_connections(site.dice(), hole));
        let mut seen = Vec::new();
        for (name, trial) in trials {
            seen.push((name, trial.await.unwrap()));
        }
        (seen, start.await.unwrap(), wakes.await.unwrap())
    });
    let mut failures = judge(&seen);
    if let Some((name, slow)) = seen.first().filter(|(_, slow)| slow.failed > 0) {
        failures.push(format!("{name}: {} calls failed", slow.failed));
    }
    match woken {
        Ok(time) => println!("{:<62} {:>11.2} s", "wake-ups between processes", time.as_secs_f64()),
        Err(failure) => failures.push(failure),
    }
    failures.extend(started);
    failures
}

/// A process that starts without a database reports it and ends.
async fn start_without_responses(dice: Dice) -> Option<String> {
    let proxy = Proxy::start(cluster().port(), dice).await;
    proxy.set(Weather::Grave);
    let url = format!("postgres://visavis@127.0.0.1:{}/postgres", proxy.port);
    match tokio::time::timeout(LONGEST_CALL, PostgresDb::open(&url, 4)).await {
        Ok(Err(_)) => None,
        Ok(Ok(_)) => Some("a start succeeded without responses".to_owned()),
        Err(_) => Some(format!("a start without responses hung for {LONGEST_CALL:?} and longer")),
    }
}

fn judge(seen: &[(&'static str, Seen)]) -> Vec<String> {
    println!(
        "\n{:<28} {:>6} {:>7} {:>13} {:>13}",
        "fault", "calls", "failed", "longest call", "recovered in"
    );
    let seconds = |time: Duration| format!("{:.2} s", time.as_secs_f64());
    let mut failures = Vec::new();
    for (name, seen) in seen {
        let recovered = seen.recovered.map_or("never".to_owned(), seconds);
        let longest = seconds(seen.longest);
        println!("{name:<28} {:>6} {:>7} {longest:>13} {recovered:>13}", seen.calls, seen.failed);
        if seen.longest > LONGEST_CALL {
            failures.push(format!("{name}: a call took {longest}"));
        }
        if seen.recovered.is_none_or(|time| time > RECOVERY) {
            failures.push(format!("{name}: recovered {recovered}"));
        }
    }
    failures
}

async fn trial(dice: Dice, weather: Weather, time: Duration) -> Seen {
    let database = cluster().new_database().await;
    let proxy = Proxy::start(cluster().port(), dice).await;
    let url = format!("postgres://visavis@127.0.0.1:{}/{database}", proxy.port);
    let db = PostgresDb::open(&url, 4).await.unwrap();
    let store = Store::new(db, MasterKey::random().unwrap(), Clock::System);
    let healed = watch::Sender::new(None::<Instant>);
    let mut callers = JoinSet::new();
    for number in 0..CALLERS {
        callers.spawn(call_repeatedly(store.clone(), number, healed.subscribe()));
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    // Nearly every connection is in the middle of a call when the fault begins.
    proxy.set(Weather::Slow(Duration::from_millis(40)));
    tokio::time::sleep(Duration::from_millis(500)).await;
    proxy.set(weather);
    tokio::time::sleep(time).await;
    proxy.set(Weather::Fair);
    let end = Instant::now();
    healed.send_replace(Some(end));
    let (mut calls, mut recovered) = (Vec::new(), Some(Duration::ZERO));
    while let Some(caller) = callers.join_next().await {
        let made: Vec<Call> = caller.unwrap();
        let again = made.iter().find(|call| call.good && call.begun > end);
        recovered = recovered.and_then(|so_far| Some(so_far.max(again?.ended - end)));
        calls.extend(made);
    }
    Seen {
        calls: calls.len(),
        failed: calls.iter().filter(|call| !call.good).count(),
        longest: calls.iter().map(|call| call.ended - call.begun).max().unwrap_or_default(),
        recovered,
    }
}

/// A caller that uses the store all the time.
struct Caller {
    store: Store,
    calls: Vec<Call>,
}

impl Caller {
    async fn timed<T>(&mut self, call: impl Future<Output = Result<T, QueueError>>) -> Option<T> {
        let begun = Instant::now();
        let result = call.await;
        // A lost lease is a response.
        let good = matches!(result, Ok(_) | Err(QueueError::LeaseLost));
        self.calls.push(Call { begun, ended: Instant::now(), good });
        result.ok()
    }

    async fn one_job(&mut self, number: u64) {
        let (store, request) = (self.store.clone(), request(number, (1, 2)));
        let new = new_job(number, &request);
        self.timed(store.enqueue(&new)).await;
        for lease in self.timed(store.claim(1, "caller", LEASE)).await.unwrap_or_default() {
            self.timed(store.payload(&lease)).await;
            let outcome = Outcome::Refused { side: Side::Probe, refusal: Refusal::NoFace };
            self.timed(store.complete(lease.job.id, lease.token, &outcome)).await;
        }
        self.timed(store.transaction(CLIENT, &new.transaction_id)).await;
    }
}

/// Makes every kind of call in turn, until one that began after the fault returns.
async fn call_repeatedly(
    store: Store,
    caller: u64,
    healed: watch::Receiver<Option<Instant>>,
) -> Vec<Call> {
    let mut this = Caller { store, calls: Vec::new() };
    for job in caller * 1_000_000.. {
        this.one_job(job).await;
        if let Some(end) = *healed.borrow()
            && (this.calls.iter().any(|call| call.good && call.begun > end)
                || end.elapsed() > PATIENCE)
        {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    this.calls
}
