//! The admin port's server: connections, bounds, the gate, and answers. No route is known here.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};

use super::problem::Problem;
use super::request::{AdminRequest, Answer};
use super::routes::{Offer, dispatch, find};
use super::settings::AdminSettings;
use super::token::{Gate, Refusal, SHORTEST_TOKEN};
use super::webhook_routes;
use crate::port::RuntimePort;
use crate::start::StartError;

/// Longest time for the head of a request.
const HEAD_DEADLINE: Duration = Duration::from_secs(10);
/// How long requests under way may take at the end.
const GRACE: Duration = Duration::from_secs(5);

/// A server that listens, and serves once it is told what.
#[derive(Debug)]
pub(crate) struct AdminServer {
    address: SocketAddr,
    settings: AdminSettings,
    listener: Option<TcpListener>,
    stopping: watch::Sender<bool>,
    task: Option<JoinHandle<()>>,
}

impl AdminServer {
    pub(crate) async fn bind(settings: &AdminSettings) -> Result<Self, StartError> {
        check(settings)?;
        let tried = |source| StartError::System { what: "admin port", source };
        let listener = TcpListener::bind(settings.listen).await.map_err(tried)?;
        let address = listener.local_addr().map_err(tried)?;
        let (stopping, _) = watch::channel(false);
        Ok(Self { address, settings: settings.clone(), listener: Some(listener), stopping, task: None })
    }

