//! JSON in and out of the console's API.

use axum::{
    body::{Body, Bytes},
    extract::{FromRequest, Request},
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use serde::{Serialize, de::DeserializeOwned};

use super::error::ConsoleError;

/// A JSON response with `Cache-Control: no-store`.
#[derive(Debug)]
pub(super) struct NoStoreJson<T>(pub(super) T);

impl<T: Serialize> IntoResponse for NoStoreJson<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(body) => {
                let mut response = Response::new(Body::from(body));
                let headers = response.headers_mut();
                let json = HeaderValue::from_static("application/json; charset=utf-8");
                headers.insert(header::CONTENT_TYPE, json);
                headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
                response
            }
            Err(error) => ConsoleError::internal(&error).into_response(),
        }
    }
}

/// The response to what has no result.
#[derive(Serialize)]
pub(super) struct Empty {}

#[derive(Serialize)]
struct ErrorBody {
    error: &'static str,
}

impl IntoResponse for ConsoleError {
    fn into_response(self) -> Response {
        let (status, error) = self.code();
        (status, NoStoreJson(ErrorBody { error })).into_response()
    }
}

/// The body of a request, read from JSON.
#[derive(Debug)]
pub(super) struct JsonBody<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = ConsoleError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ConsoleError> {
        let body =
            Bytes::from_request(request, state).await.map_err(|_| ConsoleError::Malformed)?;
        serde_json::from_slice(&body).map(Self).map_err(|_| ConsoleError::Malformed)
    }
}

/// The fallback for unknown paths.
pub(super) async fn unknown() -> ConsoleError {
    ConsoleError::NotFound
}
