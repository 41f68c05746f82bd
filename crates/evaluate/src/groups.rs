//! The same rates within groups of people, where different people look more alike.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    EvaluateError,
    gallery::Gallery,
    pairing::Pairing,
    photos::PhotoSet,
    rates::{AtThreshold, at_threshold},
    scores::Scores,
    vectors::Vectors,
};

/// The rates of one group of people at a threshold.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupRates {
    /// The column.
    pub column: String,
    /// The value of the column.
    pub group: String,
    /// People in it with a face.
    pub people: usize,
    /// Non-mated pairs within it.
    pub non_mated: u64,
    /// Its rates.
    #[serde(flatten)]
    pub rates: AtThreshold,
}

/// The embeddings of a gallery by value of one column: each with the pairs of its rows.
pub(crate) fn split(
    set: &PhotoSet,
    gallery: &Gallery,
    column: usize,
) -> BTreeMap<String, (Vectors, Pairing)> {
    let mut rows: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (row, photo) in gallery.photos.iter().enumerate() {
        rows.entry(set.photos[*photo].groups[column].clone()).or_default().push(row);
    }
    let part = |rows: &Vec<usize>| {
        let photos: Vec<_> = rows.iter().map(|row| gallery.photos[*row]).collect();
        (gallery.vectors.select(rows), Pairing::from_set(set, &photos))
    };
    rows.iter().map(|(group, rows)| (group.clone(), part(rows))).collect()
}

/// The pairs within the groups of the first column, put together.
///
/// # Errors
/// [`EvaluateError::TooFew`] without groups, or without pairs in them.
pub fn within(set: &PhotoSet, gallery: &Gallery) -> Result<Scores, EvaluateError> {
    if set.columns.is_empty() {
        let what =
            "the table has no column of groups: add one, with the heading photo,person,group"
                .to_owned();
        return Err(EvaluateError::TooFew(what));
    }
    let mut groups = Vec::new();
    for (vectors, pairing) in split(set, gallery, 0).into_values() {
        match Scores::compare(&vectors, &pairing) {
            Ok(scores) => groups.push(scores),
            Err(EvaluateError::TooFew(_)) => {}
            Err(error) => return Err(error),
        }
    }
    if groups.is_empty() {
        return Err(EvaluateError::TooFew(
            "no group has photos of two people with a face".to_owned(),
        ));
    }
    Ok(Scores::pooled(groups))
}

/// Every group of every column at one threshold, the most false matches first. Groups without two
/// people are left out.
///
/// # Errors
/// As [`Scores::compare`], but for groups with too few people.
pub fn by_group(
    set: &PhotoSet,
    gallery: &Gallery,
    similarity: f32,
) -> Result<Vec<GroupRates>, EvaluateError> {
    let mut all = Vec::new();
    for (number, column) in set.columns.iter().enumerate() {
        for (group, (vectors, pairing)) in split(set, gallery, number) {
            let scores = match Scores::compare(&vectors, &pairing) {
                Ok(scores) => scores,
                Err(EvaluateError::TooFew(_)) => continue,
                Err(error) => return Err(error),
            };
            all.push(GroupRates {
                column: column.clone(),
                group,
                people: scores.persons(),
                non_mated: scores.non_mated(),
                rates: at_threshold(&scores, similarity),
            });
        }
    }
    all.sort_by(|a, b| b.rates.fmr.total_cmp(&a.rates.fmr));
    Ok(all)
}
