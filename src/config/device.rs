//! `[runtime]`: from words and numbers in a file to a device and the batches on it.

use std::time::Duration;

use super::{ConfigError, RuntimeSection};
use crate::face::{BatchOptions, Device};

/// A face that waits longer for company than this is not helped by it.
const LONGEST_WAIT_MS: u64 = 1_000;
/// No GPU gains by more.
const LARGEST_BATCH: usize = 256;
/// Less does not hold the nets.
const LEAST_MEMORY: usize = 256 << 20;

impl RuntimeSection {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let wrong = |key: &str, why: String| Err(ConfigError::new(key, why));
        self.device()?;
        if self.batch_wait_ms > LONGEST_WAIT_MS {
            let why = format!("must be at most {LONGEST_WAIT_MS}; 0 waits for nobody");
            return wrong("runtime.batch_wait_ms", why);
        }
        if self.batch_max == 0 || self.batch_max > LARGEST_BATCH {
            let why = format!("must be from 1, which is no batches, to {LARGEST_BATCH}");
            return wrong("runtime.batch_max", why);
        }
        if self.gpu_memory_bytes > 0 && self.gpu_memory_bytes < LEAST_MEMORY {
            let why = format!("must be at least {LEAST_MEMORY}, or 0 for no limit");
            return wrong("runtime.gpu_memory_bytes", why);
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
