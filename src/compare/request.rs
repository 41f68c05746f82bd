//! What a client asks for.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use visavis_face::{
    DecodeLimits, Picture, PictureKind, Refusal, decode::check_envelope, geometry::BoundingBox,
};
use zeroize::Zeroizing;

use super::{fmr::Fmr, ids::BizId, several_faces::SeveralFaces, trace::TraceContext};

/// The bytes of a picture that is not empty, not too large, and of a format that is read here.
/// Clones share the bytes; the last one overwrites them with zeros.
#[derive(Clone, PartialEq, Eq)]
pub struct PictureData(Arc<Zeroizing<Vec<u8>>>);

impl PictureData {
    /// Makes the checks that cost nothing; whether the file decodes is seen later.
    ///
    /// # Errors
    /// [`Refusal::Empty`], [`Refusal::TooManyBytes`] or [`Refusal::UnknownFormat`].
    pub fn new(bytes: Vec<u8>, limits: &DecodeLimits) -> Result<Self, Refusal> {
        let bytes = Zeroizing::new(bytes);
        check_envelope(&bytes, limits)?;
        Ok(Self::stored(bytes))
    }

    /// Takes bytes that passed the checks before they were stored.
    pub fn stored(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self(Arc::new(bytes))
    }

    /// The file.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for PictureData {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PictureData({} bytes)", self.0.len())
    }
}

/// What is asked besides the pictures; kept with the job.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct RequestOptions {
    /// Where the client says the probe's face is.
    #[serde(default)]
    pub probe_hint: Option<BoundingBox>,
    /// Where the client says the reference's face is.
    #[serde(default)]
    pub reference_hint: Option<BoundingBox>,
    /// What the reference is a picture of; the probe is always a selfie.
    #[serde(default)]
    pub reference_kind: PictureKind,
    /// The false match rate at which the decision turns, as it was when the request was accepted.
    /// Requests that were stored before there was such a thing have none and are decided at the
    /// default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fmr: Option<Fmr>,
    /// What to do with a photo that shows several people.
    #[serde(default, skip_serializing_if = "SeveralFaces::is_largest")]
    pub several_faces: SeveralFaces,
    /// The span of the request, that of the comparison's parent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<TraceContext>,
}

/// One comparison to be made.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// The client's own id, for tracing only.
    pub biz_id: BizId,
    /// `face1`: the picture being questioned.
    pub probe: PictureData,
    /// `face2`: the picture it is compared with.
    pub reference: PictureData,
    /// The rest.
    pub options: RequestOptions,
}

impl Request {
    /// Size of both pictures.
    pub(crate) fn bytes(&self) -> u64 {
        (self.probe.as_bytes().len() + self.reference.as_bytes().len()) as u64
    }

    /// The pair as the engine takes it.
    pub(crate) fn pictures(&self) -> (Picture<'_>, Picture<'_>) {
        let RequestOptions { probe_hint, reference_hint, reference_kind, .. } = self.options;
        (
            Picture { bytes: self.probe.as_bytes(), hint: probe_hint, kind: PictureKind::Selfie },
            Picture {
                bytes: self.reference.as_bytes(),
                hint: reference_hint,
                kind: reference_kind,
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn picture_data_shows_only_its_size_and_is_checked_when_made() {
        let limits = DecodeLimits::default();
        let data = PictureData::new(b"\xFF\xD8\xFF\xE0rest".to_vec(), &limits).unwrap();
        assert_eq!(format!("{data:?}"), "PictureData(8 bytes)");
        assert_eq!(PictureData::new(vec![], &limits), Err(Refusal::Empty));
        assert!(matches!(
            PictureData::new(b"GIF89a".to_vec(), &limits),
            Err(Refusal::UnknownFormat { .. })
        ));
    }
}
