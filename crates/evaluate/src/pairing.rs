//! Which pairs of photos are compared, and which of them show one person.

use std::collections::{BTreeSet, HashMap};

use visavis_face::PictureKind;

use crate::{
    pair_type::{PairType, ordered},
    photos::PhotoSet,
};

/// The person of each row of the embeddings, and which rows are compared.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pairing {
    /// The person of each row.
    pub(crate) persons: Vec<usize>,
    /// Which rows are documents, if documents are compared with selfies and nothing else is
    /// compared.
    documents: Option<Vec<bool>>,
    /// People between whom nothing is compared, the lower number first.
    people_left_out: BTreeSet<(usize, usize)>,
    /// Rows of one person that are not compared, the lower number first.
    rows_left_out: BTreeSet<(usize, usize)>,
}

impl Pairing {
    /// Every row with every other one.
    pub(crate) fn all(persons: impl Into<Vec<usize>>) -> Self {
        Self { persons: persons.into(), ..Self::default() }
    }

    /// The pairing of these photos of a set, one row each.
    pub fn from_set(set: &PhotoSet, photos: &[usize]) -> Self {
        let row_of: HashMap<_, _> =
            photos.iter().enumerate().map(|(row, photo)| (*photo, row)).collect();
        let is_document = |photo: &usize| set.photos[*photo].kind == PictureKind::Document;
        let rows =
            |(one, other): &(usize, usize)| Some(ordered(*row_of.get(one)?, *row_of.get(other)?));
        Self {
            persons: photos.iter().map(|photo| set.photos[*photo].person).collect(),
            documents: (set.pair_type == PairType::SelfieDocument)
                .then(|| photos.iter().map(is_document).collect()),
            people_left_out: set.people_left_out.clone(),
            rows_left_out: set.photos_left_out.iter().filter_map(rows).collect(),
        }
    }

    /// Whether two rows are compared as photos of one person.
    pub(crate) fn is_mated(&self, one: usize, other: usize) -> bool {
        self.persons[one] == self.persons[other]
            && self.is_of_the_type(one, other)
            && !self.rows_left_out.contains(&ordered(one, other))
    }

    /// Whether two rows are compared as photos of two people.
    pub(crate) fn is_non_mated(&self, one: usize, other: usize) -> bool {
        let (a, b) = (self.persons[one], self.persons[other]);
        a != b && self.is_of_the_type(one, other) && !self.people_left_out.contains(&ordered(a, b))
    }

    fn is_of_the_type(&self, one: usize, other: usize) -> bool {
        self.documents.as_ref().is_none_or(|documents| documents[one] != documents[other])
    }

    /// The counts by which a draw of people computes its number of pairs.
    pub(crate) fn counts(&self) -> Counts {
        let people = self.persons.iter().max().map_or(0, |most| most + 1);
        let mut photos_of = vec![0; people];
        let mut documents_of = self.documents.as_ref().map(|_| vec![0; people]);
        for (row, person) in self.persons.iter().enumerate() {
            photos_of[*person] += 1;
            if let (Some(documents), Some(of)) = (&self.documents, &mut documents_of) {
                of[*person] += u32::from(documents[row]);
            }
        }
        let is_here = |person: &usize| photos_of.get(*person).is_some_and(|photos| *photos > 0);
        let left_out = self.people_left_out.iter().filter(|(a, b)| is_here(a) && is_here(b));
        Counts {
            left_out: left_out.copied().collect(),
            groups: vec![(0..people).filter(is_here).collect()],
            photos_of,
            documents_of,
            listed: false,
        }
    }
}

/// How many photos stand on either side of the pairs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Counts {
    /// Photos of each person that were compared.
    pub(crate) photos_of: Vec<u32>,
    /// How many of them are documents, if those are compared with the others and nothing else is
    /// compared.
    pub(crate) documents_of: Option<Vec<u32>>,
    /// The people of each group within which pairs were made; one group of all unless said
    /// otherwise.
    pub(crate) groups: Vec<Vec<usize>>,
    /// People of one group between whom nothing was compared.
    pub(crate) left_out: Vec<(usize, usize)>,
    /// Whether the pairs are those of a list, all of which are kept, instead of all between the
    /// people.
    pub(crate) listed: bool,
}

