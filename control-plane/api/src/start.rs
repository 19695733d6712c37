//! Starting and stopping a control plane: its one thread, and its admin port.
//!
//! Starts no tokio runtime: it runs on the one that it is started in.

use std::net::SocketAddr;
use std::sync::Arc;

use hanok_state::StateStore;
use thiserror::Error;
use tokio::runtime::Handle;

use crate::admin::{AdminServer, ControlOffer, Offer};
use crate::controller::{ControlThread, Controller};
use crate::inside::ControlCalls;
use crate::metrics::MetricsBoard;
use crate::port::RuntimePort;
use crate::reconcile::DeclaredThread;
use crate::settings::ControlSettings;

/// Why a control plane did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// A setting breaks a rule.
    #[error("{setting}: {reason}")]
    Settings {
        /// Which.
        setting: &'static str,
        /// Which rule, expected before actual.
        reason: String,
    },
    /// The store could not be read.
    #[error(transparent)]
    Store(#[from] hanok_state::StateError),
    /// What is stored cannot be understood: it was written by another program or version.
    #[error("stored {what} `{name}` cannot be read: {reason}")]
    Stored {
        /// Kind of thing.
        what: &'static str,
        /// Its name.
        name: String,
        /// Why.
        reason: String,
    },
    /// The admin port or the thread could not be had.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
}

/// The control plane.
#[derive(Debug)]
pub struct ControlPlane;

/// A control plane that runs. Dropping it stops it without waiting; [`stop`](Self::stop) waits.
#[derive(Debug)]
pub struct RunningControlPlane {
    server: AdminServer,
    declared: Option<DeclaredThread>,
    thread: ControlThread,
    store: StateStore,
    metrics: Arc<MetricsBoard>,
}

impl ControlPlane {
    /// Starts a control plane over `runtimes`, with what `store` holds, and its admin port.
    ///
    /// Returns when the admin port listens and the stored state is read; the stored table goes to the runtimes at the
    /// first tick. To be called within a multi-threaded tokio runtime, whose I/O and timers it uses.
    ///
    /// # Errors
    /// [`StartError`]; then nothing runs.
    pub async fn start(
        settings: ControlSettings,
        runtimes: Vec<Arc<dyn RuntimePort>>,
        store: StateStore,
    ) -> Result<RunningControlPlane, StartError> {
        check(&settings, &runtimes)?;
        let server = AdminServer::bind(&settings.admin).await?;
        let metrics = Arc::new(MetricsBoard::default());
        let (clock, webhooks) = (settings.clock.clone(), settings.webhooks.clone());
        let (registry, declared) = (settings.registry.clone(), settings.declared.clone());
        let controller = Controller::load(settings, runtimes.clone(), store.clone(), Arc::clone(&metrics)).await?;
        let thread = ControlThread::start(controller, &Handle::current())?;
        let declared = declared
            .map(|settings| DeclaredThread::start(settings, thread.handle(), clock.clone(), &Handle::current()));
        let declared = declared.transpose()?;
        let offer = ControlOffer {
            handle: thread.handle(),
            store: store.clone(),
            runtimes,
            registry,
            declared: declared.as_ref().map(DeclaredThread::handle),
            clock,
        };
        let server = server.serve(Offer::control_plane(offer, webhooks));
        Ok(RunningControlPlane { server, declared, thread, store, metrics })
    }
}

impl RunningControlPlane {
    /// Where the admin port listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// State of rollouts, experiments, bandits and runtimes in Prometheus' text format, for the metrics port. Does not
    /// wait: it is what the last tick found.
    #[must_use]
    pub fn render_metrics(&self) -> String {
        (self.metrics_renderer())()
    }

    /// What renders the metrics, for those who outlive a borrow of this.
    #[must_use]
    pub fn metrics_renderer(&self) -> Arc<dyn Fn() -> String + Send + Sync> {
        let board = Arc::clone(&self.metrics);
        let declared = self.declared.as_ref().map(DeclaredThread::handle);
        Arc::new(move || board.render(declared.as_ref().map(|declared| declared.status()).as_deref()))
    }

    /// For others in this process.
    #[must_use]
    pub fn calls(&self) -> ControlCalls {
        ControlCalls::new(self.thread.handle(), self.store.clone())
    }

    /// Looks at the runtimes now, whatever the time, and returns when everything that follows is durable and offered to
    /// the runtimes. For tests and tools that drive the clock.
    pub async fn tick(&self) {
        self.thread.handle().tick().await;
    }

    /// Stops taking calls, checkpoints what is in memory, and joins the thread. The runtimes keep their table.
    pub async fn stop(self) {
        self.server.stop().await;
        if let Some(declared) = self.declared {
            declared.stop().await;
        }
        self.thread.stop().await;
    }
}

fn check(settings: &ControlSettings, runtimes: &[Arc<dyn RuntimePort>]) -> Result<(), StartError> {
    let refuse = |setting, reason: String| Err(StartError::Settings { setting, reason });
    if settings.tick.is_zero() {
        return refuse("tick", "expected more than 0 ms".to_owned());
    }
    for (index, runtime) in runtimes.iter().enumerate() {
        let name = runtime.name();
        if name.is_empty() || name.len() > 128 || name.chars().any(char::is_control) || name.trim() != name {
            return refuse("runtimes", format!("expected a name of 1 to 128 printable characters, got `{name}`"));
        }
        if runtimes[..index].iter().any(|other| other.name() == name) {
            return refuse("runtimes", format!("expected a name of its own, got `{name}` again"));
        }
    }
    Ok(())
}
