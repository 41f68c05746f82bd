//! Error rates of the pipeline on labelled photos.
//!
//! ```text
//! PhotoSet: photo → person ──▶ Gallery: photo → embedding, in memory only
//!                                  │ every pair of photos that Pairing has, or a PairList
//!                                  ▼
//!              Scores: mated similarities, non-mated histogram and tail
//!                                  │
//!                 rates with intervals ──▶ report; knots ──▶ a pack's table
//! ```
//!
//! Terms are those of ISO/IEC 19795-1: a *mated* pair shows one person, FMR and FNMR are the rates
//! of false matches and false non-matches among compared pairs, and photos without a face are
//! counted apart.

pub mod bootstrap;
mod csv;
pub mod curve;
pub mod discard;
pub mod gallery;
pub mod groups;
pub mod known_errors;
pub mod pair_type;
pub mod pairing;
pub mod pairs;
pub mod photos;
pub mod rates;
pub mod report;
pub mod scores;
mod tail;
pub mod unified;
mod vectors;

/// What is wrong with the photos or files that an evaluation was given.
#[derive(Debug, thiserror::Error)]
pub enum EvaluateError {
    /// A file or folder cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file or folder.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// A line of a file is invalid.
    #[error("{path}, line {line}: {what}")]
    Line {
        /// The file.
        path: String,
        /// Its line, from 1.
        line: usize,
        /// What is wrong with it.
        what: String,
    },
    /// There is too little data.
    #[error("{0}")]
    TooFew(String),
    /// The pipeline failed.
    #[error(transparent)]
    Face(#[from] visavis_face::FaceError),
}

fn read(path: &std::path::Path) -> Result<String, EvaluateError> {
    std::fs::read_to_string(path)
        .map_err(|source| EvaluateError::Read { path: path.display().to_string(), source })
}
