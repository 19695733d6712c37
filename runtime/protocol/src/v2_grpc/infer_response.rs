//! Replies and failures as gRPC messages (W-86, W-87, W-95).

use hanok_backend::ServingError;

use super::parameter_map::map_of;
use super::wire::inference::model_infer_response::InferOutputTensor;
use super::wire::inference::{ModelInferResponse, ModelStreamInferResponse};
use crate::{InferReply, StatusProfile, grpc_code};

/// The message of a reply: outputs in the plan's order, contents raw, tensors not copied.
#[must_use]
pub fn infer_response_message(reply: InferReply<'_>) -> ModelInferResponse {
    let mut message = ModelInferResponse {
        model_name: reply.model_name.to_owned(),
        model_version: itoa::Buffer::new().format(reply.model_version).to_owned(),
        id: reply.id.to_owned(),
        parameters: map_of(reply.parameters),
        outputs: Vec::with_capacity(reply.outputs.len()),
        raw_output_contents: Vec::with_capacity(reply.outputs.len()),
    };
    for output in reply.outputs {
        message.outputs.push(InferOutputTensor {
            name: output.name.to_owned(),
            datatype: output.data_type.name().to_owned(),
            shape: output.shape.to_vec(),
            ..InferOutputTensor::default()
        });
        message.raw_output_contents.push(output.data);
    }
    message
}

/// A successful reply on a stream.
#[must_use]
pub fn stream_response(response: ModelInferResponse) -> ModelStreamInferResponse {
    ModelStreamInferResponse { error_message: String::new(), infer_response: Some(response) }
}

/// A failure on a stream that goes on: the text, and the id of the request that failed.
#[must_use]
pub fn stream_error(error: &ServingError, id: &str) -> ModelStreamInferResponse {
    ModelStreamInferResponse {
        error_message: error.message().to_owned(),
        infer_response: Some(ModelInferResponse { id: id.to_owned(), ..ModelInferResponse::default() }),
    }
}

/// A failure as a gRPC status. Details for the operator stay here.
#[must_use]
pub fn to_status(error: &ServingError, profile: StatusProfile) -> tonic::Status {
    tonic::Status::new(grpc_code(error, profile), error.message())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use bytes::Bytes;
    use hanok_backend::{ErrorCode, ParameterValue};
    use hanok_tensor::{DataType, Shape};
    use smallvec::smallvec;

    use super::*;
    use crate::ReplyOutput;
    use crate::v2_grpc::wire::inference::infer_parameter::ParameterChoice;

    #[test]
    fn w86_replies_are_raw_in_output_order() {
        let data = Bytes::from(vec![7; 8]);
        let parameters = vec![("triton_final_response".into(), ParameterValue::Bool(true))];
        let reply = InferReply {
            id: "a",
            model_name: "m",
            model_version: 3,
            parameters: &parameters,
            outputs: smallvec![
                ReplyOutput {
                    name: "B",
                    data_type: DataType::Fp32,
                    shape: Shape::new(&[1, 2]),
                    data: data.clone(),
                    binary: false,
                    placed: false
                },
                ReplyOutput {
                    name: "A",
                    data_type: DataType::Bytes,
                    shape: Shape::new(&[0]),
                    data: Bytes::new(),
                    binary: true,
                    placed: false
                },
            ],
        };
        let message = infer_response_message(reply);
        assert_eq!((message.model_name.as_str(), message.model_version.as_str(), message.id.as_str()), ("m", "3", "a"));
        assert_eq!(message.outputs[0].name, "B");
        assert_eq!((message.outputs[0].datatype.as_str(), &message.outputs[0].shape[..]), ("FP32", &[1_i64, 2][..]));
        assert_eq!(message.raw_output_contents.len(), 2);
        assert_eq!(message.raw_output_contents[0].as_ptr(), data.as_ptr());
        let choice = &message.parameters["triton_final_response"].parameter_choice;
        assert_eq!(choice, &Some(ParameterChoice::BoolParam(true)));
    }

    #[test]
    fn w87_stream_errors_carry_the_id() {
        let error = ServingError::new(ErrorCode::NotFound, "no such model").with_operator_detail("/secret");
        let message = stream_error(&error, "r1");
        assert_eq!(message.error_message, "no such model");
        assert_eq!(message.infer_response.unwrap().id, "r1");
        let status = to_status(&error, StatusProfile::Triton);
        assert_eq!((status.code(), status.message()), (tonic::Code::NotFound, "no such model"));
    }
}
