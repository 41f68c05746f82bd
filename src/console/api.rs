//! JSON in and out of the console's API.

use axum::{
    body::{Body, Bytes},
    extract::{FromRequest, Request},
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use serde::{Serialize, de::DeserializeOwned};

use super::error::Refused;

/// An answer as JSON, which nobody keeps.
#[derive(Debug)]
pub(super) struct Told<T>(pub(super) T);

impl<T: Serialize> IntoResponse for Told<T> {
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
            Err(error) => Refused::internal(&error).into_response(),
        }
    }
}

/// The body of a request, read from JSON.
#[derive(Debug)]
pub(super) struct Posted<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Posted<T> {
    type Rejection = Refused;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refused> {
        let body = Bytes::from_request(request, state).await.map_err(|_| Refused::Malformed)?;
        serde_json::from_slice(&body).map(Self).map_err(|_| Refused::Malformed)
    }
}

/// Nothing is there.
pub(super) async fn unknown() -> Refused {
    Refused::Nothing
}
