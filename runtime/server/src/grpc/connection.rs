//! One gRPC connection: HTTP/2 with every bound set by hand, and a dispatch by service name.

use std::convert::Infallible;
use std::hash::{BuildHasher as _, RandomState};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hanok_protocol::v2_grpc::FILE_DESCRIPTOR_SET;
use hanok_protocol::v2_grpc::wire::health::health_server::{HealthServer, SERVICE_NAME as HEALTH};
use hanok_protocol::v2_grpc::wire::inference::grpc_inference_service_server::{
    GrpcInferenceServiceServer, SERVICE_NAME as INFERENCE,
};
use hanok_scheduler::UnreadBudget;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use tonic::Status;
use tonic::body::Body;
use tonic::codec::CompressionEncoding;
use tonic::service::Routes;
use tower_service::Service;

use super::health::HealthService;
use super::sent_trace::end_trace_when_sent;
use super::service::InferenceService;
use crate::connection::{ConnectionServer, ConnectionWatch, WatchedStream, drive};
use crate::http::http2_builder;
use crate::state::ServerState;

/// Serves gRPC.
#[derive(Debug)]
pub(crate) struct GrpcServer {
    state: Arc<ServerState>,
    services: Services,
}

/// Who called.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    /// For the right to manage the server.
    pub(super) address: SocketAddr,
    /// What all calls of the connection together may leave unread.
    pub(super) unread: Arc<UnreadBudget>,
    /// When the call's head came; only while traces are on.
    pub(super) called: Option<Instant>,
}

/// The services of one port. The inference service is called directly; the others, rarely used, share a router.
#[derive(Clone, Debug)]
struct Services {
    inference: GrpcInferenceServiceServer<InferenceService>,
    others: Routes,
}

impl GrpcServer {
    pub(crate) fn new(state: &Arc<ServerState>) -> Self {
        let limit = state.limits.max_grpc_message_bytes;
        let mut inference = GrpcInferenceServiceServer::new(InferenceService::new(Arc::clone(state)))
            .accept_compressed(CompressionEncoding::Gzip)
            .accept_compressed(CompressionEncoding::Deflate)
            .max_decoding_message_size(limit)
            .max_encoding_message_size(limit);
        if state.behaviour.compress_grpc_replies {
            inference =
                inference.send_compressed(CompressionEncoding::Gzip).send_compressed(CompressionEncoding::Deflate);
        }
        let others = Routes::new(HealthServer::new(HealthService::new(Arc::clone(state))));
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .with_service_name(INFERENCE)
            .with_service_name(HEALTH)
            .build_v1();
        let others = match reflection {
            Ok(reflection) => others.add_service(reflection),
            Err(error) => {
                tracing::error!(%error, "server reflection is off: its descriptors cannot be read");
                others
            }
        };
        let alpha = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .build_v1alpha();
        let others = match alpha {
            Ok(alpha) => others.add_service(alpha),
            Err(_) => others,
        };
        Self { state: Arc::clone(state), services: Services { inference, others: others.prepare() } }
    }
}

/// `duration`, a tenth more or less by `random`: uniform over all its values.
fn jittered(duration: Duration, random: u64) -> Duration {
    #[expect(clippy::cast_precision_loss, reason = "a part of one, and any will do")]
    let part = random as f64 / u64::MAX as f64;
    duration.mul_f64(0.9 + 0.2 * part)
}

fn random() -> u64 {
    RandomState::new().hash_one(())
}

type Reply = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

impl Services {
    fn call(&self, request: Request<Incoming>, is_traced: bool) -> Reply {
        let path = request.uri().path();
        let rest = path.strip_prefix('/').and_then(|path| path.strip_prefix(INFERENCE));
        if rest.is_some_and(|rest| rest.starts_with('/')) {
            let reply = self.inference.clone().call(request);
            if is_traced {
                return Box::pin(async move { reply.await.map(end_trace_when_sent) });
            }
            return reply;
        }
        let mut others = self.others.clone();
        Box::pin(async move {
            // The router's error type is not `Infallible`, though it never fails.
            let reply = others.call(request).await;
            Ok(reply.unwrap_or_else(|_| Status::internal("the service could not be called").into_http()))
        })
    }
}

impl ConnectionServer for GrpcServer {
    fn serve(
        &self,
        stream: WatchedStream,
        peer: SocketAddr,
        watch: Arc<ConnectionWatch>,
    ) -> impl Future<Output = ()> + Send + 'static {
        let builder = http2_builder(&self.state);
        let services = self.services.clone();
        if let Some(age) = self.state.limits.max_connection_age {
            watch.lives_for(jittered(age, random()), self.state.limits.max_connection_age_grace);
        }
        let peer = Peer { address: peer, unread: UnreadBudget::new(self.state.limits.max_unread_bytes), called: None };
        let tracer = Arc::clone(&self.state.tracer);
        async move {
            match stream.opens_as_http2().await {
                Ok(true) => watch.multiplexed(),
                Ok(false) => {
                    tracing::debug!("a connection to the gRPC port does not speak HTTP/2");
                    return;
                }
                Err(error) => {
                    tracing::debug!(%error, "a gRPC connection ended before its first call");
                    return;
                }
            }
            let service = service_fn(move |mut request: Request<Incoming>| {
                let called = tracer.is_on().then(Instant::now);
                request.extensions_mut().insert(Peer { called, ..peer.clone() });
                services.call(request, called.is_some())
            });
            let connection = builder.serve_connection(stream, service);
            let result = drive(connection, &watch, |connection| connection.graceful_shutdown()).await;
            if let Err(error) = result {
                tracing::debug!(%error, "a gRPC connection ended");
            }
        }
    }

    fn refusal(&self) -> &'static [u8] {
        // An HTTP/2 GOAWAY frame with ENHANCE_YOUR_CALM (RFC 9113, section 6.8), behind an empty SETTINGS frame.
        b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x08\x07\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x0b"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_differ_by_a_tenth_at_the_most_and_by_chance() {
        let age = Duration::from_secs(100);
        assert_eq!(jittered(age, 0), Duration::from_secs(90));
        assert_eq!(jittered(age, u64::MAX), Duration::from_secs(110));
        let below = (0..1000).filter(|_| jittered(age, random()) < age).count();
        // Half of them; so far off by chance once in 10^9.
        assert!((400..=600).contains(&below), "{below} of 1000 are younger");
    }
}
