//! Where to search for the face of an image: in several passes of the detector, closer or with the
//! image rotated. The cheapest pass comes first; a photo of an upright face takes one pass over few
//! pixels.
//!
//! Passes are made when they are needed: the pipeline asks for the next detection to examine, and
//! asks again when that is no face.
//!
//! 1. Upright, from coarse to fine, until something shows.
//! 2. Rotated by an eighth to either side, then by a quarter, a half, three quarters: only
//!    when the detector found nothing, is not sure, or found no face. A sure rotated face comes
//!    before an unsure upright one, because upright is what photos usually are.
//! 3. Upright again at finer sizes: a false detection may have prevented a closer pass, which shows
//!    a small face.
//! 4. An unsure rotated face, if a part of the pack other than the detector can reject it.

use super::{
    detect::Detector,
    detection::Detection,
    error::Ended,
    geometry::BoundingBox,
    lazy_image::LazyImage,
    manifest::EmbedderNet,
    refusal::Refusal,
    rotation::ROTATIONS,
    stages::{Stage, Stopwatch},
    view_faces::{SizeRange, ViewFaces},
};

/// Detections of one step that are examined before the next step is taken.
const MAX_EXAMINED: usize = 4;
/// A rotated image is searched at larger sizes only if the upright one showed something there.
const ROTATED_SIDE: u32 = 640;

/// The image is rotated by so many degrees: a head that leans by up to 60° to either side is
/// upright to within 23° on one of the three.
const ANGLES_DEG: [f32; 2] = [45.0, -45.0];
/// At an angle, an image is searched at no larger size, in pixels of its longer side.
const ANGLED_SIDE: u32 = 320;

/// The steps of a search, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SearchStep {
    Upright,
    AtAngle,
    Rotated,
    UnsureUpright,
    CloserUpright,
    UnsureRotated,
    End,
}

/// Which way of holding the image is being examined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ExaminedView {
    Upright,
    Rotated,
}

/// The search for the face of one image.
#[derive(Debug)]
pub(super) struct Search {
    upright: ViewFaces,
    /// The rotated image with the surest face, once it was looked for.
    rotated: Option<ViewFaces>,
    next_step: SearchStep,
    /// What `next` returned last, or would return next.
    examined_view: ExaminedView,
    /// How many more detections of this step are examined.
    left: usize,
    /// The detection that is being examined.
    examined: Option<Detection>,
    /// The number of the detector's size from which to go on, 0 when nothing was found.
    tried: usize,
    is_sure_upright: bool,
    is_sure_rotated: bool,
    has_second_opinion: bool,
}

impl Search {
    /// On the upright image. `hint` is where the sender says the face is, in pixels of the file;
    /// `has_second_opinion` whether a part of the pack other than the detector can reject a
    /// detection that is no face.
    pub(super) fn new(
        image: &LazyImage<'_>,
        hint: Option<BoundingBox>,
        has_second_opinion: bool,
    ) -> Self {
        Self {
            upright: ViewFaces::new(image, hint),
            rotated: None,
            next_step: SearchStep::Upright,
            examined_view: ExaminedView::Upright,
            left: 0,
            examined: None,
            tried: 0,
            is_sure_upright: false,
            is_sure_rotated: false,
            has_second_opinion,
        }
    }

    /// The next detection to examine, in pixels of the file with the image held as it is now;
    /// `None` when there is none left. The one before it was no face.
    pub(super) fn next(
        &mut self,
        image: &mut LazyImage<'_>,
        detector: &mut Detector,
        watch: &mut Stopwatch,
    ) -> Result<Option<Detection>, Ended> {
        if let Some(rejected) = self.examined.take() {
            self.current_mut().reject(&rejected);
        }
        loop {
            if self.left > 0
                && let Some(face) = self.current().chosen()
            {
                image.show(self.current().view())?;
                self.left -= 1;
                self.examined = Some(face);
                return Ok(Some(face));
            }
            if self.next_step == SearchStep::End {
                return Ok(None);
            }
            self.take_step(image, detector, watch)?;
        }
    }

    /// Decodes as many pixels of a face as the embedder's input can show, if the file has them.
    pub(super) fn sharpen(
        &mut self,
        image: &mut LazyImage<'_>,
        face: &Detection,
        net: &EmbedderNet,
    ) -> Result<(), Refusal> {
        self.current_mut().sharpen(image, face, net)
    }

    /// The faces of the image as it is held, without those that were rejected.
    pub(super) fn faces(&self) -> &[Detection] {
        self.current().faces()
    }

