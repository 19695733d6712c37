//! A server with its control plane, driven as people drive it: resources through the admin API, counts from the metrics.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::server::RunningServer;
use crate::{Options, Problem};

/// A server whose admin API is known.
pub(super) struct Controlled {
    pub(super) server: RunningServer,
    admin: SocketAddr,
}

/// A folder for what the control plane keeps; removed when dropped.
pub(super) struct StateFolder(PathBuf);

impl StateFolder {
    pub(super) fn new(name: &str) -> Result<Self, Problem> {
        let folder = std::env::temp_dir().join(format!("hanok-benches-state-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).map_err(|error| format!("cannot make `{}`: {error}", folder.display()))?;
        Ok(Self(folder))
    }

    fn file(&self) -> PathBuf {
        self.0.join("state.sqlite")
    }
}

impl Drop for StateFolder {
    fn drop(&mut self) {
        // What is left lies among temporary files.
        drop(std::fs::remove_dir_all(&self.0));
    }
}

impl Controlled {
    pub(super) fn start(options: &Options, repository: &Path, state: &StateFolder) -> Result<Self, Problem> {
        let mut server = RunningServer::controlled(options, repository, &state.file())?;
        let find = |line: &str| {
            let (_, rest) = line.split_once("admin API at http://")?;
            rest.split(|letter: char| letter == '"' || letter.is_whitespace()).next()?.parse().ok()
        };
        let admin = server.child.wait_for(Duration::from_secs(30), find)?;
        Ok(Self { server, admin })
    }

    /// Applies resources; they are in force when this returns.
    pub(super) fn apply(&self, resources: &[Value]) -> Result<(), Problem> {
        let documents: Vec<String> = resources.iter().map(Value::to_string).collect();
        let body = documents.join("\n---\n");
        call(self.admin, "POST", "/v1/apply", "application/yaml", &body).map(drop)
    }

    /// A document of the admin API.
    pub(super) fn get(&self, path: &str) -> Result<Value, Problem> {
        let text = call(self.admin, "GET", path, "application/json", "")?;
        serde_json::from_str(&text).map_err(|error| format!("the admin API's answer cannot be read: {error}"))
    }

    /// Requests by arm and outcome, from the metrics port.
    pub(super) fn arm_counts(&self, model: &str) -> Result<BTreeMap<(String, String), f64>, Problem> {
        let page = call(self.server.metrics()?, "GET", "/metrics", "text/plain", "")?;
        let label = |line: &str, name: &str| {
            let (_, rest) = line.split_once(&format!("{name}=\""))?;
            rest.split('"').next().map(str::to_owned)
        };
        let mut counts = BTreeMap::new();
        for line in page.lines().filter(|line| line.starts_with("hanok_arm_requests_total{")) {
            let (Some(public), Some(arm), Some(outcome)) =
                (label(line, "model"), label(line, "arm"), label(line, "outcome"))
            else {
                continue;
            };
            let value: f64 = line.rsplit(' ').next().and_then(|value| value.parse().ok()).unwrap_or(0.0);
            if public == model {
                counts.insert((arm, outcome), value);
            }
        }
        Ok(counts)
    }

    /// Asks again and again until `found` gives something.
    pub(super) fn wait_until<T>(
        &self,
        what: &str,
        limit: Duration,
        found: impl Fn(&Self) -> Result<Option<T>, Problem>,
    ) -> Result<T, Problem> {
        let end = Instant::now() + limit;
        loop {
            if let Some(value) = found(self)? {
                return Ok(value);
            }
            if Instant::now() > end {
                return Err(format!("{what}: not within {} s", limit.as_secs()));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The phase of a rollout.
    pub(super) fn phase(&self, rollout: &str) -> Result<String, Problem> {
        let phase = self.get(&format!("/v1/rollouts/{rollout}"))?["phase"].clone();
        Ok(match &phase {
            Value::String(text) => text.clone(),
            Value::Object(members) => members
                .get("phase")
                .and_then(Value::as_str)
                .or_else(|| members.keys().next().map(String::as_str))
                .unwrap_or_default()
                .to_owned(),
            _ => String::new(),
        })
    }
}

/// A declared resource.
pub(super) fn resource(kind: &str, name: &str, spec: &Value) -> Value {
    json!({ "apiVersion": "hanok.dev/v1", "kind": kind, "metadata": { "name": name }, "spec": spec })
}

/// One call on a connection of its own; the body of an answer of 2xx.
fn call(address: SocketAddr, method: &str, path: &str, content_type: &str, body: &str) -> Result<String, Problem> {
    let failed = |error: std::io::Error| format!("{method} {path}: {error}");
    let mut stream = TcpStream::connect(address).map_err(failed)?;
    stream.set_read_timeout(Some(Duration::from_secs(30))).map_err(failed)?;
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: {content_type}\r\n\
         Accept: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .map_err(failed)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(failed)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    if head.get(9..10) == Some("2") { Ok(body.to_owned()) } else { Err(format!("{method} {path}: {head}\n{body}")) }
}
