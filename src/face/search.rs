//! Looking for the face of a picture: at several sizes, on its side and on its head, and closely enough to tell a face
//! from what only looks like one. Cheapest first; a photo of an upright face takes one pass.

use image::RgbImage;

use super::{
    align::{AlignedFace, align},
    detect::{Detection, choose},
    engine::OnnxEngine,
    error::FaceError,
    geometry::{BoundingBox, Landmarks},
    similarity::Embedding,
    stages::{Stage, Stopwatch},
    turn::{TURNS, Turn},
};

/// Where faces were looked for, and what was found.
pub(super) struct Found {
    pub(super) turn: Option<Turn>,
    pub(super) image: RgbImage,
    pub(super) faces: Vec<Detection>,
    hint: Option<BoundingBox>,
}

impl Found {
    /// Of the face that would be chosen; 0 without one.
    fn confidence(&self) -> f32 {
        let chosen = choose(&self.faces, self.hint.as_ref(), self.image.dimensions());
        chosen.map_or(0.0, |face| face.confidence)
    }
}

/// A face that was looked at closely.
pub(super) struct Seen {
    pub(super) face: Detection,
    pub(super) landmarks: Landmarks,
    pub(super) aligned: AlignedFace,
    pub(super) embedding: Embedding,
}

/// Of the detections in one picture this many are looked at before there is no face.
const MOST_TRIED: usize = 4;

impl OnnxEngine {
    /// The face of a picture, and the picture as it must be held for it to be upright. Pictures are turned only when
    /// the detector found nothing, is not sure of it, or found what turned out to be no face.
    pub(super) fn find(
        &mut self,
        image: RgbImage,
        hint: Option<BoundingBox>,
        watch: &mut Stopwatch,
    ) -> Result<Option<(Found, Seen)>, FaceError> {
        let (faces, mut tried) = self.detector.detect_closer(&image, 0)?;
        watch.end_of(Stage::Detect);
        let mut upright = Found { turn: None, image, faces, hint };
        let Some(sure) = self.detector.sure() else {
            return Ok(self.look(&mut upright, watch)?.map(|seen| (upright, seen)));
        };
        let is_sure = upright.confidence() >= sure;
        if is_sure && let Some(seen) = self.look(&mut upright, watch)? {
            return Ok(Some((upright, seen)));
        }
        let mut turned = self.surest_turn(&upright.image, hint)?;
        watch.end_of(Stage::Detect);
        // Upright is what photos usually are: a turn goes before it only where it leaves no doubt.
        let turn_first = turned.confidence() >= sure;
        if turn_first && let Some(seen) = self.look(&mut turned, watch)? {
            return Ok(Some((turned, seen)));
        }
        if !is_sure && let Some(seen) = self.look(&mut upright, watch)? {
            return Ok(Some((upright, seen)));
        }
        // What was taken for a face may have kept the detector from looking closer, where a small one shows. Coarser
        // views than that one are left out: they show animals more often than faces.
        while tried > 0 {
            (upright.faces, tried) = self.detector.detect_closer(&upright.image, tried)?;
            watch.end_of(Stage::Detect);
            if let Some(seen) = self.look(&mut upright, watch)? {
                return Ok(Some((upright, seen)));
            }
        }
        // A doubtful turn needs a second opinion.
        if turn_first || self.face_check.is_none() {
            return Ok(None);
        }
        Ok(self.look(&mut turned, watch)?.map(|seen| (turned, seen)))
    }

    /// The turned picture with the surest face.
    fn surest_turn(
        &mut self,
        upright: &RgbImage,
        hint: Option<BoundingBox>,
    ) -> Result<Found, FaceError> {
        let mut turned = |turn: Turn| -> Result<Found, FaceError> {
            let image = turn.of(upright);
            let faces = self.detector.detect_once(&image)?;
            let hint = hint.map(|hint| turn.area(&hint, upright.dimensions()));
            Ok(Found { turn: Some(turn), image, faces, hint })
        };
        let [first, others @ ..] = TURNS;
        let mut surest = turned(first)?;
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
        found: &mut Found,
        watch: &mut Stopwatch,
    ) -> Result<Option<Seen>, FaceError> {
        for _ in 0..MOST_TRIED {
            let chosen = choose(&found.faces, found.hint.as_ref(), found.image.dimensions());
            let Some(face) = chosen.copied() else { break };
            if let Some(seen) = self.look_at(&found.image, face, watch)? {
                return Ok(Some(seen));
            }
            found.faces.retain(|other| *other != face);
        }
        Ok(None)
    }

    /// Refines, aligns and embeds a detection; `None` if it is no face.
    fn look_at(
        &mut self,
        image: &RgbImage,
        face: Detection,
        watch: &mut Stopwatch,
    ) -> Result<Option<Seen>, FaceError> {
        let landmarks = match &mut self.refiner {
            Some(refiner) => refiner.refine(image, &face)?,
            None => face.landmarks,
        };
        watch.end_of(Stage::Landmarks);
        let Some(aligned) = align(image, &landmarks, self.embedder.net()) else {
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
