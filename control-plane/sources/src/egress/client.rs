//! The HTTP client: HTTP/1.1 with TLS over judged connections, redirects judged, silence and slowness bounded.
//!
//! Asks for identity coding only, so that lengths and ranges mean the file's bytes. Keeps no cookies, reads no proxy
//! variables. Credentials are a header of the request and go to its own origin only.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, AUTHORIZATION, LOCATION, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request};
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use url::Url;

use super::answer::Answer;
use super::connector::GuardedConnector;
use super::{AddressPolicy, redirect, roots};
use crate::artifact_path::shown;
use crate::{MinimumRate, SourceError, SourceErrorCode};

const AGENT: &str = concat!("hanok/", env!("CARGO_PKG_VERSION"));

/// One client for all sources; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct WebClient {
    inner: Client<HttpsConnector<GuardedConnector>, Full<Bytes>>,
    silence: Duration,
    least: MinimumRate,
}

/// What is asked.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Asked {
    pub(crate) fn get(url: Url) -> Self {
        Self { method: Method::GET, url, headers: HeaderMap::new(), body: Bytes::new() }
    }

    pub(crate) fn with_authorization(mut self, value: Option<&HeaderValue>) -> Self {
        if let Some(value) = value {
            let mut value = value.clone();
            value.set_sensitive(true);
            self.headers.insert(AUTHORIZATION, value);
        }
        self
    }
}

impl WebClient {
    /// A client that connects as `policy` allows and trusts the system's roots and `authorities`.
    pub(crate) fn new(
        policy: Arc<AddressPolicy>,
        authorities: Option<&Path>,
        silence: Duration,
        least: MinimumRate,
    ) -> Result<Self, SourceError> {
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(roots::client_config(authorities)?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(GuardedConnector::new(policy, silence));
        let inner = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(15))
            .pool_max_idle_per_host(8)
            .build(connector);
        Ok(Self { inner, silence, least })
    }

    /// Sends a GET and follows redirects. `Authorization` stays behind when the origin changes.
    pub(crate) async fn follow(&self, mut asked: Asked) -> Result<Answer, SourceError> {
        let mut hops = 0;
        loop {
            let answer = self.send(asked.clone()).await?;
            if !matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok(answer);
            }
            let location = answer.headers().get(LOCATION).and_then(|value| value.to_str().ok());
            let next = redirect::follow(&asked.url, location, hops)?;
            if !next.same_origin {
                asked.headers.remove(AUTHORIZATION);
            }
            asked.url = next.url;
            hops += 1;
        }
    }

    /// Sends one request; a redirect is an answer like any other.
    pub(crate) async fn send(&self, asked: Asked) -> Result<Answer, SourceError> {
        let Asked { method, url, headers, body } = asked;
        let host = url.host_str().unwrap_or_default().to_owned();
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = url.as_str().parse().map_err(|_| {
            SourceError::new(
                SourceErrorCode::InvalidReference,
                // Not the URL: that of a redirect may be signed.
                format!("`{}` cannot be asked for this", shown(&host)),
                "correct the URL",
            )
        })?;
        *request.headers_mut() = headers;
        request.headers_mut().entry(USER_AGENT).or_insert(HeaderValue::from_static(AGENT));
        request.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let sending = self.inner.request(request);
        // Connecting, encrypting and the head of the answer: each of them may be as slow as anything after.
        let patience = self.silence.saturating_mul(2);
        match tokio::time::timeout(patience, sending).await {
            Ok(Ok(response)) => Ok(Answer::new(host, response, self.silence, self.least)),
            Ok(Err(error)) => Err(reason(&host, &error)),
            Err(_) => Err(silent(&host, patience)),
        }
    }
}

pub(super) fn silent(host: &str, silence: Duration) -> SourceError {
    SourceError::new(
        SourceErrorCode::TimedOut,
        format!("`{}` said nothing for {} seconds", shown(host), silence.as_secs_f32()),
        "repeat the command: what arrived is kept; check the server and the network between",
    )
}

/// Our own error from within the connector, or what the libraries say in our words.
fn reason(host: &str, error: &(dyn std::error::Error + 'static)) -> SourceError {
    let mut chain = Vec::new();
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    let mut certificate = false;
    while let Some(current) = cause {
        if let Some(own) = current.downcast_ref::<SourceError>() {
            return own.clone();
        }
        certificate |= is_certificate_error(current);
        chain.push(current.to_string());
        cause = current.source();
    }
    let host = shown(host);
    let refused = if certificate {
        SourceError::new(
            SourceErrorCode::TlsRefused,
            format!("the certificate of `{host}` was refused"),
            "check the name and the date; if it is issued by an authority of your own, name its PEM file in the settings",
        )
    } else {
        SourceError::new(
            SourceErrorCode::Unreachable,
            format!("the connection to `{host}` failed"),
            "repeat the command; check the server and the network between",
        )
    };
    refused.with_operator_detail(chain.join(": "))
}

/// rustls reports through `io::Error`, wrapped once or more, whose inner error is not its `source`.
fn is_certificate_error(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut current = error;
    while let Some(inner) = current.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
        current = inner;
    }
    matches!(
        current.downcast_ref::<rustls::Error>(),
        Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented)
    )
}
