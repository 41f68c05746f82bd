//! The stages of the face pipeline, one photo each time.
#![expect(clippy::unwrap_used, reason = "a bench may stop at the first surprise")]

mod support;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use visavis_face::{
    DecodeLimits, Engine as _, Picture, PictureKind,
    align::align,
    attributes::{EyeClassifier, PoseEstimator},
    decode::decode_reduced,
    detect::Detector,
    embed::Embedder,
    landmarks::LandmarkRefiner,
};

fn stages(c: &mut Criterion) {
    let (runtime, pack) = (support::runtime(), support::pack());
    let bytes = support::sample("obama-2012.jpg");
    let limits = DecodeLimits::default();
    let image = decode_reduced(&bytes, &limits, 640).unwrap().image;
    let mut detector = Detector::open(&runtime, &pack.detector).unwrap();
    let side = detector.long_sides(image.dimensions())[0];
    let face = detector.detect_at(&image, side).unwrap()[0];
    let mut refiner = LandmarkRefiner::open(&runtime, pack.landmarks.as_ref().unwrap()).unwrap();
    let landmarks = refiner.refine(&image, &face).unwrap().unwrap();
    let mut pose = PoseEstimator::open(&runtime, pack.pose.as_ref().unwrap()).unwrap();
    let mut eyes = EyeClassifier::open(&runtime, pack.eyes.as_ref().unwrap()).unwrap();
    let mut embedder = Embedder::open(&runtime, &pack.embedder).unwrap();
    let net = pack.embedder.net.clone();
    let aligned = align(&image, &landmarks, &net).unwrap();

    let mut group = c.benchmark_group("face");
    group.sample_size(30).throughput(Throughput::Elements(1));
    group.bench_function("decode", |b| b.iter(|| decode_reduced(&bytes, &limits, 640).unwrap()));
    group.bench_function("detect", |b| b.iter(|| detector.detect_at(&image, side).unwrap()));
    group.bench_function("landmarks", |b| {
        b.iter(|| refiner.refine(&image, &face).unwrap().unwrap());
    });
    group.bench_function("pose", |b| b.iter(|| pose.estimate(&image, &face.area).unwrap()));
    group.bench_function("eyes", |b| b.iter(|| eyes.open_probability(&image, &landmarks).unwrap()));
    group.bench_function("align", |b| b.iter(|| align(&image, &landmarks, &net).unwrap()));
    group.bench_function("embed", |b| b.iter(|| embedder.embed(&aligned).unwrap()));
    group.finish();
}

fn whole(c: &mut Criterion) {
    let mut engine = support::engine();
    let (one, other) = (support::sample("obama-2012.jpg"), support::sample("obama-2009.jpg"));
    let picture = |bytes| Picture { bytes, hint: None, kind: PictureKind::Selfie };
    let mut group = c.benchmark_group("compare");
    group.sample_size(20).throughput(Throughput::Elements(1));
    group.bench_function("pair", |b| {
        b.iter(|| engine.compare(&picture(&one), &picture(&other)).unwrap());
    });
    group.finish();
}

criterion_group!(benches, stages, whole);
criterion_main!(benches);
