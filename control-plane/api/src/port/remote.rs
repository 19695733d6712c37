//! A runtime in another process, steered over its admin port.
//!
//! Every call may be repeated without harm, so those that get no answer are: a few times, with growing, random waits, so
//! that a fleet that comes back is not asked by everybody at once (M. Brooker, "Exponential Backoff And Jitter", AWS
//! Architecture Blog, 2015: full jitter). Plain HTTP/1.1: in front of anything else than a trusted network stands a proxy.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::{
    DrainRequest, ModelFacts, PortError, PortFuture, RecordBatch, RuntimePort, ShadowQuery, ShadowView, TableInForce,
    TableOrder,
};

/// Largest answer, in bytes.
const LARGEST_ANSWER: usize = 64 << 20;
/// Most records asked for at once: some megabytes of JSON.
const MOST_RECORDS: u32 = 8_192;

/// How to reach a runtime.
#[derive(Clone, Debug)]
pub struct RemoteSettings {
    /// Name in status, records and metrics.
    pub name: String,
    /// `http://HOST:PORT` of its admin port.
    pub address: String,
    /// Its token, if it wants one.
    pub token: Option<String>,
    /// Longest time of one attempt.
    pub attempt: Duration,
    /// Attempts after the first.
    pub retries: u32,
    /// Longest wait before the first retry; doubles from one to the next.
    pub first_wait: Duration,
    /// Seed of the random waits: another one for every control plane.
    pub seed: u64,
}

/// A runtime in another process.
pub struct RemoteRuntime {
    settings: RemoteSettings,
    client: Client<HttpConnector, Full<Bytes>>,
    random: AtomicU64,
}

impl std::fmt::Debug for RemoteRuntime {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("RemoteRuntime").field("name", &self.settings.name).finish_non_exhaustive()
    }
}

impl RemoteRuntime {
    /// A runtime to be reached by these settings; nothing is connected before the first call.
    ///
    /// # Errors
    /// `Protocol` for an address that is no `http://HOST:PORT`.
    pub fn new(settings: RemoteSettings) -> Result<Self, PortError> {
        let address: Uri = settings.address.parse().map_err(|_| not_an_address(&settings.address))?;
        if address.scheme_str() != Some("http") || address.authority().is_none() {
            return Err(not_an_address(&settings.address));
        }
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(settings.attempt));
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(4).build(connector);
        let random = AtomicU64::new(settings.seed);
        Ok(Self { settings, client, random })
    }

    async fn call<T: DeserializeOwned>(&self, method: Method, path: &str, body: Option<Bytes>) -> Result<T, PortError> {
        let mut wait = self.settings.first_wait;
        for left in (0..=self.settings.retries).rev() {
            let attempt = self.attempt(method.clone(), path, body.clone());
            let late = || PortError::Unreachable(format!("no answer within {} ms", self.settings.attempt.as_millis()));
            let answer = tokio::time::timeout(self.settings.attempt, attempt).await.unwrap_or_else(|_| Err(late()));
            match answer {
                Err(error) if error.is_transient() && left > 0 => {
                    tokio::time::sleep(wait.mul_f64(self.random_fraction())).await;
                    wait = wait.saturating_mul(2);
                }
                answer => return answer,
            }
        }
        Err(PortError::Unreachable("no attempt was made".to_owned()))
    }

    async fn attempt<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<Bytes>,
    ) -> Result<T, PortError> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.settings.address.trim_end_matches('/')))
            .header(header::CONTENT_TYPE, "application/json");
        if let Some(token) = &self.settings.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request
            .body(Full::new(body.unwrap_or_default()))
            .map_err(|error| PortError::Protocol(error.to_string()))?;
        let response = self.client.request(request).await.map_err(|error| PortError::Unreachable(error.to_string()))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), LARGEST_ANSWER).collect().await;
        let body = body.map_err(|error| PortError::Unreachable(error.to_string()))?.to_bytes();
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|error| PortError::Protocol(error.to_string()));
        }
        Err(refusal(status, &body))
    }

    /// The next of a sequence of fractions (SplitMix64; Steele, Lea and Flood, OOPSLA 2014).
    fn random_fraction(&self) -> f64 {
        let mut word = self.random.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((word ^ (word >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

fn not_an_address(address: &str) -> PortError {
    PortError::Protocol(format!("expected an address `http://HOST:PORT`, got `{address}`"))
}

/// The error that a problem document carries, or what the status means.
fn refusal(status: StatusCode, body: &[u8]) -> PortError {
    let document: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let carried = document.as_ref().and_then(|document| document.get("runtime_error"));
    if let Some(error) = carried.and_then(|error| serde_json::from_value(error.clone()).ok()) {
        return error;
    }
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => PortError::Unauthorised,
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS | StatusCode::GATEWAY_TIMEOUT => {
            PortError::Unreachable(format!("it answered with status {}", status.as_u16()))
        }
        status => PortError::Protocol(format!("it answered with status {}", status.as_u16())),
    }
}

/// Plain data always has a JSON form.
fn encoded(value: &impl Serialize) -> Option<Bytes> {
    serde_json::to_vec(value).ok().map(Bytes::from)
}

impl RuntimePort for RemoteRuntime {
    fn name(&self) -> &str {
        &self.settings.name
    }

    fn table(&self) -> PortFuture<'_, TableInForce> {
        Box::pin(self.call(Method::GET, "/v1/runtime/table", None))
    }

    fn apply(&self, order: TableOrder) -> PortFuture<'_, TableInForce> {
        Box::pin(async move { self.call(Method::PUT, "/v1/runtime/table", encoded(&order)).await })
    }

    fn restore_last_good(&self, at_least: u64) -> PortFuture<'_, TableInForce> {
        let body = encoded(&json!({ "at_least": at_least }));
        Box::pin(self.call(Method::POST, "/v1/runtime/kill-switch", body))
    }

    fn mark_good(&self, version: u64) -> PortFuture<'_, ()> {
        let body = encoded(&json!({ "version": version }));
        Box::pin(async move {
            let _empty: serde_json::Value = self.call(Method::POST, "/v1/runtime/good", body).await?;
            Ok(())
        })
    }

    fn drain(&self, mut request: DrainRequest) -> PortFuture<'_, RecordBatch> {
        request.most = request.most.min(MOST_RECORDS);
        Box::pin(async move { self.call(Method::POST, "/v1/runtime/records", encoded(&request)).await })
    }

    fn models(&self) -> PortFuture<'_, Vec<ModelFacts>> {
        Box::pin(self.call(Method::GET, "/v1/runtime/models", None))
    }

    fn shadows(&self, query: ShadowQuery) -> PortFuture<'_, Vec<ShadowView>> {
        Box::pin(async move { self.call(Method::POST, "/v1/runtime/shadows", encoded(&query)).await })
    }
}
