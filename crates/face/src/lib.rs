//! Two pictures in, one similarity out: plain CPU code without async, SQL or HTTP.
//!
//! ```text
//! bytes ─ decode ─ detect ─ choose ─ refine landmarks ─ align ─ embed ─┐
//!                                  └ pose, eyes, pixels ─ quality      ├─ similarity ─ score
//! bytes ─ … the same for the other picture …                          ─┘
//! ```
//!
//! Nets run on the calling thread; the large ones, where there is a GPU, in batches on the thread that owns it.
//! [`Runtime::on`] chooses.
//!
//! Each step is a file and a public function or type, so each can be tested against an independent
//! reference and timed alone. A bad picture is a [`Refusal`], an answer; what breaks on our side is a
//! [`FaceError`]. Nothing here keeps a picture or an [`Embedding`] beyond the call.

pub mod align;
pub mod attributes;
mod batch;
mod bmp;
pub mod calibration;
pub mod decode;
pub mod detect;
mod device;
mod digest;
pub mod embed;
pub mod engine;
mod error;
mod exif;
#[cfg(test)]
mod flat;
pub mod geometry;
pub mod jpeg;
pub mod landmarks;
pub mod manifest;
mod memory;
pub mod nms;
pub mod patch;
pub mod plausible;
mod png;
pub mod quality;
mod refusal;
mod search;
pub mod session;
mod sight;
mod similarity;
pub mod stages;
pub mod telemetry;
pub mod turn;
mod vp8l;
mod webp;

pub use batch::{AtWork, BatchOptions};
pub use device::{Device, has_bfloat16};
pub use engine::{
    Comparison, Engine, EngineOptions, FaceReport, Look, OnnxEngine, Picture, PictureKind, Side,
};
pub use error::FaceError;
pub use memory::{PixelMemory, while_waiting};
pub use refusal::{Flaw, Format, Refusal};
pub use session::Runtime;
pub use similarity::{Embedding, LengthCorrection, Similarity};
