//! Labelled pairs: whether two photos show one person.

use std::{collections::BTreeMap, path::Path};

use crate::{
    EvaluateError,
    csv::rows,
    gallery::Gallery,
    known_errors::KnownErrors,
    pair_type::ordered,
    read,
    scores::{Mated, NonMated, Scores},
};

/// Photos and which pairs of them are to be compared.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PairList {
    /// Every photo once, as the list names it.
    pub names: Vec<String>,
    /// Two photos, and whether they show one person.
    pub(crate) pairs: Vec<(usize, usize, bool)>,
}

/// The pairs of a list whose photos both showed a face.
#[derive(Debug, Clone)]
pub struct ListedPairs {
    /// In the order of the list: how similar, and whether they show one person.
    compared: Vec<(f32, bool)>,
    /// The same as scores.
    pub scores: Scores,
    /// Pairs of which a photo showed no face.
    pub left_out: usize,
}

impl PairList {
    /// A CSV of `path,path,same`, with or without a heading; `same` is 1 or 0, true or false.
    ///
    /// # Errors
    /// [`EvaluateError`] naming file and line.
    pub fn read(file: &Path) -> Result<Self, EvaluateError> {
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
                    let what = "expected `photo,photo,same`, where `same` is 1 or 0".to_owned();
                    return Err(EvaluateError::Line {
                        path: file.display().to_string(),
                        line,
                        what,
                    });
                }
            };
            let pair = [cells[0], cells[1]].map(|name| list.number(&mut numbers, name));
            list.pairs.push((pair[0], pair[1], same));
        }
        let has = |wanted| list.pairs.iter().any(|(_, _, same)| *same == wanted);
        if !(has(true) && has(false)) {
            let what = format!("{} has no pairs of both kinds", file.display());
            return Err(EvaluateError::TooFew(what));
        }
        Ok(list)
    }

    /// Leaves out wrong labels: pairs with a photo that shows another
    /// person, and pairs.
    ///
    /// # Errors
    /// [`EvaluateError`] when the labels name a photo that the list does not have.
    pub fn correct(&mut self, errors: &KnownErrors) -> Result<(), EvaluateError> {
        let labels = errors.numbered(|name| self.names.iter().position(|known| known == name))?;
        let is_wrong = |one: usize, other: usize| {
            labels.iter().any(|(photo, pair)| match pair {
                None => *photo == one || *photo == other,
                Some(pair) => ordered(*photo, *pair) == ordered(one, other),
            })
        };
        let mut right = Self::default();
        let mut numbers = BTreeMap::new();
        for (one, other, same) in self.pairs.iter().filter(|pair| !is_wrong(pair.0, pair.1)) {
            let pair = [one, other].map(|photo| right.number(&mut numbers, &self.names[*photo]));
            right.pairs.push((pair[0], pair[1], *same));
        }
        *self = right;
        Ok(())
    }

    /// The number of a photo, a new one if it has none yet.
    fn number(&mut self, numbers: &mut BTreeMap<String, usize>, name: &str) -> usize {
        *numbers.entry(name.to_owned()).or_insert_with(|| {
            self.names.push(name.to_owned());
            self.names.len() - 1
        })
    }

    /// Compares every pair whose photos both showed a face.
    ///
    /// # Errors
    /// [`EvaluateError::TooFew`] without such a pair of two people.
    pub fn compared(&self, gallery: &Gallery) -> Result<ListedPairs, EvaluateError> {
        let row_of: BTreeMap<_, _> =
            gallery.photos.iter().enumerate().map(|(row, photo)| (*photo, row)).collect();
        let persons = self.persons();
        let (mut compared, mut mated, mut non_mated) = (Vec::new(), Vec::new(), Vec::new());
        for (one, other, same) in &self.pairs {
            let (Some(row), Some(column)) = (row_of.get(one), row_of.get(other)) else { continue };
            let similarity = gallery.vectors.similarity(*row, *column);
            compared.push((similarity, *same));
            if *same {
                let person = persons[*one];
                mated.push(Mated { similarity, person, photos: (*row, *column) });
            } else {
                non_mated.push(NonMated { similarity, persons: (persons[*one], persons[*other]) });
            }
        }
        if non_mated.is_empty() {
            let what = "no pair of two people is left whose photos both show a face".to_owned();
            return Err(EvaluateError::TooFew(what));
        }
        let left_out = self.pairs.len() - compared.len();
        let seen: Vec<_> = gallery.photos.iter().map(|photo| persons[*photo]).collect();
        Ok(ListedPairs { compared, scores: Scores::from_list(mated, non_mated, seen), left_out })
    }

    /// The person of each photo, as far as the list shows: photos that mated pairs link are of one
    /// person, all others of different ones. For intervals; a list does not state the number of
    /// people.
    fn persons(&self) -> Vec<usize> {
        let mut persons: Vec<usize> = (0..self.names.len()).collect();
        for (one, other, _) in self.pairs.iter().filter(|(_, _, same)| *same) {
            let (kept, gone) = ordered(persons[*one], persons[*other]);
            persons.iter_mut().filter(|person| **person == gone).for_each(|person| *person = kept);
        }
        persons
    }
}

