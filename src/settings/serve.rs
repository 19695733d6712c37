//! The flags of `hanok serve`.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{ArgAction, Args, ValueEnum};
use hanok_repository::ControlMode;

use super::admin::ControlFlags;
use super::gpu::GpuFlags;
use super::inert::InertFlags;
use super::trace::TraceFlags;
use super::value::{BackendSetting, backend_setting, boolean};
use super::watch::WatchFlags;

/// Flags of `hanok serve`.
#[derive(Args, Clone, Debug)]
pub(crate) struct ServeArguments {
    #[command(flatten)]
    pub(crate) repository: RepositoryFlags,
    #[command(flatten)]
    pub(crate) http: HttpFlags,
    #[command(flatten)]
    pub(crate) grpc: GrpcFlags,
    #[command(flatten)]
    pub(crate) metrics: MetricsFlags,
    #[command(flatten)]
    pub(crate) backends: BackendFlags,
    #[command(flatten)]
    pub(crate) gpus: GpuFlags,
    #[command(flatten)]
    pub(crate) life: LifeFlags,
    #[command(flatten)]
    pub(crate) limits: LimitFlags,
    #[command(flatten)]
    pub(crate) control: ControlFlags,
    #[command(flatten)]
    pub(crate) watch: WatchFlags,
    #[command(flatten)]
    pub(crate) log: LogFlags,
    #[command(flatten)]
    pub(crate) traces: TraceFlags,
    #[command(flatten)]
    pub(crate) inert: InertFlags,
}

/// Who decides what is loaded, in Triton's spelling.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum ControlModeName {
    /// Everything at start-up
    None,
    /// The folders, looked at from time to time
    Poll,
    /// Clients, by load and unload requests
    Explicit,
}

impl From<ControlModeName> for ControlMode {
    fn from(name: ControlModeName) -> Self {
        match name {
            ControlModeName::None => Self::None,
            ControlModeName::Poll => Self::Poll,
            ControlModeName::Explicit => Self::Explicit,
        }
    }
}

