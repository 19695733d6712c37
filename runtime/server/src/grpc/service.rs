//! Triton's `GRPCInferenceService` (W-84 to W-93): every call, by the same values as over HTTP.

use std::sync::Arc;

use hanok_backend::ServingError;
use hanok_protocol::v2_grpc::wire::inference as wire;
use hanok_protocol::v2_grpc::wire::inference::grpc_inference_service_server::GrpcInferenceService;
use hanok_protocol::v2_grpc::{
    model_metadata_message, parse_load_request, parse_unload_request, repository_index_message,
    server_metadata_message, statistics_message, to_status,
};
use hanok_protocol::v2_http::{CudaRegion, CudaRegionRequest, SystemRegion, SystemRegionRequest};
use hanok_protocol::{ModelMetadata, trace_changes_of_message};
use hanok_repository::LoadRequest;
use serde_json::{Map, Value};
use tokio::task::JoinHandle;
use tonic::{Request, Response, Status, Streaming};

use super::connection::Peer;
use super::infer;
use super::replies::Replies;
use super::sent_trace::SentTrace;
use super::stream::InferStream;
use crate::description;
use crate::operations;
use crate::state::ServerState;
use crate::trace_settings;

/// Triton's inference service.
#[derive(Debug)]
pub(super) struct InferenceService {
    state: Arc<ServerState>,
}

impl InferenceService {
    pub(super) fn new(state: Arc<ServerState>) -> Self {
        Self { state }
    }

    fn status(&self, error: &ServingError) -> Status {
        if let Some(detail) = error.operator_detail() {
            tracing::debug!(message = error.message(), detail, "a call was refused");
        }
        to_status(error, self.state.behaviour.profile)
    }

    fn reply<T>(&self, result: Result<T, ServingError>) -> Result<Response<T>, Status> {
        result.map(Response::new).map_err(|error| self.status(&error))
    }

    /// Checks that the caller may manage the server.
    fn check_management<T>(&self, request: &Request<T>) -> Result<(), Status> {
        let refused = || Status::permission_denied("management is not open to this caller");
        let peer = request.extensions().get::<Peer>().ok_or_else(refused)?;
        let header = |name: &str| request.metadata().get(name).map(tonic::metadata::MetadataValue::as_bytes);
        self.state
            .behaviour
            .management
            .check(peer.address.ip(), header("authorization"), header("origin"))
            .map_err(|forbidden| Status::permission_denied(forbidden.0.message()))
    }
}

/// A stream's replies; its task ends when they are dropped.
#[derive(Debug)]
pub(super) struct OwnedReplies {
    replies: Replies,
    task: JoinHandle<()>,
}

impl tokio_stream::Stream for OwnedReplies {
    type Item = Result<wire::ModelStreamInferResponse, Status>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        std::pin::Pin::new(&mut self.replies).poll_next(context)
    }
}

impl Drop for OwnedReplies {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[tonic::async_trait]
impl GrpcInferenceService for InferenceService {
    type ModelStreamInferStream = OwnedReplies;

    async fn model_infer(
        &self,
        request: Request<wire::ModelInferRequest>,
    ) -> Result<Response<wire::ModelInferResponse>, Status> {
        let (metadata, extensions, message) = request.into_parts();
        let called = extensions.get::<Peer>().and_then(|peer| peer.called);
        let answered = infer::answer(&self.state, metadata, message, called).await;
        self.reply(answered).map(|reply| {
            let (metadata, (message, trace), mut extensions) = reply.into_parts();
            if let Some(trace) = trace {
                extensions.insert(SentTrace::begin(trace));
            }
            Response::from_parts(metadata, message, extensions)
        })
    }

    async fn model_stream_infer(
        &self,
        request: Request<Streaming<wire::ModelInferRequest>>,
    ) -> Result<Response<Self::ModelStreamInferStream>, Status> {
        let (metadata, extensions, requests) = request.into_parts();
        let peer = extensions.get::<Peer>().ok_or_else(|| Status::internal("a call came without its connection"))?;
        let (stream, replies) = InferStream::open(Arc::clone(&self.state), metadata, Arc::clone(&peer.unread));
        let task = tokio::spawn(stream.run(requests));
        Ok(Response::new(OwnedReplies { replies, task }))
    }

    async fn server_live(
        &self,
        _: Request<wire::ServerLiveRequest>,
    ) -> Result<Response<wire::ServerLiveResponse>, Status> {
        Ok(Response::new(wire::ServerLiveResponse { live: self.state.is_live() }))
    }

    async fn server_ready(
        &self,
        _: Request<wire::ServerReadyRequest>,
    ) -> Result<Response<wire::ServerReadyResponse>, Status> {
        Ok(Response::new(wire::ServerReadyResponse { ready: self.state.is_ready() }))
    }

    async fn model_ready(
        &self,
        request: Request<wire::ModelReadyRequest>,
    ) -> Result<Response<wire::ModelReadyResponse>, Status> {
        let request = request.get_ref();
        let ready = infer::described(&self.state, &request.name, &request.version)
            .map(|(model, version)| description::is_model_ready(&self.state, &model, version));
        self.reply(ready.map(|ready| wire::ModelReadyResponse { ready }))
    }

