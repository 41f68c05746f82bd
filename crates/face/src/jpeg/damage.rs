//! What can be wrong with a JPEG file.

/// What is wrong with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Damage {
    /// It ends before the picture does, or scans are missing.
    EndsEarly,
    /// It has something other than a picture in it.
    Garbled,
}
