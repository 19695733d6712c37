//! The server under test, the floors and the peers: started on free ports. Ours are found by the line that says where
//! they listen; peers are told.
//!
//! The line: `listening http=127.0.0.1:PORT grpc=... metrics=...`, plain or inside a JSON log line.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::child::RunningChild;
use crate::{Options, Problem};

/// How long a server may take to be ready.
const READY_LIMIT: Duration = Duration::from_secs(60);

/// A server that answers.
#[derive(Debug)]
pub(crate) struct RunningServer {
    pub(crate) child: RunningChild,
    http: Option<SocketAddr>,
    grpc: Option<SocketAddr>,
    metrics: Option<SocketAddr>,
    /// From the start of the process to its first 200 on the readiness route.
    pub(crate) ready_after: Duration,
}

/// Which engine serves ONNX models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    /// What the server finds.
    Found,
    /// The one in the binary.
    Tract,
    /// The library.
    OnnxRuntime,
}

impl RunningServer {
    /// Starts `hanok serve` on a repository and waits until it is ready.
    pub(crate) fn hanok(options: &Options, repository: &Path, engine: Engine) -> Result<Self, Problem> {
        let mut command = Command::new(&options.hanok);
        command.arg("serve").arg("--model-repository").arg(repository);
        command.args(["--http-port", "0", "--grpc-port", "0", "--metrics-port", "0"]);
        if let Some(library) = &options.onnxruntime_library {
            command.arg(format!("--backend-config=onnxruntime,library={}", library.display()));
        }
        match engine {
            Engine::Found => {}
            Engine::Tract => drop(command.arg("--backend-config=onnx,engine=tract")),
            Engine::OnnxRuntime => drop(command.arg("--backend-config=onnx,engine=onnxruntime")),
        }
        Self::start("the server", command)
    }

    /// Starts `hanok serve` with its control plane, whose state is in the file `state`.
    pub(crate) fn controlled(options: &Options, repository: &Path, state: &Path) -> Result<Self, Problem> {
        let mut command = Command::new(&options.hanok);
        command.arg("serve").arg("--model-repository").arg(repository);
        command.args(["--http-port", "0", "--grpc-port", "0", "--metrics-port", "0", "--admin-port", "0"]);
        command.arg("--state").arg(state);
        Self::start("the server", command)
    }

    /// Starts `hanok serve` with declared features.
    pub(crate) fn featured(options: &Options, repository: &Path, declared: &Path) -> Result<Self, Problem> {
        let mut command = Command::new(&options.hanok);
        command.arg("serve").arg("--model-repository").arg(repository).arg("--features").arg(declared);
        command.args(["--http-port", "0", "--grpc-port", "0", "--metrics-port", "0"]);
        Self::start("the server", command)
    }

    /// Starts one of this program's own floors.
    pub(crate) fn floor(mode: &str) -> Result<Self, Problem> {
        let program = std::env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
        let mut command = Command::new(program);
        command.arg(mode);
        Self::start(mode, command)
    }

    /// Starts a server that is told its ports, and waits until it and all its `models` are ready.
    pub(crate) fn peer(
        name: &str,
        command: Command,
        [http, grpc]: [SocketAddr; 2],
        models: &[&str],
    ) -> Result<Self, Problem> {
        let started = Instant::now();
        let child = RunningChild::start(name, command)?;
        let mut server = Self { child, http: Some(http), grpc: Some(grpc), metrics: None, ready_after: Duration::ZERO };
        server.wait_until_ready(http, started, Duration::from_millis(10))?;
        for model in models {
            while !server.has_model(model) {
                server.pause(started, Duration::from_millis(10))?;
            }
        }
        server.ready_after = started.elapsed();
        Ok(server)
    }

    fn start(name: &str, command: Command) -> Result<Self, Problem> {
        let started = Instant::now();
        let mut child = RunningChild::start(name, command)?;
        let Addresses { http, grpc, metrics } = child.wait_for(READY_LIMIT, listening)?;
        let mut server = Self { child, http, grpc, metrics, ready_after: Duration::ZERO };
        if let Some(address) = server.http {
            server.wait_until_ready(address, started, Duration::from_millis(1))?;
        }
        server.ready_after = started.elapsed();
        Ok(server)
    }

