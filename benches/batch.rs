//! The large nets in batches, on the device that `VISAVIS_RUNTIME_DEVICE` names; without one, as
//! for a GPU on one core. On a machine with a GPU: `make runtime-gpu`, then
//! `VISAVIS_RUNTIME_DEVICE=cuda:0 cargo bench --bench batch`.
#![expect(clippy::unwrap_used, reason = "a bench may stop at the first surprise")]

mod support;

use std::{
    path::Path,
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use visavis_face::{
    BatchOptions, Device, Runtime,
    manifest::Input,
    session::{NetSession, Placement},
};

/// Longer than any run takes: a batch begins when all active threads wait.
const FOR_EVER: Duration = Duration::from_mins(1);
const MOST: usize = 64;

/// How long it takes to run so many batches of `rows` tensors, every tensor brought by a thread of
/// its own.
fn batches(
    runtime: &Runtime,
    (path, bytes): (&Path, &[u8]),
    input: &Input,
    rows: usize,
    iterations: u64,
) -> Duration {
    let together = Barrier::new(rows + 1);
    let bring = |n: usize| {
        let mut net = NetSession::from_bytes(runtime, bytes, path, Placement::Device).unwrap();
        let output = net.output_names().remove(0);
        let size = (input.width, input.height);
        let length = 3 * size.0 * size.1;
        let tensor: Vec<_> = (0..length).map(|i| ((i * 7 + n) % 251) as f32).collect();
        let active = runtime.mark_active();
        together.wait();
        let ran: Result<Vec<_>, _> =
            (0..iterations).map(|_| net.run(&tensor, size, [output.as_str()])).collect();
        drop(active);
        // A failure is reported when no thread waits at the barrier.
        together.wait();
        ran.unwrap();
    };
    thread::scope(|scope| {
        for n in 0..rows {
            let bring = &bring;
            scope.spawn(move || bring(n));
        }
        together.wait();
        let begun = Instant::now();
        together.wait();
        begun.elapsed()
    })
}

fn nets(c: &mut Criterion) {
    let device = std::env::var("VISAVIS_RUNTIME_DEVICE");
    let device: Device = device.map_or(Device::CpuBatched, |device| device.parse().unwrap());
    let options = BatchOptions { wait: FOR_EVER, most: MOST, memory: 0 };
    assert!(device.is_shared(), "{device} makes no batches");
    let runtime = support::runtime().on(device, options).unwrap();
    let pack = support::pack();
    let pose = pack.pose.as_ref().unwrap();
    let nets = [
        ("pose", &pose.path, &pose.net.input),
        ("embedder", &pack.embedder.path, &pack.embedder.net.input),
    ];
    let mut group = c.benchmark_group(format!("batch on {device}"));
    group
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(500));
    for (name, path, input) in nets {
        let bytes = std::fs::read(path).unwrap();
        for rows in options.sizes() {
            group.throughput(Throughput::Elements(rows as u64));
            group.bench_function(BenchmarkId::new(name, rows), |b| {
                b.iter_custom(|iterations| {
                    batches(&runtime, (path, &bytes), input, rows, iterations)
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, nets);
criterion_main!(benches);
