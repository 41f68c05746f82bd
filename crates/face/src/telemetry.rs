//! The variable that disables the telemetry of ONNX Runtime; it must be set before the library is
//! loaded.

/// The variable that ONNX Runtime checks before it starts its telemetry collector.
pub const VARIABLE: &str = "ORT_DISABLE_TELEMETRY";
/// The value of [`VARIABLE`] that disables telemetry.
pub const DISABLED: &str = "1";

/// Whether the environment of this process disables telemetry.
pub fn is_disabled() -> bool {
    std::env::var_os(VARIABLE).is_some_and(|value| value == DISABLED)
}
