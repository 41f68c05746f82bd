//! The straight line from two image files to a similarity: decode, detect, choose, refine, align,
//! embed, measure, compare.

use image::RgbImage;

use super::{
    align::{AlignedFace, align},
    attributes::{EyeClassifier, PoseEstimator},
    comparison::{Comparison, Engine, FaceReport, Inspection, Picture, PictureKind, Side},
    cover::CoverNet,
    detect::Detector,
    detection::Detection,
    embed::Embedder,
    error::{Ended, FaceError},
    face_check::FaceCheck,
    geometry::{BoundingBox, Landmarks, Point},
    landmarks::LandmarkRefiner,
    lazy_image::LazyImage,
    limits::DecodeLimits,
    manifest::ResolvedPack,
    memory::PixelMemory,
    quality::{Bounds, Measures, Observed, QualityLimits, UnifiedQuality, judge, measure},
    refusal::Refusal,
    search::Search,
    session::Runtime,
    similarity::Embedding,
    stages::{Stage, StageTimes, Stopwatch},
    upright::{RotatedCrop, crop_found_at_angle, crop_tilted},
};

/// What the pipeline accepts and demands.
#[derive(Debug, Clone, Default)]
pub struct PipelineOptions {
    /// Limits on the files.
    pub limits: DecodeLimits,
    /// Quality limits for selfies.
    pub selfie: QualityLimits,
    /// Quality limits for document portraits.
    pub document: QualityLimits,
    /// The memory for decoded pixels, which all pipelines of a process share.
    pub memory: PixelMemory,
}

/// An analysed face.
#[derive(Debug, Clone)]
pub struct AnalysedFace {
    /// For comparison, then to be dropped.
    pub embedding: Embedding,
    /// What was found.
    pub report: FaceReport,
    /// How long the stages took.
    pub times: StageTimes,
}

/// The pipeline on ONNX Runtime, with sessions of its own and, for large nets, those of the
/// runtime's device.
#[derive(Debug)]
pub struct Pipeline {
    runtime: Runtime,
    options: PipelineOptions,
    detector: Detector,
    refiner: Option<LandmarkRefiner>,
    pose: Option<PoseEstimator>,
    yaw_from_landmarks: Option<f32>,
    eyes: Option<EyeClassifier>,
    cover: CoverNet,
    embedder: Embedder,
    /// The weight of its cosine, and the other embedders with theirs.
    weight: f32,
    further: Vec<(Embedder, f32)>,
    face_check: Option<FaceCheck>,
    unified: Option<UnifiedQuality>,
}

impl Engine for Pipeline {
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
            similarity: probe.embedding.similarity(&reference.embedding),
            degradation_loss: probe.embedding.degradation_loss(&reference.embedding),
            probe: Box::new(probe.report),
            reference: Box::new(reference.report),
            times: [probe.times, reference.times],
        })
    }

    fn inspect(&mut self, picture: &Picture<'_>) -> Result<Inspection, FaceError> {
        Ok(self.analyse(picture)?.map(|face| Box::new(face.report)))
    }
}

impl Pipeline {
    /// Takes one photo from its bytes to an embedding and a report.
    ///
    /// # Errors
    /// [`FaceError`] for an internal failure; `Ok(Err(refusal))` when the photo cannot be used.
    pub fn analyse(
        &mut self,
        picture: &Picture<'_>,
    ) -> Result<Result<AnalysedFace, Refusal>, FaceError> {
        let _active = self.runtime.mark_active();
        match self.run(picture) {
            Ok(face) => Ok(Ok(face)),
            Err(Ended::Refused(refusal)) => Ok(Err(refusal)),
            Err(Ended::Failed(error)) => Err(error),
        }
    }

