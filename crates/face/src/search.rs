//! Looking for the face of a picture: at several sizes, on its side and on its head, and closely enough to tell a face
//! from what only looks like one. Cheapest first; a photo of an upright face takes one pass over few pixels.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "sizes of pictures: positive and far from the ends of the range"
)]

use super::{
    align::{AlignedFace, align, magnification},
    detect::{Detection, choose, working_bytes},
    engine::OnnxEngine,
    error::FaceError,
    geometry::{BoundingBox, Landmarks},
    landmarks::LandmarkRefiner,
    manifest::EmbedderNet,
    refusal::Refusal,
    sight::{Sight, View},
    similarity::Embedding,
    stages::{Stage, Stopwatch},
    turn::{TURNS, Turn},
};

/// Where faces were looked for, and what was found, in pixels of the picture in the file held this way.
pub(super) struct Found {
    view: View,
    /// Width and height of the picture in the file, held this way.
    size: (u32, u32),
    pub(super) faces: Vec<Detection>,
    hint: Option<BoundingBox>,
}

impl Found {
    /// Nothing as yet, on the picture as it is held.
    fn nothing(sight: &Sight<'_>, hint: Option<BoundingBox>) -> Self {
        Self { view: sight.view(), size: sight.size(), faces: Vec::new(), hint }
    }

    /// Nothing as yet, on the upright picture held another way.
    fn turned(&self, turn: Turn) -> Self {
        Self {
            view: self.view.turned(turn),
            size: Turn::size(Some(turn), self.size),
            faces: Vec::new(),
            hint: self.hint.map(|hint| turn.area(&hint, self.size)),
        }
    }

    fn chosen(&self) -> Option<Detection> {
        choose(&self.faces, self.hint.as_ref(), self.size).copied()
    }

    /// Of the face that would be chosen; 0 without one.
    fn confidence(&self) -> f32 {
        self.chosen().map_or(0.0, |face| face.confidence)
    }

    fn long_side(&self) -> f32 {
        let (width, height) = self.size;
        width.max(height) as f32
    }

    /// The longer side that the picture must be brought to for an area to have `near` pixels on its shorter side.
    fn side_for(&self, near: f32, area: &BoundingBox) -> u32 {
        (near * self.long_side() / area.short_side().max(1.0)).ceil() as u32
    }

    /// Has as many pixels at hand as the embedder's input can show of a face, as far as the file has them.
    fn sharpen(
        &mut self,
        sight: &mut Sight<'_>,
        face: &Detection,
        net: &EmbedderNet,
    ) -> Result<(), Refusal> {
        let blurred = magnification(&sight.at_hand(face).landmarks, net);
        if blurred > 1.0 {
            let at_hand = f64::from(self.long_side() / sight.reduction());
            sight.with_long_side((at_hand * blurred).floor() as u32)?;
            self.view = sight.view();
        }
        Ok(())
    }
}

/// Why a search ended without a result.
pub(super) enum Ended {
    /// The picture is unfit.
    Refused(Refusal),
    /// Something broke on our side.
    Failed(FaceError),
}

impl From<Refusal> for Ended {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<FaceError> for Ended {
    fn from(error: FaceError) -> Self {
        Self::Failed(error)
    }
}

/// A face that was looked at closely.
pub(super) struct Seen {
    pub(super) face: Detection,
    /// In pixels at hand.
    pub(super) landmarks: Landmarks,
    pub(super) aligned: AlignedFace,
    pub(super) embedding: Embedding,
}

/// Of the detections in one picture this many are looked at before there is no face.
const MOST_TRIED: usize = 4;
/// Larger than this a picture is looked at on its side only if that is how the upright one showed something.
const TURNED_SIDE: u32 = 640;

impl OnnxEngine {
    /// The face of a picture, which is then held as it must be for the face to be upright. Pictures are turned only when
    /// the detector found nothing, is not sure of it, or found what turned out to be no face.
    pub(super) fn find(
        &mut self,
        sight: &mut Sight<'_>,
        hint: Option<BoundingBox>,
        watch: &mut Stopwatch,
    ) -> Result<Option<(Found, Seen)>, Ended> {
        let mut upright = Found::nothing(sight, hint);
        let mut tried = self.detect_hinted(sight, &mut upright)?;
        watch.end_of(Stage::Detect);
        let Some(sure) = self.detector.sure() else {
            return Ok(self.look(sight, &mut upright, watch)?.map(|seen| (upright, seen)));
        };
        let is_sure = upright.confidence() >= sure;
        if is_sure && let Some(seen) = self.look(sight, &mut upright, watch)? {
            return Ok(Some((upright, seen)));
        }
        let mut turned = self.surest_turn(sight, &upright, tried)?;
        watch.end_of(Stage::Detect);
        // Upright is what photos usually are: a turn goes before it only where it leaves no doubt.
        let turn_first = turned.confidence() >= sure;
        if turn_first && let Some(seen) = self.look(sight, &mut turned, watch)? {
            return Ok(Some((turned, seen)));
        }
        if !is_sure && let Some(seen) = self.look(sight, &mut upright, watch)? {
            return Ok(Some((upright, seen)));
        }
        // What was taken for a face may have kept the detector from looking closer, where a small one shows. Coarser
        // views than that one are left out: they show animals more often than faces.
        while tried > 0 {
            tried = self.detect(sight, &mut upright, tried, 0, u32::MAX)?;
            watch.end_of(Stage::Detect);
            if let Some(seen) = self.look(sight, &mut upright, watch)? {
                return Ok(Some((upright, seen)));
            }
        }
        // A doubtful turn needs a second opinion.
        let tells_faces = self.refiner.as_ref().is_some_and(LandmarkRefiner::tells_faces);
        if turn_first || !(tells_faces || self.face_check.is_some()) {
            return Ok(None);
        }
        Ok(self.look(sight, &mut turned, watch)?.map(|seen| (turned, seen)))
    }

