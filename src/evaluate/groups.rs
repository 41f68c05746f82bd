//! The same rates within groups of people, because strangers of one group look more alike.

use std::collections::BTreeMap;

use ndarray::{Array2, Axis};
use serde::Serialize;

use super::{
    EvaluateError,
    gallery::Gallery,
    photos::PhotoSet,
    rates::{AtThreshold, at_threshold},
    scores::Scores,
};

/// What one group of people comes to at a threshold.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GroupRates {
    /// The column.
    pub column: String,
    /// The value of the column.
    pub group: String,
    /// People in it with a face.
    pub persons: usize,
    /// Non-mated pairs within it.
    pub pairs: u64,
    /// Its rates.
    pub rates: AtThreshold,
    /// Whether there were mated pairs, without which FNMR says nothing.
    pub has_mated: bool,
}

/// The embeddings of a gallery by value of one column: each with the persons of its rows.
pub fn split(
    set: &PhotoSet,
    gallery: &Gallery,
    column: usize,
) -> BTreeMap<String, (Array2<f32>, Vec<usize>)> {
    let mut rows: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (row, photo) in gallery.photos.iter().enumerate() {
        rows.entry(set.photos[*photo].groups[column].clone()).or_default().push(row);
    }
    let part = |rows: &Vec<usize>| {
        let persons = rows.iter().map(|row| set.photos[gallery.photos[*row]].person).collect();
        (gallery.embeddings.select(Axis(0), rows), persons)
    };
    rows.iter().map(|(group, rows)| (group.clone(), part(rows))).collect()
}

/// The pairs within the groups of the first column, put together.
///
/// # Errors
/// [`EvaluateError::TooFew`] without groups, or with nobody to compare in them.
pub fn within(set: &PhotoSet, gallery: &Gallery) -> Result<Scores, EvaluateError> {
    if set.columns.is_empty() {
        let what =
            "the table has no column of groups; give one with the heading photo,person,group"
                .to_owned();
        return Err(EvaluateError::TooFew(what));
    }
    let mut groups = Vec::new();
    for (embeddings, persons) in split(set, gallery, 0).into_values() {
        match Scores::of(&embeddings, &persons) {
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

/// Every group of every column at one threshold, the most false matches first. Groups without two people are
/// left out.
///
/// # Errors
/// As [`Scores::of`], but for groups with too few people.
pub fn by_group(
    set: &PhotoSet,
    gallery: &Gallery,
    similarity: f32,
) -> Result<Vec<GroupRates>, EvaluateError> {
    let mut all = Vec::new();
    for (number, column) in set.columns.iter().enumerate() {
        for (group, (embeddings, persons)) in split(set, gallery, number) {
            let scores = match Scores::of(&embeddings, &persons) {
                Ok(scores) => scores,
                Err(EvaluateError::TooFew(_)) => continue,
                Err(error) => return Err(error),
            };
            all.push(GroupRates {
                column: column.clone(),
                group,
                persons: scores.persons(),
                pairs: scores.non_mated(),
                rates: at_threshold(&scores, similarity),
                has_mated: !scores.mated.is_empty(),
            });
        }
    }
    all.sort_by(|a, b| b.rates.fmr.total_cmp(&a.rates.fmr));
    Ok(all)
}
