//! Converts `[runtime]` into a device and its batches.

use std::time::Duration;

use visavis_face::{BatchOptions, Device};

use super::{ConfigError, RuntimeSection};

/// The device that is chosen at the start.
const AUTO: &str = "auto";
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

    /// The device for the nets; `None` if it is chosen on this machine.
    ///
    /// # Errors
    /// [`ConfigError`] when it is not a device.
    pub fn device(&self) -> Result<Option<Device>, ConfigError> {
        if self.device == AUTO {
            return Ok(None);
        }
        self.device.parse().map(Some).map_err(|why| ConfigError::new("runtime.device", why))
    }

    /// Takes single precision where the device would be chosen, for figures that must not depend on
    /// the machine.
    pub fn prefer_single_precision(&mut self) {
        if self.device == AUTO {
            self.device = Device::Cpu.to_string();
        }
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
