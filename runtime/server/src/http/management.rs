//! Routes that change what the server does: load, unload, log and trace settings, device memory of clients.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use hanok_backend::ServingError;
use hanok_protocol::trace_changes_of_body;
use hanok_protocol::v2_http::{
    Route, SharedMemoryAction, SharedMemoryKind, parse_cuda_region, parse_load, parse_system_region, parse_unload,
};
use hanok_repository::LoadRequest;
use http::header::{AUTHORIZATION, HeaderValue, ORIGIN};
use http::{Method, Request, StatusCode};
use hyper::body::Incoming;

use super::compression::{self, RequestCoding};
use super::reply::{self, Reply};
use super::request_body::{BodyFailure, take_body};
use crate::cuda_regions::in_use;
use crate::operations;
use crate::state::ServerState;
use crate::trace_settings;

/// Whether a route needs the right to manage the server.
pub(super) fn is_management(route: &Route<'_>) -> bool {
    matches!(
        route,
        Route::RepositoryLoad { .. }
            | Route::RepositoryUnload { .. }
            | Route::Logging
            | Route::SharedMemory { action: SharedMemoryAction::Register | SharedMemoryAction::Unregister, .. }
            | Route::TraceSetting { .. }
    )
}

/// Answers a management request, if its caller may make it.
pub(super) async fn answer(
    state: &Arc<ServerState>,
    request: Request<Incoming>,
    peer: SocketAddr,
    route: &Route<'_>,
) -> Reply {
    if request.method() != Method::GET {
        let header = |name| request.headers().get(name).map(HeaderValue::as_bytes);
        let checked = state.behaviour.management.check(peer.ip(), header(AUTHORIZATION), header(ORIGIN));
        if let Err(forbidden) = checked {
            return reply::closing(reply::failure_with(StatusCode::FORBIDDEN, &forbidden.0));
        }
    }
    let reading = request.method() == Method::GET;
    let body = match body_of(request, state).await {
        Ok(body) => body,
        Err(reply) => return *reply,
    };
    let result = match *route {
        Route::RepositoryLoad { repository: None, model } => load(state, model, &body).await,
        Route::RepositoryUnload { repository: None, model } => match parse_unload(&body) {
            Ok(_) => operations::unload(&state.repository, model.to_owned()).await.map(|()| reply::empty()),
            Err(error) => Err(error),
        },
        Route::SharedMemory { kind, action: SharedMemoryAction::Register, region } => {
            register_region(state, kind, region.unwrap_or_default(), &body)
        }
        Route::SharedMemory { kind: SharedMemoryKind::System, region, .. } => {
            state.system_regions.unregister(region).map(|()| reply::empty())
        }
        Route::SharedMemory { kind: SharedMemoryKind::Cuda, region, .. } => {
            state.cuda_regions.unregister(state.repository.gpus(), region).map(|()| reply::empty())
        }
        Route::Logging if reading => Ok(reply::json(operations::log_settings(state).to_string())),
        Route::TraceSetting { model } if reading => {
            trace_settings::told(state, model).map(|told| reply::json(told.body()))
        }
        Route::TraceSetting { model } => change_trace_settings(state, model, &body),
        Route::Logging => operations::set_log_settings(state, &body).map(|settings| reply::json(settings.to_string())),
        _ => Err(ServingError::unsupported("'repository_name' specification is not supported")),
    };
    result.unwrap_or_else(|error| reply::failure(&error, state))
}

fn register_region(
    state: &ServerState,
    kind: SharedMemoryKind,
    name: &str,
    body: &[u8],
) -> Result<Reply, ServingError> {
    // What is off says so, whatever the body is.
    match kind {
        SharedMemoryKind::System => {
            state.system_regions.check_allowed()?;
            operations::register_system_region(state, name, &parse_system_region(body)?)
        }
        SharedMemoryKind::Cuda => {
            in_use(state.repository.gpus())?;
            operations::register_cuda_region(state, name, &parse_cuda_region(body)?)
        }
    }
    .map(|()| reply::empty())
}

fn change_trace_settings(state: &ServerState, model: Option<&str>, body: &[u8]) -> Result<Reply, ServingError> {
    trace_settings::check_model(state, model)?;
    let changes = trace_changes_of_body(body)?;
    trace_settings::change(state, model, &changes).map(|told| reply::json(told.body()))
}

async fn load(state: &ServerState, model: &str, body: &[u8]) -> Result<Reply, ServingError> {
    let request = parse_load(body)?;
    let request = LoadRequest { config_json: request.config, files: request.files };
    operations::load(&state.repository, model.to_owned(), request).await?;
    Ok(reply::empty())
}

/// Takes and inflates the body of a request that is not an inference.
pub(super) async fn body_of(request: Request<Incoming>, state: &ServerState) -> Result<Bytes, Box<Reply>> {
    let coding = request.headers().get(http::header::CONTENT_ENCODING).map(HeaderValue::as_bytes);
    let coding = compression::request_coding(coding);
    let body = take_body(request.into_body(), &state.limits).await.map_err(|failure| {
        Box::new(reply::closing(match failure {
            BodyFailure::Refused(error) => reply::failure(&error, state),
            BodyFailure::TimedOut => {
                reply::refusal(StatusCode::REQUEST_TIMEOUT, "the request's body did not arrive in time")
            }
            BodyFailure::Broken => {
                reply::refusal(StatusCode::BAD_REQUEST, "the request's body is not framed correctly")
            }
        }))
    })?;
    match coding {
        RequestCoding::Identity => Ok(body),
        RequestCoding::Unsupported => Err(Box::new(reply::unsupported_coding())),
        RequestCoding::Coded(coding) => {
            let limit = state.limits.max_request_bytes;
            tokio::task::block_in_place(|| compression::inflate(&body, coding, limit))
                .map_err(|error| Box::new(reply::failure(&error, state)))
        }
    }
}
