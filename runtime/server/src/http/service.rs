//! One HTTP connection, and what each of its requests is about.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use hanok_protocol::v2_http::{Method, Route, RouteMatch, route};
use http::{Request, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::reply::{self, Reply};
use super::{infer, information, management};
use crate::connection::{ConnectionServer, ConnectionWatch, WatchedStream, drive};
use crate::lifecycle::Stage;
use crate::state::ServerState;

/// Serves HTTP/1.1 and h2c.
#[derive(Debug)]
pub(crate) struct HttpServer {
    state: Arc<ServerState>,
}

impl HttpServer {
    pub(crate) fn new(state: Arc<ServerState>) -> Self {
        Self { state }
    }
}

impl ConnectionServer for HttpServer {
    fn serve(
        &self,
        stream: WatchedStream,
        peer: SocketAddr,
        watch: Arc<ConnectionWatch>,
    ) -> impl Future<Output = ()> + Send + 'static {
        let state = Arc::clone(&self.state);
        async move {
            let result = match stream.opens_as_http2().await {
                Ok(true) => {
                    watch.multiplexed();
                    serve_http2(stream, peer, state, watch).await
                }
                Ok(false) => serve_http1(stream, peer, state, watch).await,
                Err(error) => {
                    tracing::debug!(%error, "a connection ended before its first request");
                    return;
                }
            };
            if let Err(error) = result {
                tracing::debug!(%error, "a connection ended");
            }
        }
    }

    fn refusal(&self) -> &'static [u8] {
        b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nconnection: close\r\n\
          retry-after: 1\r\ncontent-length: 55\r\n\r\n{\"error\":\"the server is at its limit of connections\"}\r\n\r\n"
    }
}

async fn serve_http1(
    stream: WatchedStream,
    peer: SocketAddr,
    state: Arc<ServerState>,
    watch: Arc<ConnectionWatch>,
) -> Result<(), hyper::Error> {
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        // The connection's watch times heads; hyper's own timer would cut idle connections too.
        .header_read_timeout(None)
        .max_headers(state.limits.max_headers)
        .max_buf_size(state.limits.max_head_bytes.max(8192));
    let driven = Arc::clone(&watch);
    let service = service_fn(move |request| {
        let (state, watch) = (Arc::clone(&state), Arc::clone(&watch));
        async move {
            watch.request_started();
            if watch.is_ambiguous() {
                let text = "the length of a request must be given once, by `content-length` or by `transfer-encoding`";
                return Ok(reply::closing(reply::refusal(StatusCode::BAD_REQUEST, text)));
            }
            let mut reply = answer(&state, request, peer).await;
            if state.lifecycle.stage() >= Stage::Leaving {
                reply = reply::closing(reply);
            }
            watch.request_finished();
            Ok::<_, Infallible>(reply)
        }
    });
    drive(builder.serve_connection(stream, service), &driven, |connection| connection.graceful_shutdown()).await
}

async fn serve_http2(
    stream: WatchedStream,
    peer: SocketAddr,
    state: Arc<ServerState>,
    watch: Arc<ConnectionWatch>,
) -> Result<(), hyper::Error> {
    let builder = http2_builder(&state);
    let service = service_fn(move |request| {
        let state = Arc::clone(&state);
        async move { Ok::<_, Infallible>(answer(&state, request, peer).await) }
    });
    drive(builder.serve_connection(stream, service), &watch, |connection| connection.graceful_shutdown()).await
}

/// HTTP/2 with every bound set by hand.
pub(crate) fn http2_builder(state: &ServerState) -> hyper::server::conn::http2::Builder<TokioExecutor> {
    let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(state.limits.max_streams_per_connection)
        .max_header_list_size(u32::try_from(state.limits.max_head_bytes).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(64)
        .max_local_error_reset_streams(256)
        .max_send_buf_size(1 << 20)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(8 << 20)
        .keep_alive_interval(state.limits.ping_interval)
        .keep_alive_timeout(state.limits.ping_timeout);
    builder
}

async fn answer(state: &Arc<ServerState>, request: Request<Incoming>, peer: SocketAddr) -> Reply {
    // The path is needed while the request is taken apart; its buffer is shared, not copied.
    let uri = request.uri().clone();
    match route(Method::from_name(request.method().as_str()), uri.path()) {
        // Versions are digits, but for the labels that a traffic table gives a model.
        RouteMatch::Found(route)
            if route.version_word().is_some_and(|(model, word)| !state.traffic.knows_label(model, word)) =>
        {
            reply::refusal(StatusCode::NOT_FOUND, "not found")
        }
        RouteMatch::Found(Route::Infer { model, version }) => {
            infer::answer(state, request, model, information::requested(version)).await
        }
        RouteMatch::Found(route) if management::is_management(&route) => {
            management::answer(state, request, peer, &route).await
        }
        RouteMatch::Found(route) => information::answer(state, request, &route).await,
        RouteMatch::NotFound => reply::refusal(StatusCode::NOT_FOUND, "not found"),
        RouteMatch::MethodNotAllowed(allowed) => reply::method_not_allowed(allowed),
    }
}
