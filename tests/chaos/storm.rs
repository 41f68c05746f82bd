//! Many processes on one Postgres behind a bad network, killed and stopped at random while the
//! server is restarted under them.

use std::{
    sync::atomic::Ordering::SeqCst,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use indicatif::ProgressBar;

use crate::{
    crowd::Crowd,
    dice::Dice,
    ledger::{Audit, PostgresBooks, remove_token_check},
    proxy::{Proxy, Weather},
    roles::{LEASE, ProcessConfig},
    site::Site,
    support::{cluster, hands, restart},
    table,
};

/// What a run is to be.
#[derive(Debug, Clone)]
pub struct Plan {
    pub title: &'static str,
    /// Processes to be killed; the run ends with the last one.
    pub kills: u64,
    /// Time between two kills.
    pub pace: Duration,
    /// How often the server is restarted.
    pub restarts: u64,
    /// How often its clock is set, by an hour and back.
    pub clock_steps: u64,
    pub bad_network: bool,
    /// Whether the fencing token is worth anything.
    pub fenced: bool,
    /// The run is given up after this.
    pub limit: Duration,
}

const WORKERS: usize = 24;
const PRODUCERS: usize = 4;
/// Requests under way at a time; fewer than the workers can begin in a lease.
const UNDER_WAY: usize = 56;
/// Milliseconds that a job takes.
const WORK: (u64, u64) = (100, 900);
/// No more processes are stopped at a time.
const MOST_STOPPED: usize = 9;
/// Milliseconds that a process is stopped, longer than a lease.
const STOP: std::ops::Range<u64> = 1_700..2_600;
/// Seconds that the clock is ahead of the right one, one after the other.
const STEPS: [i64; 4] = [3_600, 0, -3_600, 0];
/// How long anything may take when nothing disturbs it.
const PATIENCE: Duration = Duration::from_secs(30);

/// A run and its audit; prints both, and returns what is wrong.
pub fn run(site: &Site, plan: &Plan) -> (Audit, Vec<String>) {
    let mut dice = site.dice();
    let name = site.runtime.block_on(cluster().new_database());
    let (proxy, books) = site.runtime.block_on(prepare(&name, plan, &mut dice));
    let config = ProcessConfig {
        store: format!("postgres://visavis@127.0.0.1:{}/{name}", proxy.port),
        key: site.key(),
        work: WORK,
        number: 0,
    };
    let mut crowd = Crowd::new(config, UNDER_WAY);
    crowd.spawn("worker", WORKERS);
    crowd.spawn("producer", PRODUCERS);
    crowd.wait_until_ready(PATIENCE);
    if plan.bad_network {
        proxy.set(Weather::Stormy);
    }
    let begun = Instant::now();
    let (stops, restarts, clock_steps) = inject_faults(site, plan, &mut crowd, &mut dice);
    let seconds = begun.elapsed().as_secs();

    proxy.set(Weather::Fair);
    let late = wait_for_recovery(site, &mut crowd, &books);
    let exits = crowd.dismiss();
    let mut audit = site.runtime.block_on(async {
        let entries = books.entries().await;
        let mut audit = Audit::of(&entries, &crowd.acknowledged, crowd.requests);
        audit.pictures = books.pictures().await;
        audit
    });
    audit.late = late;
    audit.complaints.append(&mut crowd.complaints);
    audit.complaints.extend(exits);
    let happened = [
        ("seconds", seconds),
        ("processes killed", crowd.kills),
        ("processes stopped for longer than a lease", stops),
        ("immediate restarts of Postgres", restarts),
        ("steps of its clock by an hour", clock_steps),
        ("connections through the proxy", proxy.counts.connections.load(SeqCst)),
        ("connections with a fault", proxy.counts.faults.load(SeqCst)),
        ("requests acknowledged", crowd.acknowledged.len() as u64),
        ("outcomes turned away", crowd.lost_leases),
    ];
    let failures = table::print(plan.title, &happened, &audit);
    (audit, failures)
}

async fn prepare(name: &str, plan: &Plan, dice: &mut Dice) -> (Proxy, PostgresBooks) {
    let url = cluster().url(name);
    // The schema is created before the ledger.
    visavis::db::PostgresDb::open(&url, 1).await.unwrap().close().await;
    let books = PostgresBooks::open(&url).await;
    if !plan.fenced {
        remove_token_check(&books).await;
    }
    (Proxy::start(cluster().port(), dice.other()).await, books)
}

/// Kills, stops, restarts, and sets the clock; returns how often the latter three.
fn inject_faults(site: &Site, plan: &Plan, crowd: &mut Crowd, dice: &mut Dice) -> (u64, u64, u64) {
    let bar = site.progress(plan.title, plan.kills);
    let begun = Instant::now();
    let (mut stops, mut restarts, mut steps) = (0, 0, 0);
    let mut ahead = STEPS.into_iter().cycle();
    let mut restarting: Option<JoinHandle<()>> = None;
    let (mut next_kill, mut next_stop) = (begun + plan.pace, begun);
    while crowd.kills < plan.kills {
        assert!(begun.elapsed() < plan.limit, "{} kills took too long", crowd.kills);
        crowd.listen(Duration::from_millis(10));
        crowd.feed(dice);
        crowd.replace_ended();
        if Instant::now() >= next_kill && crowd.kill_one(dice) {
            next_kill += plan.pace;
            report(&bar, crowd, stops, restarts);
        }
        if Instant::now() >= next_stop {
            stops += u64::from(crowd.stop_one(dice, MOST_STOPPED, STOP));
            next_stop = Instant::now() + plan.pace;
        }
        let share = crowd.kills * (plan.restarts + 1) / plan.kills;
        if share > restarts && restarts < plan.restarts {
            restarting.take().map(JoinHandle::join);
            restarting = Some(thread::spawn(restart));
            restarts += 1;
        }
        let share = crowd.kills * (plan.clock_steps + 1) / plan.kills;
        if let Some(hands) = hands()
            && share > steps
            && steps < plan.clock_steps
        {
            steps += 1;
            hands.set(ahead.next().unwrap_or(0));
        }
    }
    if let Some(last) = restarting {
        last.join().unwrap();
    }
    bar.finish_and_clear();
    (stops, restarts, steps)
}

fn report(bar: &ProgressBar, crowd: &Crowd, stops: u64, restarts: u64) {
    bar.set_position(crowd.kills);
    let acknowledged = crowd.acknowledged.len();
    bar.set_message(format!("{stops} stops, {restarts} restarts, {acknowledged} acknowledged"));
    if bar.is_hidden() && crowd.kills.is_multiple_of(500) {
        println!(
            "  … {} kills, {stops} stops, {restarts} restarts, {acknowledged} acknowledged",
            crowd.kills
        );
    }
}

/// Waits until all is well again; returns how many jobs were not at their end in time.
fn wait_for_recovery(site: &Site, crowd: &mut Crowd, books: &PostgresBooks) -> u64 {
    let unfinished = || site.runtime.block_on(books.unfinished());
    let begun = Instant::now();
    while crowd.is_any_stopped() || crowd.has_unacknowledged() {
        crowd.listen(Duration::from_millis(20));
        crowd.replace_ended();
        if begun.elapsed() > PATIENCE {
            crowd.complaints.push("requests stayed unanswered".to_owned());
            break;
        }
    }
    let calm = Instant::now();
    while calm.elapsed() < 3 * LEASE && unfinished() > 0 {
        crowd.listen(Duration::from_millis(20));
    }
    let late = unfinished();
    while calm.elapsed() < PATIENCE && crowd.has_unfinished() {
        crowd.listen(Duration::from_millis(20));
    }
    if crowd.has_unfinished() {
        crowd.complaints.push("outcomes stayed untold".to_owned());
    }
    late
}
