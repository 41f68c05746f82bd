//! How large a photo may be.

use serde::{Deserialize, Serialize};

/// The smallest and the largest photo that is decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecodeLimits {
    /// Size of the file, bytes.
    pub max_bytes: usize,
    /// Pixels of the shorter side, at least.
    pub min_side: u32,
    /// Pixels of the longer side.
    pub max_side: u32,
    /// Pixels in all.
    pub max_pixels: u64,
}

impl Default for DecodeLimits {
    /// Room for a 50-megapixel phone photo in a file of 10 MiB.
    fn default() -> Self {
        Self { max_bytes: 10 << 20, min_side: 16, max_side: 16_384, max_pixels: 64_000_000 }
    }
}
