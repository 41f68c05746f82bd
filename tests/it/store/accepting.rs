//! What `enqueue` promises: once it returned, the job is stored, whole and for good.

use visavis::{
    compare::{BizId, BoundingBox, Fmr, PictureData, PictureKind, RequestOptions, SeveralFaces},
    queue::{Accepted, Lease},
};

use super::bench::{Bench, CLIENT, NOW, ids, new_job, pictures, request};

on_every_store! {
    an_acknowledged_job_can_be_claimed,
    an_acknowledged_job_survives_a_restart,
    an_acknowledged_job_survives_a_crash,
    an_acknowledged_job_is_seen_by_another_process,
    what_was_accepted_by_several_processes_at_once_is_all_there,
    a_job_comes_with_the_pictures_it_was_stored_with,
    a_job_says_when_it_was_accepted,
    a_transaction_id_is_taken_only_once,
    two_pictures_of_five_megabytes_come_back_byte_for_byte,
    every_byte_value_comes_back,
    a_picture_of_one_byte_comes_back,
    a_biz_id_in_any_script_comes_back,
    the_longest_biz_id_comes_back,
    one_biz_id_may_stand_for_many_transactions,
    a_client_id_may_be_any_text,
    the_options_come_back,
    options_left_out_come_back_left_out,
}

async fn opened(bench: &Bench, lease: &Lease) -> visavis::compare::Request {
    bench.read(lease).await.unwrap().unwrap()
}

async fn an_acknowledged_job_can_be_claimed(bench: &mut Bench) {
    let id = bench.enqueue().await;
    assert_eq!(ids(&bench.claim(10).await), [id]);
}

async fn an_acknowledged_job_survives_a_restart(bench: &mut Bench) {
    let accepted = bench.enqueue_many(3).await;
    bench.restart().await;
    assert_eq!(ids(&bench.claim(10).await), accepted);
}

async fn an_acknowledged_job_survives_a_crash(bench: &mut Bench) {
    let id = bench.enqueue_this(&request(7)).await;
    bench.crash().await;
    let lease = bench.claim_one().await;
    assert_eq!(lease.job.transaction_id, id);
    assert_eq!(opened(bench, &lease).await, request(7));
}

async fn an_acknowledged_job_is_seen_by_another_process(bench: &mut Bench) {
    let neighbour = bench.neighbour().await;
    let id = bench.enqueue().await;
    assert!(neighbour.transaction(CLIENT, &id).await.unwrap().is_some());
    assert_eq!(neighbour.depth().await.unwrap().jobs, 1);
}

async fn what_was_accepted_by_several_processes_at_once_is_all_there(bench: &mut Bench) {
    let mut accepting = tokio::task::JoinSet::new();
    for n in 0..4 {
        let (store, time) = (bench.neighbour().await, bench.time.clone());
        accepting.spawn(async move {
            let request = request(n);
            for _ in 0..20 {
                let id = visavis::compare::TransactionId::new(time.now_utc(), u32::from(n));
                let stored = store.enqueue(&new_job(&id, &request, None)).await.unwrap();
                assert_eq!(stored, Accepted::New(id));
            }
        });
    }
    accepting.join_all().await;
    assert_eq!(bench.store.depth().await.unwrap().jobs, 80);
    assert_eq!(bench.payload_rows().await, 80);
}

async fn a_job_comes_with_the_pictures_it_was_stored_with(bench: &mut Bench) {
    let mut stored = Vec::new();
    for n in 1..=5 {
        stored.push((bench.enqueue_this(&request(n)).await, request(n)));
    }
    for (lease, (id, request)) in bench.claim(5).await.iter().zip(stored) {
        assert_eq!(lease.job.transaction_id, id);
        assert_eq!(opened(bench, lease).await, request);
    }
}

async fn a_job_says_when_it_was_accepted(bench: &mut Bench) {
    bench.enqueue().await;
    bench.clock.advance(1_234);
    bench.enqueue().await;
    bench.restart().await;
    let accepted: Vec<_> = bench.claim(2).await.iter().map(|l| l.job.created_at).collect();
    assert_eq!(accepted, [NOW, NOW + 1_234]);
}

async fn a_transaction_id_is_taken_only_once(bench: &mut Bench) {
    let id = bench.enqueue_this(&request(1)).await;
    let again = request(2);
    assert!(bench.store.enqueue(&new_job(&id, &again, None)).await.is_err());
    assert_eq!(opened(bench, &bench.claim_one().await).await, request(1));
}

