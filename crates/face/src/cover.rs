//! Whether something hides a part of the face: glasses, masks, hands.
//!
//! The net is our own, and part of the program (`models/face-cover.onnx`, trained by
//! `tests/reference/make_cover.py`), so every pack has it. Embeddings of two faces with the same
//! part hidden are similar because of that (docs/decisions/0039).

use std::path::Path;

use image::RgbImage;

use super::{
    align::{AlignmentTransform, crop},
    error::FaceError,
    geometry::Landmarks,
    manifest::{ChannelOrder, Input},
    session::{NetSession, Placement, Runtime},
};

const MODEL: &[u8] = include_bytes!("../../../models/face-cover.onnx");
const NAME: &str = "face-cover.onnx";
const SIDE: usize = 64;
const INPUT: Input =
    Input { width: SIDE, height: SIDE, order: ChannelOrder::Rgb, mean: 0.0, scale: 1.0 };
/// Eyes, nose and corners of the mouth in the input.
const TEMPLATE: [[f32; 2]; 5] =
    [[23.0, 26.0], [41.0, 26.0], [32.0, 36.0], [24.5, 46.0], [39.5, 46.0]];

/// Probabilities that something hides most of a part of the face, 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cover {
    /// The eyes, as by dark glasses.
    pub eyes: f32,
    /// The mouth, with the nose or without, as by a mask.
    pub mouth: f32,
    /// The left or the right half.
    pub side: f32,
}

/// The net with its session.
#[derive(Debug)]
pub(super) struct CoverNet(NetSession);

impl CoverNet {
    /// Opens the net.
    ///
    /// # Errors
    /// As [`NetSession::from_bytes`].
    pub(super) fn open(runtime: &Runtime) -> Result<Self, FaceError> {
        let placement = Placement::CallingThread;
        NetSession::from_bytes(runtime, MODEL, Path::new(NAME), placement).map(Self)
    }

    /// What hides the face with these landmarks; `None` when they allow no fit.
    ///
    /// # Errors
    /// [`FaceError::Inference`] or [`FaceError::Contract`].
    pub(super) fn estimate(
        &mut self,
        picture: &RgbImage,
        landmarks: &Landmarks,
    ) -> Result<Option<Cover>, FaceError> {
        let Some(fit) = AlignmentTransform::fit(landmarks, &TEMPLATE) else { return Ok(None) };
        let patch = crop(picture, &fit, (SIDE, SIDE));
        let values = self.0.run_patch(&patch, &INPUT, 3)?;
        Ok(match values[..] {
            [eyes, mouth, side] => Some(Cover { eyes, mouth, side }),
            _ => None,
        })
    }
}
