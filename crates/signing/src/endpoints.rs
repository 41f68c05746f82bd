//! The paths of the API, which are part of the signed text.

/// Echoes the request, to verify keys and clock.
pub const TEST: &str = "/api/v1/zoloz/authentication/test";
/// Compares two photos and returns the outcome.
pub const COMPARE: &str = "/api/v1/zoloz/facecompare/compare";
/// Stores two photos to be compared.
pub const ASYNC_COMPARE: &str = "/api/v1/zoloz/facecompare/asynccompare";
/// Returns the outcome of a stored comparison.
pub const ASYNC_CHECK_RESULT: &str = "/api/v1/zoloz/facecompare/asynccheckresult";
/// Deletes a transaction.
pub const PRIVACY_DELETE: &str = "/api/v1/zoloz/privacyinfo/delete";

/// All of them.
pub const ALL: [&str; 5] = [COMPARE, ASYNC_COMPARE, ASYNC_CHECK_RESULT, PRIVACY_DELETE, TEST];
