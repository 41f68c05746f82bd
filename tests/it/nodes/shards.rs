//! Two clusters as one installation.

use sqlx::Connection as _;

use super::{Site, call, enqueue, expect_verdict};
use crate::support::{cluster, second_cluster, visavis};

async fn two_clusters() -> Vec<String> {
    let first = cluster().url(&cluster().new_database().await);
    let second = second_cluster().url(&second_cluster().new_database().await);
    vec![first, second]
}

async fn jobs(url: &str) -> i64 {
    let mut connection = sqlx::PgConnection::connect(url).await.unwrap();
    sqlx::query_scalar("SELECT count(*) FROM job").fetch_one(&mut connection).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_live_on_different_clusters_and_one_front_end_serves_them_all() {
    let site = Site::on(two_clusters().await);
    tokio::task::block_in_place(|| {
        let (a, b) = (site.add_client("a", &[]), site.add_client("b", &[]));
        let listed = site.run(&["client", "list", "--json"]).json();
        let shards: Vec<_> = listed.as_array().unwrap().iter().map(|c| &c["shard"]).collect();
        assert_eq!(shards, [0, 1], "a new client goes where the fewest are");

        let front = site.front_end();
        let of_a = enqueue(&a, &front, 1);
        let of_b = enqueue(&b, &front, 2);
        assert!(of_a.starts_with("G000000000FID") && of_b.starts_with("G000000001FID"));

        let only_first = site.workers_for("0");
        expect_verdict(&a, &front, &of_a);
        let waiting = call(&b, &front, &["asynccheckresult", &of_b]);
        assert_eq!(waiting["result"]["resultCode"], "PROCESSING", "nobody works for the second");
        let stolen = call(&a, &front, &["asynccheckresult", &of_b]);
        assert_eq!(stolen["result"]["resultCode"], "INVALID_ARGUMENT", "and it is not a's");

        let second = site.workers_for("1");
        expect_verdict(&b, &front, &of_b);
        assert_eq!((only_first.terminate(), second.terminate()), (Some(0), Some(0)));
        let both = site.workers();
        for (keys, number) in [(&a, 3), (&b, 4)] {
            expect_verdict(keys, &front, &enqueue(keys, &front, number));
        }
        assert_eq!((front.terminate(), both.terminate()), (Some(0), Some(0)));
    });
    assert_eq!((jobs(&site.urls[0]).await, jobs(&site.urls[1]).await), (2, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_is_down_takes_nobody_along_whose_client_lives_elsewhere() {
    let lost = crate::support::Cluster::start();
    let mut urls = two_clusters().await;
    urls[1] = lost.url(&lost.new_database().await);
    let site = Site::on(urls);
    tokio::task::block_in_place(|| {
        let a = site.add_client("a", &["--shard", "0"]);
        let b = site.add_client("b", &["--shard", "1"]);
        let (front, workers) = (site.front_end(), site.workers());
        let both = site.node(&[("VISAVIS_HTTP_COMPARE_TIMEOUT_MS", "9000")]);
        let before = enqueue(&b, &front, 1);
        expect_verdict(&b, &front, &before);
        lost.stop_at_once();
        expect_verdict(&a, &front, &enqueue(&a, &front, 2));
        let photo = crate::support::in_repository("samples/collins.jpg");
        for n in 0..5 {
            let biz_id = format!("while-down-{n}");
            let reported = call(&a, &both, &["compare", &photo, &photo, "--biz-id", &biz_id]);
            assert_eq!(reported["samePerson"], true, "its threads are not taken away: {reported}");
        }
        // Verified by the caller: signed with the keys that are remembered.
        let reported = call(&b, &front, &["asynccheckresult", &before, "--timeout", "30"]);
        assert_eq!(reported["result"]["resultCode"], "SYSTEM_ERROR", "{reported}");
        assert_eq!(reported["result"]["resultStatus"], "U", "worth another try");

        let without = site.node(&[("VISAVIS_DATABASE_SHARDS", "0")]);
        let url = without.url();
        let reported = visavis(&["call", "test", "--json", "--client", &b, "--url", &url]);
        assert!(
            reported.out.contains("SYSTEM_ERROR") || reported.err.contains("SYSTEM_ERROR"),
            "{reported:?}"
        );
        assert!(!reported.out.contains("MERCHANT_NOT_FOUND"), "nobody knows that it is not there");
        assert_eq!((both.terminate(), without.terminate()), (Some(0), Some(0)));
        lost.start_again();
        expect_verdict(&b, &front, &before);
        expect_verdict(&b, &front, &enqueue(&b, &front, 3));
        assert_eq!((front.terminate(), workers.terminate()), (Some(0), Some(0)));
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn databases_in_another_order_are_refused_before_a_job_gets_lost() {
    let mut site = Site::on(two_clusters().await);
    tokio::task::block_in_place(|| {
        assert_eq!(site.run(&["migrate"]).code, 0);
        site.urls.reverse();
        let refused = site.run(&["migrate"]);
        assert_eq!(refused.code, 2);
        assert!(refused.err.contains("original order of database.urls"), "{}", refused.err);
        let checked = site.run(&["check"]);
        assert!(
            checked.out.contains("original order of database.urls"),
            "{}{}",
            checked.out,
            checked.err
        );
        site.urls.truncate(1);
        assert_eq!(site.run(&["migrate"]).code, 2, "the second alone is not the first");
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_is_taken_once_in_all_databases_and_a_missing_database_is_told() {
    let site = Site::on(two_clusters().await);
    tokio::task::block_in_place(|| {
        site.add_client("a", &["--shard", "1"]);
        for (arguments, reason) in [
            (["a", "0"], "named `a` already exists"),
            (["b", "2"], "database number 2 does not exist"),
        ] {
            let ran = site.run(&["client", "add", arguments[0], "--shard", arguments[1]]);
            assert_eq!(ran.code, 2);
            assert!(ran.err.contains(reason), "{}", ran.err);
        }
        assert_eq!(site.run(&["client", "disable", "a"]).code, 0, "found wherever it lives");
        let listed = site.run(&["client", "list"]);
        assert!(
            listed.out.contains("DATABASE\n")
                && listed.out.lines().any(|line| line.contains("disabled") && line.ends_with('1')),
            "{}",
            listed.out
        );
    });
}