impl Counts {
    /// The number of non-mated pairs, without listed ones, if each person occurs as often as
    /// `weight` states.
    pub(crate) fn non_mated(&self, weight: impl Fn(usize) -> u64) -> u64 {
        // Photos on the one side of the pairs and on the other: twice the same ones where all are
        // of one kind.
        let sides = |person: usize| {
            let (all, weight) = (u64::from(self.photos_of[person]), weight(person));
            match &self.documents_of {
                None => (weight * all, weight * all),
                Some(documents) => {
                    let documents = u64::from(documents[person]);
                    (weight * (all - documents), weight * documents)
                }
            }
        };
        let pairs = |one: (u64, u64), other: (u64, u64)| match self.documents_of {
            None => one.0 * other.0,
            Some(_) => one.0 * other.1 + one.1 * other.0,
        };
        let in_group = |people: &Vec<usize>| {
            let (mut sum, mut own) = ((0, 0), 0);
            for person in people {
                let sides = sides(*person);
                sum = (sum.0 + sides.0, sum.1 + sides.1);
                own += pairs(sides, sides);
            }
            // Each pair was counted from both of its ends.
            (pairs(sum, sum) - own) / 2
        };
        let left_out = self.left_out.iter().map(|(one, other)| pairs(sides(*one), sides(*other)));
        self.groups.iter().map(in_group).sum::<u64>() - left_out.sum::<u64>()
    }

    /// Adds the people of another group; no person is in two.
    pub(crate) fn add(&mut self, other: Self) {
        fn summed(all: &mut Vec<u32>, more: Vec<u32>) {
            all.resize(all.len().max(more.len()), 0);
            all.iter_mut().zip(more).for_each(|(sum, photos)| *sum += photos);
        }
        summed(&mut self.photos_of, other.photos_of);
        if let Some(documents) = other.documents_of {
            summed(self.documents_of.get_or_insert_default(), documents);
        }
        self.groups.extend(other.groups);
        self.left_out.extend(other.left_out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seven people with one to three photos each; every other photo is a document.
    fn pairing(cross: bool) -> Pairing {
        let persons = vec![0, 0, 1, 1, 1, 2, 3, 3, 4, 4, 4, 5, 6, 6];
        let documents = cross.then(|| (0..persons.len()).map(|row| row % 2 == 1).collect());
        Pairing {
            persons,
            documents,
            people_left_out: BTreeSet::from([(0, 3), (1, 2)]),
            rows_left_out: BTreeSet::from([(0, 1)]),
        }
    }

    #[test]
    fn pairs_are_counted_as_if_one_had_gone_through_them() {
        for cross in [false, true] {
            let (pairing, weights) = (pairing(cross), [2, 0, 1, 3, 1, 0, 1]);
            let mut counted = 0;
            for one in 0..pairing.persons.len() {
                for other in one + 1..pairing.persons.len() {
                    let (a, b) = (pairing.persons[one], pairing.persons[other]);
                    counted +=
                        u64::from(pairing.is_non_mated(one, other)) * weights[a] * weights[b];
                }
            }
            assert!(counted > 0);
            assert_eq!(pairing.counts().non_mated(|person| weights[person]), counted, "{cross}");
        }
    }

    #[test]
    fn documents_are_held_against_selfies_and_nothing_else() {
        let (all, cross) = (pairing(false), pairing(true));
        assert!(all.is_mated(2, 4) && !cross.is_mated(2, 4), "two selfies of one person");
        assert!(all.is_mated(2, 3) && cross.is_mated(2, 3), "a selfie and a document");
        assert!(all.is_non_mated(0, 8) && !cross.is_non_mated(0, 8), "two selfies");
        assert!(cross.is_non_mated(0, 9) && cross.is_non_mated(9, 0));
    }

    #[test]
    fn what_is_left_out_is_neither_mated_nor_non_mated() {
        let pairing = pairing(false);
        for (one, other) in [(0, 1), (0, 6), (7, 1), (2, 5)] {
            for (one, other) in [(one, other), (other, one)] {
                assert!(!pairing.is_mated(one, other) && !pairing.is_non_mated(one, other));
            }
        }
    }
}
