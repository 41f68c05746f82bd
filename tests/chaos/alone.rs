//! The embedded database: one process that is killed again and again, at any moment of its work,
//! while its disk is full at times and its clock is set.

use std::time::{Duration, Instant};

use crate::{
    crowd::Crowd,
    ledger::{Audit, SqliteBooks},
    roles::{LEASE, ProcessConfig},
    site::Site,
    support::{Disk, Hands},
    table,
};

/// Requests under way at a time.
const UNDER_WAY: usize = 24;
/// Milliseconds that a job takes.
const WORK: (u64, u64) = (2, 40);
const PATIENCE: Duration = Duration::from_secs(30);
/// Room for everything that is under way, and little more.
const DISK_MIB: u32 = 64;
/// Lives of a process with a full disk, and with a clock that is set, of a hundred.
const FAULTS: u64 = 30;

/// A run of so many kills; prints it and returns what is wrong.
pub fn run(site: &Site, kills: u64) -> Vec<String> {
    let mut dice = site.dice();
    // Without permission to mount a disk, none is full.
    let disk = Disk::mount(DISK_MIB);
    let path = disk.as_ref().map_or(site.folder.path(), Disk::path).join("alone.db");
    let hands = Hands::new(site.folder.path());
    site.runtime.block_on(async {
        visavis::db::SqliteDb::open(&path).await.unwrap().close().await;
        let books = SqliteBooks::open(&path).await;
        books.begin().await;
        books.close().await;
    });
    let config =
        ProcessConfig { store: path.display().to_string(), key: site.key(), work: WORK, number: 0 };
    let mut crowd = Crowd::new(config, UNDER_WAY);
    crowd.clock = hands.as_ref().map(Hands::variables).unwrap_or_default();
    crowd.spawn("alone", 1);
    let (mut fills, mut steps) = (0, 0);
    let bar = site.progress("kills on SQLite", kills);
    let begun = Instant::now();
    while crowd.kills < kills {
        crowd.wait_until_ready(PATIENCE);
        let filler = disk.as_ref().filter(|_| dice.percent(FAULTS)).map(Disk::fill);
        fills += u64::from(filler.is_some());
        if let Some(hands) = hands.as_ref().filter(|_| dice.percent(FAULTS)) {
            hands.set(*dice.choose(&[-3_600, 0, 3_600]).unwrap());
            steps += 1;
        }
        let until = Instant::now() + dice.millis(20..300);
        while Instant::now() < until {
            crowd.feed(&mut dice);
            crowd.listen(Duration::from_millis(2));
            crowd.replace_ended();
        }
        if let Some(filler) = &filler {
            // At times the process sees that there is room again: it needs no restart for that.
            let sees_room = dice.percent(50);
            if !sees_room {
                crowd.kill_first();
            }
            std::fs::remove_file(filler).unwrap();
            if sees_room {
                crowd.listen(dice.millis(20..300));
                crowd.kill_first();
            }
        } else {
            crowd.kill_first();
        }
        crowd.replace(0);
        bar.set_position(crowd.kills);
    }
    bar.finish_and_clear();
    let seconds = begun.elapsed().as_secs();

    crowd.wait_until_ready(PATIENCE);
    while begun.elapsed() < PATIENCE + Duration::from_secs(seconds) && crowd.has_unfinished() {
        crowd.listen(Duration::from_millis(20));
    }
    if crowd.has_unfinished() {
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
        ("times that its disk was full", fills),
        ("steps of its clock by an hour", steps),
        ("requests acknowledged", crowd.acknowledged.len() as u64),
    ];
    let mut failures = table::print("kills on SQLite", &happened, &audit);
    if audit.takeovers == 0 {
        failures.push("no kill hit a running job, so nothing was shown".to_owned());
    }
    failures
}
