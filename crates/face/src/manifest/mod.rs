//! Packs: which nets play which role, where their bytes come from, and how each wants its input.
//!
//! A pack is data. The built-in ones are in `models/manifest.toml`, compiled into the binary so
//! that the digests cannot be changed beside it; an operator's own is a `pack.toml` beside the
//! weights and may borrow roles from another pack (`detector = { from = "omz" }`).

mod nets;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{
    calibration::CalibrationTable, error::FaceError, face_check::FaceCheck, quality::UnifiedQuality,
};

pub use nets::{
    ChannelOrder, DetectorNet, EmbedderNet, EyesNet, Input, LandmarkNet, Net, PointOrder,
};

/// The packs that come with the program.
pub(crate) const BUILT_IN: &str = include_str!("../../../../models/manifest.toml");

/// A set of nets that together compare faces.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Pack {
    /// One line for a person who chooses.
    pub about: String,
    /// Measured accuracy, in words, with the data it was measured on.
    pub accuracy: String,
    /// Finds faces.
    pub(crate) detector: Role<DetectorNet>,
    /// Refines the detector's landmarks; without it they are used as they are.
    pub(crate) landmarks: Option<Role<LandmarkNet>>,
    /// Estimates the head's pose for the quality measures.
    pub(crate) pose: Option<Role<Net>>,
    /// Without a net for the pose, degrees that the head is turned when the nose lies beside the
    /// middle of the face by as much as eyes and mouth are apart. It depends on what the landmarks
    /// are of; absent: not measured.
    pub(crate) yaw_from_landmarks: Option<f32>,
    /// Distinguishes open eyes from closed ones, for the quality measures.
    pub(crate) eyes: Option<Role<EyesNet>>,
    /// Turns an aligned face into an embedding.
    pub(crate) embedder: Option<EmbedderNet>,
    /// Instead of an own embedder: those of other packs, whose cosines are added.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) embedders: Vec<EmbedderShare>,
    /// Rejects detections that are no faces.
    pub(crate) face_check: Option<FaceCheck>,
    /// The overall quality of a photo, fitted to the errors of this embedder.
    pub(crate) quality: Option<UnifiedQuality>,
    /// Similarity to false match rate, measured with this embedder through this pipeline.
    pub calibration: Option<CalibrationTable>,
}

/// What `visavis calibrate` prints.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Measured {
    calibration: CalibrationTable,
    quality: Option<UnifiedQuality>,
}

/// A net of this pack's own, or the one that another pack uses for the role.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(untagged)]
pub(crate) enum Role<N> {
    /// Borrowed from the pack of that name.
    From {
        /// The other pack's name.
        from: String,
    },
    /// Named here.
    Own(N),
}

/// The embedder of another pack, and the weight of its cosine.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EmbedderShare {
    /// The other pack's name.
    pub(crate) from: String,
    /// Above 0; those of a pack add up to 1.
    pub(crate) weight: f32,
}

/// The bytes of a net.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct Weights {
    /// File name inside the pack's folder.
    pub file: String,
    /// SHA-256 of that file, lower-case hexadecimal.
    pub sha256: String,
    /// SPDX identifier.
    pub licence: String,
    /// Who made it.
    pub origin: String,
    /// Where the published bytes are: `.xml` and `.bin` for `OpenVINO` IR, `.json` and `.bin` for
    /// TensorFlow.js, else one file: ONNX, TensorFlow Lite or the library of libfacedetection.
    #[serde(default)]
    pub sources: Vec<Source>,
    /// Name of the table of ranges (`models/NAME.ranges.toml`) with which the conversion computes
    /// in eight bits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ranges: Option<String>,
    /// Names of the output tensors of a TensorFlow Lite model with several outputs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<String>,
}

/// One published file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Public address; absent for a file from a package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The package that has it, where there is no address: registry, name and version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<String>,
    /// Path below a mirror folder or mirror address.
    pub mirror: String,
    /// SHA-256 of the published bytes, lower-case hexadecimal.
    pub sha256: String,
    /// Size of the published bytes.
    pub bytes: u64,
}

