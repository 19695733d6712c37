//! The least that a gRPC server must do for the same bytes: a bare tonic server that decodes the request and echoes its
//! tensors, two workers. Only ModelInfer and ModelMetadata exist; nothing is checked.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::task::{Context, Poll};

use hanok_protocol::v2_grpc::wire::inference as pb;
use http::{Request, Response};
use tokio::net::TcpListener;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::body::Body;
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic_prost::ProstCodec;
use tower_service::Service;

use crate::Problem;
use crate::floor_http::BINARY_WIDTH;

/// The service, dispatching by path as generated code does.
#[derive(Clone, Copy, Debug)]
struct Floor;

impl NamedService for Floor {
    const NAME: &'static str = "inference.GRPCInferenceService";
}

impl Service<Request<Body>> for Floor {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        match request.uri().path() {
            "/inference.GRPCInferenceService/ModelInfer" => {
                Box::pin(async { Ok(Grpc::new(ProstCodec::default()).unary(Echo, request).await) })
            }
            "/inference.GRPCInferenceService/ModelMetadata" => {
                Box::pin(async { Ok(Grpc::new(ProstCodec::default()).unary(Metadata, request).await) })
            }
            _ => Box::pin(ready(Ok(tonic::Status::unimplemented("the floor only echoes").into_http()))),
        }
    }
}

type Reply<T> = Ready<Result<tonic::Response<T>, tonic::Status>>;

struct Echo;

impl UnaryService<pb::ModelInferRequest> for Echo {
    type Response = pb::ModelInferResponse;
    type Future = Reply<Self::Response>;

    fn call(&mut self, request: tonic::Request<pb::ModelInferRequest>) -> Self::Future {
        let request = request.into_inner();
        let output = |input: pb::model_infer_request::InferInputTensor| pb::model_infer_response::InferOutputTensor {
            name: "OUTPUT0".to_owned(),
            datatype: input.datatype,
            shape: input.shape,
            ..Default::default()
        };
        ready(Ok(tonic::Response::new(pb::ModelInferResponse {
            model_name: request.model_name,
            model_version: "1".to_owned(),
            id: request.id,
            outputs: request.inputs.into_iter().map(output).collect(),
            raw_output_contents: request.raw_input_contents,
            ..Default::default()
        })))
    }
}

struct Metadata;

impl UnaryService<pb::ModelMetadataRequest> for Metadata {
    type Response = pb::ModelMetadataResponse;
    type Future = Reply<Self::Response>;

    fn call(&mut self, request: tonic::Request<pb::ModelMetadataRequest>) -> Self::Future {
        let side = |name: &str| {
            vec![pb::model_metadata_response::TensorMetadata {
                name: name.to_owned(),
                datatype: "FP32".to_owned(),
                shape: vec![-1, i64::from(BINARY_WIDTH)],
            }]
        };
        ready(Ok(tonic::Response::new(pb::ModelMetadataResponse {
            name: request.into_inner().name,
            versions: vec!["1".to_owned()],
            platform: "floor".to_owned(),
            inputs: side("INPUT0"),
            outputs: side("OUTPUT0"),
        })))
    }
}

/// Serves until the process is ended.
pub(crate) fn serve() -> Result<(), Problem> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start the floor: {error}"))?;
    runtime.block_on(async {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(|error| error.to_string())?;
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        eprintln!("listening grpc={address}");
        let incoming = TcpListenerStream::new(listener).map(|stream| {
            let stream = stream?;
            stream.set_nodelay(true)?;
            Ok::<_, std::io::Error>(stream)
        });
        let server = tonic::transport::Server::builder()
            .initial_stream_window_size(4 << 20)
            .initial_connection_window_size(16 << 20)
            .add_service(Floor);
        server.serve_with_incoming(incoming).await.map_err(|error| error.to_string())
    })
}