impl ListedPairs {
    /// Share of right decisions, mean of ten folds, each decided at the threshold that is best for
    /// the nine others.
    pub fn ten_fold_accuracy(&self) -> f64 {
        ten_fold(&self.compared)
    }

    /// Share of right decisions at a threshold.
    pub fn accuracy(&self, threshold: f32) -> f64 {
        accuracy(&self.compared, threshold)
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
    use ndarray::Array2;

    use super::*;
    use crate::{bootstrap::Draw, vectors::Vectors};

    #[test]
    fn a_list_is_read_with_or_without_a_heading_and_each_photo_is_taken_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pairs.csv");
        for heading in ["", "a,b,same\n"] {
            std::fs::write(&file, format!("{heading}x.jpg,y.jpg,1\n# remark\ny.jpg,z.jpg,false\n"))
                .unwrap();
            let list = PairList::read(&file).unwrap();
            assert_eq!(list.names, ["x.jpg", "y.jpg", "z.jpg"]);
            assert_eq!(list.pairs, [(0, 1, true), (1, 2, false)]);
        }
        for (text, expected) in [("x,y,1\nx,z\n", "line 2"), ("x,y,1\n", "both kinds")] {
            std::fs::write(&file, text).unwrap();
            let error = PairList::read(&file).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
    }

    #[test]
    fn known_errors_leave_out_pairs_and_all_pairs_with_a_photo() {
        let folder = tempfile::tempdir().unwrap();
        let (file, errors) = (folder.path().join("pairs.csv"), folder.path().join("errors.csv"));
        std::fs::write(&file, "x,y,1\nx,z,0\ny,z,0\nv,w,1\nv,z,0\n").unwrap();
        std::fs::write(&errors, "w\nz,x\n").unwrap();
        let mut list = PairList::read(&file).unwrap();
        list.correct(&KnownErrors::read(&errors).unwrap()).unwrap();
        assert_eq!(list.names, ["x", "y", "z", "v"], "what is in no pair is not looked at");
        assert_eq!(list.pairs, [(0, 1, true), (1, 2, false), (3, 2, false)]);
        std::fs::write(&errors, "unknown\n").unwrap();
        let error = list.correct(&KnownErrors::read(&errors).unwrap()).unwrap_err();
        assert!(error.to_string().contains("no photo unknown"), "{error}");
    }

    /// The list is worth what its pairs are worth, and draws of people count pairs of the list and
    /// no others.
    #[test]
    fn listed_pairs_are_scores_with_the_people_that_mated_pairs_link() {
        let embeddings =
            Array2::from_shape_vec((4, 2), vec![1.0, 0.0, 0.8, 0.6, 0.0, 1.0, 0.6, 0.8]).unwrap();
        let gallery = Gallery {
            vectors: Vectors::plain(embeddings),
            photos: vec![0, 1, 2, 3],
            reports: Vec::new(),
            refused: Vec::new(),
            times: Vec::new(),
            median: std::time::Duration::ZERO,
        };
        let names = ["a1", "a2", "b1", "b2", "unseen"].map(str::to_owned).to_vec();
        let pairs = vec![(0, 1, true), (3, 2, true), (0, 2, false), (1, 3, false), (0, 4, true)];
        let found = PairList { names, pairs }.compared(&gallery).unwrap();
        assert_eq!((found.scores.mated.len(), found.scores.non_mated(), found.left_out), (2, 2, 1));
        assert_eq!(found.scores.tail.iter().map(|p| p.persons).collect::<Vec<_>>(), [(0, 2); 2]);
        let everybody = Draw::everybody(found.scores.counts.photos_of.len());
        assert_eq!(everybody.non_mated(&found.scores), 2);
        assert!((found.accuracy(0.7) - 0.75).abs() < 1e-9, "a2 and b2 are 0.96 alike");
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
