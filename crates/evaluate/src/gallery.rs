//! Computes embeddings of photos, on one thread per engine. Embeddings stay in memory.

use std::{
    path::PathBuf,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use ndarray::Array2;
use visavis_face::{
    AnalysedFace, FaceError, FaceReport, Picture, PictureKind, Pipeline, Refusal,
    stages::StageTimes,
};

use crate::{EvaluateError, vectors::Vectors};

/// A photo to analyse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PhotoFile {
    /// Path of the file.
    pub path: PathBuf,
    /// Its kind for the pipeline.
    pub kind: PictureKind,
}

/// The analysed photos of a set.
#[derive(Debug, Clone)]
pub struct Gallery {
    /// A row for each photo that showed a face.
    pub vectors: Vectors,
    /// Which photo each row is of.
    pub photos: Vec<usize>,
    /// Its report.
    pub reports: Vec<FaceReport>,
    /// The other photos, and why they have no embedding.
    pub(crate) refused: Vec<(usize, Refusal)>,
    /// How long each stage took on photos with a face.
    pub(crate) times: Vec<StageTimes>,
    /// How long one photo took from file to embedding, in the median.
    pub(crate) median: Duration,
}

/// Receives the number of analysed photos.
pub(crate) type PhotoProgress<'a> = &'a (dyn Fn(usize) + Sync);

type Analysed = (usize, Result<AnalysedFace, Refusal>, Duration);

impl Gallery {
    /// Analyses every photo; each engine runs on its own thread.
    ///
    /// # Errors
    /// [`EvaluateError`] when a file cannot be read, the pipeline breaks, or no photo shows a face.
    pub fn analyse(
        files: &[PhotoFile],
        engines: &mut [Pipeline],
        progress: PhotoProgress<'_>,
    ) -> Result<Self, EvaluateError> {
        let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let found = Mutex::new(Vec::with_capacity(files.len()));
        let outcomes: Vec<Result<(), EvaluateError>> = thread::scope(|scope| {
            let workers: Vec<_> = engines
                .iter_mut()
                .map(|engine| {
                    scope.spawn(|| {
                        loop {
                            let number = next.fetch_add(1, Ordering::Relaxed);
                            let Some(file) = files.get(number) else { return Ok(()) };
                            let (face, took) = analyse(engine, file)?;
                            found
                                .lock()
                                .unwrap_or_else(PoisonError::into_inner)
                                .push((number, face, took));
                            progress(done.fetch_add(1, Ordering::Relaxed) + 1);
                        }
                    })
                })
                .collect();
            let joined = workers.into_iter().map(thread::ScopedJoinHandle::join);
            joined.map(|end| end.unwrap_or(Err(EvaluateError::Face(FaceError::Panicked)))).collect()
        });
        outcomes.into_iter().collect::<Result<(), _>>()?;
        let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
        found.sort_by_key(|(number, _, _)| *number);
        Self::from_found(found)
    }

    fn from_found(found: Vec<Analysed>) -> Result<Self, EvaluateError> {
        let mut times: Vec<_> = found.iter().map(|(_, _, took)| *took).collect();
        times.sort_unstable();
        let median = times.get(times.len() / 2).copied().unwrap_or_default();
        let (mut values, mut photos, mut reports) = (Vec::new(), Vec::new(), Vec::new());
        let (mut refused, mut stages, mut corrections) = (Vec::new(), Vec::new(), Vec::new());
        for (photo, face, _) in found {
            match face {
                Ok(face) => {
                    values.extend_from_slice(face.embedding.values());
                    corrections.push(face.embedding.correction().clone());
                    photos.push(photo);
                    reports.push(face.report);
                    stages.push(face.times);
                }
                Err(refusal) => refused.push((photo, refusal)),
            }
        }
        let width = values.len().checked_div(photos.len()).unwrap_or(0);
        let embeddings = Array2::from_shape_vec((photos.len(), width), values);
        match embeddings {
            Ok(embeddings) if width > 0 => {
                let vectors = Vectors::corrected(embeddings, corrections);
                Ok(Self { vectors, photos, reports, refused, times: stages, median })
            }
            _ => Err(EvaluateError::TooFew("no photo shows a face".to_owned())),
        }
    }

    /// Number of analysed photos.
    pub(crate) fn len(&self) -> usize {
        self.photos.len() + self.refused.len()
    }

    /// Share of the photos that gave no embedding: failure to enrol in the words of the standard.
    pub(crate) fn failure_rate(&self) -> f64 {
        self.refused.len() as f64 / self.len() as f64
    }
}

fn analyse(
    engine: &mut Pipeline,
    file: &PhotoFile,
) -> Result<(Result<AnalysedFace, Refusal>, Duration), EvaluateError> {
    let bytes = std::fs::read(&file.path)
        .map_err(|source| EvaluateError::Read { path: file.path.display().to_string(), source })?;
    let begun = Instant::now();
    let picture = Picture { bytes: &bytes, hint: None, kind: file.kind };
    let face = engine.analyse(&picture)?;
    Ok((face, begun.elapsed()))
}
