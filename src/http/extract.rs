//! Handlers take a proven request as an argument: none of them runs without a valid signature.

use std::sync::Arc;

use axum::extract::{FromRequest, Request};

use super::{error::ApiError, path::RawUri, state::AppState};
use crate::gate::{Identified, Proven, SMALL_BODY_BYTES};

/// A request whose signature holds; a handler that takes one cannot run without it.
impl FromRequest<AppState> for Proven {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &AppState) -> Result<Self, ApiError> {
        prove(request, app, app.gate.body_limit()).await
    }
}

/// The same for an endpoint that takes no pictures: its body is small.
pub(super) struct SmallProven(pub(super) Proven);

impl FromRequest<AppState> for SmallProven {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &AppState) -> Result<Self, ApiError> {
        prove(request, app, SMALL_BODY_BYTES).await.map(Self)
    }
}

async fn prove(request: Request, app: &AppState, limit: usize) -> Result<Proven, ApiError> {
    let identified = request.extensions().get::<Arc<Identified>>().cloned();
    let identified = identified.ok_or(ApiError::Internal)?;
    let original = request.extensions().get::<RawUri>().map(|uri| uri.0.clone());
    let (parts, body) = request.into_parts();
    let proven = identified.prove(&app.gate, parts, original.as_ref(), body, limit).await?;
    Ok(proven)
}
