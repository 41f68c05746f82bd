//! The real program with the real nets, killed and stopped from outside.

pub mod server;

use std::path::Path;

use visavis::db::SqliteDb;

use server::{App, Data, Server};

/// A kill may come at any time: five times it comes right after the last acknowledgement.
#[test]
fn what_was_acknowledged_before_a_kill_is_finished_after_it() {
    let data = Data::new();
    let app = App::register(&data);
    let mut server = Server::start(&data);
    let (mut unfinished, mut interrupted) = (0, 0);
    for round in 1..=5 {
        let accepted: Vec<_> = (0..4).map(|n| app.enqueue(&server, round + n)).collect();
        server.kill();
        let left = look(&data.copy().database());
        unfinished += left.queued + left.running;
        interrupted += left.running;
        server = Server::start(&data);
        for id in &accepted {
            app.expect_verdict(&server, id);
        }
    }
    assert!(unfinished >= 5 && interrupted >= 1, "the kills came too late to show anything");
    assert_eq!(server.terminate(), Some(0));
    let numbers = look(&data.database());
    assert_eq!(numbers, Numbers { done: 20, ..Numbers::default() });
}

#[test]
fn a_second_server_on_one_folder_is_refused() {
    let data = Data::new();
    let first = Server::start(&data);
    let (code, complaint) = data.serve_and_fail();
    assert_eq!(code, Some(2), "{complaint}");
    assert!(complaint.contains("another process serves the data folder"), "{complaint}");
    assert!(complaint.contains(data.folder().to_str().unwrap()), "{complaint}");
    let app = App::register(&data);
    let id = app.enqueue(&first, 1);
    app.expect_verdict(&first, &id);
}

#[test]
fn a_server_that_is_told_to_stop_drains_and_exits_with_0() {
    let data = Data::new();
    let app = App::register(&data);
    let server = Server::start(&data);
    let accepted: Vec<_> = (0..4).map(|n| app.enqueue(&server, n)).collect();
    assert_eq!(server.terminate(), Some(0));
    let left = look(&data.database());
    assert_eq!((left.running, left.dead, left.attempts_of_queued), (0, 0, 0), "{left:?}");
    assert_eq!(left.pictures, left.queued, "{left:?}");
    let server = Server::start(&data);
    for id in &accepted {
        app.expect_verdict(&server, id);
    }
    assert_eq!(server.terminate(), Some(0));
    assert_eq!(look(&data.database()), Numbers { done: 4, ..Numbers::default() });
}

/// What is in the database of a server that is not running.
#[derive(Debug, Default, PartialEq, Eq)]
struct Numbers {
    queued: i64,
    running: i64,
    done: i64,
    dead: i64,
    attempts_of_queued: i64,
    pictures: i64,
}

fn look(database: &Path) -> Numbers {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let db = SqliteDb::open(database).await.unwrap();
        let sound: String =
            sqlx::query_scalar("PRAGMA integrity_check").fetch_one(&db.readers).await.unwrap();
        assert_eq!(sound, "ok");
        let (queued, running, done, dead, attempts_of_queued, pictures) = sqlx::query_as(
            "SELECT coalesce(sum(state = 0), 0), coalesce(sum(state = 1), 0), coalesce(sum(state = \
             2), 0),
                    coalesce(sum(state = 3), 0), coalesce(sum(attempt) FILTER (WHERE state = 0), 0),
                    (SELECT count(*) FROM job_payload)
             FROM job",
        )
        .fetch_one(&db.readers)
        .await
        .unwrap();
        db.close().await;
        Numbers { queued, running, done, dead, attempts_of_queued, pictures }
    })
}
