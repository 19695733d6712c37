//! `grpc.health.v1.Health`: the whole server, or one model as a service of its name (W-94).

use std::sync::Arc;

use hanok_protocol::v2_grpc::parse_health_service;
use hanok_protocol::v2_grpc::wire::health::health_check_response::ServingStatus;
use hanok_protocol::v2_grpc::wire::health::health_server::Health;
use hanok_protocol::v2_grpc::wire::health::{HealthCheckRequest, HealthCheckResponse};
use tokio_stream::Empty;
use tonic::{Request, Response, Status};

use crate::state::ServerState;

/// The standard health service.
#[derive(Debug)]
pub(super) struct HealthService {
    state: Arc<ServerState>,
}

impl HealthService {
    pub(super) fn new(state: Arc<ServerState>) -> Self {
        Self { state }
    }
}

#[tonic::async_trait]
impl Health for HealthService {
    type WatchStream = Empty<Result<HealthCheckResponse, Status>>;

    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        let service = &request.get_ref().service;
        if !parse_health_service(service) {
            return Err(Status::not_found("unknown service"));
        }
        let status = if self.state.is_ready() { ServingStatus::Serving } else { ServingStatus::NotServing };
        Ok(Response::new(HealthCheckResponse { status: status.into() }))
    }

    async fn watch(&self, _: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("health watching is not supported; ask with Check"))
    }
}