/// How failures become statuses.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum ProfileName {
    /// As Triton does, including 500 for malformed requests
    Triton,
    /// 400 for every mistake of a client, 404 for every unknown name
    Strict,
}

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Models")]
pub(crate) struct RepositoryFlags {
    /// Folder of models, in Triton's layout; may be given several times
    #[arg(
        long = "model-repository",
        alias = "model-store",
        value_name = "DIR",
        default_value = "models",
        env = "HANOK_MODEL_REPOSITORY"
    )]
    pub(crate) roots: Vec<PathBuf>,
    /// Who decides what is loaded
    #[arg(long = "model-control-mode", value_name = "MODE", default_value = "none")]
    pub(crate) control_mode: ControlModeName,
    /// Serve exactly what this lock file pins (written by `hanok lock`), and refuse to start or to load anything else
    #[arg(long, value_name = "FILE", env = "HANOK_LOCKED")]
    pub(crate) locked: Option<PathBuf>,
    /// Declared features (YAML), for models whose configuration names a feature service; see `hanok features`
    #[arg(long, value_name = "FILE", env = "HANOK_FEATURES")]
    pub(crate) features: Option<PathBuf>,
    /// Note what each request's features were in this folder, for `hanok features skew`: never waited for; rows that the log
    /// has no room for are dropped and counted
    #[arg(long, value_name = "DIR", env = "HANOK_FEATURE_LOG", requires = "features")]
    pub(crate) feature_log: Option<PathBuf>,
    /// Megabytes that the log of served features may take; beyond it the oldest eighth is removed
    #[arg(long, value_name = "COUNT", default_value_t = 1024, value_parser = clap::value_parser!(u64).range(1..=1_048_576))]
    pub(crate) feature_log_megabytes: u64,
    /// Model to load at start in mode explicit; may be given several times; `*` for all
    #[arg(long = "load-model", value_name = "NAME")]
    pub(crate) load_models: Vec<String>,
    /// Seconds between looks at the repository in mode poll
    #[arg(long, value_name = "SECONDS", default_value_t = 15)]
    pub(crate) repository_poll_secs: u64,
    /// Models loaded side by side at start
    #[arg(long, value_name = "COUNT", default_value_t = 4)]
    pub(crate) model_load_thread_count: usize,
    /// Variant of configurations to prefer: `configs/NAME.pbtxt` in a model's folder
    #[arg(long, value_name = "NAME")]
    pub(crate) model_config_name: Option<String>,
    /// Do not complete configurations from model files
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_value = "false", default_missing_value = "true", value_parser = boolean, action = ArgAction::Set)]
    pub(crate) disable_auto_complete_config: bool,
    /// Be ready only while every model is ready
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_value = "false", default_missing_value = "true", value_parser = boolean, action = ArgAction::Set)]
    pub(crate) strict_readiness: bool,
    /// End with an error when a model fails to load at start
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_value = "false", default_missing_value = "true", value_parser = boolean, action = ArgAction::Set)]
    pub(crate) exit_on_error: bool,
}

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "HTTP")]
pub(crate) struct HttpFlags {
    /// Serve HTTP
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_value = "true", default_missing_value = "true", value_parser = boolean, action = ArgAction::Set)]
    pub(crate) allow_http: bool,
    /// Address of the HTTP port
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0")]
    pub(crate) http_address: IpAddr,
    /// HTTP port; 0 for a free one
    #[arg(long, value_name = "PORT", default_value_t = 8000, env = "HANOK_HTTP_PORT")]
    pub(crate) http_port: u16,
    /// Let other processes listen on the same HTTP port
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_value = "false", default_missing_value = "true", value_parser = boolean, action = ArgAction::Set)]
    pub(crate) reuse_http_port: bool,
    /// Threads that serve connections of all ports; default: one per processor
    #[arg(long, value_name = "COUNT")]
    pub(crate) http_thread_count: Option<usize>,
    /// Largest request body in bytes, before and after decompression
    #[arg(long, value_name = "BYTES", default_value_t = 64 << 20)]
    pub(crate) http_max_input_size: usize,
    /// Regular expression of header names that become request parameters
    #[arg(long, value_name = "REGEX")]
    pub(crate) http_header_forward_pattern: Option<String>,
    /// How failures become statuses
    #[arg(long, value_name = "PROFILE", default_value = "triton")]
    pub(crate) status_profile: ProfileName,
}

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "gRPC")]
pub(crate) struct GrpcFlags {
    /// Serve gRPC
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_value = "true", default_missing_value = "true", value_parser = boolean, action = ArgAction::Set)]
    pub(crate) allow_grpc: bool,
    /// Address of the gRPC port
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0")]
    pub(crate) grpc_address: IpAddr,
    /// gRPC port; 0 for a free one
    #[arg(long, value_name = "PORT", default_value_t = 8001, env = "HANOK_GRPC_PORT")]
    pub(crate) grpc_port: u16,
    /// Let other processes listen on the same gRPC port
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_value = "false", default_missing_value = "true", value_parser = boolean, action = ArgAction::Set)]
    pub(crate) reuse_grpc_port: bool,
    /// Regular expression of metadata keys that become request parameters
    #[arg(long, value_name = "REGEX")]
    pub(crate) grpc_header_forward_pattern: Option<String>,
    /// Compress replies of inference for clients that take it; every level but `none` is the same strength
    #[arg(long, value_name = "LEVEL", default_value = "none")]
    pub(crate) grpc_infer_response_compression_level: CompressionLevelName,
    /// Milliseconds between pings of an HTTP/2 connection, on both ports
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 60_000, value_parser = clap::value_parser!(u64).range(10..=MOST_MILLISECONDS))]
    pub(crate) grpc_keepalive_time: u64,
    /// Milliseconds for the answer to a ping, without which the connection ends
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(10..=MOST_MILLISECONDS))]
    pub(crate) grpc_keepalive_timeout: u64,
    /// Milliseconds after which a gRPC connection takes no new calls, a tenth more or less, so that clients behind a balancer
    /// spread anew; 0 for no end
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=MOST_MILLISECONDS))]
    pub(crate) grpc_max_connection_age: u64,
    /// Milliseconds for the calls of such a connection to end, before it is cut; 0 for as long as they take
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=MOST_MILLISECONDS))]
    pub(crate) grpc_max_connection_age_grace: u64,
}

/// Triton's bound of such values: what fits a 32-bit integer, 24 days.
const MOST_MILLISECONDS: u64 = i32::MAX as u64;

