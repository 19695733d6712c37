//! What is compared: our server, Triton and the Python servers; how each is found and started.
//!
//! The invariant: every server listens on ports of this machine that were free a moment before, and nowhere else.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::PeersArguments;
use crate::Problem;
use crate::server::{Engine, RunningServer};

/// How tensors travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wire {
    /// Lists of numbers.
    Json,
    /// The binary tensor extension.
    Binary,
    /// Raw contents.
    Grpc,
}

/// A server that is compared.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subject {
    /// Its name, and its folder's.
    pub(super) name: &'static str,
    /// What it speaks.
    pub(super) wires: &'static [Wire],
    program: Program,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Program {
    Ours,
    Triton,
    Python,
}

/// Every server; ours first, because the others are compared with it.
pub(super) const SUBJECTS: [Subject; 6] = [
    Subject { name: "hanok", wires: &[Wire::Json, Wire::Binary, Wire::Grpc], program: Program::Ours },
    Subject { name: "triton", wires: &[Wire::Json, Wire::Binary, Wire::Grpc], program: Program::Triton },
    Subject { name: "kserve", wires: &[Wire::Json, Wire::Binary, Wire::Grpc], program: Program::Python },
    Subject { name: "mlserver", wires: &[Wire::Json, Wire::Grpc], program: Program::Python },
    Subject { name: "litserve", wires: &[Wire::Json], program: Program::Python },
    Subject { name: "fastapi", wires: &[Wire::Json], program: Program::Python },
];

impl Wire {
    /// For people.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Json => "HTTP JSON",
            Self::Binary => "HTTP binary",
            Self::Grpc => "gRPC",
        }
    }

    /// What tells the load generator.
    pub(super) const fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Json => &["--encoding", "json"],
            Self::Binary => &["--encoding", "binary"],
            Self::Grpc => &[],
        }
    }

    /// Where the load generator finds a server.
    pub(super) fn address(self, server: &RunningServer) -> Result<String, Problem> {
        match self {
            Self::Json | Self::Binary => server.http(),
            Self::Grpc => server.grpc(),
        }
    }
}

impl Subject {
    /// Whether this is the server under test.
    pub(super) fn is_ours(&self) -> bool {
        self.program == Program::Ours
    }

    /// Why it cannot be measured here, with the command that helps; `None` when it can.
    pub(super) fn missing(&self, arguments: &PeersArguments) -> Option<String> {
        match self.program {
            Program::Ours => None,
            Program::Triton => {
                let reason = "no `tritonserver` on PATH: run the suite where NVIDIA's Triton server is installed";
                tritonserver().is_none().then(|| reason.to_owned())
            }
            Program::Python => {
                let reason = || format!("not installed: benches/peers/install {}", self.name);
                (!self.interpreter(arguments).is_file()).then(reason)
            }
        }
    }

    /// Its version as pinned, or `None` where nothing pins it.
    pub(super) fn version(&self, arguments: &PeersArguments) -> Option<String> {
        let pins = fs::read_to_string(arguments.peers.join(self.name).join("requirements.txt")).ok()?;
        pins.lines().find_map(|line| line.strip_prefix(self.name)?.strip_prefix("==").map(str::to_owned))
    }

    /// Starts it on a repository and waits until its models are ready.
    pub(super) fn start(
        &self,
        arguments: &PeersArguments,
        repository: &Path,
        models: &[&str],
    ) -> Result<RunningServer, Problem> {
        let ports = [free_port()?, free_port()?];
        let [http, grpc] = ports.map(|address| address.port().to_string());
        let command = match self.program {
            Program::Ours => {
                let server = RunningServer::hanok(&arguments.options, repository, Engine::Found)?;
                let missing = models.iter().find(|model| !server.has_model(model));
                return match missing {
                    Some(model) => Err(server.child.explain(&format!("did not load `{model}`"))),
                    None => Ok(server),
                };
            }
            Program::Triton => {
                let mut command = Command::new(tritonserver().ok_or("no `tritonserver` on PATH")?);
                command.arg("--model-repository").arg(repository);
                command.args(["--http-address", "127.0.0.1", "--http-port", &http]);
                command.args(["--grpc-address", "127.0.0.1", "--grpc-port", &grpc]);
                command.args(["--allow-metrics", "false"]);
                command
            }
            Program::Python => {
                let mut command = Command::new(self.interpreter(arguments));
                command.arg(arguments.peers.join(self.name).join("serve.py")).arg("--models").arg(repository);
                command.args(["--http-port", &http, "--grpc-port", &grpc]).env("OMP_NUM_THREADS", "1");
                command
            }
        };
        RunningServer::peer(self.name, command, ports, models)
    }

    fn interpreter(&self, arguments: &PeersArguments) -> PathBuf {
        arguments.installed.join(self.name).join("bin/python")
    }
}

/// Triton's server, as a shell would find it.
fn tritonserver() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join("tritonserver")).find(|program| program.is_file())
}

/// A port that nobody listens on right now.
fn free_port() -> Result<SocketAddr, Problem> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    listener.and_then(|listener| listener.local_addr()).map_err(|error| format!("no free port: {error}"))
}
