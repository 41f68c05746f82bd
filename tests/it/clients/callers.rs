//! Callers that work as the public SDKs do, retyped and as small as possible.