/// A pack with every role filled and every file located.
#[derive(Debug, Clone)]
pub struct ResolvedPack {
    /// Its name.
    pub name: String,
    /// Finds faces.
    pub detector: Located<DetectorNet>,
    /// Refines landmarks.
    pub landmarks: Option<Located<LandmarkNet>>,
    /// Estimates the pose.
    pub pose: Option<Located<Net>>,
    /// The pose without a net.
    pub(crate) yaw_from_landmarks: Option<f32>,
    /// Classifies eyes.
    pub eyes: Option<Located<EyesNet>>,
    /// Embeds: the only embedder, or the first of several.
    pub embedder: Located<EmbedderNet>,
    /// The weight of its cosine: 1 if it is the only one.
    pub(crate) weight: f32,
    /// The other embedders, and the weights of their cosines.
    pub(crate) further: Vec<(Located<EmbedderNet>, f32)>,
    /// Rejects detections that are no faces.
    pub(crate) face_check: Option<FaceCheck>,
    /// One number for the quality.
    pub(crate) quality: Option<UnifiedQuality>,
    /// Similarity to false match rate.
    pub calibration: Option<CalibrationTable>,
}

/// A net and the file that holds it.
#[derive(Debug, Clone)]
pub struct Located<N> {
    /// The net's contract.
    pub net: N,
    /// Name of the pack that the file belongs to.
    pub pack: String,
    /// Its file.
    pub path: PathBuf,
}

/// All packs that can be chosen: the built-in ones and those found beside the weights.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// By name.
    pub packs: BTreeMap<String, Pack>,
    /// The folder with one folder per pack.
    pub folder: PathBuf,
}

impl Manifest {
    /// The built-in packs, and every `FOLDER/*/pack.toml`: a pack, or the table of a built-in pack
    /// that has none.
    ///
    /// # Errors
    /// [`FaceError::Manifest`] when a pack file cannot be read or takes the name of a built-in
    /// pack.
    pub fn load(folder: &Path) -> Result<Self, FaceError> {
        let packs: BTreeMap<String, Pack> =
            toml::from_str(BUILT_IN).map_err(|e| FaceError::Manifest(e.to_string()))?;
        let mut manifest = Self { packs, folder: folder.to_path_buf() };
        let Ok(entries) = std::fs::read_dir(folder) else { return Ok(manifest) };
        for entry in entries.flatten() {
            let file = entry.path().join("pack.toml");
            let Ok(text) = std::fs::read_to_string(&file) else { continue };
            let wrong = |what: String| FaceError::Manifest(format!("{}: {what}", file.display()));
            let name = entry.file_name().to_string_lossy().into_owned();
            if let Some(built_in) = manifest.packs.get_mut(&name) {
                built_in.add_measured(&name, &text).map_err(wrong)?;
            } else {
                let pack = toml::from_str(&text).map_err(|e| wrong(e.to_string()))?;
                manifest.packs.insert(name, pack);
            }
        }
        Ok(manifest)
    }

    /// The pack called `name` with borrowed roles filled in.
    ///
    /// # Errors
    /// [`FaceError::Manifest`] when there is no such pack, or a borrowed role leads nowhere.
    pub fn resolve(&self, name: &str) -> Result<ResolvedPack, FaceError> {
        let pack = self.pack(name)?;
        let wrong = |why: String| FaceError::Manifest(format!("pack `{name}`: {why}"));
        let mut embedders = self.embedders(name, pack).map_err(&wrong)?;
        for (embedder, _) in &embedders {
            if let Some(length) = &embedder.net.length {
                length.check().map_err(&wrong)?;
            }
            embedder.net.degradation_table().map_err(&wrong)?;
        }
        let (embedder, weight) = embedders.remove(0);
        let detector = self.role(name, &pack.detector, |p| Some(&p.detector), |n| &n.weights)?;
        detector.net.check().map_err(wrong)?;
        let landmarks =
            self.optional(name, pack.landmarks.as_ref(), |p| p.landmarks.as_ref(), |n| &n.weights)?;
        if let Some(landmarks) = &landmarks {
            landmarks.net.check().map_err(wrong)?;
        }
        Ok(ResolvedPack {
            name: name.to_owned(),
            detector,
            landmarks,
            pose: self.optional(name, pack.pose.as_ref(), |p| p.pose.as_ref(), |n| &n.weights)?,
            yaw_from_landmarks: pack.yaw_from_landmarks,
            eyes: self.optional(name, pack.eyes.as_ref(), |p| p.eyes.as_ref(), |n| &n.weights)?,
            embedder,
            weight,
            further: embedders,
            face_check: pack.face_check,
            quality: pack.quality,
            calibration: pack.calibration.clone(),
        })
    }

