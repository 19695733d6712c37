//! The v2 protocol over gRPC: `inference.GRPCInferenceService`.
//!
//! Not the load generator's calls, which are encoded once and sent raw. Tensors always travel as raw contents; replies
//! with typed contents (MLServer writes them) are read as well.

use bytes::Bytes;
use hanok_protocol::v2_grpc::wire::inference as pb;
use hanok_tensor::{DataType, Shape};
use pb::grpc_inference_service_client::GrpcInferenceServiceClient;
use pb::infer_parameter::ParameterChoice;
use prost::Message as _;
use serde_json::Value;
use tonic::transport::{Channel, Endpoint};

use super::contract::{
    CountAndTime, IndexEntry, InferenceAnswer, InferenceCall, ModelContract, ModelStatistics, TensorContract,
};
use super::http_message::checked;
use super::tensor_value::{TensorValue, push_element};
use super::{ClientError, ServerAddress};

/// Largest message in either direction: what gRPC's own length allows on common servers.
const MAX_MESSAGE: usize = i32::MAX as usize;

/// A client of one server; connects at its first call.
#[derive(Debug)]
pub(crate) struct GrpcClient {
    address: ServerAddress,
    service: GrpcInferenceServiceClient<Channel>,
}

impl GrpcClient {
    /// A client of the server at `address`.
    pub(crate) fn new(address: &ServerAddress) -> Result<Self, ClientError> {
        let endpoint = Endpoint::from_shared(format!("http://{}", address.authority)).map_err(|error| {
            ClientError::Unsupported(format!("`{address}` is not an address ({error}): give grpc://HOST:PORT"))
        })?;
        let channel = endpoint.tcp_nodelay(true).connect_lazy();
        let service = GrpcInferenceServiceClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE);
        Ok(Self { address: address.clone(), service })
    }

    /// A transport that failed looks like a status; its source tells them apart.
    fn failure(&self, status: &tonic::Status) -> ClientError {
        let mut source = std::error::Error::source(status);
        let Some(first) = source else {
            return ClientError::Refused {
                status: format!("{:?}", status.code()),
                message: status.message().to_owned(),
            };
        };
        let mut cause = first.to_string();
        while let Some(inner) = source {
            cause = inner.to_string();
            source = inner.source();
        }
        ClientError::Unreachable { server: self.address.to_string(), cause }
    }

    /// A model's metadata.
    pub(crate) async fn contract(&mut self, model: &str, version: Option<&str>) -> Result<ModelContract, ClientError> {
        let request = pb::ModelMetadataRequest { name: model.to_owned(), version: text(version) };
        let reply = self.service.model_metadata(request).await.map_err(|status| self.failure(&status))?.into_inner();
        let side =
            |tensors: Vec<pb::model_metadata_response::TensorMetadata>| -> Result<Vec<TensorContract>, ClientError> {
                tensors
                    .into_iter()
                    .map(|tensor| tensor_contract(tensor.name, &tensor.datatype, &tensor.shape))
                    .collect()
            };
        Ok(ModelContract {
            inputs: side(reply.inputs)?,
            outputs: side(reply.outputs)?,
            name: reply.name,
            versions: reply.versions,
            platform: reply.platform,
        })
    }

    /// A model's configuration.
    pub(crate) async fn config(&mut self, model: &str, version: Option<&str>) -> Result<Value, ClientError> {
        let request = pb::ModelConfigRequest { name: model.to_owned(), version: text(version) };
        let reply = self.service.model_config(request).await.map_err(|status| self.failure(&status))?.into_inner();
        let config = reply.config.ok_or_else(|| ClientError::reply("the reply holds no configuration"))?;
        Ok(hanok_model_config::to_json(&config))
    }

    /// A model's statistics, summed over its versions.
    pub(crate) async fn statistics(
        &mut self,
        model: &str,
        version: Option<&str>,
    ) -> Result<ModelStatistics, ClientError> {
        let request = pb::ModelStatisticsRequest { name: model.to_owned(), version: text(version) };
        let reply = self.service.model_statistics(request).await.map_err(|status| self.failure(&status))?.into_inner();
        let mut sum = ModelStatistics::default();
        for version in reply.model_stats {
            sum.inference_count += version.inference_count;
            sum.execution_count += version.execution_count;
            for batch in version.batch_stats {
                sum.add_batches(batch.batch_size, batch.compute_infer.map_or(0, |infer| infer.count));
            }
            let Some(times) = version.inference_stats else { continue };
            add(&mut sum.success, times.success);
            add(&mut sum.fail, times.fail);
            add(&mut sum.queue, times.queue);
            add(&mut sum.compute_input, times.compute_input);
            add(&mut sum.compute_infer, times.compute_infer);
            add(&mut sum.compute_output, times.compute_output);
        }
        Ok(sum)
    }

    /// Infers.
    pub(crate) async fn infer(&mut self, call: &InferenceCall) -> Result<InferenceAnswer, ClientError> {
        let reply = self.service.model_infer(message(call)).await.map_err(|status| self.failure(&status))?.into_inner();
        let mut raw = reply.raw_output_contents.into_iter();
        let mut outputs = Vec::with_capacity(reply.outputs.len());
        for output in reply.outputs {
            let tensor = tensor_contract(output.name, &output.datatype, &output.shape)?;
            let data = match (raw.next(), output.contents) {
                (Some(data), _) => data,
                (None, Some(contents)) => typed(&contents, tensor.data_type),
                (None, None) => return Err(ClientError::reply(format!("output `{}` has no contents", tensor.name))),
            };
            outputs.push(checked(tensor, data)?);
        }
        Ok(InferenceAnswer { model: reply.model_name, version: reply.model_version, outputs })
    }

    /// The repository index.
    pub(crate) async fn index(&mut self) -> Result<Vec<IndexEntry>, ClientError> {
        let request = pb::RepositoryIndexRequest::default();
        let reply = self.service.repository_index(request).await.map_err(|status| self.failure(&status))?.into_inner();
        let entry = |model: pb::repository_index_response::ModelIndex| IndexEntry {
            name: model.name,
            version: model.version,
            state: model.state,
            reason: model.reason,
        };
        Ok(reply.models.into_iter().map(entry).collect())
    }

    /// Loads a model, or loads it again.
    pub(crate) async fn load(&mut self, model: &str) -> Result<(), ClientError> {
        let request = pb::RepositoryModelLoadRequest { model_name: model.to_owned(), ..Default::default() };
        self.service.repository_model_load(request).await.map_err(|status| self.failure(&status)).map(drop)
    }

    /// Unloads a model.
    pub(crate) async fn unload(&mut self, model: &str, dependents: bool) -> Result<(), ClientError> {
        let mut request = pb::RepositoryModelUnloadRequest { model_name: model.to_owned(), ..Default::default() };
        if dependents {
            use pb::model_repository_parameter::ParameterChoice as Choice;
            let choice = pb::ModelRepositoryParameter { parameter_choice: Some(Choice::BoolParam(true)) };
            request.parameters.insert("unload_dependents".to_owned(), choice);
        }
        self.service.repository_model_unload(request).await.map_err(|status| self.failure(&status)).map(drop)
    }
}

