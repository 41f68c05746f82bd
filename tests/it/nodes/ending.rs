//! How processes end: on one signal, on two, or because a comparison does not come back.

use std::time::{Duration, Instant};

use sqlx::Connection as _;

use super::{PATIENCE, Site};
use crate::crash::server::Server;

/// Where the jobs stand, by state.
async fn states(site: &Site) -> [i64; 4] {
    let mut connection = sqlx::PgConnection::connect(&site.urls[0]).await.unwrap();
    let mut states = [0; 4];
    for (state, count) in states.iter_mut().enumerate() {
        *count = sqlx::query_scalar("SELECT count(*) FROM job WHERE state = $1")
            .bind(i64::try_from(state).unwrap())
            .fetch_one(&mut connection)
            .await
            .unwrap();
    }
    states
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_that_are_told_to_stop_under_load_leave_no_job_running_and_exit_with_0() {
    let site = Site::new().await;
    for round in 0..5_usize {
        let ids = tokio::task::block_in_place(|| {
            let (front, workers) = (site.front_end(), site.workers());
            let ids: Vec<_> = (0..4).map(|n| site.enqueue(&front, 10 * round + n)).collect();
            let begun = Instant::now();
            assert_eq!(workers.terminate(), Some(0));
            assert!(begun.elapsed() < Duration::from_secs(30));
            assert_eq!(front.terminate(), Some(0));
            ids
        });
        let [_, running, _, dead] = states(&site).await;
        assert_eq!((running, dead), (0, 0), "round {round}");
        tokio::task::block_in_place(|| {
            let node = site.node(&[]);
            for id in &ids {
                site.expect_verdict(&node, id);
            }
            assert_eq!(node.terminate(), Some(0));
        });
    }
}

/// It leaves slowly and lets no one down on a busy machine.
const PATIENT: [(&str, &str); 2] =
    [("VISAVIS_HTTP_SHUTDOWN_DELAY_MS", "1000"), ("VISAVIS_HTTP_COMPARE_TIMEOUT_MS", "30000")];

/// A load balancer that asks who is ready before each request. Anyone who was sent there is served,
/// and what was acknowledged is finished by someone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_front_end_that_is_told_to_stop_under_load_fails_nobody() {
    let site = Site::new().await;
    let staying = tokio::task::block_in_place(|| site.node(&[]));
    for round in 0..3_usize {
        let leaving = tokio::task::block_in_place(|| site.node(&PATIENT));
        let ids = tokio::task::block_in_place(|| under_load(&site, leaving, 100 * round));
        tokio::task::block_in_place(|| ids.iter().for_each(|id| site.expect_verdict(&staying, id)));
    }
    assert_eq!(tokio::task::block_in_place(|| staying.terminate()), Some(0));
    assert_eq!(states(&site).await[3], 0);
}

/// Calls from three sides while the server leaves; the acknowledged transactions.
fn under_load(site: &Site, leaving: Server, first: usize) -> Vec<String> {
    let mut ids = Vec::new();
    std::thread::scope(|threads| {
        let server = &leaving;
        let callers: Vec<_> = (0..3)
            .map(|caller| {
                threads.spawn(move || {
                    let mut ids = Vec::new();
                    for n in 0.. {
                        if server.ready() != Some(true) {
                            break;
                        }
                        let number = first + 30 * caller + n;
                        if caller == 0 {
                            let compared = site.compare(server, &format!("load-{number}"));
                            assert_eq!(compared["result"]["resultCode"], "SUCCESS", "{compared}");
                        } else {
                            ids.push(site.enqueue(server, number));
                        }
                    }
                    ids
                })
            })
            .collect();
        std::thread::sleep(Duration::from_millis(1_500));
        leaving.signal("TERM");
        for caller in callers {
            ids.extend(caller.join().unwrap());
        }
    });
    let mut leaving = leaving;
    let begun = Instant::now();
    assert_eq!(leaving.wait(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(30));
    assert!(!ids.is_empty(), "there was load");
    ids
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_ends_a_process_at_once() {
    let site = Site::new().await;
    tokio::task::block_in_place(|| {
        let node = site.node(&[("VISAVIS_HTTP_SHUTDOWN_DELAY_MS", "3600000")]);
        assert_eq!(node.ready(), Some(true));
        node.signal("TERM");
        let begun = Instant::now();
        while node.ready() == Some(true) {
            assert!(begun.elapsed() < PATIENCE, "it was told to stop");
        }
        assert_eq!(node.ready(), Some(false), "it goes on, but is not ready");
        let answer = site.call(&node, &["test"]);
        assert_eq!(answer["result"]["resultCode"], "SUCCESS", "{answer}");
        let begun = Instant::now();
        assert_eq!(node.terminate(), Some(1));
        assert!(begun.elapsed() < Duration::from_secs(5));
    });
}

/// No comparison of real photos ends within five milliseconds: each of them looks as if it never
/// would. On a busy machine a thread may take the job too late to begin at all, which is an attempt
/// too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_whose_comparison_does_not_end_gives_up_and_its_job_does_not_get_lost() {
    let site = Site::new().await;
    let impatient = [
        ("VISAVIS_QUEUE_JOB_DEADLINE_MS", "4"),
        ("VISAVIS_WORKER_HANG_TIMEOUT_MS", "5"),
        ("VISAVIS_QUEUE_MAX_ATTEMPTS", "10"),
    ];
    let id = tokio::task::block_in_place(|| {
        let mut node = site.node(&impatient);
        let id = site.enqueue(&node, 1);
        assert_eq!(node.wait(), Some(1), "so that whoever watches it starts it again");
        id
    });
    let [queued, running, done, dead] = states(&site).await;
    assert_eq!((queued, running, done, dead), (1, 0, 0, 0), "put back");
    tokio::task::block_in_place(|| {
        let node = site.node(&[]);
        site.expect_verdict(&node, &id);
    });
}

/// The third process that it takes down is the last.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_ends_every_process_is_given_up_after_three() {
    let site = Site::new().await;
    let impatient =
        [("VISAVIS_QUEUE_JOB_DEADLINE_MS", "1"), ("VISAVIS_WORKER_HANG_TIMEOUT_MS", "2")];
    tokio::task::block_in_place(|| {
        let front = site.front_end();
        let id = site.enqueue(&front, 1);
        let begun = Instant::now();
        loop {
            let reported = site.call(&front, &["asynccheckresult", &id]);
            if reported["result"]["resultCode"] != "PROCESSING" {
                assert_eq!(reported["result"]["resultCode"], "SYSTEM_ERROR", "{reported}");
                assert_eq!(reported["transactionId"], id.as_str());
                break;
            }
            assert!(begun.elapsed() < PATIENCE, "{reported}");
            let mut node = site.node(&impatient);
            node.ends_within(Duration::from_secs(5));
        }
    });
    assert_eq!(states(&site).await, [0, 0, 0, 1]);
}