    async fn server_metadata(
        &self,
        _: Request<wire::ServerMetadataRequest>,
    ) -> Result<Response<wire::ServerMetadataResponse>, Status> {
        Ok(Response::new(server_metadata_message(&description::server_metadata(&self.state))))
    }

    async fn model_metadata(
        &self,
        request: Request<wire::ModelMetadataRequest>,
    ) -> Result<Response<wire::ModelMetadataResponse>, Status> {
        let request = request.get_ref();
        let metadata = infer::described(&self.state, &request.name, &request.version).and_then(|(model, version)| {
            let metadata = description::model_metadata(&self.state.repository, &model, version)?;
            Ok(ModelMetadata { name: request.name.clone(), ..metadata })
        });
        self.reply(metadata.map(|metadata| model_metadata_message(&metadata)))
    }

    async fn model_config(
        &self,
        request: Request<wire::ModelConfigRequest>,
    ) -> Result<Response<wire::ModelConfigResponse>, Status> {
        let request = request.get_ref();
        let ready = infer::described(&self.state, &request.name, &request.version)
            .and_then(|(model, version)| description::described(&self.state.repository, &model, version));
        self.reply(ready.map(|ready| wire::ModelConfigResponse { config: Some(ready.config.wire.clone()) }))
    }

    async fn model_statistics(
        &self,
        request: Request<wire::ModelStatisticsRequest>,
    ) -> Result<Response<wire::ModelStatisticsResponse>, Status> {
        let request = request.get_ref();
        let model = (!request.name.is_empty()).then_some(request.name.as_str());
        let statistics = match model {
            None => description::statistics(&self.state.repository, None, None),
            Some(name) => infer::described(&self.state, name, &request.version)
                .and_then(|(model, version)| description::statistics(&self.state.repository, Some(&model), version)),
        };
        self.reply(statistics.map(|statistics| statistics_message(&statistics)))
    }

    async fn repository_index(
        &self,
        request: Request<wire::RepositoryIndexRequest>,
    ) -> Result<Response<wire::RepositoryIndexResponse>, Status> {
        let ready_only = request.get_ref().ready;
        // The index reads folders, which may block.
        let entries = tokio::task::block_in_place(|| description::repository_index(&self.state.repository, ready_only));
        Ok(Response::new(repository_index_message(&entries)))
    }

    async fn repository_model_load(
        &self,
        request: Request<wire::RepositoryModelLoadRequest>,
    ) -> Result<Response<wire::RepositoryModelLoadResponse>, Status> {
        self.check_management(&request)?;
        let mut message = request.into_inner();
        let result = match parse_load_request(&mut message) {
            Ok(load) => {
                let load = LoadRequest { config_json: load.config, files: load.files };
                operations::load(&self.state.repository, message.model_name, load).await
            }
            Err(error) => Err(error),
        };
        self.reply(result.map(|()| wire::RepositoryModelLoadResponse {}))
    }

    async fn repository_model_unload(
        &self,
        request: Request<wire::RepositoryModelUnloadRequest>,
    ) -> Result<Response<wire::RepositoryModelUnloadResponse>, Status> {
        self.check_management(&request)?;
        let message = request.into_inner();
        let result = match parse_unload_request(&message) {
            Ok(_) => operations::unload(&self.state.repository, message.model_name).await,
            Err(error) => Err(error),
        };
        self.reply(result.map(|()| wire::RepositoryModelUnloadResponse {}))
    }

    async fn log_settings(
        &self,
        request: Request<wire::LogSettingsRequest>,
    ) -> Result<Response<wire::LogSettingsResponse>, Status> {
        if !request.get_ref().settings.is_empty() {
            self.check_management(&request)?;
            let changes = log_changes(&request.get_ref().settings);
            operations::apply_log_settings(&self.state, &changes).map_err(|error| self.status(&error))?;
        }
        Ok(Response::new(wire::LogSettingsResponse { settings: log_message(&operations::log_settings(&self.state)) }))
    }

    async fn trace_setting(
        &self,
        request: Request<wire::TraceSettingRequest>,
    ) -> Result<Response<wire::TraceSettingResponse>, Status> {
        if !request.get_ref().settings.is_empty() {
            self.check_management(&request)?;
        }
        let wire::TraceSettingRequest { settings, model_name } = request.get_ref();
        let model = (!model_name.is_empty()).then_some(model_name.as_str());
        let told = if settings.is_empty() {
            trace_settings::told(&self.state, model)
        } else {
            trace_settings::check_model(&self.state, model)
                .and_then(|()| trace_changes_of_message(settings))
                .and_then(|changes| trace_settings::change(&self.state, model, &changes))
        };
        self.reply(told.map(|told| told.message()))
    }

