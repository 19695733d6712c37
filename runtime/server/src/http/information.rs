//! Routes that only tell something: health, metadata, configuration, statistics, index.

use std::sync::Arc;

use hanok_backend::ServingError;
use hanok_protocol::v2_http::{
    Route, SharedMemoryAction, model_metadata_body, parse_index, repository_index_body, server_metadata_body,
    statistics_body,
};
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
            if description::is_model_ready(state, model, version) {
                return reply::empty();
            }
            let error = match state.repository.ready().version(model, version) {
                Err(unknown) => unknown,
                Ok(_) => ServingError::unavailable(format!("model '{model}' is not ready")),
            };
            reply::failure_with(StatusCode::BAD_REQUEST, &error)
        }
        Route::ServerMetadata => reply::json(server_metadata_body(&description::server_metadata(state))),
        Route::ModelMetadata { model, version } => {
            match description::model_metadata(&state.repository, model, version) {
                Ok(metadata) => reply::json(model_metadata_body(&metadata)),
                Err(error) => reply::failure(&error, state),
            }
        }
        Route::ModelConfig { model, version } => match description::described(&state.repository, model, version) {
            Ok(ready) => reply::json(hanok_model_config::to_json(&ready.config.wire).to_string()),
            Err(error) => reply::failure(&error, state),
        },
        Route::Statistics { model, version } => match description::statistics(&state.repository, model, version) {
            Ok(statistics) => reply::json(statistics_body(&statistics)),
            Err(error) => reply::failure(&error, state),
        },
        Route::RepositoryIndex { .. } => index(state, request).await,
        Route::SharedMemory { action: SharedMemoryAction::Status, region: None, .. } => reply::json("[]"),
        Route::SharedMemory { .. } => not_offered(state, "shared memory"),
        Route::TraceSetting { .. } => not_offered(state, "tracing"),
        Route::Generate { .. } | Route::GenerateStream { .. } => not_offered(state, "the generate extension"),
        Route::Infer { .. } | Route::RepositoryLoad { .. } | Route::RepositoryUnload { .. } | Route::Logging => {
            // Answered elsewhere; named so that a new route cannot be forgotten here.
            reply::refusal(StatusCode::NOT_FOUND, "not found")
        }
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
