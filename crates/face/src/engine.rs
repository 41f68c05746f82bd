//! The straight line through the pipeline: decode, detect, choose, refine, align, embed, measure,
//! compare.

use image::RgbImage;
use serde::{Deserialize, Serialize};

use super::{
    align::align,
    attributes::{EyeClassifier, PoseEstimator},
    decode::DecodeLimits,
    detect::{Detection, Detector},
    embed::Embedder,
    error::FaceError,
    geometry::{BoundingBox, Landmarks, Point},
    landmarks::LandmarkRefiner,
    manifest::ResolvedPack,
    memory::PixelMemory,
    plausible::FaceCheck,
    quality::{Observed, Quality, QualityLimits, UnifiedQuality, judge, measure},
    refusal::Refusal,
    search::{Ended, Found, Seen},
    session::Runtime,
    sight::Sight,
    similarity::{Embedding, Similarity},
    stages::{Stage, StageTimes, Stopwatch},
};

/// What kind of picture a face is on; documents are held to other quality limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PictureKind {
    /// Taken of the living person.
    #[default]
    Selfie,
    /// The portrait of an identity document.
    Document,
}

/// One picture as it came.
#[derive(Debug, Clone, Copy)]
pub struct Picture<'a> {
    /// The file.
    pub bytes: &'a [u8],
    /// Where the sender says the face is, in pixels of the upright picture.
    pub hint: Option<BoundingBox>,
    /// Selfie or document.
    pub kind: PictureKind,
}

/// Which of the two pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The picture being questioned (`face1`).
    Probe,
    /// The picture it is held against (`face2`).
    Reference,
}

/// What was found on one picture, without the picture and without the embedding.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FaceReport {
    /// Pixels of the upright picture, left to right.
    pub width: u32,
    /// Pixels of the upright picture, top to bottom.
    pub height: u32,
    /// How many faces were found.
    pub faces: usize,
    /// The chosen face's box, in pixels of the upright picture.
    pub area: BoundingBox,
    /// Its landmarks after refinement.
    pub landmarks: Landmarks,
    /// Is it good enough?
    pub quality: Quality,
}

/// The outcome of one comparison.
#[derive(Debug, Clone, PartialEq)]
pub enum Comparison {
    /// Both pictures showed a face.
    Compared {
        /// How much alike the two faces are.
        similarity: Similarity,
        /// What was found on the probe.
        probe: Box<FaceReport>,
        /// What was found on the reference.
        reference: Box<FaceReport>,
        /// How long the stages took, for the probe and for the reference.
        times: [StageTimes; 2],
    },
    /// A picture could not be used; the probe is looked at first.
    Refused {
        /// Which one.
        side: Side,
        /// Why.
        refusal: Refusal,
    },
}

/// Compares two pictures on the calling thread.
pub trait Engine: Send {
    /// Compares `probe` with `reference`; the order does not change the similarity.
    ///
    /// # Errors
    /// [`FaceError`] when something broke on our side; a bad picture is a [`Comparison::Refused`].
    fn compare(
        &mut self,
        probe: &Picture<'_>,
        reference: &Picture<'_>,
    ) -> Result<Comparison, FaceError>;

    /// What is found on one picture by itself.
    ///
    /// # Errors
    /// [`FaceError`] when something broke on our side; a bad picture is a [`Refusal`].
    fn look(&mut self, picture: &Picture<'_>) -> Result<Look, FaceError> {
        // Whoever can only compare finds on the first of two pictures what is on it.
        Ok(match self.compare(picture, picture)? {
            Comparison::Compared { probe, .. } => Ok(probe),
            Comparison::Refused { refusal, .. } => Err(refusal),
        })
    }
}

/// What a look at one picture came to.
pub type Look = Result<Box<FaceReport>, Refusal>;

/// What the pipeline accepts and demands.
#[derive(Debug, Clone, Default)]
pub struct EngineOptions {
    /// Limits on the files.
    pub limits: DecodeLimits,
    /// Quality limits for selfies.
    pub selfie: QualityLimits,
    /// Quality limits for document portraits.
    pub document: QualityLimits,
    /// The memory for decoded pixels, which all engines of a process share.
    pub memory: PixelMemory,
}

/// An analysed face.
#[derive(Debug, Clone)]
pub struct AnalysedFace {
    /// For comparison, then to be dropped.
    pub embedding: Embedding,
    /// What its length brings to the stretching of its pairs; 1 if the pack does not use lengths.
    pub factor: f32,
    /// For the answer.
    pub report: FaceReport,
    /// For whoever measures.
    pub times: StageTimes,
}

/// The pipeline on ONNX Runtime, with sessions of its own and, for large nets, those of the runtime's device.
#[derive(Debug)]
pub struct OnnxEngine {
    runtime: Runtime,
    options: EngineOptions,
    pub(super) detector: Detector,
    pub(super) refiner: Option<LandmarkRefiner>,
    pose: Option<PoseEstimator>,
    yaw_from_landmarks: Option<f32>,
    eyes: Option<EyeClassifier>,
    pub(super) embedder: Embedder,
    pub(super) face_check: Option<FaceCheck>,
    unified: Option<UnifiedQuality>,
}

impl OnnxEngine {
    /// Opens all nets of a pack, each with its digest checked.
    ///
    /// # Errors
    /// Any [`FaceError`] of loading.
    pub fn open(
        runtime: &Runtime,
        pack: &ResolvedPack,
        options: EngineOptions,
    ) -> Result<Self, FaceError> {
        Ok(Self {
            runtime: runtime.clone(),
            options,
            detector: Detector::open(runtime, &pack.detector)?,
            refiner: pack
                .landmarks
                .as_ref()
                .map(|n| LandmarkRefiner::open(runtime, n))
                .transpose()?,
            pose: pack.pose.as_ref().map(|n| PoseEstimator::open(runtime, n)).transpose()?,
            yaw_from_landmarks: pack.yaw_from_landmarks,
            eyes: pack.eyes.as_ref().map(|n| EyeClassifier::open(runtime, n)).transpose()?,
            embedder: Embedder::open(runtime, &pack.embedder)?,
            face_check: pack.face_check,
            unified: pack.quality,
        })
    }

