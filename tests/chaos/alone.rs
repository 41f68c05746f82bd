//! The embedded database: one process that is killed again and again, at any moment of its work.

use std::time::{Duration, Instant};

use crate::{
    crowd::Crowd,
    ledger::{Audit, SqliteBooks},
    roles::{LEASE, Told},
    site::Site,
    table,
};

/// Requests under way at a time.
const UNDER_WAY: usize = 24;
/// Milliseconds that a job takes.
const WORK: (u64, u64) = (2, 40);
const PATIENCE: Duration = Duration::from_secs(30);

/// A run of so many kills; prints it and returns what is wrong.
pub fn run(site: &Site, kills: u64) -> Vec<String> {
    let mut dice = site.dice();
    let path = site.folder.path().join("alone.db");
    site.runtime.block_on(async {
        visavis::db::SqliteDb::open(&path).await.unwrap().close().await;
        let books = SqliteBooks::open(&path).await;
        books.begin().await;
        books.close().await;
    });
    let told = Told { store: path.display().to_string(), key: site.key(), work: WORK, number: 0 };
    let mut crowd = Crowd::new(told, UNDER_WAY);
    crowd.hire("alone", 1);
    let bar = site.progress("kills on SQLite", kills);
    let begun = Instant::now();
    while crowd.kills < kills {
        crowd.wait_until_ready(PATIENCE);
        let until = Instant::now() + dice.millis(20..300);
        while Instant::now() < until {
            crowd.feed(&mut dice);
            crowd.listen(Duration::from_millis(2));
            crowd.replace_the_dead();
        }
        crowd.kill_first();
        crowd.replace(0);
        bar.set_position(crowd.kills);
    }
    bar.finish_and_clear();
    let seconds = begun.elapsed().as_secs();

    crowd.wait_until_ready(PATIENCE);
    while begun.elapsed() < PATIENCE + Duration::from_secs(seconds) && crowd.is_anything_untold() {
        crowd.listen(Duration::from_millis(20));
    }
    if crowd.is_anything_untold() {
        crowd.complaints.push(format!("outcomes stayed untold for {LEASE:?} and longer"));
    }
    let exits = crowd.dismiss();
    let (mut audit, soundness) = site.runtime.block_on(async {
        let books = SqliteBooks::open(&path).await;
        let mut audit = Audit::of(&books.entries().await, &crowd.acknowledged, crowd.requests);
        audit.pictures = books.pictures().await;
        audit.late = books.unfinished().await;
        (audit, books.integrity().await)
    });
    audit.complaints.append(&mut crowd.complaints);
    audit.complaints.extend(exits);
    if soundness != "ok" {
        audit.complaints.push(soundness);
    }
    let happened = [
        ("seconds", seconds),
        ("kills of the single process", crowd.kills),
        ("requests acknowledged", crowd.acknowledged.len() as u64),
    ];
    let mut failures = table::print("kills on SQLite", &happened, &audit);
    if audit.takeovers == 0 {
        failures.push("no kill hit a running job, so nothing was shown".to_owned());
    }
    failures
}