    /// As [`detect`](Self::detect), beginning with the size at which the face that the sender means shows.
    fn detect_hinted(&mut self, sight: &mut Sight<'_>, found: &mut Found) -> Result<usize, Ended> {
        if let Some(hint) = found.hint {
            let closest = self.detector.closest_side(found.size);
            let least = found.side_for(self.detector.near(), &hint).min(closest);
            let tried = self.detect(sight, found, 0, least, u32::MAX)?;
            if tried > 0 {
                return Ok(tried);
            }
        }
        self.detect(sight, found, 0, 0, u32::MAX)
    }

    /// Looks at the picture at one size after the other, from number `first` on, until there is a face, and once more
    /// at a larger one if that face is small. Sizes below `least` and above `most` are left out, and so are those that
    /// are not larger than the last one before `first`. Returns the number from which on to go on, 0 without a face.
    fn detect(
        &mut self,
        sight: &mut Sight<'_>,
        found: &mut Found,
        first: usize,
        least: u32,
        most: u32,
    ) -> Result<usize, Ended> {
        sight.show(found.view)?;
        found.faces.clear();
        let sides = self.detector.long_sides(found.size);
        let closest = self.detector.closest_side(found.size);
        let mut least = first.checked_sub(1).map_or(least, |last| sides[last] + 1);
        let mut next = 0;
        for (number, side) in sides.iter().enumerate().skip(first) {
            if *side < least || *side > most || sides[..number].contains(side) {
                continue;
            }
            let faces = self.detect_at(sight, *side)?;
            found.view = sight.view();
            if !faces.is_empty() {
                found.faces = faces;
            }
            let Some(face) = found.chosen() else { continue };
            let wanted = found.side_for(self.detector.near(), &face.area);
            let once_more = next == 0 && wanted > *side;
            next = number + 1;
            if !once_more {
                break;
            }
            least = wanted.min(closest).max(side + 1);
        }
        Ok(next)
    }

    fn detect_at(&mut self, sight: &mut Sight<'_>, side: u32) -> Result<Vec<Detection>, Ended> {
        // A closer step may follow: decode once for all of them, not at every step.
        let closest = self.detector.closest_side(sight.size());
        let wanted = if sight.lacks(side) { closest } else { side };
        sight.prepare(wanted, working_bytes(sight.size(), side))?;
        let mut faces = self.detector.detect_at(sight.image(), side)?;
        sight.clear_room();
        for face in &mut faces {
            *face = face.scaled(sight.reduction(), sight.reduction());
        }
        Ok(faces)
    }

    /// The turned picture with the surest face, looked at from the size on at which the upright one showed something.
    fn surest_turn(
        &mut self,
        sight: &mut Sight<'_>,
        upright: &Found,
        tried: usize,
    ) -> Result<Found, Ended> {
        let first = tried.saturating_sub(1);
        let sides = self.detector.long_sides(upright.size);
        let most = sides.get(first).copied().unwrap_or_default().max(TURNED_SIDE);
        let mut turned = |turn: Turn| -> Result<Found, Ended> {
            let mut found = upright.turned(turn);
            self.detect(sight, &mut found, first, 0, most)?;
            Ok(found)
        };
        let [one, others @ ..] = TURNS;
        let mut surest = turned(one)?;
        for turn in others {
            let found = turned(turn)?;
            if found.confidence() > surest.confidence() {
                surest = found;
            }
        }
        Ok(surest)
    }

    /// The first choice among the detections that holds up when it is looked at closely; those that do not are
    /// detections no more.
    fn look(
        &mut self,
        sight: &mut Sight<'_>,
        found: &mut Found,
        watch: &mut Stopwatch,
    ) -> Result<Option<Seen>, Ended> {
        for _ in 0..MOST_TRIED {
            let Some(face) = found.chosen() else { break };
            sight.show(found.view)?;
            found.sharpen(sight, &face, self.embedder.net())?;
            watch.end_of(Stage::Decode);
            if let Some(seen) = self.look_at(sight, face, watch)? {
                return Ok(Some(seen));
            }
            found.faces.retain(|other| *other != face);
        }
        Ok(None)
    }

    /// Refines, aligns and embeds a detection; `None` if it is no face.
    fn look_at(
        &mut self,
        sight: &Sight<'_>,
        face: Detection,
        watch: &mut Stopwatch,
    ) -> Result<Option<Seen>, FaceError> {
        let at_hand = sight.at_hand(&face);
        let landmarks = match &mut self.refiner {
            Some(refiner) => refiner.refine(sight.image(), &at_hand)?,
            None => Some(at_hand.landmarks),
        };
        watch.end_of(Stage::Landmarks);
        let Some(landmarks) = landmarks else { return Ok(None) };
        let Some(aligned) = align(sight.image(), &landmarks, self.embedder.net()) else {
            return Ok(None);
        };
        watch.end_of(Stage::Align);
        let embedding = self.embedder.embed(&aligned)?;
        watch.end_of(Stage::Embed);
        let passes =
            self.face_check.is_none_or(|check| check.passes(face.confidence, embedding.length()));
        Ok(passes.then_some(Seen { face, landmarks, aligned, embedding }))
    }
}