    /// The embedders of a pack with their weights, at least one.
    fn embedders(
        &self,
        name: &str,
        pack: &Pack,
    ) -> Result<Vec<(Located<EmbedderNet>, f32)>, String> {
        let borrowed = |share: &EmbedderShare| {
            let net = self.packs.get(&share.from).and_then(|pack| pack.embedder.as_ref());
            let net = net.ok_or_else(|| {
                format!("embedders: there is no pack `{}` with an embedder of its own", share.from)
            })?;
            Ok((self.locate(&share.from, net, &net.weights), share.weight))
        };
        match &pack.embedder {
            Some(net) if pack.embedders.is_empty() => {
                Ok(vec![(self.locate(name, net, &net.weights), 1.0)])
            }
            None if !pack.embedders.is_empty() => {
                let weights = || pack.embedders.iter().map(|share| share.weight);
                let sum: f32 = weights().sum();
                if !((sum - 1.0).abs() < 1e-3 && weights().all(|weight| weight > 0.0)) {
                    return Err("embedders: the weights must be above 0 and add up to 1".to_owned());
                }
                pack.embedders.iter().map(borrowed).collect()
            }
            _ => Err("a pack needs either embedder or embedders".to_owned()),
        }
    }

    /// Names of the packs whose files are all there, checked or not.
    pub fn fetched(&self) -> Vec<&str> {
        let is_fetched =
            |name: &&str| self.resolve(name).is_ok_and(|pack| pack.missing_file().is_none());
        self.packs.keys().map(String::as_str).filter(is_fetched).collect()
    }

    fn pack(&self, name: &str) -> Result<&Pack, FaceError> {
        self.packs.get(name).ok_or_else(|| {
            let known: Vec<_> = self.packs.keys().map(String::as_str).collect();
            FaceError::Manifest(format!(
                "there is no pack `{name}`; known are {}",
                known.join(", ")
            ))
        })
    }

    fn locate<N: Clone>(&self, pack: &str, net: &N, weights: &Weights) -> Located<N> {
        let path = self.folder.join(pack).join(&weights.file);
        Located { net: net.clone(), pack: pack.to_owned(), path }
    }

    fn role<N: Clone>(
        &self,
        pack: &str,
        role: &Role<N>,
        of: impl Fn(&Pack) -> Option<&Role<N>>,
        weights: impl Fn(&N) -> &Weights,
    ) -> Result<Located<N>, FaceError> {
        match role {
            Role::Own(net) => Ok(self.locate(pack, net, weights(net))),
            Role::From { from } => match of(self.pack(from)?) {
                Some(Role::Own(net)) => Ok(self.locate(from, net, weights(net))),
                _ => Err(FaceError::Manifest(format!(
                    "pack `{pack}` borrows a role from `{from}`, which has no net of its own for it"
                ))),
            },
        }
    }

    fn optional<N: Clone>(
        &self,
        pack: &str,
        role: Option<&Role<N>>,
        of: impl Fn(&Pack) -> Option<&Role<N>>,
        weights: impl Fn(&N) -> &Weights,
    ) -> Result<Option<Located<N>>, FaceError> {
        role.map(|role| self.role(pack, role, of, weights)).transpose()
    }
}

