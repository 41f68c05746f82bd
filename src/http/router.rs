//! Every route and every layer, in order.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{Method, StatusCode, Uri},
    middleware::from_fn_with_state,
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use tower::{ServiceBuilder, util::MapRequest};
use tower_http::{
    catch_panic::CatchPanicLayer,
    compression::{CompressionLayer, predicate::SizeAbove},
};
use visavis_signing::endpoints;

use super::{
    auth_test::auth_test,
    check_result::check_result,
    compare::{async_compare, compare},
    error::ApiError,
    exchange::exchange,
    health,
    state::AppState,
};
use crate::gate::Identified;

/// The path and query as they came, before cleaning.
#[derive(Debug, Clone)]
pub(super) struct RawUri(pub(super) Uri);

/// Smaller answers fit into one packet as they are.
const WORTH_IT: u64 = 1024;

/// Builds the service.
pub fn gateway(app: AppState) -> Router {
    let api = Router::new()
        .route(endpoints::COMPARE, post(compare))
        .route(endpoints::ASYNC_COMPARE, post(async_compare))
        .route(endpoints::ASYNC_CHECK_RESULT, post(check_result))
        .route(endpoints::TEST, post(auth_test))
        .method_not_allowed_fallback(unknown_endpoint)
        .fallback(unknown_endpoint)
        // Outermost first: compress if asked what was signed, sign whatever comes out, a panic's
        // answer included.
        .layer(
            ServiceBuilder::new()
                .layer(CompressionLayer::new().gzip(true).compress_when(SizeAbove::new(WORTH_IT)))
                .layer(from_fn_with_state(app.clone(), exchange))
                .layer(CatchPanicLayer::custom(panicked)),
        );
    let routes = Router::new()
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .merge(api)
        .with_state(app);
    Router::new().fallback_service(MapRequest::new(routes, clean_path))
}

/// A client whose configured host ends in a slash asks for `//api/…` and signs `/api/…`. Routing
/// happens before any layer of a router, so this wraps the router that has the routes.
fn clean_path(mut request: Request) -> Request {
    let original = request.uri().clone();
    if let Some(clean) = cleaned(&original) {
        *request.uri_mut() = clean;
    }
    request.extensions_mut().insert(RawUri(original));
    request
}

/// The URI with every run of slashes made one; `None` if there is nothing to do.
fn cleaned(uri: &Uri) -> Option<Uri> {
    let path = uri.path();
    if !path.contains("//") {
        return None;
    }
    let mut clean = String::with_capacity(path.len());
    for character in path.chars() {
        if character != '/' || !clean.ends_with('/') {
            clean.push(character);
        }
    }
    if let Some(query) = uri.query() {
        clean.push('?');
        clean.push_str(query);
    }
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(clean.parse().ok()?);
    Uri::from_parts(parts).ok()
}

async fn unknown_endpoint(State(app): State<AppState>, request: Request) -> Response {
    let identified = request.extensions().get::<Arc<Identified>>().cloned();
    let (parts, body) = request.into_parts();
    let refused = match identified {
        Some(identified) => identified.turn_away(&app.gate, &parts, body).await,
        None => None,
    };
    let mut answer = refused.map_or(ApiError::UnknownEndpoint, ApiError::from).into_response();
    // The only method for which 200 means something else: that this is a proxy, and the tunnel stands.
    if parts.method == Method::CONNECT {
        *answer.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    }
    answer
}

fn panicked(_: Box<dyn std::any::Any + Send + 'static>) -> Response<Body> {
    tracing::error!("a request handler panicked");
    ApiError::Internal.into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubled_slashes_become_one_and_the_query_stays() {
        let clean = |text: &'static str| cleaned(&Uri::from_static(text)).map(|u| u.to_string());
        assert_eq!(clean("//api/v1//x?a=//b").as_deref(), Some("/api/v1/x?a=//b"));
        assert_eq!(clean("/api/v1/x"), None);
    }
}
