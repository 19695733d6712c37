//! Opens the ports and serves them until the lifecycle says otherwise.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::task::JoinSet;

use crate::connection::{Watcher, accept_loop, bind};
use crate::grpc::GrpcServer;
use crate::http::HttpServer;
use crate::metrics_port::MetricsServer;
use crate::state::ServerState;

/// Where to listen; `None` for a door that stays shut. Port 0 picks a free one.
#[derive(Clone, Debug, Default)]
pub struct Endpoints {
    /// HTTP/1.1 and h2c.
    pub http: Option<SocketAddr>,
    /// gRPC.
    pub grpc: Option<SocketAddr>,
    /// Metrics.
    pub metrics: Option<SocketAddr>,
    /// Whether other processes may listen on the HTTP port too.
    pub reuse_http_port: bool,
    /// Whether other processes may listen on the gRPC port too.
    pub reuse_grpc_port: bool,
}

/// A port that could not be opened.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {address} for {door}: {source}; choose another port with --{door}-port or another address with --{door}-address"
)]
pub struct BindError {
    /// `http`, `grpc` or `metrics`.
    pub door: &'static str,
    /// The address asked for.
    pub address: SocketAddr,
    /// What the system said.
    pub source: io::Error,
}

/// The open ports.
#[derive(Debug)]
pub struct RunningServer {
    /// Address of the HTTP port.
    pub http: Option<SocketAddr>,
    /// Address of the gRPC port.
    pub grpc: Option<SocketAddr>,
    /// Address of the metrics port.
    pub metrics: Option<SocketAddr>,
    doors: JoinSet<()>,
    sweeper: tokio::task::JoinHandle<()>,
}

impl RunningServer {
    /// Opens the ports and starts to serve on them. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`BindError`] for the first port that cannot be opened; those opened before are closed again.
    pub fn start(state: &Arc<ServerState>, endpoints: &Endpoints) -> Result<Self, BindError> {
        let open = |door: &'static str, address: Option<SocketAddr>, reuse: bool| match address {
            None => Ok(None),
            Some(address) => bind(address, reuse)
                .and_then(|listener| Ok(Some((listener.local_addr()?, listener))))
                .map_err(|source| BindError { door, address, source }),
        };
        let http = open("http", endpoints.http, endpoints.reuse_http_port)?;
        let grpc = open("grpc", endpoints.grpc, endpoints.reuse_grpc_port)?;
        let metrics = open("metrics", endpoints.metrics, false)?;
        let address = |door: &Option<(SocketAddr, _)>| door.as_ref().map(|(address, _)| *address);
        let (http_address, grpc_address, metrics_address) = (address(&http), address(&grpc), address(&metrics));

        let watcher = Arc::new(Watcher::new());
        let sweeper = tokio::spawn(Arc::clone(&watcher).run(state.limits.clone()));
        let mut doors = JoinSet::new();
        let stage = || state.lifecycle.subscribe();
        let admission = || Arc::clone(&state.admission);
        if let Some((_, listener)) = http {
            let server = HttpServer::new(Arc::clone(state));
            doors.spawn(accept_loop(listener, server, admission(), Arc::clone(&watcher), stage()));
        }
        if let Some((_, listener)) = grpc {
            let server = GrpcServer::new(state);
            doors.spawn(accept_loop(listener, server, admission(), Arc::clone(&watcher), stage()));
        }
        if let Some((_, listener)) = metrics {
            let server = MetricsServer::new(Arc::clone(state));
            doors.spawn(accept_loop(listener, server, admission(), Arc::clone(&watcher), stage()));
        }
        Ok(Self { http: http_address, grpc: grpc_address, metrics: metrics_address, doors, sweeper })
    }

    /// Waits until every port is closed and every connection has ended.
    pub async fn finished(mut self) {
        while self.doors.join_next().await.is_some() {}
        self.sweeper.abort();
    }
}