    async fn system_shared_memory_status(
        &self,
        request: Request<wire::SystemSharedMemoryStatusRequest>,
    ) -> Result<Response<wire::SystemSharedMemoryStatusResponse>, Status> {
        use wire::system_shared_memory_status_response::RegionStatus;
        let regions = self.state.system_regions.status(Some(&request.get_ref().name));
        let message = |region: SystemRegion| {
            let SystemRegion { name, key, offset, byte_size } = region;
            (name.clone(), RegionStatus { name, key, offset, byte_size })
        };
        self.reply(regions.map(|regions| wire::SystemSharedMemoryStatusResponse {
            regions: regions.into_iter().map(message).collect(),
        }))
    }

    async fn system_shared_memory_register(
        &self,
        request: Request<wire::SystemSharedMemoryRegisterRequest>,
    ) -> Result<Response<wire::SystemSharedMemoryRegisterResponse>, Status> {
        self.check_management(&request)?;
        let wire::SystemSharedMemoryRegisterRequest { name, key, offset, byte_size } = request.into_inner();
        let region = SystemRegionRequest { key, offset, byte_size };
        let registered = operations::register_system_region(&self.state, &name, &region);
        self.reply(registered.map(|()| wire::SystemSharedMemoryRegisterResponse {}))
    }

    async fn system_shared_memory_unregister(
        &self,
        request: Request<wire::SystemSharedMemoryUnregisterRequest>,
    ) -> Result<Response<wire::SystemSharedMemoryUnregisterResponse>, Status> {
        self.check_management(&request)?;
        let unregistered = self.state.system_regions.unregister(Some(&request.get_ref().name));
        self.reply(unregistered.map(|()| wire::SystemSharedMemoryUnregisterResponse {}))
    }

    async fn cuda_shared_memory_status(
        &self,
        request: Request<wire::CudaSharedMemoryStatusRequest>,
    ) -> Result<Response<wire::CudaSharedMemoryStatusResponse>, Status> {
        use wire::cuda_shared_memory_status_response::RegionStatus;
        let regions = self.state.cuda_regions.status(Some(&request.get_ref().name));
        let message = |region: CudaRegion| {
            let CudaRegion { name, device_id, byte_size } = region;
            (name.clone(), RegionStatus { name, device_id, byte_size })
        };
        self.reply(regions.map(|regions| wire::CudaSharedMemoryStatusResponse {
            regions: regions.into_iter().map(message).collect(),
        }))
    }

    async fn cuda_shared_memory_register(
        &self,
        request: Request<wire::CudaSharedMemoryRegisterRequest>,
    ) -> Result<Response<wire::CudaSharedMemoryRegisterResponse>, Status> {
        self.check_management(&request)?;
        let wire::CudaSharedMemoryRegisterRequest { name, raw_handle, device_id, byte_size } = request.into_inner();
        let region = CudaRegionRequest { raw_handle: raw_handle.into(), device_id, byte_size };
        let registered = operations::register_cuda_region(&self.state, &name, &region);
        self.reply(registered.map(|()| wire::CudaSharedMemoryRegisterResponse {}))
    }

    async fn cuda_shared_memory_unregister(
        &self,
        request: Request<wire::CudaSharedMemoryUnregisterRequest>,
    ) -> Result<Response<wire::CudaSharedMemoryUnregisterResponse>, Status> {
        self.check_management(&request)?;
        let unregistered =
            self.state.cuda_regions.unregister(self.state.repository.gpus(), Some(&request.get_ref().name));
        self.reply(unregistered.map(|()| wire::CudaSharedMemoryUnregisterResponse {}))
    }
}

type SettingMap<V> = std::collections::BTreeMap<String, V>;

fn log_changes(settings: &SettingMap<wire::log_settings_request::SettingValue>) -> Map<String, Value> {
    use wire::log_settings_request::setting_value::ParameterChoice;
    let value = |setting: &wire::log_settings_request::SettingValue| match &setting.parameter_choice {
        Some(ParameterChoice::BoolParam(value)) => Value::from(*value),
        Some(ParameterChoice::Uint32Param(value)) => Value::from(*value),
        Some(ParameterChoice::StringParam(value)) => Value::from(value.clone()),
        None => Value::Null,
    };
    settings.iter().map(|(name, setting)| (name.clone(), value(setting))).collect()
}

fn log_message(settings: &Value) -> SettingMap<wire::log_settings_response::SettingValue> {
    use wire::log_settings_response::setting_value::ParameterChoice;
    let Value::Object(settings) = settings else { return SettingMap::new() };
    let choice = |value: &Value| match value {
        Value::Bool(value) => Some(ParameterChoice::BoolParam(*value)),
        Value::Number(number) => {
            Some(ParameterChoice::Uint32Param(number.as_u64().and_then(|n| u32::try_from(n).ok()).unwrap_or(0)))
        }
        Value::String(text) => Some(ParameterChoice::StringParam(text.clone())),
        _ => None,
    };
    settings
        .iter()
        .map(|(name, value)| {
            (name.clone(), wire::log_settings_response::SettingValue { parameter_choice: choice(value) })
        })
        .collect()
}
