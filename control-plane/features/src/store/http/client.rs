//! One HTTP client: pooled connections, TLS by the system's roots, bounded answers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{Request, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::{Client as Pool, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use serde_json::Value as Json;

use super::credential::{Credential, Scheme};
use super::{Call, misunderstood};
use crate::declared::HttpStoreDeclaration;
use crate::error::FeatureError;

/// Largest answer.
const REPLY_BYTES: usize = 64 << 20;
/// How long making a connection may take.
const CONNECT: Duration = Duration::from_secs(2);
/// Characters of an answer that the operator sees.
const SHOWN: usize = 256;

const UNREACHABLE: &str = "the feature store cannot be reached";

pub(super) struct Client {
    pool: Pool<HttpsConnector<HttpConnector>, Full<Bytes>>,
    url: String,
    credential: Option<Credential>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Client").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Client {
    pub(super) fn open(declared: &HttpStoreDeclaration, scheme: Scheme) -> Result<Self, FeatureError> {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(CONNECT));
        let secure = declared.url.starts_with("https://");
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(tls(secure)?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        let pool = Pool::builder(TokioExecutor::new())
            .pool_idle_timeout(Duration::from_secs(60))
            .pool_max_idle_per_host(32)
            .build(connector);
        let credential = declared.token_file.as_deref().map(|file| Credential::read(file, scheme)).transpose()?;
        Ok(Self { pool, url: declared.url.clone(), credential })
    }

    /// Sends a request and reads the answer as JSON; none for a status that means that there is no row.
    pub(super) async fn send(
        &self,
        call: &Call,
        is_no_row: impl Fn(u16) -> bool,
    ) -> Result<Option<Json>, FeatureError> {
        let wrong = |error: http::Error| FeatureError::internal("the feature store's address cannot be used", error);
        let uri: Uri = format!("{}{}", self.url, call.path).parse().map_err(|error| wrong(http::Error::from(error)))?;
        let mut request = Request::builder()
            .method(call.method.clone())
            .uri(uri.clone())
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::copy_from_slice(&call.body)))
            .map_err(wrong)?;
        if let Some(credential) = &self.credential {
            let host = uri.authority().map_or("", |authority| authority.as_str());
            credential.add_to(request.headers_mut(), call, host).await?;
        }
        let unreachable = |error: &dyn std::error::Error| {
            let mut text = error.to_string();
            let mut source = error.source();
            while let Some(error) = source {
                text = format!("{text}: {error}");
                source = error.source();
            }
            FeatureError::unavailable(UNREACHABLE, text)
        };
        let reply = self.pool.request(request).await.map_err(|error| unreachable(&error))?;
        let status = reply.status();
        let body = Limited::new(reply.into_body(), REPLY_BYTES).collect().await;
        let body = body.map_err(|error| unreachable(&*error))?.to_bytes();
        let shown = || String::from_utf8_lossy(&body).chars().take(SHOWN).collect::<String>();
        if is_no_row(status.as_u16()) {
            return Ok(None);
        }
        if !status.is_success() {
            let detail = format!("status {}: {}", status.as_u16(), shown());
            return Err(FeatureError::unavailable("the feature store refuses to answer", detail));
        }
        serde_json::from_slice(&body).map(Some).map_err(|error| misunderstood(format!("{error}: {}", shown())))
    }
}

fn tls(secure: bool) -> Result<rustls::ClientConfig, FeatureError> {
    let failed = |detail: String| FeatureError::unavailable("the system's certificates cannot be used", detail);
    let mut roots = rustls::RootCertStore::empty();
    if secure {
        let found = rustls_native_certs::load_native_certs();
        let (added, _) = roots.add_parsable_certificates(found.certs);
        if added == 0 {
            return Err(failed(format!("{:?}", found.errors)));
        }
    }
    Ok(rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth())
}
