//! The least that an HTTP server must do for the same bytes: a bare hyper server, two workers.
//!
//! Model `identity` answers a constant of the size of the real answer after reading the body; model `identity_json`
//! parses V2 JSON into numbers and writes them back. Nothing is checked: that is the point.

use std::convert::Infallible;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

use crate::Problem;

/// Values of the binary identity.
pub(crate) const BINARY_WIDTH: u32 = 16;

/// Values of the JSON identity.
pub(crate) const JSON_WIDTH: u32 = 30;

/// The JSON part of the constant answer.
const ANSWER_HEAD: &str = r#"{"model_name":"identity","model_version":"1","outputs":[{"name":"OUTPUT0","datatype":"FP32","shape":[1,16],"parameters":{"binary_data_size":64}}]}"#;

#[derive(Deserialize)]
struct JsonInput {
    shape: Vec<i64>,
    data: Vec<f32>,
}

#[derive(Deserialize)]
struct JsonRequest {
    inputs: Vec<JsonInput>,
}

#[derive(Serialize)]
struct JsonOutput<'a> {
    name: &'a str,
    datatype: &'a str,
    shape: &'a [i64],
    data: &'a [f32],
}

#[derive(Serialize)]
struct JsonAnswer<'a> {
    model_name: &'a str,
    model_version: &'a str,
    outputs: Vec<JsonOutput<'a>>,
}

/// Serves until the process is ended.
pub(crate) fn serve() -> Result<(), Problem> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start the floor: {error}"))?;
    runtime.block_on(async {
        let accept = tokio::spawn(accept());
        accept.await.map_err(|error| error.to_string())?
    })
}

async fn accept() -> Result<(), Problem> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(|error| error.to_string())?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    eprintln!("listening http={address}");
    let constant = Bytes::from([ANSWER_HEAD.as_bytes(), &[0; 4 * BINARY_WIDTH as usize]].concat());
    loop {
        // A client that left before it was accepted ends neither call for the others.
        let Ok((stream, _)) = listener.accept().await else { continue };
        if stream.set_nodelay(true).is_err() {
            continue;
        }
        let constant = constant.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(request, constant.clone()));
            // A client that goes away ends its connection; there is nobody to tell.
            drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
        });
    }
}

async fn answer(request: Request<Incoming>, constant: Bytes) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let Ok(body) = body.collect().await else { return Ok(plain(StatusCode::BAD_REQUEST, Bytes::new())) };
    let body = body.to_bytes();
    Ok(match head.uri.path() {
        "/v2/models/identity/infer" => binary(constant),
        "/v2/models/identity_json/infer" => echo(&body),
        "/v2/health/ready" => plain(StatusCode::OK, Bytes::new()),
        "/v2" => plain(StatusCode::OK, Bytes::from_static(br#"{"name":"floor","extensions":["binary_tensor_data"]}"#)),
        "/v2/models/identity" => metadata("identity", BINARY_WIDTH),
        "/v2/models/identity_json" => metadata("identity_json", JSON_WIDTH),
        _ => plain(StatusCode::NOT_FOUND, Bytes::from_static(b"{\"error\":\"the floor has only its models\"}")),
    })
}

fn plain(status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn binary(constant: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(constant));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert("inference-header-content-length", HeaderValue::from(ANSWER_HEAD.len()));
    response
}

fn echo(body: &[u8]) -> Response<Full<Bytes>> {
    let Ok(request) = serde_json::from_slice::<JsonRequest>(body) else {
        return plain(StatusCode::BAD_REQUEST, Bytes::new());
    };
    let output = |input: &JsonInput| -> Option<Vec<u8>> {
        let output = JsonOutput { name: "OUTPUT0", datatype: "FP32", shape: &input.shape, data: &input.data };
        let answer = JsonAnswer { model_name: "identity_json", model_version: "1", outputs: vec![output] };
        serde_json::to_vec(&answer).ok()
    };
    match request.inputs.first().and_then(output) {
        Some(text) => plain(StatusCode::OK, text.into()),
        None => plain(StatusCode::BAD_REQUEST, Bytes::new()),
    }
}

fn metadata(name: &str, width: u32) -> Response<Full<Bytes>> {
    let side = |tensor: &str| serde_json::json!([{"name": tensor, "datatype": "FP32", "shape": [-1, width]}]);
    let text = serde_json::json!({"name": name, "versions": ["1"], "platform": "floor",
        "inputs": side("INPUT0"), "outputs": side("OUTPUT0")});
    plain(StatusCode::OK, text.to_string().into())
}