    /// Runs every net once, so that the first customer does not wait for what ONNX Runtime puts off.
    ///
    /// # Errors
    /// As [`analyse`](Self::analyse).
    pub fn warm_up(&mut self) -> Result<(), FaceError> {
        let grey = RgbImage::from_pixel(640, 640, image::Rgb([128; 3]));
        if let Some(side) = self.detector.long_sides(grey.dimensions()).first() {
            self.detector.detect_at(&grey, *side)?;
        }
        let area = BoundingBox::new(200.0, 200.0, 200.0, 240.0);
        let points =
            [(260.0, 300.0), (340.0, 300.0), (300.0, 340.0), (270.0, 390.0), (330.0, 390.0)];
        let landmarks = Landmarks(points.map(|(x, y)| Point::new(x, y)));
        let face = Detection { area, landmarks, confidence: 1.0 };
        self.refiner.as_mut().map(|net| net.refine(&grey, &face)).transpose()?;
        self.pose.as_mut().map(|net| net.estimate(&grey, &area)).transpose()?;
        self.eyes.as_mut().map(|net| net.open_probability(&grey, &landmarks)).transpose()?;
        if let Some(aligned) = align(&grey, &landmarks, self.embedder.net()) {
            self.embedder.embed(&aligned)?;
        }
        Ok(())
    }

    /// Takes one picture from its bytes to an embedding and a report.
    ///
    /// # Errors
    /// [`FaceError`] when something broke on our side; `Ok(Err(refusal))` when the picture is unfit.
    pub fn analyse(
        &mut self,
        picture: &Picture<'_>,
    ) -> Result<Result<AnalysedFace, Refusal>, FaceError> {
        let mut watch = Stopwatch::start();
        let _at_work = self.runtime.at_work();
        let (limits, memory) = (self.options.limits, self.options.memory.clone());
        let mut sight = match Sight::open(picture.bytes, &limits, &memory) {
            Ok(sight) => sight,
            Err(refusal) => return Ok(Err(refusal)),
        };
        watch.end_of(Stage::Decode);
        let size = sight.size();
        let (Found { faces, .. }, seen) = match self.find(&mut sight, picture.hint, &mut watch) {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(Err(Refusal::NoFace)),
            Err(Ended::Refused(refusal)) => return Ok(Err(refusal)),
            Err(Ended::Failed(error)) => return Err(error),
        };
        let Seen { face, landmarks, aligned, embedding } = seen;
        let (image, area) = (sight.image(), sight.at_hand(&face).area);
        let pose = self.pose.as_mut().map(|net| net.estimate(image, &area)).transpose()?;
        let eyes =
            self.eyes.as_mut().map(|net| net.open_probability(image, &landmarks)).transpose()?;
        let landmarks = landmarks.scaled(sight.reduction(), sight.reduction());
        let yaw = match (&pose, self.yaw_from_landmarks) {
            (Some(pose), _) => Some(pose.yaw),
            (None, Some(degrees)) => Some((degrees * landmarks.nose_offset()).clamp(-90.0, 90.0)),
            (None, None) => None,
        };
        let measures = measure(&Observed {
            size: sight.size(),
            face: &face,
            landmarks: &landmarks,
            faces: &faces,
            yaw,
            pitch: pose.map(|pose| pose.pitch),
            eyes,
            aligned: &aligned,
            length: embedding.length(),
            unified: self.unified.as_ref(),
        });
        watch.end_of(Stage::Quality);
        // Told as they lie on the picture that was sent.
        let turn = sight.view().turn;
        let area = turn.map_or(face.area, |turn| turn.area_back(&face.area, size));
        let landmarks = turn.map_or(landmarks, |turn| turn.landmarks_back(&landmarks, size));
        let report = FaceReport {
            width: size.0,
            height: size.1,
            faces: faces.len(),
            area,
            landmarks,
            quality: judge(measures, self.limits(picture.kind)),
        };
        let factor = self.embedder.net().factor(embedding.length());
        Ok(Ok(AnalysedFace { embedding, factor, report, times: watch.times() }))
    }

    fn limits(&self, kind: PictureKind) -> &QualityLimits {
        match kind {
            PictureKind::Selfie => &self.options.selfie,
            PictureKind::Document => &self.options.document,
        }
    }
}

impl Engine for OnnxEngine {
    fn compare(
        &mut self,
        probe: &Picture<'_>,
        reference: &Picture<'_>,
    ) -> Result<Comparison, FaceError> {
        let probe = match self.analyse(probe)? {
            Ok(face) => face,
            Err(refusal) => return Ok(Comparison::Refused { side: Side::Probe, refusal }),
        };
        let reference = match self.analyse(reference)? {
            Ok(face) => face,
            Err(refusal) => return Ok(Comparison::Refused { side: Side::Reference, refusal }),
        };
        Ok(Comparison::Compared {
            similarity: self.embedder.net().similarity(&probe.embedding, &reference.embedding),
            probe: Box::new(probe.report),
            reference: Box::new(reference.report),
            times: [probe.times, reference.times],
        })
    }

    fn look(&mut self, picture: &Picture<'_>) -> Result<Look, FaceError> {
        Ok(self.analyse(picture)?.map(|face| Box::new(face.report)))
    }
}