/// How much replies over gRPC are compressed, in Triton's spelling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CompressionLevelName {
    /// Not at all
    None,
    /// As the others
    Low,
    /// As the others
    Medium,
    /// As the others
    High,
}

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Metrics")]
pub(crate) struct MetricsFlags {
    /// Serve metrics
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_value = "true", default_missing_value = "true", value_parser = boolean, action = ArgAction::Set)]
    pub(crate) allow_metrics: bool,
    /// Address of the metrics port; default: that of the HTTP port
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) metrics_address: Option<IpAddr>,
    /// Metrics port; 0 for a free one
    #[arg(long, value_name = "PORT", default_value_t = 8002, env = "HANOK_METRICS_PORT")]
    pub(crate) metrics_port: u16,
}

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Backends")]
pub(crate) struct BackendFlags {
    /// Setting of a backend: `onnxruntime,library=PATH`, `onnx,engine=tract|onnxruntime`, `default-max-batch-size=N`;
    /// may be given several times
    #[arg(long = "backend-config", value_name = "BACKEND,KEY=VALUE", value_parser = backend_setting)]
    pub(crate) settings: Vec<BackendSetting>,
}

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Life")]
pub(crate) struct LifeFlags {
    /// Longest time in seconds for in-flight work to finish after a signal to stop
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub(crate) exit_timeout_secs: u64,
    /// Seconds to go on serving, not ready any more, before listeners close, so that balancers notice
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    pub(crate) drain_delay_secs: u64,
    /// File with the token that callers from other machines need to load and unload models and to set log levels
    #[arg(long, value_name = "FILE")]
    pub(crate) management_token_file: Option<PathBuf>,
    /// Let everybody who reaches the port load and unload models: only behind a gateway that checks
    #[arg(long, conflicts_with = "management_token_file")]
    pub(crate) allow_open_management: bool,
    /// Let callers who may manage the server register shared memory of this machine, for tensors of requests: whatever of it the
    /// server's user may read and write
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_value = "false", default_missing_value = "true", value_parser = boolean, action = ArgAction::Set)]
    pub(crate) allow_client_shm: bool,
    /// Name that server metadata tells; clients of Triton look for `triton`
    #[arg(long = "id", value_name = "NAME", default_value = "triton")]
    pub(crate) server_id: String,
}

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Limits")]
pub(crate) struct LimitFlags {
    /// Most open connections, all ports together
    #[arg(long, value_name = "COUNT", default_value_t = 10_000)]
    pub(crate) max_connections: usize,
    /// Most inference requests in flight
    #[arg(long, value_name = "COUNT", default_value_t = 16_384)]
    pub(crate) max_in_flight_requests: usize,
    /// Most bytes of requests in flight
    #[arg(long, value_name = "BYTES", default_value_t = 4 << 30)]
    pub(crate) max_in_flight_bytes: usize,
    /// Most requests queued per model version
    #[arg(long, value_name = "COUNT", default_value_t = 16_384)]
    pub(crate) max_queued_requests: usize,
    /// Seconds for a request's head, from its first byte
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    pub(crate) head_timeout_secs: u64,
    /// Seconds for a request's body, from the end of its head
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub(crate) body_timeout_secs: u64,
    /// Seconds for a client to take a reply
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    pub(crate) write_timeout_secs: u64,
    /// Seconds for which a connection may be idle
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    pub(crate) idle_timeout_secs: u64,
    /// Longest time in seconds from receipt to answer of any request
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    pub(crate) max_request_secs: u64,
}

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Log")]
pub(crate) struct LogFlags {
    /// `default` for text, `json` for one object per line
    #[arg(long, value_name = "FORMAT", default_value = "default")]
    pub(crate) log_format: LogFormatName,
    /// 0 for what happens, 1 for how, 2 and more for everything
    #[arg(long, value_name = "LEVEL", num_args = 0..=1, default_value = "0", default_missing_value = "1")]
    pub(crate) log_verbose: u32,
    /// Say what happens
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_value = "true", default_missing_value = "true", value_parser = boolean, action = ArgAction::Set)]
    pub(crate) log_info: bool,
    /// Say what may become a failure
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_value = "true", default_missing_value = "true", value_parser = boolean, action = ArgAction::Set)]
    pub(crate) log_warning: bool,
    /// A filter such as `hanok_scheduler=debug,info`; wins over the other log flags
    #[arg(long, value_name = "FILTER", env = "HANOK_LOG")]
    pub(crate) log_filter: Option<String>,
}

/// How log lines look, with Triton's names.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum LogFormatName {
    /// Text
    Default,
    /// Text; timestamps are ISO 8601 in every format
    #[value(name = "ISO8601", alias = "iso8601")]
    Iso8601,
    /// One JSON object per line
    Json,
}