    /// The line. [`Search`] decides where to look next: closer, or with the image rotated.
    fn run(&mut self, picture: &Picture<'_>) -> Result<AnalysedFace, Ended> {
        let mut watch = Stopwatch::start();
        let memory = self.options.memory.clone();
        let mut image = LazyImage::open(picture.bytes, &self.options.limits, &memory)?;
        watch.finish(Stage::Decode);

        let mut search = Search::new(&image, picture.hint, self.has_second_opinion());
        let face = loop {
            let next = search.next(&mut image, &mut self.detector, &mut watch)?;
            let Some(detection) = next else { return Err(Refusal::NoFace.into()) };
            search.sharpen(&mut image, &detection, self.embedder.net())?;
            watch.finish(Stage::Decode);
            let at_angle = search.is_at_angle();
            if let Some(face) = self.examine(&image, detection, at_angle, &mut watch)? {
                break face;
            }
        };

        // Reported as they lie on the photo that was sent.
        let (size, rotation) = (image.upright_size(), image.view().rotation);
        let (area, landmarks) = (face.detection.area, image.in_file(&face.landmarks));
        let landmarks =
            rotation.map_or(landmarks, |rotation| rotation.landmarks_back(&landmarks, size));
        let measures = self.measure(&image, search.faces(), &face, landmarks.roll())?;
        watch.finish(Stage::Quality);

        let mut limits = *self.quality_limits(picture.kind);
        if search.is_selected(&face.detection) {
            limits.other_face = Bounds::default();
        }
        let report = FaceReport {
            width: size.0,
            height: size.1,
            faces: search.faces().len(),
            area: rotation.map_or(area, |rotation| rotation.area_back(&area, size)),
            landmarks,
            quality: judge(measures, &limits),
        };
        Ok(AnalysedFace { embedding: face.embedding, report, times: watch.times() })
    }

    /// Refines, aligns and embeds a detection; `None` if it is no face. `at_angle` says that it
    /// was found on the image rotated by an angle.
    fn examine(
        &mut self,
        image: &LazyImage<'_>,
        detection: Detection,
        at_angle: bool,
        watch: &mut Stopwatch,
    ) -> Result<Option<ExaminedFace>, FaceError> {
        let at_hand = image.at_hand(&detection);
        let Some(upright) = self.upright(image.pixels(), &at_hand, at_angle, watch)? else {
            return Ok(None);
        };
        let landmarks = upright.landmarks();
        let Some(aligned) = align(image.pixels(), &landmarks, self.embedder.net()) else {
            return Ok(None);
        };
        watch.finish(Stage::Align);
        let embedding = self.embedder.embed(&aligned)?;
        watch.finish(Stage::Embed);
        let (confidence, length) = (upright.face.confidence, embedding.length());
        let is_face = self.face_check.is_none_or(|check| check.passes(confidence, length));
        if !is_face {
            return Ok(None);
        }
        let mut further = Vec::with_capacity(self.further.len());
        for (embedder, weight) in &mut self.further {
            let Some(aligned) = align(image.pixels(), &landmarks, embedder.net()) else {
                return Ok(None);
            };
            further.push((embedder.embed(&aligned)?, *weight));
        }
        let embedding = embedding.joined(self.weight, &further);
        watch.finish(Stage::Embed);
        Ok(Some(ExaminedFace { detection, upright, landmarks, aligned, embedding }))
    }

    /// A detection upright, with refined landmarks; `None` if it is no face.
    fn upright(
        &mut self,
        pixels: &RgbImage,
        face: &Detection,
        at_angle: bool,
        watch: &mut Stopwatch,
    ) -> Result<Option<UprightFace>, FaceError> {
        let (crop, face) = if at_angle {
            crop_found_at_angle(pixels, face, &mut self.detector)?
        } else {
            let Some(face) = self.refine(pixels, face, watch)? else { return Ok(None) };
            let Some(tilted) = crop_tilted(pixels, &face, &mut self.detector)? else {
                return Ok(Some(UprightFace { crop: None, face }));
            };
            tilted
        };
        watch.finish(Stage::Detect);
        let face = self.refine(&crop.pixels, &face, watch)?;
        Ok(face.map(|face| UprightFace { crop: Some(crop), face }))
    }

    /// A detection with its landmarks refined, if the pack can; `None` if it is no face.
    fn refine(
        &mut self,
        pixels: &RgbImage,
        face: &Detection,
        watch: &mut Stopwatch,
    ) -> Result<Option<Detection>, FaceError> {
        let landmarks = match &mut self.refiner {
            Some(refiner) => refiner.refine(pixels, face)?,
            None => Some(face.landmarks),
        };
        watch.finish(Stage::Landmarks);
        Ok(landmarks.map(|landmarks| Detection { landmarks, ..*face }))
    }