async fn two_pictures_of_five_megabytes_come_back_byte_for_byte(bench: &mut Bench) {
    let noise = |seed: u32| -> Vec<u8> {
        let next = |x: &u32| Some(x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
        std::iter::successors(Some(seed), next).take(5 << 20).map(|x| x.to_be_bytes()[0]).collect()
    };
    let big = pictures(noise(1), noise(2));
    bench.enqueue_this(&big).await;
    let opened = opened(bench, &bench.claim_one().await).await;
    assert!(opened == big, "the pictures came back changed");
    assert_eq!(bench.store.depth().await.unwrap().bytes, 10 << 20);
}

async fn every_byte_value_comes_back(bench: &mut Bench) {
    let odd = pictures((0..=255).collect(), (0..=255).rev().collect());
    bench.enqueue_this(&odd).await;
    assert_eq!(opened(bench, &bench.claim_one().await).await, odd);
}

async fn a_picture_of_one_byte_comes_back(bench: &mut Bench) {
    let tiny = pictures(vec![0], vec![1]);
    bench.enqueue_this(&tiny).await;
    assert_eq!(opened(bench, &bench.claim_one().await).await, tiny);
}

async fn a_biz_id_in_any_script_comes_back(bench: &mut Bench) {
    for text in
        ["身份核验-0001", "مقارنة", "e\u{301}🙂", "'; DROP TABLE job; --", " \t\n", "%_\\\""]
    {
        let mut request = request(1);
        request.biz_id = BizId::new(text).unwrap();
        bench.enqueue_this(&request).await;
        let lease = bench.claim_one().await;
        assert_eq!(opened(bench, &lease).await.biz_id.as_str(), text);
        bench.complete(&lease).await.unwrap();
    }
}

async fn the_longest_biz_id_comes_back(bench: &mut Bench) {
    let mut request = request(1);
    request.biz_id = BizId::new(&"é".repeat(BizId::MAX_BYTES / 2)).unwrap();
    bench.enqueue_this(&request).await;
    assert_eq!(opened(bench, &bench.claim_one().await).await, request);
}

async fn one_biz_id_may_stand_for_many_transactions(bench: &mut Bench) {
    let accepted = bench.enqueue_many(3).await;
    assert_eq!(ids(&bench.claim(3).await), accepted);
}

async fn a_client_id_may_be_any_text(bench: &mut Bench) {
    let request = request(1);
    for client_id in ["", "0", "客户", "a' OR '1'='1", "2188000000000001 "] {
        let id = bench.new_id();
        let new = visavis::queue::NewJob { client_id, ..new_job(&id, &request, None) };
        bench.store.enqueue(&new).await.unwrap();
        assert!(bench.store.transaction(client_id, &id).await.unwrap().is_some(), "{client_id}");
        assert!(bench.store.transaction(CLIENT, &id).await.unwrap().is_none(), "{client_id}");
    }
}

async fn the_options_come_back(bench: &mut Bench) {
    let mut request = request(1);
    request.options = RequestOptions {
        trace: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse().unwrap()),
        probe_hint: Some(BoundingBox::new(0.1, -3.5, 1e-7, 12_345.678)),
        reference_hint: Some(BoundingBox::new(1.0, 2.0, 3.0, 4.0)),
        reference_kind: PictureKind::Document,
        fmr: Some(Fmr::new(3.162_3e-5).unwrap()),
        several_faces: SeveralFaces::Refuse,
    };
    bench.enqueue_this(&request).await;
    bench.restart().await;
    let lease = bench.claim_one().await;
    assert_eq!(lease.job.options, request.options);
    assert_eq!(opened(bench, &lease).await, request);
}

async fn options_left_out_come_back_left_out(bench: &mut Bench) {
    let mut request = request(1);
    request.probe = PictureData::stored(vec![1].into());
    request.options.reference_hint = Some(BoundingBox::default());
    bench.enqueue_this(&request).await;
    let options = bench.claim_one().await.job.options;
    assert_eq!(options.probe_hint, None);
    assert_eq!(options.reference_hint, Some(BoundingBox::default()));
    assert_eq!(options.reference_kind, PictureKind::Selfie);
    assert_eq!(options.fmr, None);
    assert_eq!(options.several_faces, SeveralFaces::Largest);
}
