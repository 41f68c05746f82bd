//! One job through the embedded store: enqueue, claim, read the pictures, complete.
#![expect(clippy::unwrap_used, reason = "a bench may stop at the first surprise")]

use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use visavis::{
    clock::Clock,
    compare::{
        BizId, DecodeLimits, Outcome, PictureData, Refusal, Request, RequestOptions, Side,
        TransactionId,
    },
    db::SqliteDb,
    queue::{NewJob, Store},
    sealing::MasterKey,
};

fn request(bytes: usize) -> Request {
    let picture = || {
        let mut data = vec![0xA5; bytes];
        data[..4].copy_from_slice(b"\xFF\xD8\xFF\xE0");
        PictureData::new(data, &DecodeLimits::default()).unwrap()
    };
    Request {
        biz_id: BizId::new("bench").unwrap(),
        probe: picture(),
        reference: picture(),
        options: RequestOptions::default(),
    }
}

async fn one_job(store: &Store, request: &Request) {
    let now = Clock::System.now_utc();
    let job = NewJob {
        transaction_id: TransactionId::new(now, 0),
        client_id: "bench",
        dedupe: None,
        request,
    };
    store.enqueue(&job).await.unwrap();
    let lease = store.claim(1, "bench", Duration::from_secs(30)).await.unwrap().remove(0);
    store.payload(&lease).await.unwrap().unwrap();
    let outcome = Outcome::Refused { side: Side::Probe, refusal: Refusal::NoFace };
    store.complete(lease.job.id, lease.token, &outcome).await.unwrap();
}

fn queue(c: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let db = runtime.block_on(SqliteDb::open(&folder.path().join("bench.db"))).unwrap();
    let store = Store::new(db, MasterKey::random().unwrap(), Clock::System);
    let mut group = c.benchmark_group("queue, SQLite, synchronous full");
    group.sample_size(30).throughput(Throughput::Elements(1));
    for kilobytes in [1, 200] {
        let request = request(kilobytes * 1_000);
        group.bench_function(format!("enqueue, claim, complete 2 x {kilobytes} kB"), |b| {
            b.iter(|| runtime.block_on(one_job(&store, &request)));
        });
    }
    group.finish();
}

criterion_group!(benches, queue);
criterion_main!(benches);
