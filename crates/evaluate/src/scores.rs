//! The similarity of every pair of photos, by blocked matrix products.
//!
//! There are tens of millions of non-mated pairs and few of them matter. All are counted in a
//! histogram; those above the rate at which tables begin are kept with the two people they belong
//! to, for exact thresholds and for intervals.

use std::thread;

use crate::{
    EvaluateError,
    pairing::{Counts, Pairing},
    vectors::{VectorBlock, Vectors},
};

/// Two photos of one person.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Mated {
    /// Their similarity.
    pub(crate) similarity: f32,
    /// The person.
    pub(crate) person: usize,
    /// The photos, as rows of the embeddings.
    pub(crate) photos: (usize, usize),
}

/// Photos of two people.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct NonMated {
    /// Their similarity.
    pub(crate) similarity: f32,
    /// The two people.
    pub(crate) persons: (usize, usize),
}

/// Every pair of a set.
#[derive(Debug, Clone)]
pub struct Scores {
    /// All mated pairs, least similar first.
    pub(crate) mated: Vec<Mated>,
    /// The most similar non-mated pairs, most similar first: at least all of [`TAIL`].
    pub(crate) tail: Vec<NonMated>,
    /// Non-mated pairs by similarity.
    pub(crate) histogram: Histogram,
    /// How many photos stand on either side of the pairs.
    pub(crate) counts: Counts,
}

/// Counts in bins of equal width over −1 to 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Histogram {
    bins: Vec<u64>,
    total: u64,
}

/// The share of non-mated pairs that is kept pair by pair.
pub(crate) const TAIL: f64 = 0.05;
const BINS: usize = 1 << 14;
/// Rows of a block: two blocks of embeddings and their product fit into a core's cache.
const BLOCK: usize = 256;

impl Histogram {
    fn new() -> Self {
        Self { bins: vec![0; BINS], total: 0 }
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to the bins"
    )]
    fn bin(similarity: f32) -> usize {
        ((f32::midpoint(similarity, 1.0) * BINS as f32) as usize).min(BINS - 1)
    }

    fn add(&mut self, similarity: f32) {
        self.bins[Self::bin(similarity)] += 1;
        self.total += 1;
    }

    fn merge(&mut self, other: &Self) {
        self.total += other.total;
        for (bin, more) in self.bins.iter_mut().zip(&other.bins) {
            *bin += more;
        }
    }

    /// The lower edge of a bin such that at least `share` of the pairs lie above it.
    fn floor_of_top(&self, share: f64) -> f32 {
        let wanted = share * self.total as f64;
        let mut above = 0;
        for (bin, count) in self.bins.iter().enumerate().rev() {
            above += count;
            if above as f64 >= wanted {
                return edge(bin);
            }
        }
        -1.0
    }

    /// How many pairs lie at or above `similarity`, to the width of a bin.
    pub(crate) fn at_least(&self, similarity: f32) -> u64 {
        self.bins[Self::bin(similarity)..].iter().sum()
    }

    /// `count` bins that together cover −1 to 1, for drawing.
    pub(crate) fn coarse(&self, count: usize) -> Vec<u64> {
        self.bins.chunks(BINS / count).map(|bins| bins.iter().sum()).collect()
    }
}

fn edge(bin: usize) -> f32 {
    bin as f32 / BINS as f32 * 2.0 - 1.0
}

impl Scores {
    /// Compares every pair of photos of `pairing`, on all cores.
    ///
    /// # Errors
    /// [`EvaluateError::TooFew`] without any non-mated pair.
    pub fn compare(vectors: &Vectors, pairing: &Pairing) -> Result<Self, EvaluateError> {
        let mated = mated(vectors, pairing);
        let histogram =
            merged(vectors, pairing, Histogram::new, |all, similarity, _| all.add(similarity))
                .into_iter()
                .fold(Histogram::new(), |mut all, part| {
                    all.merge(&part);
                    all
                });
        if histogram.total == 0 {
            return Err(EvaluateError::TooFew(
                "there are no photos of two people with a face to compare".to_owned(),
            ));
        }
        let floor = histogram.floor_of_top(TAIL);
        let tails = merged(vectors, pairing, Vec::new, |tail, similarity, persons| {
            if similarity >= floor {
                tail.push(NonMated { similarity, persons });
            }
        });
        let mut tail = tails.concat();
        tail.sort_by(|a, b| b.similarity.total_cmp(&a.similarity).then(a.persons.cmp(&b.persons)));
        Ok(Self { mated, tail, histogram, counts: pairing.counts() })
    }

