//! Starts the control plane beside the server: its store, the runtimes that it steers, its admin API.

use std::hash::BuildHasher as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hanok_api::{
    AdminSettings, ControlCalls, ControlPlane, ControlSettings, DeclaredSettings, LeaseSettings, RemoteRuntime,
    RemoteSettings, RunningControlPlane, RunningRuntimeAdmin, RuntimeAdmin, RuntimePort, StartError, WebhookReceiver,
};
use hanok_registry::Registry;
use hanok_server::ServerState;
use hanok_state::{StateStore, StoreSettings};

use super::{LocalRuntime, Webhooks};
use crate::bounded_text::{self, LARGEST_SETTINGS};
use crate::commands::error::CommandError;
use crate::settings::{ControlFlags, DEFAULT_STATE, DriftName};

/// How long a replica that is gone keeps the others from acting.
const LEASE_TERM: Duration = Duration::from_secs(10);
/// Schema of the tables on a shared server.
const SCHEMA: &str = "hanok";

/// What listens on the admin port.
#[derive(Debug)]
pub(crate) enum Control {
    /// The control plane.
    Plane(RunningControlPlane),
    /// The door for a control plane elsewhere.
    Door(RunningRuntimeAdmin),
}

impl Control {
    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        match self {
            Self::Plane(plane) => plane.address(),
            Self::Door(door) => door.address(),
        }
    }

    /// Calls on the control plane, where it is in this process.
    pub(crate) fn calls(&self) -> Option<ControlCalls> {
        match self {
            Self::Plane(plane) => Some(plane.calls()),
            Self::Door(_) => None,
        }
    }

    /// Writes its metrics, where it has any.
    pub(crate) fn metrics(&self) -> Option<Arc<dyn Fn() -> String + Send + Sync>> {
        match self {
            Self::Plane(plane) => Some(plane.metrics_renderer()),
            Self::Door(_) => None,
        }
    }

    /// Ends it in order: what is in memory becomes durable.
    pub(crate) async fn stop(self) {
        match self {
            Self::Plane(plane) => plane.stop().await,
            Self::Door(door) => door.stop().await,
        }
    }
}

/// Checks what the flags name, without starting anything: before anything listens.
pub(crate) fn check(flags: &ControlFlags) -> Result<(), CommandError> {
    if flags.admin_port.is_some() {
        token("admin-token-file", flags.admin_token_file.as_deref())?;
        remotes(flags)?;
    }
    Ok(())
}

/// Starts the control plane, or the door for one elsewhere, where the flags ask for it.
pub(crate) async fn start(
    flags: &ControlFlags,
    state: &ServerState,
    registry: Option<Arc<Registry>>,
    webhooks: &Arc<Webhooks>,
) -> Result<Option<Control>, CommandError> {
    let Some(port) = flags.admin_port else { return Ok(None) };
    let admin = AdminSettings {
        listen: SocketAddr::new(flags.admin_address, port),
        token: token("admin-token-file", flags.admin_token_file.as_deref())?,
        ..AdminSettings::default()
    };
    let local = LocalRuntime::start("local", Arc::clone(&state.repository), Arc::clone(&state.traffic))
        .map_err(|error| CommandError::failed(format!("the observing thread could not be started: {error}")))?;
    let local = local.map(|local| Arc::new(local) as Arc<dyn RuntimePort>);
    if let (true, Some(local)) = (flags.steered, &local) {
        let door = RuntimeAdmin::start(&admin, Arc::clone(local)).await;
        return door.map(|door| Some(Control::Door(door))).map_err(|error| not_started(&error));
    }
    let mut runtimes: Vec<Arc<dyn RuntimePort>> = local.into_iter().collect();
    runtimes.extend(remotes(flags)?);
    let shared = is_shared(&flags.state);
    let settings = ControlSettings {
        admin,
        registry,
        declared: declared(flags, shared),
        webhooks: Some(Arc::clone(webhooks) as Arc<dyn WebhookReceiver>),
        lease: shared.then(|| LeaseSettings { holder: replica_name(), term: LEASE_TERM }),
        ..ControlSettings::default()
    };
    let place = flags.state.clone();
    let store = tokio::task::spawn_blocking(move || open(&place))
        .await
        .map_err(|error| CommandError::failed(format!("opening the state ended early: {error}")))??;
    let running = ControlPlane::start(settings, runtimes, store).await;
    running.map(|plane| Some(Control::Plane(plane))).map_err(|error| not_started(&error))
}

fn declared(flags: &ControlFlags, shared: bool) -> Option<DeclaredSettings> {
    let state = Path::new(if shared { DEFAULT_STATE } else { &flags.state });
    flags.declared.clone().map(|place| DeclaredSettings {
        place: place.absolute(),
        poll: Duration::from_secs(flags.declared_poll_secs),
        correct_drift: flags.declared_drift == DriftName::Correct,
        beside: state.parent().unwrap_or(Path::new("")).join("declared"),
    })
}

fn not_started(error: &StartError) -> CommandError {
    CommandError::failed(format!("the control plane could not be started: {error}; look at the --admin-* flags"))
}

fn is_shared(place: &str) -> bool {
    place.starts_with("postgres://") || place.starts_with("postgresql://")
}

fn open(place: &str) -> Result<StateStore, CommandError> {
    let opened = if is_shared(place) {
        StateStore::connect_postgres(place, SCHEMA, StoreSettings::default())
    } else {
        let path = Path::new(place);
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(|error| {
                CommandError::failed(format!("--state: the folder `{}` cannot be made: {error}", folder.display()))
            })?;
        }
        StateStore::open_sqlite(path, StoreSettings::default())
    };
    opened.map_err(|error| {
        let detail = error.operator_detail().map(|detail| format!(" ({detail})")).unwrap_or_default();
        // A connection text may hold a password.
        let place = if is_shared(place) { "the database" } else { place };
        CommandError::failed(format!("--state: `{place}` cannot be used: {error}{detail}"))
    })
}

fn remotes(flags: &ControlFlags) -> Result<Vec<Arc<dyn RuntimePort>>, CommandError> {
    let token = token("runtime-token-file", flags.runtime_token_file.as_deref())?;
    let remote = |text: &String| {
        let (name, url) = text
            .split_once('=')
            .ok_or_else(|| CommandError::input(format!("--runtime: expected NAME=http://HOST:PORT, got `{text}`")))?;
        let settings = RemoteSettings {
            name: name.to_owned(),
            address: url.to_owned(),
            token: token.clone(),
            attempt: Duration::from_secs(2),
            retries: 2,
            first_wait: Duration::from_millis(50),
            seed: std::hash::RandomState::new().hash_one(std::process::id()),
        };
        let runtime = RemoteRuntime::new(settings)
            .map_err(|error| CommandError::input(format!("--runtime: `{text}`: {error}")))?;
        Ok(Arc::new(runtime) as Arc<dyn RuntimePort>)
    };
    flags.runtime.iter().map(remote).collect()
}

fn token(flag: &str, path: Option<&Path>) -> Result<Option<String>, CommandError> {
    let Some(path) = path else { return Ok(None) };
    let text = bounded_text::read(path, LARGEST_SETTINGS)
        .map_err(|error| CommandError::input(format!("--{flag}: `{}` cannot be read: {error}", path.display())))?;
    Ok(Some(text.trim().to_owned()))
}

/// Names this replica among those that share a database.
fn replica_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{}/{}", host.trim(), std::process::id())
}
