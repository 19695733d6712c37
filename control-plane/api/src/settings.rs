//! Settings of a control plane, as values: nothing here reads a file, a clock or the environment.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hanok_registry::Registry;
use hanok_state::Retention;

use crate::admin::{AdminSettings, WebhookReceiver};
use crate::reconcile::DeclaredPlace;

/// Tells the time in milliseconds since the Unix epoch.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> u64 + Send + Sync>);

impl Clock {
    /// A clock that asks `tell`.
    pub fn new(tell: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub fn now_millis(&self) -> u64 {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Clock")
    }
}

/// The clock of the system.
#[must_use]
pub fn system_clock() -> Clock {
    Clock::new(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}

/// Settings of a control plane.
#[derive(Clone, Debug)]
pub struct ControlSettings {
    /// The admin port.
    pub admin: AdminSettings,
    /// Takes webhooks on the admin port, if any are expected.
    pub webhooks: Option<Arc<dyn WebhookReceiver>>,
    /// Time between two looks at the runtimes. A verdict takes effect at most one of these, a commit and the runtime's
    /// answer after the record that decided it.
    pub tick: Duration,
    /// Longest time that evidence stays in memory only. What is not durable is not acknowledged to the runtime either.
    pub checkpoint: Duration,
    /// How long a tick waits for runtimes. One that takes longer is waited for in the background.
    pub patience: Duration,
    /// Longest time that a call of a runtime may take in all.
    pub call_deadline: Duration,
    /// How much of the journal and of the joined pairs is kept.
    pub retention: Retention,
    /// Only act while holding a lease: for several replicas on one PostgreSQL store.
    pub lease: Option<LeaseSettings>,
    /// The registry that the admin port offers, if any.
    pub registry: Option<Arc<Registry>>,
    /// Where what is to be in force is declared, if anywhere but in calls.
    pub declared: Option<DeclaredSettings>,
    /// Tells the time.
    pub clock: Clock,
}

impl Default for ControlSettings {
    fn default() -> Self {
        Self {
            admin: AdminSettings::default(),
            webhooks: None,
            tick: Duration::from_millis(50),
            checkpoint: Duration::from_secs(1),
            patience: Duration::from_millis(50),
            call_deadline: Duration::from_secs(5),
            retention: Retention { max_age_millis: 90 * 86_400_000, max_bytes: 1 << 30, max_unread: 1_000_000 },
            lease: None,
            registry: None,
            declared: None,
            clock: system_clock(),
        }
    }
}

/// Where what is to be in force is declared.
#[derive(Clone, Debug)]
pub struct DeclaredSettings {
    /// A folder, or a folder of a Git branch.
    pub place: DeclaredPlace,
    /// Time between two looks at it.
    pub poll: Duration,
    /// Set back what somebody changes by hand; else only tell.
    pub correct_drift: bool,
    /// Folder in which bare repositories may be made.
    pub beside: PathBuf,
}

/// How replicas agree on the one that acts.
#[derive(Clone, Debug)]
pub struct LeaseSettings {
    /// Names this replica; unique among them.
    pub holder: String,
    /// How long a replica that is gone keeps the others from acting.
    pub term: Duration,
}
