//! `[runtime]`: from words and numbers in a file to a device and the batches on it.

use std::time::Duration;

use visavis_face::{BatchOptions, Device};

use super::{ConfigError, RuntimeSection};

/// Less does not hold the nets.
const LEAST_MEMORY: usize = 256 << 20;

impl RuntimeSection {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        self.device()?;
        if self.gpu_memory_bytes > 0 && self.gpu_memory_bytes < LEAST_MEMORY {
            let why = format!("must be at least {LEAST_MEMORY}, or 0 for no limit");
            return Err(ConfigError::new("runtime.gpu_memory_bytes", why));
        }
        Ok(())
    }

    /// Where nets are run.
    ///
    /// # Errors
    /// [`ConfigError`] when it is no device.
    pub fn device(&self) -> Result<Device, ConfigError> {
        self.device.parse().map_err(|why| ConfigError::new("runtime.device", why))
    }

    /// How batches are made there.
    pub fn batches(&self) -> BatchOptions {
        BatchOptions {
            wait: Duration::from_millis(self.batch_wait_ms),
            most: self.batch_max,
            memory: self.gpu_memory_bytes,
        }
    }
}
