//! Labelled pairs: whether two photos show one person.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::{EvaluateError, gallery::Gallery, photos::rows, read};

/// Photos and which pairs of them are to be compared.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PairList {
    /// Every photo once.
    pub paths: Vec<PathBuf>,
    /// Two photos, and whether they show one person.
    pub pairs: Vec<(usize, usize, bool)>,
}

/// Decisions on labelled pairs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct PairRates {
    /// Mated and non-mated pairs that were compared.
    pub mated: usize,
    /// See above.
    pub non_mated: usize,
    /// Pairs of which a photo showed no face.
    pub left_out: usize,
    /// Share of right decisions, mean of ten folds, each decided at the threshold that is best for the nine others.
    pub ten_fold_accuracy: f64,
    /// The same at the operator's threshold, over all pairs.
    pub accuracy: f64,
}

impl PairList {
    /// A CSV of `path,path,same` below `root`, with or without a heading; `same` is 1 or 0, true or false.
    ///
    /// # Errors
    /// [`EvaluateError`] naming file and line.
    pub fn read(file: &Path, root: &Path) -> Result<Self, EvaluateError> {
        let text = read(file)?;
        let mut list = Self::default();
        let mut numbers = BTreeMap::new();
        for (n, (line, cells)) in rows(&text).enumerate() {
            let same = match cells.get(2).map(|cell| cell.to_lowercase()).as_deref() {
                Some("1" | "true") => true,
                Some("0" | "false") => false,
                // A heading.
                _ if n == 0 => continue,
                _ => {
                    let what = "`photo,photo,same` is expected, `same` being 1 or 0".to_owned();
                    return Err(EvaluateError::Line {
                        path: file.display().to_string(),
                        line,
                        what,
                    });
                }
            };
            let mut number = |name: &str| {
                *numbers.entry(name.to_owned()).or_insert_with(|| {
                    list.paths.push(root.join(name));
                    list.paths.len() - 1
                })
            };
            let pair = (number(cells[0]), number(cells[1]), same);
            list.pairs.push(pair);
        }
        let has = |wanted| list.pairs.iter().any(|(_, _, same)| *same == wanted);
        if !(has(true) && has(false)) {
            let what = format!("{} has no pairs of both kinds", file.display());
            return Err(EvaluateError::TooFew(what));
        }
        Ok(list)
    }

    /// Decides every pair whose photos both showed a face.
    pub fn rates(&self, gallery: &Gallery, threshold: f32) -> PairRates {
        let mut row_of = BTreeMap::new();
        for (row, photo) in gallery.photos.iter().enumerate() {
            row_of.insert(*photo, row);
        }
        let compared: Vec<(f32, bool)> = self
            .pairs
            .iter()
            .filter_map(|(one, other, same)| {
                let (one, other) = (row_of.get(one)?, row_of.get(other)?);
                Some((gallery.embeddings.row(*one).dot(&gallery.embeddings.row(*other)), *same))
            })
            .collect();
        let mated = compared.iter().filter(|(_, same)| *same).count();
        PairRates {
            mated,
            non_mated: compared.len() - mated,
            left_out: self.pairs.len() - compared.len(),
            ten_fold_accuracy: ten_fold(&compared),
            accuracy: accuracy(&compared, threshold),
        }
    }
}

fn accuracy(pairs: &[(f32, bool)], threshold: f32) -> f64 {
    let right = pairs.iter().filter(|(s, same)| (*s >= threshold) == *same).count();
    right as f64 / pairs.len().max(1) as f64
}

/// The threshold with the most right decisions.
fn best_threshold(pairs: &[(f32, bool)]) -> f32 {
    let mut sorted = pairs.to_vec();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    // From a threshold below all of them: every mated pair is right.
    let mut right = sorted.iter().filter(|(_, same)| *same).count();
    let (mut most, mut best) = (right, -1.0);
    for (similarity, same) in sorted {
        if same {
            right -= 1;
        } else {
            right += 1;
        }
        if right > most {
            (most, best) = (right, similarity.next_up());
        }
    }
    best
}

/// Mean accuracy over ten folds in the order of the file, as the LFW protocol has it.
fn ten_fold(pairs: &[(f32, bool)]) -> f64 {
    const FOLDS: usize = 10;
    let bounds: Vec<_> = (0..=FOLDS).map(|n| n * pairs.len() / FOLDS).collect();
    let folds = bounds.windows(2).filter(|bounds| bounds[0] < bounds[1]);
    let accuracies: Vec<f64> = folds
        .map(|bounds| {
            let rest = [&pairs[..bounds[0]], &pairs[bounds[1]..]].concat();
            accuracy(&pairs[bounds[0]..bounds[1]], best_threshold(&rest))
        })
        .collect();
    accuracies.iter().sum::<f64>() / accuracies.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_with_or_without_a_heading_and_each_photo_is_taken_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pairs.csv");
        for heading in ["", "a,b,same\n"] {
            std::fs::write(&file, format!("{heading}x.jpg,y.jpg,1\n# remark\ny.jpg,z.jpg,false\n"))
                .unwrap();
            let list = PairList::read(&file, Path::new("/photos")).unwrap();
            assert_eq!(
                list.paths,
                ["/photos/x.jpg", "/photos/y.jpg", "/photos/z.jpg"].map(PathBuf::from)
            );
            assert_eq!(list.pairs, [(0, 1, true), (1, 2, false)]);
        }
        for (text, told) in [("x,y,1\nx,z\n", "line 2"), ("x,y,1\n", "both kinds")] {
            std::fs::write(&file, text).unwrap();
            let error = PairList::read(&file, Path::new("/")).unwrap_err();
            assert!(error.to_string().contains(told), "{error}");
        }
    }

    #[test]
    fn each_fold_is_decided_at_the_threshold_of_the_others() {
        let separable: Vec<_> =
            (0..100).map(|n| (if n % 2 == 0 { 0.8 } else { 0.1 }, n % 2 == 0)).collect();
        assert!((ten_fold(&separable) - 1.0).abs() < 1e-9);
        let threshold = best_threshold(&separable);
        assert!(threshold > 0.1 && threshold <= 0.8);
        let random: Vec<_> =
            (0..1_000_u32).map(|n| ((n * 37 % 1_000) as f32, n % 2 == 0)).collect();
        assert!((ten_fold(&random) - 0.5).abs() < 0.1);
        assert!((accuracy(&separable, 0.9) - 0.5).abs() < 1e-9);
    }
}
