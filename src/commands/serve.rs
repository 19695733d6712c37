//! `hanok serve`: from flags to a running server, and its orderly end.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hanok_devices::PinnedPool;
use hanok_protocol::StatusProfile;
use hanok_repository::{
    ControlMode, FeatureSource, GpuDevices, LoadGate, ModelRepository, Poller, RepositorySettings, VersionKeeper,
};
use hanok_server::{
    Admission, Behaviour, CudaRegions, Endpoints, Lifecycle, Limits, Management, RunningServer, ServerIdentity,
    ServerState, Stage, SystemRegions, Traffic,
};
use hanok_telemetry::{LogFormat, LogLevel, LogSettings, Logging};
use tokio::signal::unix::{SignalKind, signal};

use super::error::CommandError;
use crate::app;
use crate::bounded_text::{self, LARGEST_SETTINGS};
use crate::control::{LoadedHolds, WatchSettings, Watches, Webhooks, open_registry};
use crate::features::FeatureServices;
use crate::gpus::{self, GpuMetrics, GpuUse};
use crate::locked_models::LockedModels;
use crate::onnx_engine::OnnxEngine;
use crate::request_traces;
pub(crate) use crate::settings::ServeArguments;
use crate::settings::{CompressionLevelName, LogFormatName, ProfileName, Surroundings, by_backend};

/// Exit code when requests were cut off by the end of the time to finish, as the shell's own for a failure.
const EXIT_CUT_OFF: u8 = 1;
/// Exit code after a second signal.
const EXIT_FORCED: u8 = 130;

/// Longest wait for traces to be written when requests were cut off.
const TRACES_PATIENCE: Duration = Duration::from_secs(1);

/// How long open connections are served on, each reply telling its client to close, before those that are idle are closed:
/// so that a busy client never writes to a connection that is being closed.
const LINGER: Duration = Duration::from_millis(250);

