//! Every route and every layer, in order.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{Method, StatusCode},
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
    error::{ApiError, Unrouted},
    exchange::exchange,
    health,
    path::clean_path,
    privacy_delete::privacy_delete,
    state::AppState,
};
use crate::gate::Identified;

/// Smaller responses fit into one packet uncompressed.
const COMPRESS_FROM_BYTES: u64 = 1024;

/// Builds the service.
pub fn gateway(app: AppState) -> Router {
    let api = Router::new()
        .route(endpoints::COMPARE, post(compare))
        .route(endpoints::ASYNC_COMPARE, post(async_compare))
        .route(endpoints::ASYNC_CHECK_RESULT, post(check_result))
        .route(endpoints::TEST, post(auth_test))
        .route(endpoints::PRIVACY_DELETE, post(privacy_delete))
        .method_not_allowed_fallback(unknown_endpoint)
        .fallback(unknown_endpoint)
        // Outermost first: compress what was signed if the client accepts it; sign every response,
        // that to a panic included.
        .layer(
            ServiceBuilder::new()
                .layer(
                    CompressionLayer::new()
                        .gzip(true)
                        .compress_when(SizeAbove::new(COMPRESS_FROM_BYTES)),
                )
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

async fn unknown_endpoint(State(app): State<AppState>, request: Request) -> Response {
    let identified = request.extensions().get::<Arc<Identified>>().cloned();
    let (parts, body) = request.into_parts();
    let unrouted = || ApiError::UnknownEndpoint(Unrouted::of(&parts.method, parts.uri.path()));
    let refused = match identified {
        Some(identified) => identified.turn_away(&app.gate, &parts, body).await,
        None => None,
    };
    let mut answer = refused.map_or_else(unrouted, ApiError::from).into_response();
    // The only method for which 200 means something else: that this is a proxy, and the tunnel
    // stands.
    if parts.method == Method::CONNECT {
        *answer.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    }
    answer
}

fn panicked(_: Box<dyn std::any::Any + Send + 'static>) -> Response<Body> {
    tracing::error!("a request handler panicked");
    ApiError::Internal.into_response()
}
