//! An alias of a real MLflow server being watched, by asking and by its own signed webhooks.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hanok_sources::{
    Credentials, Limits, Secret, SourceErrorCode, SourceSettings, Sources, WatchEvent, WatchPlan, WebhookSender,
    verify_webhook, watch,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc};

use crate::mlflow_server::MlflowServer;
use crate::python_server::python;
use crate::web_server::{Reply, WebServer, answer};
use crate::{reference, settings};

const LONG: Duration = Duration::from_secs(60);

/// The next event, with `NAME/VERSION` of what its texts begin with.
async fn next(events: &mut mpsc::Receiver<WatchEvent>) -> WatchEvent {
    let told = tokio::time::timeout(LONG, events.recv()).await.expect("the watch tells in time");
    let short = |text: String| text.split(' ').next().unwrap().to_owned();
    match told.expect("the watch lives") {
        WatchEvent::Moved { from, to } => WatchEvent::Moved { from: from.map(short), to: short(to) },
        WatchEvent::Removed { from } => WatchEvent::Removed { from: short(from) },
        other => other,
    }
}

fn moved(from: Option<&str>, to: &str) -> WatchEvent {
    WatchEvent::Moved { from: from.map(str::to_owned), to: to.to_owned() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alias_that_moves_is_told() {
    let Some(mlflow) = MlflowServer::shared() else { return };
    mlflow.set_alias("simple", "watched", 1);
    let (sender, mut events) = mpsc::channel(4);
    let plan = WatchPlan { interval: Duration::from_millis(100), longest_pause: Duration::from_secs(1) };
    let known = Some("simple/2".to_owned());
    let watching = tokio::spawn(watch(
        mlflow.sources(&[]),
        reference("mlflow://simple@watched"),
        plan,
        known,
        Arc::new(Notify::new()),
        sender,
    ));
    assert_eq!(next(&mut events).await, moved(Some("simple/2"), "simple/1"), "what moved while nobody watched is told");
    mlflow.set_alias("simple", "watched", 2);
    assert_eq!(next(&mut events).await, moved(Some("simple/1"), "simple/2"));
    mlflow.delete_alias("simple", "watched");
    assert_eq!(next(&mut events).await, WatchEvent::Removed { from: "simple/2".to_owned() });
    mlflow.set_alias("simple", "watched", 1);
    assert_eq!(next(&mut events).await, moved(None, "simple/1"));
    drop(events);
    tokio::time::timeout(LONG, watching).await.expect("the watch ends when nobody listens").unwrap();
}

/// An answer that never ends and is never silent, as an overloaded proxy gives it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_drips_blinds_a_watch_for_seconds_only() {
    let whole = answer("200 OK", &["content-type: application/json"], &[b' '; 4096]);
    let server = WebServer::start("127.0.0.1", move |_, before| match before {
        0 => Reply::Drip(whole.clone()),
        _ => Reply::Bytes(answer(
            "200 OK",
            &["content-type: application/json"],
            br#"{"model_version": {"name": "m", "version": "2", "creation_timestamp": 1}}"#,
        )),
    })
    .await;
    let impatient = settings(&["127.0.0.1"]);
    let look = Duration::from_secs(1);
    let limits = Limits { look, time: LONG * 60, ..impatient.limits };
    let variable = |name: &str| (name == "MLFLOW_TRACKING_URI").then(|| server.url(""));
    let credentials = Credentials::read(variable, None).unwrap();
    let sources = Sources::new(SourceSettings { limits, credentials, ..impatient }).unwrap();
    let (sender, mut events) = mpsc::channel(4);
    let plan = WatchPlan { interval: Duration::from_millis(10), longest_pause: Duration::from_secs(1) };
    let begun = Instant::now();
    let watching = tokio::spawn(watch(sources, reference("mlflow://m@a"), plan, None, Arc::new(Notify::new()), sender));
    let WatchEvent::Blind(error) = next(&mut events).await else { panic!("the watch saw something") };
    assert_eq!(error.code(), SourceErrorCode::TimedOut, "{error}");
    assert!(begun.elapsed() >= look && begun.elapsed() < LONG / 2, "{:?}", begun.elapsed());
    assert_eq!(next(&mut events).await, WatchEvent::Sighted);
    assert_eq!(next(&mut events).await, moved(None, "m/2"));
    watching.abort();
}

/// The whole way: MLflow signs and posts, the signature is checked, the watch is nudged, and asks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mlflows_own_webhooks_are_genuine_and_nudge_the_watch() {
    let Some(python) = python() else { return };
    let mlflow = MlflowServer::start(
        &python,
        &["--artifacts-destination", "{folder}/artifacts"],
        &[
            ("MLFLOW_WEBHOOK_ALLOWED_SCHEMES", "http,https".to_owned()),
            ("MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS", "true".to_owned()),
            ("MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY", "c2l4dGVlbiBieXRlcyB0d2ljZSBpbiBhIHJvdyAuLi4=".to_owned()),
        ],
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let secret = "a long shared secret";
    for version in [1, 2] {
        if version == 1 {
            mlflow.server.post("POST", "/api/2.0/mlflow/registered-models/create", &json!({"name": "m"}));
        }
        let body = json!({"name": "m", "source": "s3://models/x"});
        mlflow.server.post("POST", "/api/2.0/mlflow/model-versions/create", &body);
    }
    // Before the first alias: MLflow remembers for a minute that an event has no webhooks.
    let hook = json!({
        "name": "hanok",
        "url": format!("http://{}/hook", listener.local_addr().unwrap()),
        "events": [{"entity": "MODEL_VERSION_ALIAS", "action": "CREATED"}],
        "secret": secret,
    });
    mlflow.server.post("POST", "/api/2.0/mlflow/webhooks", &hook);
    mlflow.set_alias("m", "champion", 1);
    tokio::time::timeout(LONG, delivery(&listener)).await.expect("MLflow delivers in time");
    let (sender, mut events) = mpsc::channel(4);
    let nudge = Arc::new(Notify::new());
    // So slow that only the webhook can be the reason of what is told in time.
    let plan = WatchPlan { interval: Duration::from_secs(3600), longest_pause: Duration::from_secs(3600) };
    let watching = tokio::spawn(watch(
        mlflow.sources(&[]),
        reference("mlflow://m@champion"),
        plan,
        None,
        Arc::clone(&nudge),
        sender,
    ));
    assert_eq!(next(&mut events).await, moved(None, "m/1"));
    let begin = Instant::now();
    mlflow.set_alias("m", "champion", 2);
    let (headers, body) = tokio::time::timeout(LONG, delivery(&listener)).await.expect("MLflow delivers in time");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let verified =
        verify_webhook(WebhookSender::Mlflow, &Secret::new(secret.to_owned()), &headers, &body, now).unwrap();
    assert_eq!(verified.event.as_deref(), Some("model_version_alias.created"));
    let forged = verify_webhook(WebhookSender::Mlflow, &Secret::new("another".to_owned()), &headers, &body, now);
    assert!(forged.is_err());
    nudge.notify_one();
    assert_eq!(next(&mut events).await, moved(Some("m/1"), "m/2"));
    eprintln!("alias set to event told, by webhook: {:?}", begin.elapsed());
    watching.abort();
}

/// One POST: its headers and its raw body.
async fn delivery(listener: &TcpListener) -> (HeaderMap, Vec<u8>) {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut bytes = Vec::new();
    loop {
        let mut buffer = [0; 4096];
        let count = stream.read(&mut buffer).await.unwrap();
        bytes.extend_from_slice(&buffer[..count]);
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let headers: HeaderMap = head
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (HeaderName::try_from(name).unwrap(), HeaderValue::try_from(value).unwrap()))
            .collect();
        let length: usize = headers["content-length"].to_str().unwrap().parse().unwrap();
        if bytes.len() >= end + 4 + length {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
            return (headers, bytes.split_off(end + 4));
        }
    }
}
