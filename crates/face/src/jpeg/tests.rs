use super::{
    encoder::{Sketch, colour},
    *,
};

type Factors = &'static [(u8, u8)];

/// From full colour to a pixel of chroma for eight of luma, luma coarser than chroma, and mixed
/// ones.
const FACTORS: &[Factors] = &[
    &[(1, 1); 3],
    &[(2, 1), (1, 1), (1, 1)],
    &[(2, 2), (1, 1), (1, 1)],
    &[(1, 2), (1, 1), (1, 1)],
    &[(4, 1), (1, 1), (1, 1)],
    &[(1, 4), (1, 1), (1, 1)],
    &[(4, 2), (1, 1), (1, 1)],
    &[(3, 1), (1, 1), (1, 1)],
    &[(2, 2), (2, 1), (2, 1)],
    &[(2, 2), (1, 2), (1, 2)],
    &[(2, 2); 3],
    &[(1, 1), (2, 2), (2, 2)],
    &[(1, 1), (2, 1), (2, 1)],
    &[(1, 1), (1, 2), (1, 2)],
    &[(2, 1), (1, 2), (1, 1)],
    &[(1, 1)],
    &[(2, 2)],
];

/// The farthest that a channel of a pixel is from what was drawn, of 255; each pixel is the mean of
/// its block.
fn farthest(picture: &RgbImage, size: (u32, u32), reduction: u32, is_grey: bool) -> f64 {
    let expected = [size.0, size.1].map(|side| side.div_ceil(reduction));
    assert_eq!([picture.width(), picture.height()], expected);
    let apart = picture.enumerate_pixels().map(|(x, y, pixel)| {
        let at = |position: u32, side: u32| {
            ((f64::from(position) + 0.5) * f64::from(reduction) / f64::from(side)).min(1.0)
        };
        let [r, g, b] = colour(at(x, size.0), at(y, size.1));
        let luma = 0.299 * r + 0.587 * g + 0.114 * b;
        let drawn = if is_grey { [luma; 3] } else { [r, g, b] };
        let apart = (0..3).map(|channel| (f64::from(pixel[channel]) - drawn[channel]).abs());
        apart.fold(0.0, f64::max)
    });
    apart.fold(0.0, f64::max)
}

/// The same picture in every order of scans, baseline and progressive.
fn scripts(sketch: &Sketch) -> Vec<(&'static str, Sketch)> {
    let blocks: u8 = sketch.factors.iter().map(|(across, down)| across * down).sum();
    let mut all = Vec::new();
    // More blocks do not go into a unit of several components.
    if sketch.factors.len() == 1 {
        return vec![("one", sketch.clone()), ("progressive", sketch.clone().progressive(&[&[0]]))];
    }
    if blocks <= 10 {
        all.push(("all in one", sketch.clone()));
        all.push(("progressive, all in one", sketch.clone().progressive(&[&[0, 1, 2]])));
    }
    let orders: [(&str, &str, &[&[usize]]); 4] = [
        ("luma first", "progressive, luma first", &[&[0], &[1], &[2]]),
        ("chroma first", "progressive, chroma first", &[&[1], &[2], &[0]]),
        ("chroma together", "progressive, chroma together", &[&[0], &[1, 2]]),
        ("luma with one", "progressive, luma with one", &[&[2], &[0, 1]]),
    ];
    for (name, progressive, order) in orders {
        all.push((name, sketch.clone().with_scans(order)));
        all.push((progressive, sketch.clone().progressive(order)));
    }
    all
}