    /// Takes the quality measures of a face among all `faces` of the image; `roll` is that of its
    /// landmarks on the photo that was sent, in degrees.
    fn measure(
        &mut self,
        image: &LazyImage<'_>,
        faces: &[Detection],
        face: &ExaminedFace,
        roll: f32,
    ) -> Result<Measures, FaceError> {
        let upright = &face.upright.face;
        let pixels = face.upright.crop.as_ref().map_or(image.pixels(), |crop| &crop.pixels);
        let pose = self.pose.as_mut().map(|net| net.estimate(pixels, &upright.area)).transpose()?;
        let eyes = self.eyes.as_mut();
        let eyes = eyes.map(|net| net.open_probability(pixels, &upright.landmarks)).transpose()?;
        let cover = self.cover.estimate(image.pixels(), &face.landmarks)?;
        let landmarks = image.in_file(&face.landmarks);
        let yaw = match (&pose, self.yaw_from_landmarks) {
            (Some(pose), _) => Some(pose.yaw),
            (None, Some(degrees)) => Some((degrees * landmarks.nose_offset()).clamp(-90.0, 90.0)),
            (None, None) => None,
        };
        Ok(measure(&Observed {
            size: image.size(),
            face: &face.detection,
            landmarks: &landmarks,
            faces,
            confidence: upright.confidence,
            roll,
            yaw,
            pitch: pose.map(|pose| pose.pitch),
            eyes,
            cover,
            aligned: &face.aligned,
            length: face.embedding.length(),
            unified: self.unified.as_ref(),
        }))
    }

    /// Whether a part of the pack other than the detector can reject a detection that is no face.
    fn has_second_opinion(&self) -> bool {
        let refiner_can = self.refiner.as_ref().is_some_and(LandmarkRefiner::can_reject);
        refiner_can || self.face_check.is_some()
    }

    fn quality_limits(&self, kind: PictureKind) -> &QualityLimits {
        match kind {
            PictureKind::Selfie => &self.options.selfie,
            PictureKind::Document => &self.options.document,
        }
    }

    /// Opens all nets of a pack, each with its digest checked.
    ///
    /// # Errors
    /// Any [`FaceError`] of loading.
    pub fn open(
        runtime: &Runtime,
        pack: &ResolvedPack,
        options: PipelineOptions,
    ) -> Result<Self, FaceError> {
        let (landmarks, pose, eyes) =
            (pack.landmarks.as_ref(), pack.pose.as_ref(), pack.eyes.as_ref());
        Ok(Self {
            runtime: runtime.clone(),
            options,
            detector: Detector::open(runtime, &pack.detector)?,
            refiner: landmarks.map(|net| LandmarkRefiner::open(runtime, net)).transpose()?,
            pose: pose.map(|net| PoseEstimator::open(runtime, net)).transpose()?,
            yaw_from_landmarks: pack.yaw_from_landmarks,
            eyes: eyes.map(|net| EyeClassifier::open(runtime, net)).transpose()?,
            cover: CoverNet::open(runtime)?,
            embedder: Embedder::open(runtime, &pack.embedder)?,
            weight: pack.weight,
            further: pack
                .further
                .iter()
                .map(|(located, weight)| Ok((Embedder::open(runtime, located)?, *weight)))
                .collect::<Result<_, FaceError>>()?,
            face_check: pack.face_check,
            unified: pack.quality,
        })
    }

    /// Runs every net once: ONNX Runtime allocates and plans at the first run, and the first client
    /// would wait for it.
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
        self.cover.estimate(&grey, &landmarks)?;
        let further = self.further.iter_mut().map(|(embedder, _)| embedder);
        for embedder in std::iter::once(&mut self.embedder).chain(further) {
            if let Some(aligned) = align(&grey, &landmarks, embedder.net()) {
                embedder.embed(&aligned)?;
            }
        }
        Ok(())
    }
}

/// A detection that was refined, aligned and embedded.
struct ExaminedFace {
    /// In pixels of the file, with the image rotated as it is held.
    detection: Detection,
    upright: UprightFace,
    /// In pixels at hand.
    landmarks: Landmarks,
    aligned: AlignedFace,
    embedding: Embedding,
}

/// A face as the nets get it: on the image at hand, or on a crop that makes its eyes level.
struct UprightFace {
    crop: Option<RotatedCrop>,
    /// In pixels of the crop, or at hand.
    face: Detection,
}

impl UprightFace {
    /// Its landmarks in pixels at hand.
    fn landmarks(&self) -> Landmarks {
        let landmarks = self.face.landmarks;
        self.crop.as_ref().map_or(landmarks, |crop| crop.landmarks_in_image(&landmarks))
    }
}
