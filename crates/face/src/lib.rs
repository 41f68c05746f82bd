//! Two pictures in, one similarity out: plain CPU code without async, SQL or HTTP.
//!
//! ```text
//! bytes ─ decode ─ detect ─ choose ─ refine landmarks ─ align ─ embed ─┐
//!                                  └ pose, eyes, pixels ─ quality      ├─ similarity ─ score
//! bytes ─ … the same for the other picture …                          ─┘
//! ```
//!
//! Nets run on the calling thread; the large ones, where there is a GPU, in batches on the thread
//! that owns it. [`Runtime::on`] chooses.
//!
//! [`Pipeline`] is the line, `pipeline.rs`. Each step is a file and a public function or type, so
//! each can be tested against an independent reference and timed alone. A bad photo is a
//! [`Refusal`], which is an outcome; an internal failure is a [`FaceError`]. No image and no
//! [`Embedding`] outlives the call.

pub mod align;
mod alpha;
pub mod attributes;
mod batch;
mod bmp;
pub mod calibration;
mod comparison;
mod cover;
pub mod decode;
mod degradation;
pub mod detect;
mod detection;
mod device;
mod digest;
pub mod embed;
mod error;
mod exif;
mod face_check;
#[cfg(test)]
mod flat;
pub mod gates;
pub mod geometry;
mod graph;
pub mod jpeg;
pub mod landmarks;
mod lazy_image;
mod limits;
pub mod manifest;
mod memory;
mod nms;
mod onnx;
mod patch;
mod pipeline;
mod png;
mod protobuf;
mod provider;
pub mod quality;
mod refusal;
mod rotation;
mod search;
pub mod session;
mod sha256;
mod similarity;
mod softmax;
pub mod stages;
pub mod telemetry;
mod upright;
mod view_faces;
mod vp8l;
mod webp;

pub use batch::{ActiveThread, BatchOptions};
pub use comparison::{Comparison, Engine, FaceReport, Inspection, Picture, PictureKind, Side};
pub use cover::Cover;
pub use detection::Detection;
pub use device::Device;
pub use error::FaceError;
pub use limits::DecodeLimits;
pub use memory::{PixelMemory, while_waiting};
pub use pipeline::{AnalysedFace, Pipeline, PipelineOptions};
pub use provider::{faster_bfloat16, has_bfloat16};
pub use refusal::{Flaw, Format, Refusal};
pub use session::Runtime;
pub use sha256::sha256_hex;
pub use similarity::{CosineCorrection, Embedding, Similarity};
