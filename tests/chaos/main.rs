//! Chaos tests: processes are killed, stopped and cut off from their database, disks are full,
//! clocks are set, and a ledger that is independent of the code under test is checked afterwards.
//!
//! `cargo test` runs the short form, `make chaos` the long one: `CHAOS_MINUTES`, `CHAOS_KILLS` and
//! `CHAOS_LONE_KILLS` set its length. `CHAOS_SEED` repeats the random choices of a run, but not
//! their timing.
#![expect(clippy::unwrap_used, reason = "a test may stop at the first broken assumption")]
#![expect(clippy::print_stdout, reason = "a program for people")]
#![expect(unreachable_pub, reason = "nothing outside sees these modules")]

mod alone;
mod crowd;
mod dice;
mod faults;
mod ledger;
mod points;
mod process;
mod proxy;
mod roles;
mod site;
mod storm;
mod support;
mod table;
mod wakes;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
    time::Duration,
};

use site::{Long, Site};
use storm::Plan;

/// A case returns what is wrong.
type Case = fn(&Site) -> Vec<String>;

const CASES: [(&str, Case); 7] = [
    ("every_wrong_is_seen_in_a_made_up_history", |_| {
        ledger::every_wrong_is_seen_in_a_made_up_history()
    }),
    ("a_storm_on_postgres_loses_nothing_and_doubles_nothing", a_storm),
    ("without_the_token_check_the_same_storm_shows_stale_writes", a_storm_without_tokens),
    ("kills_on_sqlite_lose_nothing_and_double_nothing", kills_on_sqlite),
    ("a_job_survives_a_crash_at_every_point_on_sqlite", points::on_sqlite),
    ("a_job_survives_a_crash_at_every_point_on_postgres", points::on_postgres),
    ("faults_of_the_network_hold_no_call_and_are_got_over", faults::recovers_from_every_fault),
];

fn a_storm(site: &Site) -> Vec<String> {
    let mut plan = Plan {
        title: "storm on Postgres",
        kills: 150,
        pace: Duration::from_millis(200),
        restarts: 3,
        clock_steps: 4,
        bad_network: true,
        fenced: true,
        limit: Duration::from_mins(4),
    };
    if let Some(long) = site.long {
        plan.kills = long.kills;
        plan.pace = Duration::from_secs(60 * long.minutes).div_f64(long.kills as f64);
        plan.restarts = 2 * long.minutes;
        plan.clock_steps = 4 * long.minutes;
        plan.limit = Duration::from_secs(60 * (4 * long.minutes + 4));
    }
    let (audit, mut failures) = storm::run(site, &plan);
    if audit.takeovers == 0 {
        failures.push("no job was taken from another process, so nothing was shown".to_owned());
    }
    failures
}

/// The ledger must be able to fail: with tokens that never grow it does.
fn a_storm_without_tokens(site: &Site) -> Vec<String> {
    let plan = Plan {
        title: "the same storm without the token check",
        kills: 50,
        pace: Duration::from_millis(200),
        restarts: 0,
        clock_steps: 0,
        bad_network: true,
        fenced: false,
        limit: Duration::from_mins(2),
    };
    let (audit, _) = storm::run(site, &plan);
    if audit.stale == 0 {
        return vec!["no stale write was accepted, so the ledger shows nothing".to_owned()];
    }
    println!("  (it fails, as it should)");
    Vec::new()
}

fn kills_on_sqlite(site: &Site) -> Vec<String> {
    alone::run(site, site.long.map_or(50, |long| long.lone_kills))
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

fn main() -> ExitCode {
    if std::env::var_os(process::ROLE).is_some() {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        runtime.worker_threads(2).enable_all().build().unwrap().block_on(roles::run_role());
        return ExitCode::SUCCESS;
    }
    // As libtest takes them: names of cases or parts of them, and options that mean nothing here.
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        for (name, _) in CASES {
            println!("{name}: test");
        }
        return ExitCode::SUCCESS;
    }
    let filters: Vec<_> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let long = number("CHAOS_MINUTES").map(|minutes| Long {
        minutes,
        kills: number("CHAOS_KILLS").unwrap_or(333 * minutes),
        lone_kills: number("CHAOS_LONE_KILLS").unwrap_or(33 * minutes),
    });
    let seed = number("CHAOS_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    let site = Site::new(seed, long);
    let (mut passed, mut failed) = (0, 0);
    for (name, case) in CASES {
        if !filters.is_empty() && !filters.iter().any(|filter| name.contains(filter.as_str())) {
            continue;
        }
        // A panic prints its own message.
        let failures = catch_unwind(AssertUnwindSafe(|| case(&site)));
        let failures = failures.unwrap_or_else(|_| vec!["panicked".to_owned()]);
        if failures.is_empty() {
            println!("ok      {name}");
            passed += 1;
        } else {
            println!("FAILED  {name} (CHAOS_SEED={seed})");
            for failure in failures {
                println!("        {failure}");
            }
            failed += 1;
        }
    }
    println!("\n{passed} passed, {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
