//! Pictures rest sealed: for one key, one transaction and one side.

use visavis::{
    queue::{Lease, QueueError},
    sealing::SealError,
};

use super::bench::{Bench, pictures, request};

on_every_store! {
    pictures_open_with_the_key_they_were_sealed_with,
    pictures_do_not_open_with_another_key,
    a_picture_does_not_open_in_another_transaction,
    a_picture_does_not_open_on_the_other_side,
    a_damaged_picture_does_not_open,
    no_picture_is_readable_at_rest,
    equal_pictures_do_not_look_equal_at_rest,
    a_job_that_has_ended_has_no_pictures_to_open,
}

async fn opens(bench: &Bench, lease: &Lease) -> bool {
    match bench.read(lease).await {
        Ok(Some(opened)) => opened == request(1),
        Err(QueueError::Seal(SealError::DoesNotOpen)) => false,
        other => panic!("{other:?}"),
    }
}

async fn pictures_open_with_the_key_they_were_sealed_with(bench: &mut Bench) {
    let (_, lease) = bench.running().await;
    assert!(opens(bench, &lease).await);
    let kept = bench.store.payload(&lease).await.unwrap();
    assert_eq!(kept, Some(request(1)));
}

async fn pictures_do_not_open_with_another_key(bench: &mut Bench) {
    let (_, lease) = bench.running().await;
    let opened = bench.outsider().await.payload(&lease).await;
    assert!(matches!(opened, Err(QueueError::Seal(SealError::DoesNotOpen))));
    assert!(opens(bench, &lease).await);
}

async fn a_picture_does_not_open_in_another_transaction(bench: &mut Bench) {
    bench.enqueue_many(2).await;
    let leases = bench.claim(2).await;
    let moved = "UPDATE job_payload SET probe = (SELECT probe FROM job_payload ORDER BY job_id \
                 DESC LIMIT 1)";
    bench.database.tamper(moved).await;
    assert!(!opens(bench, &leases[0]).await);
    assert!(opens(bench, &leases[1]).await);
}

async fn a_picture_does_not_open_on_the_other_side(bench: &mut Bench) {
    let (_, lease) = bench.running().await;
    let exchanged = "UPDATE job_payload SET probe = reference, reference = probe";
    bench.database.tamper(exchanged).await;
    assert!(!opens(bench, &lease).await);
    bench.database.tamper(exchanged).await;
    assert!(opens(bench, &lease).await);
}

async fn a_damaged_picture_does_not_open(bench: &mut Bench) {
    let (_, lease) = bench.running().await;
    bench
        .database
        .tamper("UPDATE job_payload SET reference = substr(reference, 1, length(reference) - 1)")
        .await;
    assert!(!opens(bench, &lease).await);
}

async fn no_picture_is_readable_at_rest(bench: &mut Bench) {
    let marked = b"a picture that must not be found on the disk".as_slice();
    let found = |at_rest: Vec<u8>| memchr::memmem::find(&at_rest, marked).is_some();
    bench.enqueue_this(&pictures(marked.to_vec(), marked.repeat(1_000))).await;
    let lease = bench.claim_one().await;
    assert!(!found(bench.database.at_rest().await));
    bench.complete(&lease).await.unwrap();
    assert!(!found(bench.database.at_rest().await));
    bench.restart().await;
    assert!(!found(bench.database.at_rest().await));
}

async fn equal_pictures_do_not_look_equal_at_rest(bench: &mut Bench) {
    let same = pictures(vec![7; 100], vec![7; 100]);
    bench.enqueue_this(&same).await;
    bench.enqueue_this(&same).await;
    let different = "SELECT count(*) FROM (SELECT probe FROM job_payload UNION SELECT reference \
                     FROM job_payload) AS p";
    assert_eq!(bench.database.number(different).await, 4);
}

async fn a_job_that_has_ended_has_no_pictures_to_open(bench: &mut Bench) {
    let (_, lease) = bench.running().await;
    bench.complete(&lease).await.unwrap();
    assert!(bench.read(&lease).await.unwrap().is_none());
    let (_, lease) = bench.running().await;
    bench.bury(&lease).await.unwrap();
    assert!(bench.read(&lease).await.unwrap().is_none());
}
