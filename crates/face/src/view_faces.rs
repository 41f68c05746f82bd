//! The faces of an image that is held one way, found in passes of the detector from coarse to fine.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "sizes of images: positive and far from the ends of the range"
)]

use super::{
    align::magnification,
    detect::{Detector, choose, is_selected, working_bytes},
    detection::Detection,
    error::Ended,
    geometry::BoundingBox,
    lazy_image::{LazyImage, View},
    manifest::EmbedderNet,
    refusal::Refusal,
    rotation::Rotation,
    upright::detect_at_angle,
};

/// Which of the detector's sizes are tried.
#[derive(Debug, Clone, Copy)]
pub(super) struct SizeRange {
    /// The number of the first one; those not larger than its predecessor are left out.
    pub(super) first: usize,
    /// Smaller sizes are left out, in pixels of the longer side.
    pub(super) least: u32,
    /// Larger sizes are left out, in pixels of the longer side.
    pub(super) most: u32,
}

impl Default for SizeRange {
    fn default() -> Self {
        Self { first: 0, least: 0, most: u32::MAX }
    }
}

/// Detections, in pixels of the file with the image held this way.
#[derive(Debug)]
pub(super) struct ViewFaces {
    view: View,
    /// Width and height of the file, held this way.
    size: (u32, u32),
    /// Degrees by which the image is rotated for the detector, counter-clockwise.
    angle: Option<f32>,
    faces: Vec<Detection>,
    hint: Option<BoundingBox>,
}

impl ViewFaces {
    /// None yet, on the image as it is held.
    pub(super) fn new(image: &LazyImage<'_>, hint: Option<BoundingBox>) -> Self {
        let (view, size) = (image.view(), image.size());
        Self { view, size, angle: None, faces: Vec::new(), hint }
    }

    /// None yet, on the upright image rotated.
    pub(super) fn rotated(&self, rotation: Rotation) -> Self {
        Self {
            view: self.view.rotated(rotation),
            size: Rotation::size(Some(rotation), self.size),
            angle: None,
            faces: Vec::new(),
            hint: self.hint.map(|hint| rotation.area(&hint, self.size)),
        }
    }

    /// None yet, on the image held as it is, and searched rotated by `degrees` counter-clockwise.
    pub(super) fn at_angle(&self, degrees: f32) -> Self {
        Self { angle: Some(degrees), faces: Vec::new(), ..*self }
    }

    /// Whether the image is rotated by an angle for the detector.
    pub(super) fn is_at_angle(&self) -> bool {
        self.angle.is_some()
    }

    /// How the image is held.
    pub(super) fn view(&self) -> View {
        self.view
    }

    /// Width and height of the file, held this way.
    pub(super) fn size(&self) -> (u32, u32) {
        self.size
    }

    /// All of them, without those that were rejected.
    pub(super) fn faces(&self) -> &[Detection] {
        &self.faces
    }

    /// The face to compare, if there is any.
    pub(super) fn chosen(&self) -> Option<Detection> {
        choose(&self.faces, self.hint.as_ref(), self.size).copied()
    }

    /// Whether the sender says that it is this face.
    pub(super) fn is_selected(&self, face: &Detection) -> bool {
        self.hint.is_some_and(|hint| is_selected(face, &self.faces, &hint))
    }

    /// The confidence of the chosen face; 0 without one.
    pub(super) fn confidence(&self) -> f32 {
        self.chosen().map_or(0.0, |face| face.confidence)
    }

    /// Removes a detection that is no face.
    pub(super) fn reject(&mut self, face: &Detection) {
        self.faces.retain(|other| other != face);
    }

    /// Decodes as many pixels of a face as the embedder's input can show, if the file has them.
    pub(super) fn sharpen(
        &mut self,
        image: &mut LazyImage<'_>,
        face: &Detection,
        net: &EmbedderNet,
    ) -> Result<(), Refusal> {
        let magnification = magnification(&image.at_hand(face).landmarks, net);
        if magnification > 1.0 {
            let at_hand = f64::from(self.long_side() / image.reduction());
            image.decode_at_least((at_hand * magnification).floor() as u32)?;
            self.view = image.view();
        }
        Ok(())
    }

    /// As [`detect`](Self::detect), beginning with the size at which the hinted face shows.
    pub(super) fn detect_hinted(
        &mut self,
        image: &mut LazyImage<'_>,
        detector: &mut Detector,
    ) -> Result<usize, Ended> {
        if let Some(hint) = self.hint {
            let closest = detector.closest_side(self.size);
            let least = self.side_for(detector.near(), &hint).min(closest);
            let sizes = SizeRange { least, ..SizeRange::default() };
            let tried = self.detect(image, detector, sizes)?;
            if tried > 0 {
                return Ok(tried);
            }
        }
        self.detect(image, detector, SizeRange::default())
    }

    /// Runs the detector at one size after the other until there is a face, and once more at a
    /// larger one if that face is small. Returns the number of the size from which to go on, 0
    /// without a face.
    pub(super) fn detect(
        &mut self,
        image: &mut LazyImage<'_>,
        detector: &mut Detector,
        SizeRange { first, least, most }: SizeRange,
    ) -> Result<usize, Ended> {
        image.show(self.view)?;
        self.faces.clear();
        let sides = detector.long_sides(self.size);
        let closest = detector.closest_side(self.size);
        let mut least = first.checked_sub(1).map_or(least, |last| sides[last] + 1);
        let mut next = 0;
        for (number, side) in sides.iter().enumerate().skip(first) {
            if *side < least || *side > most || sides[..number].contains(side) {
                continue;
            }
            let faces = detect_at(image, detector, *side, self.angle)?;
            self.view = image.view();
            if !faces.is_empty() {
                self.faces = faces;
            }
            let Some(face) = self.chosen() else { continue };
            let wanted = self.side_for(detector.near(), &face.area);
            let once_more = next == 0 && wanted > *side;
            next = number + 1;
            if !once_more {
                break;
            }
            least = wanted.min(closest).max(side + 1);
        }
        Ok(next)
    }

    fn long_side(&self) -> f32 {
        let (width, height) = self.size;
        width.max(height) as f32
    }

    /// The longer side of the image at which `area` has `near` pixels on its shorter side.
    fn side_for(&self, near: f32, area: &BoundingBox) -> u32 {
        (near * self.long_side() / area.short_side().max(1.0)).ceil() as u32
    }
}

fn detect_at(
    image: &mut LazyImage<'_>,
    detector: &mut Detector,
    side: u32,
    angle: Option<f32>,
) -> Result<Vec<Detection>, Ended> {
    let mut faces = if let Some(degrees) = angle {
        image.decode_at_least(side)?;
        detect_at_angle(image.pixels(), degrees, side, detector)?
    } else {
        // A closer pass may follow: decode once for all of them, not for each.
        let closest = detector.closest_side(image.size());
        let wanted = if image.lacks(side) { closest } else { side };
        image.prepare(wanted, working_bytes(image.size(), side))?;
        let faces = detector.detect_at(image.pixels(), side)?;
        image.release_working_memory();
        faces
    };
    for face in &mut faces {
        *face = face.scaled(image.reduction(), image.reduction());
    }
    Ok(faces)
}