impl ResolvedPack {
    /// The first file of the pack that does not exist.
    pub fn missing_file(&self) -> Option<&Path> {
        self.files().into_iter().map(|(_, path)| path).find(|path| !path.exists())
    }

    /// All files of the pack, each with the name of the pack that it belongs to.
    pub fn files(&self) -> Vec<(&str, &Path)> {
        fn file<N>(located: &Located<N>) -> (&str, &Path) {
            (&located.pack, &located.path)
        }
        let mut files = vec![file(&self.detector)];
        files.extend(self.landmarks.as_ref().map(file));
        files.extend(self.pose.as_ref().map(file));
        files.extend(self.eyes.as_ref().map(file));
        files.push(file(&self.embedder));
        files.extend(self.further.iter().map(|(embedder, _)| file(embedder)));
        files
    }
}

impl Pack {
    /// Adds what was measured on this machine to a built-in pack without a table. Its nets, and a
    /// table that it has, cannot be changed by a file beside the weights.
    fn add_measured(&mut self, name: &str, text: &str) -> Result<(), String> {
        let taken = || format!("`{name}` is the name of a built-in pack; rename the folder");
        if self.calibration.is_some() {
            return Err(taken());
        }
        let measured: Measured = toml::from_str(text).map_err(|error| {
            format!("{}, or leave only [calibration] and [quality] ({})", taken(), error.message())
        })?;
        self.calibration = Some(measured.calibration);
        self.quality = measured.quality;
        Ok(())
    }

    /// The weights that are this pack's own, with the role they play.
    pub fn own_weights(&self) -> Vec<(&'static str, &Weights)> {
        fn own<'a, N>(
            role: Option<&'a Role<N>>,
            weights: impl Fn(&'a N) -> &'a Weights,
        ) -> Option<&'a Weights> {
            match role {
                Some(Role::Own(net)) => Some(weights(net)),
                _ => None,
            }
        }
        [
            ("detector", own(Some(&self.detector), |n| &n.weights)),
            ("landmarks", own(self.landmarks.as_ref(), |n| &n.weights)),
            ("pose", own(self.pose.as_ref(), |n| &n.weights)),
            ("eyes", own(self.eyes.as_ref(), |n| &n.weights)),
            ("embedder", self.embedder.as_ref().map(|n| &n.weights)),
        ]
        .into_iter()
        .filter_map(|(role, weights)| Some((role, weights?)))
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_manifest_parses_and_every_pack_resolves() {
        let manifest = Manifest::load(Path::new("/nowhere")).unwrap();
        assert!(manifest.packs.contains_key("omz"));
        for name in manifest.packs.keys() {
            manifest.resolve(name).unwrap();
        }
    }

    #[test]
    fn every_file_of_a_built_in_pack_has_a_licence_a_digest_and_a_source() {
        let manifest = Manifest::load(Path::new("/nowhere")).unwrap();
        for weights in manifest.packs.values().flat_map(Pack::own_weights).map(|(_, w)| w) {
            assert_eq!(weights.sha256.len(), 64, "{}", weights.file);
            assert!(!weights.licence.is_empty() && !weights.sources.is_empty(), "{}", weights.file);
            assert!(weights.sources.iter().all(|s| s.sha256.len() == 64 && s.bytes > 0));
        }
    }

