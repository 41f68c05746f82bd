//! Labels that are known to be wrong. They are left out and not corrected: that a label is
//! wrong does not show which one is right.

use std::path::Path;

use crate::{EvaluateError, csv::rows, read};

/// A file of wrong labels: a photo on a line, or two with a comma between; `#` begins a remark.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KnownErrors {
    path: String,
    rows: Vec<(usize, WrongLabel)>,
}

/// One line, with the names of photos in the set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum WrongLabel {
    /// The person of the photo is unknown.
    Photo(String),
    /// The label of the pair is wrong.
    Pair(String, String),
}

impl KnownErrors {
    /// Reads the file.
    ///
    /// # Errors
    /// [`EvaluateError`] when it cannot be read or a line is neither.
    pub fn read(file: &Path) -> Result<Self, EvaluateError> {
        let mut errors = Self { path: file.display().to_string(), rows: Vec::new() };
        for (line, cells) in rows(&read(file)?) {
            let label = match cells.as_slice() {
                [photo] => WrongLabel::Photo((*photo).to_owned()),
                [one, other] => WrongLabel::Pair((*one).to_owned(), (*other).to_owned()),
                _ => {
                    let what = "expected one photo, or two separated by a comma";
                    return Err(errors.wrong(line, what.to_owned()));
                }
            };
            errors.rows.push((line, label));
        }
        Ok(errors)
    }

    fn wrong(&self, line: usize, what: String) -> EvaluateError {
        EvaluateError::Line { path: self.path.clone(), line, what }
    }

    /// Every label with the numbers of its photos: one photo that goes (`None`), or two that are
    /// not compared.
    ///
    /// # Errors
    /// [`EvaluateError`] naming the line with a photo that `number` does not know.
    pub(crate) fn numbered(
        &self,
        number: impl Fn(&str) -> Option<usize>,
    ) -> Result<Vec<(usize, Option<usize>)>, EvaluateError> {
        let numbered = self.rows.iter().map(|(line, label)| {
            let number = |name: &str| {
                number(name).ok_or_else(|| {
                    let what = format!(
                        "the set has no photo {name}: use the path of the photo in the set, or \
                         delete the line"
                    );
                    self.wrong(*line, what)
                })
            };
            Ok(match label {
                WrongLabel::Photo(photo) => (number(photo)?, None),
                WrongLabel::Pair(one, other) => (number(one)?, Some(number(other)?)),
            })
        });
        numbered.collect()
    }
}