/// Serves until a signal says to stop.
pub(crate) fn run(arguments: &ServeArguments) -> Result<ExitCode, CommandError> {
    let started = Instant::now();
    let logging = Arc::new(start_log(arguments)?);
    note_inert_flags(arguments)?;
    let surroundings = Surroundings::read();
    let settings = by_backend(&arguments.backends.settings);
    let gpus = gpus::choose(&arguments.gpus)?.map(|gpus| GpuUse::new(gpus, arguments.gpus.pool_sizes()));
    let engine = Arc::new(OnnxEngine::choose(&settings, &surroundings, gpus)?);
    let to_the_end = || serve_to_the_end(arguments, &surroundings, &settings, &engine, logging, started);
    if !engine.is_to_be_opened() {
        tracing::info!("{}", engine.summary());
        return to_the_end();
    }
    std::thread::scope(|scope| {
        let serving = std::thread::Builder::new().name("hanok-main".to_owned()).spawn_scoped(scope, to_the_end);
        let serving =
            serving.map_err(|error| CommandError::failed(format!("the main thread could not be started: {error}")))?;
        // The process's first thread opens the library, because its heap grows cheapest.
        tracing::info!("{}", engine.summary());
        serving.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Starts the threads that serve, and joins them when a signal has said to stop.
fn serve_to_the_end(
    arguments: &ServeArguments,
    surroundings: &Surroundings,
    settings: &app::BackendSettings,
    engine: &Arc<OnnxEngine>,
    logging: Arc<Logging>,
    started: Instant,
) -> Result<ExitCode, CommandError> {
    let threads = arguments.http.http_thread_count.unwrap_or(surroundings.processors).max(1);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name("hanok-serve")
        .enable_all()
        .build()
        .map_err(|error| CommandError::failed(format!("the asynchronous runtime could not be started: {error}")))?;
    let code = runtime.block_on(serve(arguments, surroundings, settings, engine, logging, started));
    // Nothing is lost here: everything that has an owner was joined before.
    runtime.shutdown_timeout(Duration::from_millis(100));
    code
}

async fn serve(
    arguments: &ServeArguments,
    surroundings: &Surroundings,
    settings: &app::BackendSettings,
    engine: &Arc<OnnxEngine>,
    logging: Arc<Logging>,
    started: Instant,
) -> Result<ExitCode, CommandError> {
    let mut signals = Signals::install()?;
    // What is set wrongly is told before a port listens and a model loads.
    crate::control::check(&arguments.control)?;
    let webhooks = Arc::new(Webhooks::read(&arguments.watch, arguments.control.declared.is_some())?);
    let watch_settings = WatchSettings::read(&arguments.watch)?;
    let gpus = engine.gpus().cloned();
    let locked = match &arguments.repository.locked {
        None => None,
        Some(file) => Some(Arc::new(LockedModels::read(file, &arguments.repository.roots)?)),
    };
    let features = open_features(arguments).await?;
    let registry = tokio::task::block_in_place(|| open_registry(&arguments.control, arguments.watch.is_given()))?;
    let holds = registry.clone().map(LoadedHolds::start).transpose();
    let holds =
        holds.map_err(|error| CommandError::failed(format!("the holding thread could not be started: {error}")))?;
    let above = Above {
        gate: locked.map(|locked| locked as Arc<dyn LoadGate>),
        keeper: holds.as_ref().map(LoadedHolds::keeper),
        features: features.clone().map(|features| features as Arc<dyn FeatureSource>),
        gpus: gpus.clone(),
    };
    let repository = Arc::new(open_repository(arguments, surroundings, settings, engine, above)?);
    // Without GPUs there are no regions, and nothing is pinned for them.
    let pinned = engine.pinned().map_or_else(|| PinnedPool::new(0), Arc::clone);
    let state = Arc::new(server_state(arguments, &repository, logging, pinned)?);
    if let Some(features) = features {
        state.traffic.add_metrics(Arc::new(move || features.metrics()));
    }
    if let Some(gpus) = gpus.filter(|_| arguments.gpus.allow_gpu_metrics) {
        let metrics = GpuMetrics::new(gpus, Arc::clone(&repository));
        state.traffic.add_metrics(Arc::new(move || metrics.render()));
    }
    tracing::info!("limits: {}", state.limits);

    let server =
        RunningServer::start(&state, &endpoints(arguments)).map_err(|error| CommandError::failed(error.to_string()))?;
    let shown = |address: Option<SocketAddr>| address.map_or_else(|| "off".to_owned(), |address| address.to_string());
    tracing::info!(
        "listening http={} grpc={} metrics={}",
        shown(server.http),
        shown(server.grpc),
        shown(server.metrics)
    );

    let control = crate::control::start(&arguments.control, &state, registry.clone(), &webhooks).await?;
    if let Some(control) = &control {
        tracing::info!("admin API at http://{}", control.address());
        if let Some(metrics) = control.metrics() {
            state.traffic.add_metrics(metrics);
        }
    }

    tokio::task::block_in_place(|| engine.check_required())?;
    let root = arguments.repository.roots.first().map(PathBuf::as_path).unwrap_or(Path::new("models"));
    tokio::task::block_in_place(|| Watches::take_back(&arguments.watch, root, registry.as_ref()));
    let loading = {
        let repository = Arc::clone(&repository);
        std::thread::Builder::new().name("hanok-load".to_owned()).spawn(move || repository.load_at_start())
    }
    .map_err(|error| CommandError::failed(format!("the loading thread could not be started: {error}")))?;
    let loaded = tokio::task::spawn_blocking(move || loading.join());
    let interrupted = tokio::select! {
        loaded = loaded => {
            match loaded {
                Ok(Ok(Ok(()))) => {}
                Ok(Ok(Err(error))) => return Err(unreadable_repository(arguments, &error)),
                _ => return Err(CommandError::failed("loading models ended with a panic; the log has the reason")),
            }
            false
        }
        () = signals.next() => true,
    };
    let _poller = match repository.control_mode() {
        ControlMode::Poll => {
            let interval = Duration::from_secs(arguments.repository.repository_poll_secs.max(1));
            Some(Poller::start(&repository, interval).map_err(|error| CommandError::failed(error.to_string()))?)
        }
        ControlMode::None | ControlMode::Explicit => None,
    };
    let (watch, control_in) = (&arguments.watch, control.as_ref());
    let watches =
        Watches::start(watch, watch_settings, root, &repository, registry.as_ref(), control_in, &webhooks).await?;
    if !interrupted {
        if arguments.repository.exit_on_error && !repository.all_ready() {
            return Err(CommandError::failed(
                "a model failed to load, and --exit-on-error was given; the log has the reason",
            ));
        }
        state.lifecycle.advance(Stage::Serving);
        let count = repository.ready().all().len();
        tracing::info!(versions = count, milliseconds = started.elapsed().as_millis(), "serving");
        let repository = Arc::clone(&repository);
        // Nobody waits for it.
        drop(tokio::task::spawn_blocking(move || repository.release_loading_memory()));
        signals.next().await;
    }
    let code = finish(arguments, &state, server, &mut signals).await;
    watches.stop().await;
    if let Some(control) = control {
        control.stop().await;
    }
    Ok(code)
}

/// Readiness first, then the listeners, then in-flight work; a second signal cuts all of it short.
async fn finish(
    arguments: &ServeArguments,
    state: &ServerState,
    server: RunningServer,
    signals: &mut Signals,
) -> ExitCode {
    let orderly = async {
        state.lifecycle.advance(Stage::Leaving);
        tracing::info!(in_flight = state.admission.requests_inside(), "stopping: not ready any more");
        let delay = Duration::from_secs(arguments.life.drain_delay_secs);
        let linger = if state.admission.connections_inside() > 0 { LINGER } else { Duration::ZERO };
        tokio::time::sleep(delay.max(linger)).await;
        state.lifecycle.advance(Stage::Draining);
        let limit = Duration::from_secs(arguments.life.exit_timeout_secs);
        let until = Instant::now() + limit;
        let (repository, tracer) = (Arc::clone(&state.repository), Arc::clone(&state.tracer));
        let finished = async {
            server.finished().await;
            // Models may still execute for callers that have gone.
            let end = move || {
                let drained = repository.drain(until);
                tracer.stop();
                drained
            };
            tokio::task::spawn_blocking(end).await.unwrap_or(false)
        };
        if tokio::time::timeout(limit, finished).await.unwrap_or(false) {
            tracing::info!("stopped: everything in flight was finished");
            return ExitCode::SUCCESS;
        }
        state.lifecycle.advance(Stage::Stopped);
        tracing::warn!(in_flight = state.admission.requests_inside(), "stopped: the time to finish was over");
        // Requests that were cut off have ended too; a disk that takes nothing is not waited for.
        let _written = tokio::task::block_in_place(|| state.tracer.settle(TRACES_PATIENCE));
        leave(EXIT_CUT_OFF)
    };
    tokio::select! {
        code = orderly => code,
        () = signals.next() => {
            tracing::warn!("stopped at once by a second signal");
            leave(EXIT_FORCED)
        }
    }
}

/// Ends the process without waiting for anything: threads that execute a model cannot be interrupted.
fn leave(code: u8) -> ! {
    std::process::exit(i32::from(code))
}

/// SIGTERM and SIGINT.
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn install() -> Result<Self, CommandError> {
        let install =
            |kind| signal(kind).map_err(|error| CommandError::failed(format!("signals cannot be received: {error}")));
        Ok(Self { terminate: install(SignalKind::terminate())?, interrupt: install(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

fn start_log(arguments: &ServeArguments) -> Result<Logging, CommandError> {
    let log = &arguments.log;
    let level = match (log.log_verbose, log.log_info, log.log_warning) {
        (0, true, _) => LogLevel::Info,
        (0, false, true) => LogLevel::Warning,
        (0, false, false) => LogLevel::Error,
        (1, ..) => LogLevel::Debug,
        _ => LogLevel::Trace,
    };
    let format = match log.log_format {
        LogFormatName::Default | LogFormatName::Iso8601 => LogFormat::Text,
        LogFormatName::Json => LogFormat::Json,
    };
    Logging::start(&LogSettings { format, level, filter: log.log_filter.clone() }).map_err(CommandError::input)
}

fn note_inert_flags(arguments: &ServeArguments) -> Result<(), CommandError> {
    for flag in arguments.inert.given() {
        if flag.is_refused() {
            return Err(CommandError::input(format!("--{}: {}", flag.name, flag.why)));
        }
        tracing::warn!(flag = flag.name, "--{} has no effect: {}", flag.name, flag.why);
    }
    Ok(())
}

/// Who has a say in loading models.
struct Above {
    gate: Option<Arc<dyn LoadGate>>,
    keeper: Option<Arc<dyn VersionKeeper>>,
    features: Option<Arc<dyn FeatureSource>>,
    gpus: Option<Arc<GpuDevices>>,
}

/// Reads the declared features and opens their stores, beside the threads that serve.
async fn open_features(arguments: &ServeArguments) -> Result<Option<Arc<FeatureServices>>, CommandError> {
    let Some(file) = arguments.repository.features.clone() else { return Ok(None) };
    let runtime = tokio::runtime::Handle::current();
    let (log, largest) = (arguments.repository.feature_log.clone(), arguments.repository.feature_log_megabytes << 20);
    let open = move || FeatureServices::open(&file, log.as_deref().map(|folder| (folder, largest)), runtime);
    let opened = tokio::task::spawn_blocking(open).await;
    let opened =
        opened.map_err(|error| CommandError::failed(format!("opening the declared features ended early: {error}")))?;
    opened.map(|features| Some(Arc::new(features)))
}

fn open_repository(
    arguments: &ServeArguments,
    surroundings: &Surroundings,
    settings: &app::BackendSettings,
    engine: &Arc<OnnxEngine>,
    above: Above,
) -> Result<ModelRepository, CommandError> {
    let flags = &arguments.repository;
    for root in &flags.roots {
        if !root.is_dir() {
            return Err(CommandError::input(format!(
                "`{}` is not a folder; name the folder of your models with --model-repository=DIR",
                root.display()
            )));
        }
    }
    let setting = |name: &str| settings.get("").and_then(|keys| keys.get(name));
    let default_max_batch_size = match setting("default-max-batch-size") {
        None => 4,
        Some(text) => text.parse().map_err(|_| {
            CommandError::input(format!(
                "--backend-config=default-max-batch-size={text}: expected a number, got `{text}`"
            ))
        })?,
    };
    let repository = RepositorySettings {
        roots: flags.roots.clone(),
        config_name: flags.model_config_name.clone(),
        control_mode: flags.control_mode.into(),
        startup_models: flags.load_models.clone(),
        auto_complete: !flags.disable_auto_complete_config,
        default_max_batch_size,
        load_threads: flags.model_load_thread_count.min(surroundings.processors.max(2)),
        default_deadline: None,
        max_queue: arguments.limits.max_queued_requests,
        scratch_directory: surroundings.scratch_directory.clone(),
        gate: above.gate,
        keeper: above.keeper,
        features: above.features,
        gpus: above.gpus,
    };
    ModelRepository::new(repository, app::backends(settings, engine))
        .map_err(|error| CommandError::failed(format!("the model repository could not be opened: {error}")))
}

fn unreadable_repository(arguments: &ServeArguments, error: &std::io::Error) -> CommandError {
    let roots: Vec<String> = arguments.repository.roots.iter().map(|root| root.display().to_string()).collect();
    CommandError::failed(format!("the model repository `{}` cannot be read: {error}", roots.join("`, `")))
}

fn server_state(
    arguments: &ServeArguments,
    repository: &Arc<ModelRepository>,
    logging: Arc<Logging>,
    pinned: Arc<PinnedPool>,
) -> Result<ServerState, CommandError> {
    let limits = limits(arguments);
    let pattern = |flag: &str, text: &Option<String>| match text {
        None => Ok(None),
        Some(text) => regex::Regex::new(text)
            .map(Some)
            .map_err(|error| CommandError::input(format!("--{flag}: `{text}` is not a regular expression: {error}"))),
    };
    let traffic = Traffic::new(Arc::clone(repository), random_key(), tokio::runtime::Handle::current())
        .with_identity_header(arguments.control.identity_header.as_deref());
    Ok(ServerState {
        repository: Arc::clone(repository),
        traffic: Arc::new(traffic),
        admission: Arc::new(Admission::new(&limits)),
        limits,
        lifecycle: Lifecycle::new(),
        cuda_regions: CudaRegions::new(pinned),
        system_regions: SystemRegions::new(arguments.life.allow_client_shm),
        behaviour: Behaviour {
            profile: match arguments.http.status_profile {
                ProfileName::Triton => StatusProfile::Triton,
                ProfileName::Strict => StatusProfile::Strict,
            },
            strict_readiness: arguments.repository.strict_readiness,
            http_header_forward: pattern("http-header-forward-pattern", &arguments.http.http_header_forward_pattern)?,
            grpc_header_forward: pattern("grpc-header-forward-pattern", &arguments.grpc.grpc_header_forward_pattern)?,
            compress_grpc_replies: arguments.grpc.grpc_infer_response_compression_level != CompressionLevelName::None,
            management: management(arguments)?,
            identity: ServerIdentity {
                name: arguments.life.server_id.clone(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
            },
        },
        logging: Some(logging),
        tracer: request_traces::start(&arguments.traces)?,
    })
}

/// A key for the numbers by which requests without a sticky key are assigned: another one in every process.
fn random_key() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(std::process::id())
}

fn management(arguments: &ServeArguments) -> Result<Management, CommandError> {
    if arguments.life.allow_open_management {
        return Ok(Management::Open);
    }
    let Some(path) = &arguments.life.management_token_file else { return Ok(Management::Loopback) };
    let text = bounded_text::read(path, LARGEST_SETTINGS).map_err(|error| {
        CommandError::input(format!("--management-token-file: `{}` cannot be read: {error}", path.display()))
    })?;
    let token = text.trim();
    if token.len() < 16 {
        return Err(CommandError::input(format!(
            "--management-token-file: a token must have 16 characters at least, got `{}`",
            token.len()
        )));
    }
    Ok(Management::Token(token.to_owned()))
}

fn limits(arguments: &ServeArguments) -> Limits {
    let (flags, grpc) = (&arguments.limits, &arguments.grpc);
    let bound = |milliseconds| (milliseconds > 0).then(|| Duration::from_millis(milliseconds));
    Limits {
        max_request_bytes: arguments.http.http_max_input_size,
        max_connections: flags.max_connections,
        max_in_flight_requests: flags.max_in_flight_requests,
        max_in_flight_bytes: flags.max_in_flight_bytes,
        max_queued_requests: flags.max_queued_requests,
        head_timeout: Duration::from_secs(flags.head_timeout_secs),
        body_timeout: Duration::from_secs(flags.body_timeout_secs),
        write_timeout: Duration::from_secs(flags.write_timeout_secs),
        idle_timeout: Duration::from_secs(flags.idle_timeout_secs),
        ping_interval: Duration::from_millis(grpc.grpc_keepalive_time),
        ping_timeout: Duration::from_millis(grpc.grpc_keepalive_timeout),
        max_connection_age: bound(grpc.grpc_max_connection_age),
        max_connection_age_grace: bound(grpc.grpc_max_connection_age_grace),
        max_request_duration: Duration::from_secs(flags.max_request_secs),
        ..Limits::default()
    }
}

fn endpoints(arguments: &ServeArguments) -> Endpoints {
    let address = |allowed: bool, ip, port| allowed.then(|| SocketAddr::new(ip, port));
    let (http, grpc, metrics) = (&arguments.http, &arguments.grpc, &arguments.metrics);
    Endpoints {
        http: address(http.allow_http, http.http_address, http.http_port),
        grpc: address(grpc.allow_grpc, grpc.grpc_address, grpc.grpc_port),
        metrics: address(
            metrics.allow_metrics,
            metrics.metrics_address.unwrap_or(http.http_address),
            metrics.metrics_port,
        ),
        reuse_http_port: http.reuse_http_port,
        reuse_grpc_port: grpc.reuse_grpc_port,
    }
}
