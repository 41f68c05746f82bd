//! Landmark refinement: the detector's five points are its weak side, and a small net that sees
//! only the face box halves the errors of a good embedder.

use image::RgbImage;

use super::{
    detection::Detection,
    error::FaceError,
    geometry::{BoundingBox, Landmarks, Point},
    manifest::{LandmarkNet, Located, PointOrder},
    patch::Patch,
    session::{NetSession, Placement, Runtime},
};

/// Largest distance of a landmark from its crop, in sides of the crop. The crops of the eyes depend
/// on the distance of their landmarks.
const MAX_REACH: f32 = 4.0;

/// The refinement net with its session.
#[derive(Debug)]
pub struct LandmarkRefiner {
    net: LandmarkNet,
    session: NetSession,
    /// Names of the outputs for landmarks and face probability, if the net has the second one.
    outputs: Option<[String; 2]>,
}

impl LandmarkRefiner {
    /// Opens the refinement net of a pack.
    ///
    /// # Errors
    /// As [`NetSession::open`], or [`FaceError::Contract`] when the second output that the pack
    /// needs does not exist.
    pub fn open(runtime: &Runtime, located: &Located<LandmarkNet>) -> Result<Self, FaceError> {
        let session =
            NetSession::open(runtime, located, &located.net.weights, Placement::CallingThread)?;
        let net = located.net.clone();
        let outputs = net.least_face.is_some().then(|| two_outputs(&session)).transpose()?;
        Ok(Self { net, session, outputs })
    }

    /// Whether it can reject a detection that is no face.
    pub(super) fn can_reject(&self) -> bool {
        self.outputs.is_some()
    }

    /// The landmarks of a detection, predicted again from its box with the margins of the net, in
    /// pixels of the image: the mean of all runs. Where the crop leaves the image, its border is
    /// repeated. `None` if the net finds no face there.
    ///
    /// # Errors
    /// [`FaceError::Inference`] or [`FaceError::Contract`].
    pub fn refine(
        &mut self,
        picture: &RgbImage,
        face: &Detection,
    ) -> Result<Option<Landmarks>, FaceError> {
        let mut runs = Vec::with_capacity(self.net.margins.len() + 1);
        for number in 0..self.net.margins.len() {
            let area = face.area.grown(self.net.margins[number]);
            let Some((landmarks, probability)) = self.predict(picture, &area)? else {
                return Ok(None);
            };
            if number == 0 && self.net.least_face.is_some_and(|least| probability < least) {
                return Ok(None);
            }
            runs.push(landmarks);
        }
        runs.extend(self.net.with_detector.then_some(face.landmarks));
        Ok(Some(Landmarks::mean(&runs)))
    }

    /// The landmarks that the net finds in one crop, and the probability of a face; 1 if the net
    /// has no such output. `None` for positions that no face has.
    fn predict(
        &mut self,
        picture: &RgbImage,
        area: &BoundingBox,
    ) -> Result<Option<(Landmarks, f32)>, FaceError> {
        let LandmarkNet { input, transposed, order, .. } = &self.net;
        let mut patch = Patch::from_box(picture, area, input.width, input.height);
        if *transposed {
            patch = patch.transposed();
        }
        let (values, probability) = match &self.outputs {
            None => (self.session.run_patch(&patch, input, 10)?, 1.0),
            Some(outputs) => {
                let (tensor, size) = (patch.to_tensor(input), (input.width, input.height));
                let names = outputs.each_ref().map(String::as_str);
                let [values, face] = self.session.run(&tensor, size, names)?;
                let face = self.session.expect_length(face, 2)?;
                (self.session.expect_length(values, 10)?, 1.0 / (1.0 + (face[0] - face[1]).exp()))
            }
        };
        if values.iter().any(|value| value.abs() > MAX_REACH) {
            return Ok(None);
        }
        let points = std::array::from_fn(|i| {
            let (x, y) = match order {
                PointOrder::Pairs => (values[2 * i], values[2 * i + 1]),
                PointOrder::Axes => (values[i], values[5 + i]),
            };
            Point::new(area.x + x * area.width, area.y + y * area.height)
        });
        Ok(Some((Landmarks(points), probability)))
    }
}

fn two_outputs(session: &NetSession) -> Result<[String; 2], FaceError> {
    session.output_names().try_into().map_err(|names: Vec<String>| FaceError::Contract {
        net: session.name().to_owned(),
        expected: "two outputs: landmarks, and whether there is a face".to_owned(),
        found: names.join(", "),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_of_landmarks_lies_between_them() {
        let at = |x: f32, y: f32| Landmarks([Point::new(x, y); 5]);
        assert_eq!(Landmarks::mean(&[at(1.0, 4.0)]), at(1.0, 4.0));
        assert_eq!(Landmarks::mean(&[at(1.0, 4.0), at(3.0, 8.0)]), at(2.0, 6.0));
    }
}
