//! The v2 protocol over one kept-alive HTTP/1.1 connection.
//!
//! Not a general HTTP client: no redirects, no TLS, no pool. A connection that the server closed between two calls is
//! opened again once; a call that broke halfway is reported, never repeated.

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::contract::{CountAndTime, IndexEntry, InferenceAnswer, InferenceCall, ModelContract, ModelStatistics};
use super::http_message::{Encoding, decode_answer, decode_contract, encode_request, parse_json};
use super::{ClientError, ServerAddress};

/// Name of the header that says how long the JSON part is.
pub(crate) const JSON_LENGTH_HEADER: &str = "inference-header-content-length";

/// A client of one server.
#[derive(Debug)]
pub(crate) struct HttpClient {
    address: ServerAddress,
    connection: Option<Connection>,
    binary: Option<bool>,
}

#[derive(Debug)]
struct Connection {
    sender: SendRequest<Full<Bytes>>,
    driver: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

struct Reply {
    json_length: Option<usize>,
    body: Bytes,
}

impl HttpClient {
    /// A client; connects at its first call.
    pub(crate) const fn new(address: ServerAddress) -> Self {
        Self { address, connection: None, binary: None }
    }

    fn unreachable(&self, cause: &dyn std::fmt::Display) -> ClientError {
        ClientError::Unreachable { server: self.address.to_string(), cause: cause.to_string() }
    }

    async fn sender(&mut self) -> Result<&mut SendRequest<Full<Bytes>>, ClientError> {
        let usable = match &mut self.connection {
            Some(open) => open.sender.ready().await.is_ok(),
            None => false,
        };
        if !usable {
            self.connection = None;
            let stream = TcpStream::connect(&self.address.authority).await.map_err(|error| self.unreachable(&error))?;
            stream.set_nodelay(true).map_err(|error| self.unreachable(&error))?;
            let (sender, connection) =
                handshake(TokioIo::new(stream)).await.map_err(|error| self.unreachable(&error))?;
            let driver = tokio::spawn(async move {
                // A broken connection is reported by the call that it breaks.
                drop(connection.await);
            });
            self.connection = Some(Connection { sender, driver });
        }
        match &mut self.connection {
            Some(open) => Ok(&mut open.sender),
            None => Err(ClientError::reply("the connection was closed")),
        }
    }

    async fn call(
        &mut self,
        method: Method,
        path: &str,
        body: Bytes,
        json_length: Option<usize>,
    ) -> Result<Reply, ClientError> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.address.prefix))
            .header(header::HOST, &self.address.authority)
            .header(header::USER_AGENT, concat!("hanok/", env!("CARGO_PKG_VERSION")));
        if !body.is_empty() {
            let content = if json_length.is_some() { "application/octet-stream" } else { "application/json" };
            request = request.header(header::CONTENT_TYPE, content);
        }
        if let Some(length) = json_length {
            request = request.header(JSON_LENGTH_HEADER, HeaderValue::from(length as u64));
        }
        let request = request.body(Full::new(body)).map_err(|error| {
            ClientError::Unsupported(format!("the path `{path}` cannot be asked for: {error}; check the model's name"))
        })?;
        let sent = self.sender().await?.send_request(request).await;
        let response = sent.map_err(|error| self.unreachable(&error))?;
        let (head, body) = response.into_parts();
        let body = body.collect().await.map_err(|error| self.unreachable(&error))?.to_bytes();
        if head.status != StatusCode::OK {
            return Err(refusal(head.status, &body));
        }
        let json_length = head.headers.get(JSON_LENGTH_HEADER).and_then(|value| value.to_str().ok()?.parse().ok());
        Ok(Reply { json_length, body })
    }

    async fn get(&mut self, path: &str) -> Result<Value, ClientError> {
        let reply = self.call(Method::GET, path, Bytes::new(), None).await?;
        parse_json(&reply.body)
    }

    /// Names of the server's protocol extensions.
    pub(crate) async fn extensions(&mut self) -> Result<Vec<String>, ClientError> {
        let metadata = self.get("/v2").await?;
        let names = metadata["extensions"].as_array().into_iter().flatten();
        Ok(names.filter_map(Value::as_str).map(str::to_owned).collect())
    }

    /// The encoding to use with this server: binary only when it announces the extension. Asked once.
    pub(crate) async fn encoding(&mut self) -> Encoding {
        if self.binary.is_none() {
            let announced = self.extensions().await;
            self.binary = Some(announced.is_ok_and(|names| names.iter().any(|name| name == "binary_tensor_data")));
        }
        if self.binary == Some(true) { Encoding::Binary } else { Encoding::Json }
    }

    /// Speaks `encoding` whatever the server announces.
    pub(crate) fn use_encoding(&mut self, encoding: Encoding) {
        self.binary = Some(encoding == Encoding::Binary);
    }

    /// A model's metadata.
    pub(crate) async fn contract(&mut self, model: &str, version: Option<&str>) -> Result<ModelContract, ClientError> {
        decode_contract(&self.get(&model_path(model, version, "")).await?)
    }

    /// A model's configuration.
    pub(crate) async fn config(&mut self, model: &str, version: Option<&str>) -> Result<Value, ClientError> {
        self.get(&model_path(model, version, "/config")).await
    }

    /// A model's statistics, summed over its versions.
    pub(crate) async fn statistics(
        &mut self,
        model: &str,
        version: Option<&str>,
    ) -> Result<ModelStatistics, ClientError> {
        Ok(decode_statistics(&self.get(&model_path(model, version, "/stats")).await?))
    }

    /// Infers.
    pub(crate) async fn infer(&mut self, call: &InferenceCall) -> Result<InferenceAnswer, ClientError> {
        let encoding = self.encoding().await;
        let request = encode_request(call, encoding)?;
        let path = model_path(&call.model, call.version.as_deref(), "/infer");
        let reply = self.call(Method::POST, &path, request.body.into(), request.json_length).await?;
        decode_answer(&reply.body, reply.json_length)
    }

    /// The repository index.
    pub(crate) async fn index(&mut self) -> Result<Vec<IndexEntry>, ClientError> {
        let reply = self.call(Method::POST, "/v2/repository/index", Bytes::from_static(b"{}"), None).await?;
        let message = parse_json(&reply.body)?;
        let entry = |member: &Value| {
            let text = |key: &str| member[key].as_str().unwrap_or_default().to_owned();
            IndexEntry { name: text("name"), version: text("version"), state: text("state"), reason: text("reason") }
        };
        Ok(message.as_array().into_iter().flatten().map(entry).collect())
    }

    /// Loads a model, or loads it again.
    pub(crate) async fn load(&mut self, model: &str) -> Result<(), ClientError> {
        let path = format!("/v2/repository/models/{model}/load");
        self.call(Method::POST, &path, Bytes::from_static(b"{}"), None).await.map(drop)
    }

    /// Unloads a model.
    pub(crate) async fn unload(&mut self, model: &str, dependents: bool) -> Result<(), ClientError> {
        let path = format!("/v2/repository/models/{model}/unload");
        let body = if dependents { json!({"parameters": {"unload_dependents": true}}) } else { json!({}) };
        self.call(Method::POST, &path, body.to_string().into(), None).await.map(drop)
    }
}