    pub(crate) fn serve(mut self, offer: Offer) -> Self {
        let Some(listener) = self.listener.take() else { return self };
        let desk = Arc::new(Desk {
            offer,
            gate: Gate::new(self.settings.token.as_deref()),
            largest_body: self.settings.largest_body,
            deadline: self.settings.deadline,
        });
        let connections = self.settings.connections.max(1);
        self.task = Some(tokio::spawn(accept(listener, desk, connections, self.stopping.subscribe())));
        self
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more connections, and waits for the requests under way.
    pub(crate) async fn stop(mut self) {
        self.stopping.send_replace(true);
        if let Some(task) = self.task.take() {
            // It ends within its grace; that it was aborted is no news.
            drop(task.await);
        }
    }
}

impl Drop for AdminServer {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

fn check(settings: &AdminSettings) -> Result<(), StartError> {
    let refuse = |setting, reason: String| Err(StartError::Settings { setting, reason });
    match &settings.token {
        None if !settings.listen.ip().is_loopback() => {
            refuse("admin token", format!("expected one to listen on `{}`, got none", settings.listen.ip()))
        }
        Some(token) if token.len() < SHORTEST_TOKEN => {
            refuse("admin token", format!("expected at least `{SHORTEST_TOKEN}` bytes, got `{}`", token.len()))
        }
        _ => Ok(()),
    }
}

/// Offers a runtime to a control plane elsewhere.
#[derive(Debug)]
pub struct RuntimeAdmin;

/// A runtime that is offered. Dropping it ends that at once; [`stop`](Self::stop) waits.
#[derive(Debug)]
pub struct RunningRuntimeAdmin {
    server: AdminServer,
}

impl RuntimeAdmin {
    /// Serves the `/v1/runtime/*` routes of the admin API for `runtime`. To be called within a tokio runtime.
    ///
    /// # Errors
    /// `Settings` and `System`.
    pub async fn start(
        settings: &AdminSettings,
        runtime: Arc<dyn RuntimePort>,
    ) -> Result<RunningRuntimeAdmin, StartError> {
        Ok(RunningRuntimeAdmin { server: AdminServer::bind(settings).await?.serve(Offer::runtime(runtime)) })
    }
}

impl RunningRuntimeAdmin {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Takes no more connections, and waits for the requests under way.
    pub async fn stop(self) {
        self.server.stop().await;
    }
}

/// What every connection needs.
#[derive(Debug)]
struct Desk {
    offer: Offer,
    gate: Gate,
    largest_body: usize,
    deadline: Duration,
}

async fn accept(listener: TcpListener, desk: Arc<Desk>, connections: usize, mut stopping: watch::Receiver<bool>) {
    let permits = Arc::new(Semaphore::new(connections));
    let mut open = JoinSet::new();
    loop {
        let permit = tokio::select! {
            permit = Arc::clone(&permits).acquire_owned() => permit,
            _ = stopping.changed() => break,
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopping.changed() => break,
            // Ended connections are let go of while nobody comes.
            Some(_) = open.join_next() => continue,
        };
        match accepted {
            Ok((stream, _)) => {
                let (desk, stopping) = (Arc::clone(&desk), stopping.clone());
                open.spawn(async move {
                    serve_connection(stream, desk, stopping).await;
                    drop(permit);
                });
            }
            // Out of descriptors, most likely: whoever waits is taken when there are some.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
    let all_ended = async { while open.join_next().await.is_some() {} };
    // Those that outlast the grace are aborted when the set is dropped.
    drop(tokio::time::timeout(GRACE, all_ended).await);
}

async fn serve_connection(stream: TcpStream, desk: Arc<Desk>, mut stopping: watch::Receiver<bool>) {
    let service = service_fn(move |request| {
        let desk = Arc::clone(&desk);
        async move { Ok::<_, Infallible>(respond(&desk, request).await) }
    });
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_DEADLINE).max_buf_size(64 << 10);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        _ = stopping.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "an admin connection ended early");
    }
}

async fn respond(desk: &Desk, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let late = || {
        let detail = format!("not answered within `{}` ms", desk.deadline.as_millis());
        Problem::new(StatusCode::GATEWAY_TIMEOUT, "deadline-exceeded", detail, "read what is there, then try again")
    };
    match tokio::time::timeout(desk.deadline, handle(desk, request)).await {
        Ok(Ok(answer)) => answered(answer),
        Ok(Err((problem, allowed))) => refused(&problem, &allowed),
        Err(_) => refused(&late(), &[]),
    }
}

type Refused = (Problem, Vec<http::Method>);

async fn handle(desk: &Desk, request: Request<Incoming>) -> Result<Answer, Refused> {
    let plain = |problem: Problem| (problem, Vec::new());
    let (head, body) = request.into_parts();
    let signed = head.method == http::Method::POST && head.uri.path().starts_with(webhook_routes::PREFIX);
    if !signed {
        desk.gate.admit(&head.headers).map_err(|refusal| plain(not_admitted(refusal)))?;
    }
    let largest_body = if signed { desk.largest_body.min(webhook_routes::LARGEST_BODY) } else { desk.largest_body };
    let (operation, places) = find(&head.method, head.uri.path())?;
    let body = Limited::new(body, largest_body).collect().await.map_err(|error| {
        if error.is::<LengthLimitError>() {
            let detail = format!("expected a body of at most `{largest_body}` bytes");
            return plain(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail, "send less at once"));
        }
        plain(Problem::bad_request("the body ended early"))
    })?;
    let query = head.uri.query().unwrap_or_default().to_owned();
    let request = AdminRequest { places, query, headers: head.headers, body: body.to_bytes() };
    dispatch(&desk.offer, operation, &request).await.map_err(plain)
}

fn not_admitted(refusal: Refusal) -> Problem {
    match refusal {
        Refusal::Token => {
            let action = "send `Authorization: Bearer TOKEN`";
            Problem::new(StatusCode::UNAUTHORIZED, "unauthorised", "expected the token of this port", action)
        }
        Refusal::ForeignOrigin => {
            let detail = "requests of web pages and for other host names are refused while no token is set";
            Problem::new(StatusCode::FORBIDDEN, "foreign-origin", detail, "use `127.0.0.1` or set a token")
        }
    }
}

fn answered(answer: Answer) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(answer.body)));
    *response.status_mut() = answer.status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(tag) = answer.revision.and_then(|revision| HeaderValue::from_str(&format!("\"{revision}\"")).ok()) {
        headers.insert(header::ETAG, tag);
    }
    response
}

fn refused(problem: &Problem, allowed: &[http::Method]) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(problem.to_json().to_string())));
    *response.status_mut() = problem.status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    if problem.status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    let names: Vec<&str> = allowed.iter().map(http::Method::as_str).collect();
    if let Some(allow) = HeaderValue::from_str(&names.join(", ")).ok().filter(|_| !names.is_empty()) {
        headers.insert(header::ALLOW, allow);
    }
    response
}
