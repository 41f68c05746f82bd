//! Reading a body: within the limit, within the time, and within a budget of memory that all requests
//! share.
//!
//! The budget is taken before the bytes are read, so that a thousand uploads at once are refused and
//! not collected until the machine is out of memory.

use std::sync::Arc;

use axum::{
    body::{Body, Bytes},
    http::{
        HeaderMap,
        header::{CONTENT_LENGTH, EXPECT},
    },
};
use http_body_util::BodyExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    error::{ApiError, Limit},
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
    mut body: Body,
    config: &GatewayConfig,
    budget: &Arc<Semaphore>,
) -> Result<Collected, ApiError> {
    let reading = read(headers, &mut body, config, budget);
    let read = tokio::time::timeout(config.body_deadline, reading).await;
    let read = read.unwrap_or(Err(ApiError::BodyTooSlow));
    if matches!(read, Err(ApiError::BodyTooLarge(_) | ApiError::Overloaded(_))) {
        discard(headers, body, config).await;
    }
    read
}

async fn read(
    headers: &HeaderMap,
    body: &mut Body,
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
            return Err(ApiError::BodyTooLarge(config.body_limit));
        }
        share.grow(length)?;
        collected.reserve_exact(length);
    }
    while let Some(frame) = body.frame().await {
        // A broken connection: nobody is left to read the answer.
        let Ok(data) = frame.map_err(|_| ApiError::NotJson)?.into_data() else { continue };
        if collected.len() + data.len() > config.body_limit {
            return Err(ApiError::BodyTooLarge(config.body_limit));
        }
        share.grow(collected.len() + data.len())?;
        collected.extend_from_slice(&data);
    }
    Ok(Collected { bytes: Bytes::from(collected), _share: share.held })
}

/// Takes the body of a request that is refused already, within the limits and without keeping
/// anything, because a client that is cut off while sending never sees the answer. One that asked
/// before sending sees it without.
pub(super) async fn discard(headers: &HeaderMap, mut body: Body, config: &GatewayConfig) {
    if headers.contains_key(EXPECT) {
        return;
    }
    let reading = async {
        // Also of one that is too large: its client, too, is to read why.
        let mut allowance = config.body_limit.saturating_mul(4);
        while let Some(Ok(frame)) = body.frame().await {
            let length = frame.data_ref().map_or(0, Bytes::len);
            match allowance.checked_sub(length) {
                Some(rest) => allowance = rest,
                None => return,
            }
        }
    };
    // An error means that the time is up: the answer goes out all the same.
    let _ = tokio::time::timeout(config.body_deadline, reading).await;
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
        let more = u32::try_from(more).map_err(|_| ApiError::Overloaded(Limit::Memory))?;
        let permit = Arc::clone(self.budget)
            .try_acquire_many_owned(more)
            .map_err(|_| ApiError::Overloaded(Limit::Memory))?;
        match &mut self.held {
            Some(held) => held.merge(permit),
            None => self.held = Some(permit),
        }
        Ok(())
    }
}
