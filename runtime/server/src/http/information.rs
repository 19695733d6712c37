//! Routes that only tell something: health, metadata, configuration, statistics, index.

use std::sync::Arc;

use hanok_backend::ServingError;
use hanok_protocol::ModelMetadata;
use hanok_protocol::v2_http::{
    Route, SharedMemoryAction, SharedMemoryKind, VersionSegment, cuda_regions_body, model_metadata_body, parse_index,
    repository_index_body, server_metadata_body, statistics_body, system_regions_body,
};
use hanok_routing::RequestedVersion;
use http::{Request, StatusCode};
use hyper::body::Incoming;

use super::management::body_of;
use super::reply::{self, Reply};
use crate::description;
use crate::state::ServerState;

/// Answers a request that changes nothing.
pub(super) async fn answer(state: &Arc<ServerState>, request: Request<Incoming>, route: &Route<'_>) -> Reply {
    match *route {
        Route::Live => healthy(state.is_live()),
        Route::Ready => healthy(state.is_ready()),
        Route::ModelReady { model, version } => {
            let error = match state.traffic.described(model, requested(version)) {
                Err(unknown) => unknown,
                Ok((model, version)) if description::is_model_ready(state, &model, version) => return reply::empty(),
                Ok((model, version)) => match state.repository.ready().version(&model, version) {
                    Err(unknown) => unknown,
                    Ok(_) => ServingError::unavailable(format!("model '{model}' is not ready")),
                },
            };
            reply::failure_with(StatusCode::BAD_REQUEST, &error)
        }
        Route::ServerMetadata => reply::json(server_metadata_body(&description::server_metadata(state))),
        Route::ModelMetadata { model, version } => {
            let described = state.traffic.described(model, requested(version));
            match described.and_then(|(served, version)| {
                let metadata = description::model_metadata(&state.repository, &served, version)?;
                Ok(ModelMetadata { name: model.to_owned(), ..metadata })
            }) {
                Ok(metadata) => reply::json(model_metadata_body(&metadata)),
                Err(error) => reply::failure(&error, state),
            }
        }
        Route::ModelConfig { model, version } => match state
            .traffic
            .described(model, requested(version))
            .and_then(|(model, version)| description::described(&state.repository, &model, version))
        {
            Ok(ready) => reply::json(hanok_model_config::to_json(&ready.config.wire).to_string()),
            Err(error) => reply::failure(&error, state),
        },
        Route::Statistics { model: None, .. } => statistics(state, None, None),
        Route::Statistics { model: Some(model), version } => match state.traffic.described(model, requested(version)) {
            Ok((model, version)) => statistics(state, Some(&model), version),
            Err(error) => reply::failure(&error, state),
        },
        Route::RepositoryIndex { .. } => index(state, request).await,
        Route::SharedMemory { kind: SharedMemoryKind::Cuda, action: SharedMemoryAction::Status, region } => {
            match state.cuda_regions.status(region) {
                Ok(regions) => reply::json(cuda_regions_body(&regions)),
                Err(error) => reply::failure(&error, state),
            }
        }
        Route::SharedMemory { kind: SharedMemoryKind::System, action: SharedMemoryAction::Status, region } => {
            match state.system_regions.status(region) {
                Ok(regions) => reply::json(system_regions_body(&regions)),
                Err(error) => reply::failure(&error, state),
            }
        }
        Route::Generate { .. } | Route::GenerateStream { .. } => not_offered(state, "the generate extension"),
        Route::Infer { .. }
        | Route::RepositoryLoad { .. }
        | Route::RepositoryUnload { .. }
        | Route::SharedMemory { .. }
        | Route::Logging
        | Route::TraceSetting { .. } => {
            // Answered elsewhere; named so that a new route cannot be forgotten here.
            reply::refusal(StatusCode::NOT_FOUND, "not found")
        }
    }
}

/// What the path asks for in the place of a version.
pub(super) fn requested(version: Option<VersionSegment<'_>>) -> RequestedVersion<'_> {
    match version {
        None => RequestedVersion::Any,
        Some(VersionSegment::Number(number)) => RequestedVersion::Number(number),
        Some(VersionSegment::Word(word)) => RequestedVersion::Label(word),
    }
}

fn statistics(state: &ServerState, model: Option<&str>, version: Option<u64>) -> Reply {
    match description::statistics(&state.repository, model, version) {
        Ok(statistics) => reply::json(statistics_body(&statistics)),
        Err(error) => reply::failure(&error, state),
    }
}

fn healthy(yes: bool) -> Reply {
    let mut reply = reply::empty();
    if !yes {
        *reply.status_mut() = StatusCode::BAD_REQUEST;
    }
    reply
}

async fn index(state: &Arc<ServerState>, request: Request<Incoming>) -> Reply {
    let body = match body_of(request, state).await {
        Ok(body) => body,
        Err(reply) => return *reply,
    };
    match parse_index(&body) {
        Ok(wanted) => {
            let repository = Arc::clone(&state.repository);
            // The index reads folders, which may block.
            let entries = tokio::task::block_in_place(|| description::repository_index(&repository, wanted.ready));
            reply::json(repository_index_body(&entries))
        }
        Err(error) => reply::failure(&error, state),
    }
}

fn not_offered(state: &ServerState, what: &str) -> Reply {
    reply::failure(&ServingError::unsupported(format!("{what} is not supported by this server yet")), state)
}