    /// Pairs that a list names, all of which are kept. `persons` has the person of each photo with
    /// a face.
    pub(crate) fn from_list(
        mut mated: Vec<Mated>,
        mut tail: Vec<NonMated>,
        persons: Vec<usize>,
    ) -> Self {
        mated.sort_by(|a, b| a.similarity.total_cmp(&b.similarity));
        tail.sort_by(|a, b| b.similarity.total_cmp(&a.similarity).then(a.persons.cmp(&b.persons)));
        let mut histogram = Histogram::new();
        for pair in &tail {
            histogram.add(pair.similarity);
        }
        let counts = Counts { listed: true, ..Pairing::all(persons).counts() };
        Self { mated, tail, histogram, counts }
    }

    /// Merges the pairs of several groups into one set without pairs between groups. No person
    /// is in two.
    pub(crate) fn pooled(groups: Vec<Self>) -> Self {
        // Above this every group has all its pairs in its tail.
        let floors = groups.iter().filter_map(|group| Some(group.tail.last()?.similarity));
        let floor = floors.max_by(f32::total_cmp).unwrap_or(1.0);
        let mut all = Self {
            mated: Vec::new(),
            tail: Vec::new(),
            histogram: Histogram::new(),
            counts: Counts::default(),
        };
        for group in groups {
            all.mated.extend(group.mated);
            all.tail.extend(group.tail.into_iter().filter(|pair| pair.similarity >= floor));
            all.histogram.merge(&group.histogram);
            all.counts.add(group.counts);
        }
        all.mated.sort_by(|a, b| a.similarity.total_cmp(&b.similarity));
        all.tail
            .sort_by(|a, b| b.similarity.total_cmp(&a.similarity).then(a.persons.cmp(&b.persons)));
        all
    }

    /// How many non-mated pairs were compared.
    pub fn non_mated(&self) -> u64 {
        self.histogram.total
    }

    /// How many people have a photo that was compared.
    pub fn persons(&self) -> usize {
        self.counts.photos_of.iter().filter(|photos| **photos > 0).count()
    }
}

fn mated(vectors: &Vectors, pairing: &Pairing) -> Vec<Mated> {
    let persons = &pairing.persons;
    let mut of_person = vec![Vec::new(); persons.iter().max().map_or(0, |most| most + 1)];
    for (photo, person) in persons.iter().enumerate() {
        of_person[*person].push(photo);
    }
    let mut found = Vec::new();
    for (person, photos) in of_person.iter().enumerate() {
        for (n, one) in photos.iter().enumerate() {
            for other in photos[n + 1..].iter().filter(|other| pairing.is_mated(*one, **other)) {
                let similarity = vectors.similarity(*one, *other);
                found.push(Mated { similarity, person, photos: (*one, *other) });
            }
        }
    }
    found.sort_by(|a, b| a.similarity.total_cmp(&b.similarity));
    found
}

/// Runs `visit` on every non-mated pair, each thread with what `start` makes; returns what they
/// made of it.
fn merged<T: Send>(
    vectors: &Vectors,
    pairing: &Pairing,
    start: impl Fn() -> T + Sync,
    visit: impl Fn(&mut T, f32, (usize, usize)) + Sync,
) -> Vec<T> {
    let blocks = vectors.blocks(BLOCK);
    let threads = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    thread::scope(|scope| {
        let (blocks, start, visit) = (&blocks, &start, &visit);
        let workers: Vec<_> = (0..threads)
            .map(|worker| {
                scope.spawn(move || {
                    let mut made = start();
                    // Rows of blocks in turn: later ones are shorter, so this spreads them evenly.
                    for row in (worker..blocks.len()).step_by(threads) {
                        for column in row..blocks.len() {
                            block(&blocks[row], &blocks[column], pairing, &mut made, visit);
                        }
                    }
                    made
                })
            })
            .collect();
        let done = workers.into_iter().map(|worker| worker.join().expect("numbers do not panic"));
        done.collect()
    })
}