    /// Whether the sender says that it is this face.
    pub(super) fn is_selected(&self, face: &Detection) -> bool {
        self.current().is_selected(face)
    }

    /// Whether the detection to examine was found on the image rotated by an angle.
    pub(super) fn is_at_angle(&self) -> bool {
        self.current().is_at_angle()
    }

    fn current(&self) -> &ViewFaces {
        match (self.examined_view, &self.rotated) {
            (ExaminedView::Rotated, Some(rotated)) => rotated,
            _ => &self.upright,
        }
    }

    fn current_mut(&mut self) -> &mut ViewFaces {
        match (self.examined_view, &mut self.rotated) {
            (ExaminedView::Rotated, Some(rotated)) => rotated,
            _ => &mut self.upright,
        }
    }

    fn take_step(
        &mut self,
        image: &mut LazyImage<'_>,
        detector: &mut Detector,
        watch: &mut Stopwatch,
    ) -> Result<(), Ended> {
        self.left = 0;
        match self.next_step {
            SearchStep::Upright => {
                self.tried = self.upright.detect_hinted(image, detector)?;
                watch.finish(Stage::Detect);
                // A pack without a threshold is never rotated.
                let sure = detector.sure();
                self.is_sure_upright = sure.is_none_or(|sure| self.upright.confidence() >= sure);
                self.next_step = if sure.is_some() { SearchStep::AtAngle } else { SearchStep::End };
                self.examine_if(self.is_sure_upright, ExaminedView::Upright);
            }
            SearchStep::AtAngle => {
                let sizes = SizeRange { most: ANGLED_SIDE, ..SizeRange::default() };
                let views = ANGLES_DEG.map(|degrees| self.upright.at_angle(degrees));
                self.keep_surest(views, image, detector, sizes)?;
                watch.finish(Stage::Detect);
                self.next_step = SearchStep::Rotated;
                self.examine_if(self.is_sure_rotated, ExaminedView::Rotated);
            }
            SearchStep::Rotated => {
                let sizes = self.rotated_sizes(detector);
                let views = ROTATIONS.map(|rotation| self.upright.rotated(rotation));
                self.keep_surest(views, image, detector, sizes)?;
                watch.finish(Stage::Detect);
                self.next_step = SearchStep::UnsureUpright;
                self.examine_if(self.is_sure_rotated, ExaminedView::Rotated);
            }
            SearchStep::UnsureUpright => {
                self.next_step = SearchStep::CloserUpright;
                self.examine_if(!self.is_sure_upright, ExaminedView::Upright);
            }
            // Coarser sizes than that one are left out: they show animals more often than faces.
            SearchStep::CloserUpright if self.tried > 0 => {
                let sizes = SizeRange { first: self.tried, ..SizeRange::default() };
                self.tried = self.upright.detect(image, detector, sizes)?;
                watch.finish(Stage::Detect);
                self.examine_if(true, ExaminedView::Upright);
            }
            SearchStep::CloserUpright => self.next_step = SearchStep::UnsureRotated,
            SearchStep::UnsureRotated => {
                self.next_step = SearchStep::End;
                self.examine_if(
                    !self.is_sure_rotated && self.has_second_opinion,
                    ExaminedView::Rotated,
                );
            }
            SearchStep::End => {}
        }
        Ok(())
    }

    fn examine_if(&mut self, wanted: bool, examined_view: ExaminedView) {
        if wanted {
            (self.examined_view, self.left) = (examined_view, MAX_EXAMINED);
        }
    }

    /// Searches the image in these views, and keeps the surest face of them and of what was kept
    /// before.
    fn keep_surest<const N: usize>(
        &mut self,
        views: [ViewFaces; N],
        image: &mut LazyImage<'_>,
        detector: &mut Detector,
        sizes: SizeRange,
    ) -> Result<(), Ended> {
        for mut faces in views {
            faces.detect(image, detector, sizes)?;
            if self.rotated.as_ref().is_none_or(|kept| faces.confidence() > kept.confidence()) {
                self.rotated = Some(faces);
            }
        }
        let confidence = self.rotated.as_ref().map_or(0.0, ViewFaces::confidence);
        self.is_sure_rotated = detector.sure().is_some_and(|sure| confidence >= sure);
        Ok(())
    }

    /// The sizes at which a rotated image is searched: from the one on at which the upright one
    /// showed something.
    fn rotated_sizes(&self, detector: &Detector) -> SizeRange {
        let first = self.tried.saturating_sub(1);
        let sides = detector.long_sides(self.upright.size());
        let most = sides.get(first).copied().unwrap_or_default().max(ROTATED_SIDE);
        SizeRange { first, least: 0, most }
    }
}