fn text(version: Option<&str>) -> String {
    version.unwrap_or_default().to_owned()
}

fn add(sum: &mut CountAndTime, duration: Option<pb::StatisticDuration>) {
    if let Some(duration) = duration {
        sum.count += duration.count;
        sum.ns += duration.ns;
    }
}

fn tensor_contract(name: String, data_type: &str, shape: &[i64]) -> Result<TensorContract, ClientError> {
    match DataType::from_name(data_type.as_bytes()) {
        Some(data_type) => Ok(TensorContract { name, data_type, shape: Shape::new(shape) }),
        None => Err(ClientError::reply(format!("tensor `{name}` has the datatype `{data_type}`"))),
    }
}

/// Encodes a call as a `ModelInferRequest`.
///
pub(crate) fn encode_request(call: &InferenceCall) -> Vec<u8> {
    message(call).encode_to_vec()
}

fn message(call: &InferenceCall) -> pb::ModelInferRequest {
    use pb::model_infer_request::{InferInputTensor, InferRequestedOutputTensor};

    let parameter = |choice| pb::InferParameter { parameter_choice: Some(choice) };
    let input = |tensor: &TensorValue| InferInputTensor {
        name: tensor.name.clone(),
        datatype: tensor.data_type.name().to_owned(),
        shape: tensor.shape.to_vec(),
        ..Default::default()
    };
    let output = |name: &String| {
        let mut output = InferRequestedOutputTensor { name: name.clone(), ..Default::default() };
        if let Some(classes) = call.classification {
            output
                .parameters
                .insert("classification".to_owned(), parameter(ParameterChoice::Int64Param(classes.into())));
        }
        output
    };
    let mut request = pb::ModelInferRequest {
        model_name: call.model.clone(),
        model_version: text(call.version.as_deref()),
        inputs: call.inputs.iter().map(input).collect(),
        outputs: call.outputs.iter().map(output).collect(),
        raw_input_contents: call.inputs.iter().map(|tensor| tensor.data.clone()).collect(),
        ..Default::default()
    };
    if let Some(microseconds) = call.timeout_microseconds() {
        let microseconds = i64::try_from(microseconds).unwrap_or(i64::MAX);
        request.parameters.insert("timeout".to_owned(), parameter(ParameterChoice::Int64Param(microseconds)));
    }
    request
}

/// Typed contents in the protocol's binary encoding. Small integers travel in wider fields.
#[allow(clippy::cast_possible_truncation, reason = "the data type says how many bytes of the wider field count")]
fn typed(contents: &pb::InferTensorContents, data_type: DataType) -> Bytes {
    let mut data: Vec<u8> = Vec::new();
    match data_type {
        DataType::Bool => data.extend(contents.bool_contents.iter().map(|&flag| u8::from(flag))),
        DataType::Int8 => data.extend(contents.int_contents.iter().map(|&number| number as u8)),
        DataType::Int16 => data.extend(contents.int_contents.iter().flat_map(|&number| (number as i16).to_le_bytes())),
        DataType::Int32 => data.extend(contents.int_contents.iter().flat_map(|number| number.to_le_bytes())),
        DataType::Int64 => data.extend(contents.int64_contents.iter().flat_map(|number| number.to_le_bytes())),
        DataType::Uint8 => data.extend(contents.uint_contents.iter().map(|&number| number as u8)),
        DataType::Uint16 => {
            data.extend(contents.uint_contents.iter().flat_map(|&number| (number as u16).to_le_bytes()))
        }
        DataType::Uint32 => data.extend(contents.uint_contents.iter().flat_map(|number| number.to_le_bytes())),
        DataType::Uint64 => data.extend(contents.uint64_contents.iter().flat_map(|number| number.to_le_bytes())),
        DataType::Fp32 => data.extend(contents.fp32_contents.iter().flat_map(|number| number.to_le_bytes())),
        DataType::Fp64 => data.extend(contents.fp64_contents.iter().flat_map(|number| number.to_le_bytes())),
        DataType::Bytes => contents.bytes_contents.iter().for_each(|element| push_element(element, &mut data)),
        // No field carries half floats; the length check that follows reports them.
        DataType::Fp16 | DataType::Bf16 => {}
    }
    data.into()
}
