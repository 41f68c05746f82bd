//! Reading a body: within the limit, within the time, and within a budget of memory that all requests
//! share.
//!
//! The budget is taken before the bytes are read, so that a thousand uploads at once are refused and
//! not collected until the machine is out of memory.

use std::sync::Arc;

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, header::CONTENT_LENGTH},
};
use http_body_util::BodyExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    error::ApiError,
    state::{BUDGET_UNIT, GatewayConfig},
};

/// A body and its share of the budget, given back when dropped.
#[derive(Debug)]
pub(super) struct Collected {
    pub(super) bytes: Bytes,
    _share: Option<OwnedSemaphorePermit>,
}

/// Collects a body.
pub(super) async fn collect(
    headers: &HeaderMap,
    body: Body,
    config: &GatewayConfig,
    budget: &Arc<Semaphore>,
) -> Result<Collected, ApiError> {
    let reading = read(headers, body, config, budget);
    tokio::time::timeout(config.body_deadline, reading).await.unwrap_or(Err(ApiError::BodyTooSlow))
}

async fn read(
    headers: &HeaderMap,
    mut body: Body,
    config: &GatewayConfig,
    budget: &Arc<Semaphore>,
) -> Result<Collected, ApiError> {
    let promised = headers
        .get(CONTENT_LENGTH)
        .and_then(|v| v.to_str().ok())
        .and_then(|v| v.parse::<usize>().ok());
    let mut share = Share { budget, held: None };
    let mut collected = Vec::new();
    if let Some(length) = promised {
        if length > config.body_limit {
            discard(body, config.body_limit).await;
            return Err(ApiError::BodyTooLarge(config.body_limit));
        }
        share.grow(length)?;
        collected.reserve_exact(length);
    }
    while let Some(frame) = body.frame().await {
        // A broken connection: nobody is left to read the answer.
        let Ok(data) = frame.map_err(|_| ApiError::NotJson)?.into_data() else { continue };
        if collected.len() + data.len() > config.body_limit {
            drop(collected);
            discard(body, config.body_limit).await;
            return Err(ApiError::BodyTooLarge(config.body_limit));
        }
        share.grow(collected.len() + data.len())?;
        collected.extend_from_slice(&data);
    }
    Ok(Collected { bytes: Bytes::from(collected), _share: share.held })
}

/// Reads on for a while without keeping anything, because a client that is cut off while sending never
/// sees the answer.
async fn discard(mut body: Body, mut allowance: usize) {
    while let Some(Ok(frame)) = body.frame().await {
        let length = frame.data_ref().map_or(0, Bytes::len);
        match allowance.checked_sub(length) {
            Some(rest) => allowance = rest,
            None => return,
        }
    }
}

/// A growing share of the budget. It never waits for more while it holds some: two requests that wait
/// for each other's share would wait for ever.
struct Share<'a> {
    budget: &'a Arc<Semaphore>,
    held: Option<OwnedSemaphorePermit>,
}

impl Share<'_> {
    fn grow(&mut self, bytes: usize) -> Result<(), ApiError> {
        let units = bytes.div_ceil(BUDGET_UNIT);
        let have = self.held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let Some(more) = units.checked_sub(have).filter(|more| *more > 0) else { return Ok(()) };
        let more = u32::try_from(more).map_err(|_| ApiError::Overloaded)?;
        let permit = Arc::clone(self.budget)
            .try_acquire_many_owned(more)
            .map_err(|_| ApiError::Overloaded)?;
        match &mut self.held {
            Some(held) => held.merge(permit),
            None => self.held = Some(permit),
        }
        Ok(())
    }
}
