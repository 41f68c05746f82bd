//! Batches on one thread for all engines, on the CPU: the responses do not show that others
//! were there.

use std::{io::Cursor, sync::Barrier, thread, time::Duration};

use image::{ImageFormat, RgbImage, imageops};
use visavis_face::{
    BatchOptions, Comparison, Device, Engine as _, FaceError, FaceReport, Picture, PictureKind,
    Pipeline, PipelineOptions, Refusal, Runtime, Side,
    session::{NetSession, Placement},
};

use crate::support::models::{engine, pack, runtime, sample_photo};

const THREADS: usize = 8;

/// A runtime with batches of up to eight that wait long enough to be joined.
fn batching() -> Runtime {
    let options = BatchOptions { wait: Duration::from_millis(20), most: 8, memory: 0 };
    runtime().on(Device::CpuBatched, options).unwrap()
}

fn sharing(runtime: &Runtime) -> Pipeline {
    Pipeline::open(runtime, &pack(), PipelineOptions::default()).unwrap()
}

/// The sample photos at sizes that the detector sees at different ones, and one on its side.
fn photos() -> Vec<Vec<u8>> {
    let names = ["obama-2009", "obama-2012", "collins", "hopper"];
    let upright = names.map(sample_photo);
    let file = |image: &RgbImage| {
        let mut bytes = Vec::new();
        image.write_to(&mut Cursor::new(&mut bytes), ImageFormat::Bmp).unwrap();
        bytes
    };
    let mut photos = vec![file(&imageops::rotate90(&upright[3]))];
    for (n, image) in upright.iter().enumerate() {
        photos.push(file(image));
        let (width, height) = [(200, 260), (333, 400), (640, 800), (150, 150)][n];
        photos.push(file(&imageops::resize(image, width, height, imageops::FilterType::Triangle)));
    }
    photos
}

fn picture(bytes: &[u8]) -> Picture<'_> {
    Picture { bytes, hint: None, kind: PictureKind::Selfie }
}

/// Similarity and both reports.
fn compare(engine: &mut Pipeline, one: &[u8], other: &[u8]) -> (f32, [FaceReport; 2]) {
    match engine.compare(&picture(one), &picture(other)).unwrap() {
        Comparison::Compared { similarity, probe, reference, .. } => {
            (similarity.value(), [*probe, *reference])
        }
        Comparison::Refused { side, refusal } => panic!("{side:?}: {refusal:?}"),
    }
}

#[test]
fn in_batches_with_others_a_pair_has_the_similarity_that_it_has_alone() {
    let photos = photos();
    let pairs: Vec<_> = (0..photos.len()).map(|n| (n, (n * 4 + 3) % photos.len())).collect();
    let mut alone = engine();
    let expected: Vec<_> =
        pairs.iter().map(|(a, b)| compare(&mut alone, &photos[*a], &photos[*b])).collect();
    let (runtime, begin) = (batching(), Barrier::new(THREADS));
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (runtime, begin, photos, pairs, expected) =
                (&runtime, &begin, &photos, &pairs, &expected);
            scope.spawn(move || {
                let mut engine = sharing(runtime);
                engine.warm_up().unwrap();
                begin.wait();
                // Others at the same time in every thread.
                for n in 0..pairs.len() / 2 {
                    let n = (n * 2 + thread) % pairs.len();
                    let (one, other) = pairs[n];
                    let (similarity, reports) = compare(&mut engine, &photos[one], &photos[other]);
                    let (like, alone) = &expected[n];
                    assert!((similarity - like).abs() < 1e-4, "{n}: {similarity}, alone {like}");
                    for (here, there) in reports.iter().zip(alone) {
                        assert_eq!(here.faces, there.faces, "{n}");
                        assert!(here.area.iou(&there.area) > 0.999, "{n}");
                    }
                }
            });
        }
    });
    assert!(!runtime.is_gone());
}

#[test]
fn a_picture_that_cannot_be_decoded_is_refused_alone_among_those_that_can() {
    let (photos, runtime, begin) = (photos(), batching(), Barrier::new(THREADS));
    let mut alone = engine();
    let (like, _) = compare(&mut alone, &photos[1], &photos[3]);
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (runtime, begin, photos) = (&runtime, &begin, &photos);
            scope.spawn(move || {
                let mut engine = sharing(runtime);
                begin.wait();
                for round in 0..3 {
                    if thread != 3 {
                        let (similarity, _) = compare(&mut engine, &photos[1], &photos[3]);
                        assert!((similarity - like).abs() < 1e-4, "{similarity}, alone {like}");
                        continue;
                    }
                    // Cut off in the middle, and nothing like a photo at all.
                    let cut = &photos[3][..photos[3].len() / 2];
                    let bad = if round == 0 { &b"no picture"[..] } else { cut };
                    let compared = engine.compare(&picture(&photos[1]), &picture(bad)).unwrap();
                    let refused = matches!(
                        compared,
                        Comparison::Refused { side: Side::Reference, ref refusal } if *refusal != Refusal::NoFace
                    );
                    assert!(refused, "{compared:?}");
                }
            });
        }
    });
}

#[test]
fn what_is_no_number_stays_in_its_own_row() {
    let (runtime, pack, begin) = (batching(), pack(), Barrier::new(THREADS));
    let side = pack.embedder.net.input.width;
    let tensor =
        |n: usize| -> Vec<f32> { (0..3 * side * side).map(|i| ((i * n) % 251) as f32).collect() };
    let (embedder, weights) = (&pack.embedder, &pack.embedder.net.weights);
    let open = |runtime: &Runtime| {
        NetSession::open(runtime, embedder, weights, Placement::Device).unwrap()
    };
    let run = |net: &mut NetSession, tensor: &[f32]| {
        let output = net.output_names().remove(0);
        net.run(tensor, (side, side), [output.as_str()]).map(|[values]| values)
    };
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (runtime, begin) = (&runtime, &begin);
            scope.spawn(move || {
                let (mut shared, mut own) =
                    (open(runtime), open(&crate::support::models::runtime()));
                begin.wait();
                for round in 1..6 {
                    if thread == 0 {
                        let refused = run(&mut shared, &vec![f32::NAN; 3 * side * side]);
                        assert!(matches!(refused, Err(FaceError::Contract { .. })), "{refused:?}");
                        continue;
                    }
                    let tensor = tensor(10 * thread + round);
                    let (here, there) =
                        [&mut shared, &mut own].map(|net| run(net, &tensor).unwrap()).into();
                    let largest = there.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
                    let close =
                        here.iter().zip(&there).all(|(a, b)| (a - b).abs() <= 1e-4 * largest);
                    assert!(close, "{thread} {round}");
                }
            });
        }
    });
}
