//! The admin API of a control plane, over HTTP/1.1: one connection for each call.
//!
//! Knows paths and documents of nobody: commands name them. A refusal is a problem document (RFC 9457), whose text is told.

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use super::{ClientError, ServerAddress};

/// Largest answer that is read.
const MOST_BYTES: usize = 64 << 20;

/// A client of one control plane.
#[derive(Debug)]
pub(crate) struct AdminClient {
    address: ServerAddress,
    token: Option<String>,
}

/// One call.
#[derive(Clone, Debug)]
pub(crate) struct AdminCall<'a> {
    pub(crate) method: Method,
    pub(crate) path: String,
    /// Further headers.
    pub(crate) headers: Vec<(&'static str, String)>,
    /// Content type and body.
    pub(crate) body: Option<(&'static str, &'a [u8])>,
}

impl AdminCall<'_> {
    /// Asks for a document.
    pub(crate) const fn get(path: String) -> Self {
        Self { method: Method::GET, path, headers: Vec::new(), body: None }
    }

    /// Asks for something to be done.
    pub(crate) const fn post(path: String) -> Self {
        Self { method: Method::POST, path, headers: Vec::new(), body: None }
    }
}

impl AdminClient {
    /// A client; connects at each call. The token goes with every call.
    pub(crate) const fn new(address: ServerAddress, token: Option<String>) -> Self {
        Self { address, token }
    }

    fn unreachable(&self, cause: &dyn std::fmt::Display) -> ClientError {
        let cause = format!("{cause}; the admin API is there when the server was started with --admin-port");
        ClientError::Unreachable { server: self.address.to_string(), cause }
    }

    /// The text of an answer.
    ///
    /// # Errors
    /// [`ClientError`], with the server's own words where it refused.
    pub(crate) async fn text(&self, call: AdminCall<'_>) -> Result<String, ClientError> {
        let body = self.call(call).await?;
        String::from_utf8(body.to_vec()).map_err(|_| ClientError::reply("the answer is not text"))
    }

    /// The document of an answer.
    ///
    /// # Errors
    /// As [`AdminClient::text`].
    pub(crate) async fn json(&self, mut call: AdminCall<'_>) -> Result<Value, ClientError> {
        call.headers.push(("accept", "application/json".to_owned()));
        let body = self.call(call).await?;
        serde_json::from_slice(&body).map_err(|error| ClientError::reply(format!("the answer is not JSON: {error}")))
    }

    async fn call(&self, call: AdminCall<'_>) -> Result<Bytes, ClientError> {
        let mut request = Request::builder()
            .method(call.method)
            .uri(format!("{}{}", self.address.prefix, call.path))
            .header(header::HOST, &self.address.authority)
            .header(header::USER_AGENT, concat!("hanok/", env!("CARGO_PKG_VERSION")));
        for (name, value) in &call.headers {
            request = request.header(*name, value);
        }
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let body = match call.body {
            Some((content_type, body)) => {
                request = request.header(header::CONTENT_TYPE, content_type);
                Bytes::copy_from_slice(body)
            }
            None => Bytes::new(),
        };
        let request = request
            .body(Full::new(body))
            .map_err(|error| ClientError::Unsupported(format!("`{}` cannot be asked for: {error}", call.path)))?;
        let stream = TcpStream::connect(&self.address.authority).await.map_err(|error| self.unreachable(&error))?;
        let (mut sender, connection) =
            handshake(TokioIo::new(stream)).await.map_err(|error| self.unreachable(&error))?;
        let exchange = async {
            let response = sender.send_request(request).await.map_err(|error| self.unreachable(&error))?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, MOST_BYTES).collect().await;
            let body = body.map_err(|error| ClientError::reply(format!("the answer broke off: {error}")))?.to_bytes();
            if head.status.is_success() { Ok(body) } else { Err(refusal(head.status, &body)) }
        };
        tokio::select! {
            result = exchange => result,
            _ = connection => Err(self.unreachable(&"the connection was closed before the answer")),
        }
    }
}

/// What a problem document says, all of its problems included.
fn refusal(status: StatusCode, body: &[u8]) -> ClientError {
    let document: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |key: &str| document[key].as_str().map(str::to_owned);
    let mut message = text("detail")
        .or_else(|| text("title"))
        .unwrap_or_else(|| String::from_utf8_lossy(body).chars().take(500).collect());
    for problem in document["problems"].as_array().into_iter().flatten() {
        let part = |key: &str| problem[key].as_str().unwrap_or_default();
        let document =
            problem["document"].as_u64().map(|index| format!("document {}, ", index + 1)).unwrap_or_default();
        let line = format!("{document}{}: {}", part("path"), part("message"));
        message.push_str("\n  ");
        message.push_str(&line);
    }
    ClientError::Refused { status: status.as_u16().to_string(), message }
}
