//! Head pose and open eyes, for the quality measures.

use image::RgbImage;
use serde::{Deserialize, Serialize};

use super::{
    error::FaceError,
    geometry::{BoundingBox, Landmarks, Point},
    manifest::{EyesNet, Located, Net},
    patch::Patch,
    session::{NetSession, Placement, Runtime},
};

/// How the head is turned, in degrees; all zero when it faces the camera upright.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct HeadPose {
    /// Turned to a side, −90 to 90.
    pub yaw: f32,
    /// Nodding, −70 to 70.
    pub pitch: f32,
    /// Tilted to a shoulder, −70 to 70.
    pub roll: f32,
}

/// The head pose net with its session; its outputs are `fc_y`, `fc_p` and `fc_r`.
#[derive(Debug)]
pub struct PoseEstimator {
    net: Net,
    session: NetSession,
    outputs: [String; 3],
}

impl PoseEstimator {
    /// Opens the pose net of a pack.
    ///
    /// # Errors
    /// As [`NetSession::open`], or [`FaceError::Contract`] when the three outputs are not there.
    pub fn open(runtime: &Runtime, located: &Located<Net>) -> Result<Self, FaceError> {
        let session = NetSession::open(runtime, located, &located.net.weights, Placement::Device)?;
        let names = session.output_names();
        // The publisher calls them `angle_y_fc` in one form of the net and `fc_y` in another.
        let named = |axis: &str| {
            names
                .iter()
                .find(|n| n.contains(&format!("fc_{axis}")) || n.contains(&format!("_{axis}_fc")))
        };
        let (Some(y), Some(p), Some(r)) = (named("y"), named("p"), named("r")) else {
            return Err(FaceError::Contract {
                net: session.name().to_owned(),
                expected: "outputs fc_y, fc_p and fc_r".to_owned(),
                found: names.join(", "),
            });
        };
        let outputs = [y.clone(), p.clone(), r.clone()];
        Ok(Self { net: located.net.clone(), session, outputs })
    }

    /// The pose of the head in `area` of the picture.
    ///
    /// # Errors
    /// [`FaceError::Inference`] or [`FaceError::Contract`].
    pub fn estimate(
        &mut self,
        picture: &RgbImage,
        area: &BoundingBox,
    ) -> Result<HeadPose, FaceError> {
        let Net { input, .. } = &self.net;
        let patch = Patch::from_box(picture, area, input.width, input.height);
        let tensor = patch.to_tensor(input);
        let names = self.outputs.each_ref().map(String::as_str);
        let angles = self.session.run(&tensor, (input.width, input.height), names)?;
        let angle = |i: usize| angles[i].first().copied().unwrap_or_default();
        Ok(HeadPose { yaw: angle(0), pitch: angle(1), roll: angle(2) })
    }
}

/// The eye classifier with its session.
#[derive(Debug)]
pub struct EyeClassifier {
    net: EyesNet,
    session: NetSession,
}

impl EyeClassifier {
    /// Opens the eye net of a pack.
    ///
    /// # Errors
    /// As [`NetSession::open`].
    pub fn open(runtime: &Runtime, located: &Located<EyesNet>) -> Result<Self, FaceError> {
        let session =
            NetSession::open(runtime, located, &located.net.weights, Placement::CallingThread)?;
        Ok(Self { net: located.net.clone(), session })
    }

    /// Probability that the eye on the picture's left and the one on its right are open, 0 to 1.
    ///
    /// # Errors
    /// [`FaceError::Inference`] or [`FaceError::Contract`].
    pub fn open_probability(
        &mut self,
        picture: &RgbImage,
        landmarks: &Landmarks,
    ) -> Result<[f32; 2], FaceError> {
        let side = self.net.crop * landmarks.inter_eye_distance();
        let left = self.one(picture, landmarks.left_eye(), side)?;
        let right = self.one(picture, landmarks.right_eye(), side)?;
        Ok([left, right])
    }

    fn one(&mut self, picture: &RgbImage, eye: Point, side: f32) -> Result<f32, FaceError> {
        let EyesNet { input, open_channel, .. } = &self.net;
        let patch =
            Patch::from_box(picture, &BoundingBox::square(eye, side), input.width, input.height);
        let values = self.session.run_patch(&patch, input, 2)?;
        Ok(values.get(*open_channel).copied().unwrap_or_default())
    }
}