    #[test]
    fn a_pack_has_one_embedder_or_several_of_other_packs_whose_weights_add_up() {
        let built_in = Manifest::load(Path::new("/nowhere")).unwrap();
        let duo = built_in.resolve("omz-duo").unwrap();
        let of: Vec<_> = duo.files().into_iter().map(|(pack, _)| pack).collect();
        assert_eq!((of[0], of[of.len() - 1]), ("omz", "mobilefacenet"));
        assert_eq!(duo.embedder.net, built_in.resolve("omz").unwrap().embedder.net);
        let share = |from: &str, weight| EmbedderShare { from: from.to_owned(), weight };
        let wrong = |embedders: Vec<EmbedderShare>, own: bool| {
            let mut manifest = built_in.clone();
            let omz = manifest.packs["omz"].embedder.clone();
            let pack = manifest.packs.get_mut("omz-duo").unwrap();
            (pack.embedders, pack.embedder) = (embedders, omz.filter(|_| own));
            manifest.resolve("omz-duo").unwrap_err().to_string()
        };
        let halves = || vec![share("omz", 0.5), share("mobilefacenet", 0.5)];
        for (error, expected) in [
            (wrong(vec![share("omz", 0.7), share("mobilefacenet", 0.2)], false), "add up to 1"),
            (wrong(vec![share("omz", 1.5), share("mobilefacenet", -0.5)], false), "above 0"),
            (wrong(vec![share("omz", f32::NAN)], false), "above 0"),
            (wrong(vec![share("unknown", 1.0)], false), "no pack `unknown`"),
            (wrong(vec![share("omz-duo", 1.0)], false), "an embedder of its own"),
            (wrong(halves(), true), "either embedder or embedders"),
            (wrong(Vec::new(), false), "either embedder or embedders"),
        ] {
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn no_address_follows_a_branch() {
        let manifest = Manifest::load(Path::new("/nowhere")).unwrap();
        let weights = manifest.packs.values().flat_map(Pack::own_weights);
        let urls: Vec<_> =
            weights.flat_map(|(_, w)| &w.sources).filter_map(|s| s.url.as_deref()).collect();
        assert!(urls.len() > 5, "{urls:?}");
        for url in urls {
            assert!(!url.split('/').any(|part| ["main", "master"].contains(&part)), "{url}");
        }
    }

    #[test]
    fn a_built_in_pack_without_a_table_takes_one_from_beside_its_weights_and_nothing_else() {
        const TABLE: &str = "[calibration]\nid = \"mine\"\nknots = [[0.2, 1e-2], [0.6, 1e-6]]\n";
        let load = |name: &str, text: &str| {
            let folder = tempfile::tempdir().unwrap();
            std::fs::create_dir(folder.path().join(name)).unwrap();
            std::fs::write(folder.path().join(name).join("pack.toml"), text).unwrap();
            Manifest::load(folder.path()).map_err(|error| error.to_string())
        };
        let pack = load("sface", TABLE).unwrap().resolve("sface").unwrap();
        assert_eq!(pack.calibration.unwrap().id, "mine");
        for (name, text) in [
            ("omz", TABLE.to_owned()),
            ("sface", format!("about = \"mine\"\n{TABLE}")),
            ("sface", String::new()),
        ] {
            let error = load(name, &text).unwrap_err();
            assert!(error.contains("name of a built-in pack"), "{error}");
        }
    }

    #[test]
    fn a_closer_look_goes_from_small_to_large() {
        let mut manifest = Manifest::load(Path::new("/nowhere")).unwrap();
        let mut set = |sides: &[u32], near: f32| {
            let Role::Own(net) = &mut manifest.packs.get_mut("omz").unwrap().detector else {
                panic!("its own")
            };
            (net.long_sides, net.near) = (sides.to_vec(), near);
            manifest.resolve("omz").map(|_| ()).map_err(|error| error.to_string())
        };
        assert_eq!(set(&[640, 320], 0.0), Ok(()), "the first face is taken, in whatever order");
        assert!(set(&[640, 320], 36.0).unwrap_err().contains("smallest to the largest"));
        assert!(set(&[], 36.0).unwrap_err().contains("empty"));
        assert!(set(&[320], f32::NAN).unwrap_err().contains("pixels"));
    }

    #[test]
    fn a_pack_that_does_not_exist_is_named_with_those_that_do() {
        let manifest = Manifest::load(Path::new("/nowhere")).unwrap();
        let error = manifest.resolve("nope").unwrap_err().to_string();
        assert!(error.contains("`nope`") && error.contains("omz"), "{error}");
    }
}
