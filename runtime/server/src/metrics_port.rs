//! The metrics port: `GET /metrics` in Prometheus' text format, and nothing else (W-100).

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use hanok_telemetry::{Exposition, MetricKind, TraceCounts, write_model_metrics};
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioTimer;

use crate::connection::{ConnectionServer, ConnectionWatch, WatchedStream, drive};
use crate::http::ReplyBody;
use crate::process_memory::{cpu_seconds, memory_of_host, resident_bytes};
use crate::state::ServerState;

/// Serves the metrics page.
#[derive(Debug)]
pub(crate) struct MetricsServer {
    state: Arc<ServerState>,
}

impl MetricsServer {
    pub(crate) fn new(state: Arc<ServerState>) -> Self {
        Self { state }
    }
}

impl ConnectionServer for MetricsServer {
    fn serve(
        &self,
        stream: WatchedStream,
        _peer: SocketAddr,
        watch: Arc<ConnectionWatch>,
    ) -> impl Future<Output = ()> + Send + 'static {
        let state = Arc::clone(&self.state);
        async move {
            let driven = Arc::clone(&watch);
            let service = service_fn(move |request: Request<Incoming>| {
                watch.request_started();
                let response = respond(&request, &state);
                watch.request_finished();
                std::future::ready(Ok::<_, Infallible>(response))
            });
            let connection =
                hyper::server::conn::http1::Builder::new().timer(TokioTimer::new()).serve_connection(stream, service);
            let result = drive(connection, &driven, |connection| connection.graceful_shutdown()).await;
            if let Err(error) = result {
                tracing::debug!(%error, "a metrics connection ended");
            }
        }
    }

    fn refusal(&self) -> &'static [u8] {
        b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
    }
}

fn respond(request: &Request<Incoming>, state: &ServerState) -> Response<ReplyBody> {
    let mut response = Response::new(ReplyBody::empty());
    if request.uri().path() != "/metrics" {
        *response.status_mut() = StatusCode::NOT_FOUND;
        return response;
    }
    if request.method() != Method::GET && request.method() != Method::HEAD {
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(Exposition::CONTENT_TYPE));
    *response.body_mut() = ReplyBody::new([Bytes::from(page(state))]);
    response
}

/// Arms, shadows, the table and the observation stream.
fn write_traffic_metrics(page: &mut Exposition, state: &ServerState) {
    let traffic = &state.traffic;
    page.family("hanok_traffic_table_version", MetricKind::Gauge, "Version of the traffic table in force, 0 for none");
    page.integer("hanok_traffic_table_version", &[], traffic.router().tables().version());
    page.family("hanok_observations_dropped_total", MetricKind::Counter, "Observations that found no room");
    page.integer("hanok_observations_dropped_total", &[], traffic.observation_counts().dropped);
    let arms = traffic.arms().counts();
    if !arms.is_empty() {
        page.family("hanok_arm_requests_total", MetricKind::Counter, "Requests by arm and outcome");
        for arm in &arms {
            for (outcome, count) in &arm.outcomes {
                let labels = [("model", &*arm.public_model), ("arm", &*arm.arm), ("outcome", outcome)];
                page.integer("hanok_arm_requests_total", &labels, *count);
            }
        }
        page.family(
            "hanok_arm_duration_seconds",
            MetricKind::Histogram,
            "Answered requests by arm, from receipt to answer",
        );
        for arm in &arms {
            let labels = [("model", &*arm.public_model), ("arm", &*arm.arm)];
            page.latency("hanok_arm_duration_seconds", &labels, &arm.latency);
        }
    }
    let shadows = traffic.shadows().reports(0);
    if !shadows.is_empty() {
        page.family("hanok_shadow_copies_total", MetricKind::Counter, "Copies by shadow and what became of them");
        for shadow in &shadows {
            let (version, counts) = (shadow.version_text(), &shadow.counts);
            for (result, count) in [
                ("agreed", counts.agreed),
                ("disagreed", counts.disagreed),
                ("candidate_failed", counts.candidate_failed),
                ("dropped", counts.dropped),
                ("expired", counts.expired),
            ] {
                let target = &shadow.target;
                let labels = [
                    ("model", &*target.public_model),
                    ("candidate", &*target.model),
                    ("version", &*version),
                    ("result", result),
                ];
                page.integer("hanok_shadow_copies_total", &labels, count);
            }
        }
    }
}

/// Traces of requests that have ended, where a file for them was named.
fn write_trace_metrics(page: &mut Exposition, state: &ServerState) {
    if state.tracer.file().is_none() {
        return;
    }
    let TraceCounts { written, dropped, failed } = state.tracer.counts();
    page.family("hanok_traces_total", MetricKind::Counter, "Traces of requests by what became of them");
    for (result, count) in [("written", written), ("dropped", dropped), ("failed", failed)] {
        page.integer("hanok_traces_total", &[("result", result)], count);
    }
}

fn page(state: &ServerState) -> String {
    let versions = state.repository.ready().all();
    let mut page = Exposition::default();
    let models: Vec<_> = versions
        .iter()
        .map(|version| (version.model.to_string(), version.version_text.to_string(), version.statistics.snapshot()))
        .collect();
    write_model_metrics(&mut page, &models);

    page.family("nv_model_load_duration_secs", MetricKind::Gauge, "Model load time in seconds");
    for version in &versions {
        let labels = [("model", &*version.model), ("version", &*version.version_text)];
        page.float("nv_model_load_duration_secs", &labels, version.load_seconds);
    }
    write_traffic_metrics(&mut page, state);
    write_trace_metrics(&mut page, state);
    let mut gauge = |name: &str, help: &str, value: u64| {
        page.family(name, MetricKind::Gauge, help);
        page.integer(name, &[], value);
    };
    if let Some((total, used)) = memory_of_host() {
        gauge("nv_cpu_memory_total_bytes", "CPU total memory (RAM), in bytes", total);
        gauge("nv_cpu_memory_used_bytes", "CPU used memory (RAM), in bytes", used);
    }
    if let Some(bytes) = resident_bytes() {
        gauge("process_resident_memory_bytes", "Resident memory of this process in bytes", bytes);
    }
    gauge(
        "hanok_in_flight_requests",
        "Inference requests between their first byte and their last",
        state.admission.requests_inside() as u64,
    );
    gauge("hanok_connections", "Open connections of all ports", state.admission.connections_inside() as u64);
    if let Some(seconds) = cpu_seconds() {
        page.family("process_cpu_seconds_total", MetricKind::Counter, "User and system CPU time of this process");
        page.float("process_cpu_seconds_total", &[], seconds);
    }
    let mut text = page.into_text();
    text.push_str(&state.traffic.further_metrics());
    text
}