fn block<T>(
    rows: &VectorBlock<'_>,
    columns: &VectorBlock<'_>,
    pairing: &Pairing,
    made: &mut T,
    visit: &impl Fn(&mut T, f32, (usize, usize)),
) {
    let similarities = rows.similarities(columns);
    for (i, line) in similarities.outer_iter().enumerate() {
        let row = rows.first + i;
        // On the diagonal each pair would be met twice.
        let skip = (row + 1).saturating_sub(columns.first);
        for (j, similarity) in line.iter().skip(skip).enumerate() {
            let column = columns.first + skip + j;
            if pairing.is_non_mated(row, column) {
                visit(made, *similarity, (pairing.persons[row], pairing.persons[column]));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;

    /// Photos scattered over a circle.
    fn circle(count: usize) -> Vectors {
        Vectors::plain(Array2::from_shape_fn((count, 2), |(n, axis)| {
            let angle = n as f32 * 2.399_963;
            if axis == 0 { angle.cos() } else { angle.sin() }
        }))
    }

    #[test]
    fn every_pair_is_met_once_as_if_one_had_taken_them_one_by_one() {
        let count = 2 * BLOCK + 77;
        let (photos, persons) = (circle(count), (0..count).map(|n| n / 3).collect::<Vec<_>>());
        let scores = Scores::compare(&photos, &Pairing::all(persons.clone())).unwrap();
        let (mut mated, mut non_mated, mut above) = (0, 0_u64, 0_u64);
        for one in 0..count {
            for other in one + 1..count {
                if persons[one] == persons[other] {
                    mated += 1;
                } else {
                    non_mated += 1;
                    let similarity = photos.similarity(one, other);
                    above += u64::from(similarity >= scores.tail.last().unwrap().similarity);
                }
            }
        }
        assert_eq!((scores.mated.len(), scores.non_mated()), (mated, non_mated));
        assert!(
            scores.tail.len() as u64 >= above
                && scores.tail.len() as f64 >= TAIL * non_mated as f64
        );
        assert!(scores.tail.is_sorted_by(|a, b| a.similarity >= b.similarity));
        assert!(scores.mated.is_sorted_by(|a, b| a.similarity <= b.similarity));
        assert_eq!(scores.histogram.at_least(-1.0), non_mated);
        assert_eq!(scores.histogram.coarse(128).iter().sum::<u64>(), non_mated);
        assert_eq!(scores.persons(), count.div_ceil(3));
    }

    #[test]
    fn pooled_groups_have_the_pairs_of_each_and_none_between_them() {
        let photos = circle(300);
        let part = |persons: std::ops::Range<usize>| {
            let rows: Vec<_> = persons.collect();
            Scores::compare(&photos.select(&rows), &Pairing::all(rows)).unwrap()
        };
        let pooled = Scores::pooled(vec![part(0..100), part(100..300)]);
        assert_eq!(pooled.non_mated(), 100 * 99 / 2 + 200 * 199 / 2);
        assert_eq!(pooled.persons(), 300);
        assert!(pooled.tail.is_sorted_by(|a, b| a.similarity >= b.similarity));
        let least = pooled.tail.last().unwrap().similarity;
        let of_both = |similarity: f32| pooled.histogram.at_least(similarity);
        assert!(
            pooled.tail.len() as u64 <= of_both(least)
                && of_both(least + 0.01) <= pooled.tail.len() as u64
        );
        assert!(pooled.tail.iter().all(|pair| (pair.persons.0 < 100) == (pair.persons.1 < 100)));
    }
}