/// `/v2/models/M[/versions/V]` and `tail`.
pub(crate) fn model_path(model: &str, version: Option<&str>, tail: &str) -> String {
    match version {
        Some(version) => format!("/v2/models/{model}/versions/{version}{tail}"),
        None => format!("/v2/models/{model}{tail}"),
    }
}

/// The server's refusal: Triton says `error`, servers built on FastAPI say `detail`.
pub(crate) fn refusal(status: StatusCode, body: &[u8]) -> ClientError {
    let message = match serde_json::from_slice::<Value>(body) {
        Ok(object) => match object.get("error").or_else(|| object.get("detail")) {
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => object.to_string(),
        },
        Err(_) => String::from_utf8_lossy(&body[..body.len().min(300)]).trim().to_owned(),
    };
    ClientError::Refused { status: status.as_u16().to_string(), message }
}

/// Reads `model_stats` (W-65 to W-68), summing versions.
fn decode_statistics(message: &Value) -> ModelStatistics {
    let mut sum = ModelStatistics::default();
    let number = |value: &Value| value.as_u64().or_else(|| value.as_str()?.parse().ok()).unwrap_or(0);
    for version in message["model_stats"].as_array().into_iter().flatten() {
        sum.inference_count += number(&version["inference_count"]);
        sum.execution_count += number(&version["execution_count"]);
        let mut add = |key: &str, into: fn(&mut ModelStatistics) -> &mut CountAndTime| {
            let member = &version["inference_stats"][key];
            let total = into(&mut sum);
            total.count += number(&member["count"]);
            total.ns += number(&member["ns"]);
        };
        add("success", |sum| &mut sum.success);
        add("fail", |sum| &mut sum.fail);
        add("queue", |sum| &mut sum.queue);
        add("compute_input", |sum| &mut sum.compute_input);
        add("compute_infer", |sum| &mut sum.compute_infer);
        add("compute_output", |sum| &mut sum.compute_output);
        for batch in version["batch_stats"].as_array().into_iter().flatten() {
            sum.add_batches(number(&batch["batch_size"]), number(&batch["compute_infer"]["count"]));
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_are_summed_over_versions() {
        let version = json!({"inference_count": 6, "execution_count": 2,
            "inference_stats": {"success": {"count": 3, "ns": 30}, "queue": {"count": 3, "ns": "7"}},
            "batch_stats": [{"batch_size": 4, "compute_infer": {"count": 1, "ns": 5}},
                            {"batch_size": 2, "compute_infer": {"count": 1, "ns": 5}}]});
        let sum = decode_statistics(&json!({"model_stats": [version, version]}));
        assert_eq!((sum.inference_count, sum.execution_count), (12, 4));
        assert_eq!((sum.success.count, sum.queue.ns), (6, 14));
        assert_eq!(sum.batches, [(2, 2), (4, 2)]);
    }

    #[test]
    fn refusals_of_several_servers() {
        let text = |body: &[u8]| match refusal(StatusCode::BAD_REQUEST, body) {
            ClientError::Refused { message, .. } => message,
            other => other.to_string(),
        };
        assert_eq!(text(br#"{"error":"unknown model"}"#), "unknown model");
        assert_eq!(text(br#"{"detail":"Not Found"}"#), "Not Found");
        assert_eq!(text(b"oops\n"), "oops");
        assert_eq!(text(b""), "");
    }
}
