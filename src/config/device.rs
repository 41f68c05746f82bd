//! Converts `[runtime]` into a device and its batches.

use std::time::Duration;

use visavis_face::{BatchOptions, Device};

use super::{ConfigError, RuntimeSection};

/// The nets need that much.
const MIN_GPU_MEMORY_BYTES: usize = 256 << 20;

impl RuntimeSection {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        self.device()?;
        if self.gpu_memory_bytes > 0 && self.gpu_memory_bytes < MIN_GPU_MEMORY_BYTES {
            let why = format!("must be at least {MIN_GPU_MEMORY_BYTES}, or 0 for no limit");
            return Err(ConfigError::new("runtime.gpu_memory_bytes", why));
        }
        Ok(())
    }

    /// The device for the nets.
    ///
    /// # Errors
    /// [`ConfigError`] when it is not a device.
    pub fn device(&self) -> Result<Device, ConfigError> {
        self.device.parse().map_err(|why| ConfigError::new("runtime.device", why))
    }

    /// The options of batches on a GPU.
    pub(crate) fn batches(&self) -> BatchOptions {
        BatchOptions {
            wait: Duration::from_millis(self.batch_wait_ms),
            most: self.batch_max,
            memory: self.gpu_memory_bytes,
        }
    }
}
