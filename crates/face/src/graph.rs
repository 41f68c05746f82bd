//! A session of ONNX Runtime for one model.

use ort::{
    environment::Environment,
    session::{
        Session,
        builder::{GraphOptimizationLevel, SessionBuilder},
    },
};

use super::{
    device::Device,
    error::FaceError,
    gates::{InBlocks, in_blocks},
    softmax::without_overflow,
};

/// A verified model, and the device to run it on.
#[derive(Debug)]
pub(super) struct ModelGraph<'a> {
    pub(super) environment: &'a Environment,
    pub(super) bytes: &'a [u8],
    /// Its file name.
    pub(super) name: &'a str,
    pub(super) device: Device,
    /// The most that a session may take of a GPU's memory, in bytes; 0 for no limit.
    pub(super) memory: usize,
}

impl ModelGraph<'_> {
    /// A session that computes on the thread that runs it, or with the provider of the device.
    ///
    /// # Errors
    /// [`FaceError::Inference`] when ONNX Runtime refuses the graph, or the device cannot be used.
    pub(super) fn session(&self) -> Result<Session, FaceError> {
        self.open().map_err(|source| FaceError::Inference { net: self.name.to_owned(), source })
    }

    fn open(&self) -> ort::Result<Session> {
        let rewritten = without_overflow(self.bytes);
        let bytes = rewritten.as_deref().unwrap_or(self.bytes);
        // A thread of its own runs one item at a time. Builds for other processors have no blocks.
        let has_blocks = cfg!(target_arch = "x86_64") && self.device == Device::Cpu;
        let blocks = if has_blocks { in_blocks(bytes) } else { None };
        let Some(InBlocks { model, open_axes }) = blocks else {
            return self.builder()?.commit_from_memory(bytes);
        };
        let mut builder = self.builder()?;
        for axis in open_axes {
            builder = builder.with_dimension_override(axis, 1)?;
        }
        builder.commit_from_memory(&model).or_else(|error| {
            tracing::warn!(net = self.name, %error, "the gates of a net stay as they are");
            self.builder()?.commit_from_memory(bytes)
        })
    }

    fn builder(&self) -> ort::Result<SessionBuilder> {
        let providers: Vec<_> = self.device.execution_provider(self.memory).into_iter().collect();
        Ok(Session::builder(self.environment)?
            .with_execution_providers(providers)?
            .with_intra_threads(1)?
            .with_inter_threads(1)?
            .with_optimization_level(GraphOptimizationLevel::All)?
            .with_config_entry(EXACT_PRODUCTS, if has_exact_products() { "0" } else { "1" })?)
    }
}

/// Exact products of eight-bit integers. Without it, ONNX Runtime uses a fast method whose sums
/// overflow on processors without such an instruction (AVX2 without VNNI): embeddings are then
/// wrong. It makes a net in eight bits 1.5 times as slow, so it is set only where it is needed.
const EXACT_PRODUCTS: &str = "session.x64quantprecision";

/// Whether the processor adds up products of bytes without overflow.
fn has_exact_products() -> bool {
    #[cfg(target_arch = "x86_64")]
    let exact = is_x86_feature_detected!("avx512vnni") || is_x86_feature_detected!("avxvnni");
    #[cfg(not(target_arch = "x86_64"))]
    let exact = true;
    exact
}
