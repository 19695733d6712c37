//! Where a control plane is, for the commands that talk to one; and how `serve` starts its own.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use hanok_api::DeclaredPlace;

use super::NotRepeated;
use super::registry::size;
use crate::client::ServerAddress;

/// Where the control plane keeps its state unless told otherwise.
pub(crate) const DEFAULT_STATE: &str = ".hanok/state.sqlite";

/// Where a control plane is.
#[derive(Args, Clone, Debug)]
pub(crate) struct AdminFlags {
    /// The admin API of a server that was started with --admin-port
    #[arg(long, global = true, value_name = "URL", default_value = "http://127.0.0.1:8003", env = "HANOK_ADMIN")]
    pub(crate) admin: ServerAddress,
    /// File with the token that the admin API wants, where it wants one
    #[arg(long, global = true, value_name = "FILE", env = "HANOK_ADMIN_TOKEN_FILE")]
    pub(crate) token_file: Option<PathBuf>,
}

/// The control plane beside a server.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Control plane")]
pub(crate) struct ControlFlags {
    /// Start the control plane with its admin API on this port (8003 is usual; 0 for a free one): traffic splits, shadows,
    /// rollouts, experiments, outcomes
    #[arg(long, value_name = "PORT", env = "HANOK_ADMIN_PORT")]
    pub(crate) admin_port: Option<u16>,
    /// Address of the admin API; one that other machines reach needs --admin-token-file
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    pub(crate) admin_address: IpAddr,
    /// File with the token that callers of the admin API need
    #[arg(long, value_name = "FILE", env = "HANOK_ADMIN_TOKEN_FILE")]
    pub(crate) admin_token_file: Option<PathBuf>,
    /// Where the control plane keeps what must survive: a file (SQLite), or `postgres://...` for several replicas
    #[arg(long, value_name = "PLACE", default_value = DEFAULT_STATE, env = "HANOK_STATE")]
    pub(crate) state: String,
    /// Folder of the local registry: the admin API offers it, watched models are fetched into it, and its versions that are
    /// loaded here are never evicted. With --watch .hanok/registry unless told otherwise
    #[arg(long, value_name = "DIR", env = "HANOK_REGISTRY")]
    pub(crate) registry: Option<PathBuf>,
    /// Most bytes that the registry's files may take when watched models are fetched, such as `50GB`: what was fetched and is
    /// not in use is evicted to stay below, least recently used first
    #[arg(long, value_name = "SIZE", env = "HANOK_REGISTRY_QUOTA", value_parser = size)]
    pub(crate) registry_quota: Option<u64>,
    /// Bring and keep in force what is declared in this folder, or on a Git branch: git+https://HOST/PATH#BRANCH:FOLDER, or
    /// the same over ssh, http or file
    #[arg(
        long,
        value_name = "DIR|GIT-URL",
        requires = "admin_port",
        conflicts_with = "steered",
        env = "HANOK_DECLARED",
        hide_env_values = true,
        value_parser = NotRepeated(str::parse::<DeclaredPlace>)
    )]
    pub(crate) declared: Option<DeclaredPlace>,
    /// Seconds between two looks at what is declared
    #[arg(long, value_name = "SECONDS", default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) declared_poll_secs: u64,
    /// What becomes of a declared resource that somebody changed by hand
    #[arg(long, value_name = "WHAT", default_value = "correct")]
    pub(crate) declared_drift: DriftName,
    /// Start no control plane on the admin port, but let one elsewhere steer this runtime
    #[arg(long, requires = "admin_port", conflicts_with = "runtime")]
    pub(crate) steered: bool,
    /// Header by which a proxy in front tells who was authenticated, for rules on `identity`. Callers who reach the server
    /// without that proxy could claim to be anybody
    #[arg(long, value_name = "NAME", value_parser = header_name)]
    pub(crate) identity_header: Option<String>,
    /// Further runtimes to steer: the admin API of another server; may be given several times
    #[arg(long, value_name = "NAME=URL")]
    pub(crate) runtime: Vec<String>,
    /// File with the token for those runtimes
    #[arg(long, value_name = "FILE")]
    pub(crate) runtime_token_file: Option<PathBuf>,
}

/// What becomes of a declared resource that somebody changed by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DriftName {
    /// It is set back at the next look
    Correct,
    /// It is told, and stays until the declaration changes or somebody runs `hanok declared sync`
    Report,
}

/// The name of a header, in lower case.
fn header_name(text: &str) -> Result<String, String> {
    let name = http::HeaderName::try_from(text).map_err(|_| "expected the name of a header".to_owned())?;
    if name.as_str().ends_with("-bin") {
        return Err("expected a header with a text, got one that gRPC takes for binary".to_owned());
    }
    Ok(name.as_str().to_owned())
}