#[test]
fn every_layout_of_a_jpeg_has_its_pixels_or_is_refused_by_name() {
    let (mut wrong, mut read, mut refused) = (Vec::new(), 0, 0);
    for factors in FACTORS {
        for (size, interval) in [((97, 61), 0), ((64, 48), 3), ((33, 95), 1)] {
            let sketch = Sketch { interval, ..Sketch::new(size, factors) };
            for (name, sketch) in scripts(&sketch) {
                let file = sketch.write();
                let case = format!("{factors:?} {size:?} {interval} {name}");
                assert!(
                    matches!(check(&file), Ok(Cow::Borrowed(whole)) if whole == file),
                    "{case}"
                );
                let header = Header::read(&file).unwrap();
                for reduction in [1, 2, 4, 8] {
                    let picture = if reduction == 1 {
                        header.decode_whole(&file)
                    } else if header.is_reducible() {
                        header.decode(&file, reduction).map(Option::unwrap)
                    } else {
                        continue;
                    };
                    match picture {
                        Ok(picture) => {
                            let apart = farthest(&picture, size, reduction, factors.len() == 1);
                            // Neighbours are this far from each other, at most.
                            let step = 200.0 / f64::from(size.0.min(size.1));
                            if apart > 4.0 + 1.5 * step * f64::from(reduction) {
                                wrong.push(format!("{case} at 1/{reduction}: {apart:.0}"));
                            }
                            read += 1;
                        }
                        Err(Refusal::Undecodable { flaw: Flaw::JpegSampling }) => refused += 1,
                        Err(refusal) => wrong.push(format!("{case} at 1/{reduction}: {refusal:?}")),
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {read}: {wrong:#?}", wrong.len());
    // The other decoder knows fewer of them, and only at full size.
    let expected = if cfg!(feature = "turbojpeg") { (1_824, 0) } else { (246, 210) };
    assert_eq!((read, refused), expected);
}

/// One of each kind of coding.
fn kinds() -> Vec<(&'static str, Sketch)> {
    let sketch = Sketch::new((49, 40), &[(2, 2), (1, 1), (1, 1)]);
    let restarted = Sketch { interval: 2, ..sketch.clone() };
    let alone: &[&[usize]] = &[&[0], &[1], &[2]];
    vec![
        ("baseline", sketch.clone()),
        ("restarted", restarted.clone()),
        ("in scans", sketch.clone().with_scans(alone)),
        ("in restarted scans", restarted.clone().with_scans(alone)),
        ("progressive", sketch.clone().progressive(&[&[0, 1, 2]])),
        ("progressive, restarted", restarted.progressive(&[&[0, 1, 2]])),
        ("grey", Sketch::new((49, 40), &[(1, 1)])),
    ]
}

fn decoded(file: &[u8]) -> Result<RgbImage, Refusal> {
    Header::read(file)?.decode_whole(file)
}

const INCOMPLETE: Refusal = Refusal::Undecodable { flaw: Flaw::EndsEarly(Format::Jpeg) };
const END: [u8; 2] = [0xFF, 0xD9];

#[test]
fn a_jpeg_that_was_cut_short_is_incomplete_wherever_it_ends_and_whole_without_its_end_marker() {
    for (name, sketch) in kinds() {
        let file = sketch.write();
        let whole = match decoded(&file) {
            Err(Refusal::Undecodable { flaw: Flaw::JpegSampling }) => continue,
            whole => whole.unwrap(),
        };
        let scan = file.windows(2).position(|two| two == [0xFF, 0xDA]).unwrap();
        for end in 2..file.len() {
            let cut = &file[..end];
            if end >= file.len() - END.len() {
                assert!(decoded(cut).is_ok_and(|picture| picture == whole), "{name} {end}");
                continue;
            }
            assert_eq!(decoded(cut).map(|_| "an image"), Err(INCOMPLETE), "{name} {end}");
            if end > scan {
                assert!(
                    decoded(&[cut, &END].concat()).is_err(),
                    "{name} {end}, with an end marker"
                );
                let zeros = vec![0; 2 * file.len()];
                assert!(decoded(&[cut, &zeros].concat()).is_err(), "{name} {end}, with zeros");
                assert!(decoded(&[cut, &zeros, &END].concat()).is_err(), "{name} {end}, with both");
            }
        }
    }
}
