//! The embedder: an aligned face to a vector of unit length.

use super::{
    align::AlignedFace,
    degradation::DegradationTable,
    error::FaceError,
    manifest::{EmbedderNet, Located},
    session::{NetSession, Placement, Runtime},
    similarity::Embedding,
};

/// The embedder with its session.
#[derive(Debug)]
pub struct Embedder {
    net: EmbedderNet,
    degradations: Option<DegradationTable>,
    session: NetSession,
}

impl Embedder {
    /// Opens the embedder of a pack.
    ///
    /// # Errors
    /// As [`NetSession::open`], and [`FaceError::Manifest`] for a table of degradations that does
    /// not fit.
    pub fn open(runtime: &Runtime, located: &Located<EmbedderNet>) -> Result<Self, FaceError> {
        let weights = &located.net.weights;
        // The table of a net in eight bits was measured with the rounding of the processor.
        let placement =
            if weights.ranges.is_some() { Placement::CallingThread } else { Placement::Device };
        let session = NetSession::open(runtime, located, weights, placement)?;
        let degradations = located.net.degradation_table().map_err(FaceError::Manifest)?;
        Ok(Self { net: located.net.clone(), degradations, session })
    }

    /// The net's contract.
    pub(crate) fn net(&self) -> &EmbedderNet {
        &self.net
    }

    /// The embedding of an aligned face.
    ///
    /// # Errors
    /// [`FaceError::Inference`] or [`FaceError::Contract`], also when the net returns zeros or
    /// with something that is not a number.
    pub fn embed(&mut self, face: &AlignedFace) -> Result<Embedding, FaceError> {
        let EmbedderNet { input, dimension, mirrored, .. } = &self.net;
        let mut raw = self.session.run_patch(&face.patch, input, *dimension)?;
        if *mirrored {
            let other = self.session.run_patch(&face.patch.mirrored(), input, *dimension)?;
            raw.iter_mut().zip(other).for_each(|(value, other)| *value += other);
        }
        let unit = Embedding::normalised(raw).ok_or_else(|| FaceError::Contract {
            net: self.session.name().to_owned(),
            expected: "a vector with a direction".to_owned(),
            found: "zeros or not-a-number".to_owned(),
        })?;
        Ok(unit.corrected(self.net.length.as_ref(), self.degradations.as_ref()))
    }
}
