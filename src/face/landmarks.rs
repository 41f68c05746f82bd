//! Landmark refinement: the detector's five points are its weak side, and a small net that sees only
//! the face box halves the errors of a good embedder.

use image::RgbImage;

use super::{
    detect::Detection,
    error::FaceError,
    geometry::{Landmarks, Point},
    manifest::{Located, Net},
    patch::Patch,
    session::{NetSession, Placement, Runtime},
};

/// The refinement net with its session.
#[derive(Debug)]
pub struct LandmarkRefiner {
    net: Net,
    session: NetSession,
}

impl LandmarkRefiner {
    /// Opens the refinement net of a pack.
    ///
    /// # Errors
    /// As [`NetSession::open`].
    pub fn open(runtime: &Runtime, located: &Located<Net>) -> Result<Self, FaceError> {
        let session = NetSession::open(runtime, located, &located.net.weights, Placement::Here)?;
        Ok(Self { net: located.net.clone(), session })
    }

    /// The landmarks of a detection, predicted anew from exactly its box (no margin; the picture's
    /// border is repeated where the box leaves it), in pixels of the picture.
    ///
    /// # Errors
    /// [`FaceError::Inference`] or [`FaceError::Contract`].
    pub fn refine(&mut self, picture: &RgbImage, face: &Detection) -> Result<Landmarks, FaceError> {
        let Net { input, .. } = &self.net;
        let patch = Patch::from_box(picture, &face.area, input.width, input.height);
        let values = self.session.run_patch(&patch, input, 10)?;
        let area = &face.area;
        Ok(Landmarks(std::array::from_fn(|i| {
            Point::new(
                area.x + values[2 * i] * area.width,
                area.y + values[2 * i + 1] * area.height,
            )
        })))
    }
}