    fn wait_until_ready(&mut self, address: SocketAddr, started: Instant, pause: Duration) -> Result<(), Problem> {
        while !matches!(status(address, "/v2/health/ready"), Ok(200)) {
            self.pause(started, pause)?;
        }
        Ok(())
    }

    /// Waits before the next look at a server that is starting.
    fn pause(&mut self, started: Instant, pause: Duration) -> Result<(), Problem> {
        if started.elapsed() > READY_LIMIT || self.child.has_ended() {
            return Err(self.child.explain("did not get ready"));
        }
        std::thread::sleep(pause);
        Ok(())
    }

    /// Its HTTP address for `--server`.
    pub(crate) fn http(&self) -> Result<String, Problem> {
        self.http.map(|address| format!("http://{address}")).ok_or_else(|| "the server has no HTTP port".to_owned())
    }

    /// Its gRPC address for `--server`.
    pub(crate) fn grpc(&self) -> Result<String, Problem> {
        self.grpc.map(|address| format!("grpc://{address}")).ok_or_else(|| "the server has no gRPC port".to_owned())
    }

    /// Its metrics port.
    pub(crate) fn metrics(&self) -> Result<SocketAddr, Problem> {
        self.metrics.ok_or_else(|| "the server has no metrics port".to_owned())
    }

    /// Sum of the samples of a metric whose line has `label` in it.
    pub(crate) fn metric(&self, name: &str, label: &str) -> Result<f64, Problem> {
        let failed = |error: std::io::Error| format!("the metrics port: {error}");
        let address = self.metrics()?;
        let mut stream = TcpStream::connect(address).map_err(failed)?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).map_err(failed)?;
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").map_err(failed)?;
        let mut page = String::new();
        stream.read_to_string(&mut page).map_err(failed)?;
        let lines = page.lines().filter(|line| line.split(['{', ' ']).next() == Some(name) && line.contains(label));
        Ok(lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
    }

    /// Whether a model is ready.
    pub(crate) fn has_model(&self, model: &str) -> bool {
        let path = format!("/v2/models/{model}/ready");
        self.http.is_some_and(|address| matches!(status(address, &path), Ok(200)))
    }
}

/// Where a server listens.
struct Addresses {
    http: Option<SocketAddr>,
    grpc: Option<SocketAddr>,
    metrics: Option<SocketAddr>,
}

/// Reads the addresses; `None` for any other line.
fn listening(line: &str) -> Option<Addresses> {
    let (_, rest) = line.split_once("listening ")?;
    let address = |key: &str| {
        let (_, value) = rest.split_once(key)?;
        let end =
            value.find(|letter: char| letter.is_whitespace() || letter == '"' || letter == ',').unwrap_or(value.len());
        let mut address: SocketAddr = value[..end].parse().ok()?;
        if address.ip().is_unspecified() {
            address.set_ip(Ipv4Addr::LOCALHOST.into());
        }
        Some(address)
    };
    match (address("http="), address("grpc=")) {
        (None, None) => None,
        (http, grpc) => Some(Addresses { http, grpc, metrics: address("metrics=") }),
    }
}

/// One GET on a connection of its own; its status.
fn status(address: SocketAddr, path: &str) -> std::io::Result<u16> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut head = [0; 12];
    stream.read_exact(&mut head)?;
    let text = std::str::from_utf8(&head[9..]).unwrap_or_default();
    Ok(text.parse().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn reads_the_line_plain_and_in_json() {
        let plain = "INFO listening http=127.0.0.1:8000 grpc=127.0.0.1:8001 metrics=127.0.0.1:8002";
        let Addresses { http, grpc, metrics } = listening(plain).unwrap();
        assert_eq!([http, grpc, metrics].map(|one| one.unwrap().port()), [8000, 8001, 8002]);
        let Addresses { http, grpc, .. } = listening(r#"{"message":"listening http=[::1]:9 grpc=off"}"#).unwrap();
        assert_eq!((http.unwrap().port(), grpc), (9, None));
        assert!(listening("nothing listening here").is_none());
    }
}
