//! What goes into the pipeline and what comes out of it: plain data, and the trait that stands for
//! it.

use serde::{Deserialize, Serialize};

use super::{
    error::FaceError,
    geometry::{BoundingBox, Landmarks},
    quality::Quality,
    refusal::Refusal,
    similarity::Similarity,
    stages::StageTimes,
};

/// What kind of photo a face is on; documents have other quality limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PictureKind {
    /// Taken of the living person.
    #[default]
    Selfie,
    /// The portrait of an identity document.
    Document,
}

/// One image file.
#[derive(Debug, Clone, Copy)]
pub struct Picture<'a> {
    /// The file.
    pub bytes: &'a [u8],
    /// Where the sender says the face is, in pixels of the upright image.
    pub hint: Option<BoundingBox>,
    /// Selfie or document.
    pub kind: PictureKind,
}

/// Which of the two photos.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The photo to verify (`face1`).
    Probe,
    /// The photo it is compared with (`face2`).
    Reference,
}

/// What was found on one photo, without the image and without the embedding.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FaceReport {
    /// Width of the upright image, in pixels.
    pub width: u32,
    /// Height of the upright image, in pixels.
    pub height: u32,
    /// How many faces were found.
    pub faces: usize,
    /// The box of the chosen face, in pixels of the upright image.
    pub area: BoundingBox,
    /// Its landmarks after refinement, in pixels of the upright image.
    pub landmarks: Landmarks,
    /// Its quality measures and the verdict.
    pub quality: Quality,
}

/// The outcome of one comparison.
#[derive(Debug, Clone, PartialEq)]
pub enum Comparison {
    /// Both photos show a face.
    Compared {
        /// How similar the two faces are.
        similarity: Similarity,
        /// How much lower it is because both are degraded in the same way, 0 to 2.
        degradation_loss: f32,
        /// What was found on the probe.
        probe: Box<FaceReport>,
        /// What was found on the reference.
        reference: Box<FaceReport>,
        /// How long the stages took, for the probe and for the reference.
        times: [StageTimes; 2],
    },
    /// A photo could not be used; the probe is analysed first.
    Refused {
        /// Which one.
        side: Side,
        /// Why.
        refusal: Refusal,
    },
}

/// What was found on one photo, or why it could not be used.
pub type Inspection = Result<Box<FaceReport>, Refusal>;

/// Compares two photos on the calling thread.
pub trait Engine: Send {
    /// Compares `probe` with `reference`; the order does not change the similarity.
    ///
    /// # Errors
    /// [`FaceError`] for an internal failure; a bad photo is a [`Comparison::Refused`].
    fn compare(
        &mut self,
        probe: &Picture<'_>,
        reference: &Picture<'_>,
    ) -> Result<Comparison, FaceError>;

    /// Analyses one photo alone.
    ///
    /// # Errors
    /// [`FaceError`] for an internal failure; a bad photo is a [`Refusal`].
    fn inspect(&mut self, picture: &Picture<'_>) -> Result<Inspection, FaceError> {
        // An engine that can only compare reports the first of two photos.
        Ok(match self.compare(picture, picture)? {
            Comparison::Compared { probe, .. } => Ok(probe),
            Comparison::Refused { refusal, .. } => Err(refusal),
        })
    }
}
