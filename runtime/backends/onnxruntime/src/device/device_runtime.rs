//! One device within this process: its context and pool, and what becomes of them when the context is lost.
//!
//! A failure that sticks takes everything in the context along. Whoever sees it marks the [`Generation`] as lost and tells its
//! other instances, which are dropped as they fail, or as they are told; the first instance to be made when the last of them
//! is gone destroys the context and starts the next generation. How often that is tried is bounded.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Instant;

use hanok_backend::ServingError;
use hanok_devices::{
    ComputeCapability, Context, DeviceError, DevicePool, Driver, PinnedPool, PoolSizes, RebuildHistory, Recovery,
    Severity, recovery,
};
use parking_lot::Mutex;

use super::segment_copier::SegmentCopier;
use super::trouble::Trouble;

/// One device.
#[derive(Debug)]
pub(crate) struct DeviceRuntime {
    ordinal: u32,
    driver: Arc<Driver>,
    pool_limit: u64,
    pinned: Arc<PinnedPool>,
    started: Instant,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    current: Option<Arc<Generation>>,
    /// A lost generation whose instances are not all gone.
    lost: Weak<Generation>,
    must_reset: bool,
    history: RebuildHistory,
    abandoned: bool,
}

/// A context and what lives in it.
#[derive(Debug)]
pub(crate) struct Generation {
    pub(crate) pool: Arc<DevicePool>,
    pub(crate) context: Arc<Context>,
    pub(crate) pinned: Arc<PinnedPool>,
    copier: OnceLock<SegmentCopier>,
    lost: AtomicBool,
    watchers: Watchers,
}

/// Those who are to be told when the generation is lost: idle instances, which find out by themselves only when they compute.
#[derive(Default)]
struct Watchers(Mutex<Vec<Watcher>>);

type Watcher = Weak<dyn Fn() + Send + Sync>;

impl fmt::Debug for Watchers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Watchers").field(&self.0.lock().len()).finish()
    }
}

impl Generation {
    /// Lets `look` be called when the generation is lost, for as long as somebody holds it.
    pub(super) fn watch(&self, look: &Arc<dyn Fn() + Send + Sync>) {
        let mut watchers = self.watchers.0.lock();
        watchers.retain(|watcher| watcher.strong_count() > 0);
        watchers.push(Arc::downgrade(look));
    }

    fn tell_lost(&self) {
        let watchers = std::mem::take(&mut *self.watchers.0.lock());
        for look in watchers.iter().filter_map(Weak::upgrade) {
            look();
        }
    }

    /// What copies many pieces within the device; one by one where none was prepared.
    pub(super) fn copier(&self) -> &SegmentCopier {
        self.copier.get_or_init(SegmentCopier::default)
    }

    /// Prepares [`Generation::copier`], once: before the first instance, where waiting is allowed.
    pub(crate) fn prepare_copier(&self, make: impl FnOnce(&Arc<Context>) -> SegmentCopier) {
        self.copier.get_or_init(|| make(&self.context));
    }

    /// Whether its context is lost.
    pub(crate) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }
}

impl DeviceRuntime {
    pub(crate) fn new(driver: &Arc<Driver>, ordinal: u32, sizes: &PoolSizes, pinned: &Arc<PinnedPool>) -> Self {
        Self {
            ordinal,
            driver: Arc::clone(driver),
            pool_limit: sizes.device_limit(ordinal),
            pinned: Arc::clone(pinned),
            started: Instant::now(),
            state: Mutex::default(),
        }
    }

    /// The device's ordinal.
    pub(crate) fn ordinal(&self) -> u32 {
        self.ordinal
    }

    /// What its instructions are.
    pub(crate) fn capability(&self) -> Result<ComputeCapability, ServingError> {
        self.driver.capability(self.ordinal).map_err(|error| Trouble::Device(error).into_error())
    }

    /// The generation to make instances in; makes the context when there is none.
    pub(crate) fn generation(&self) -> Result<Arc<Generation>, ServingError> {
        let mut state = self.state.lock();
        if let Some(current) = &state.current {
            return Ok(Arc::clone(current));
        }
        if state.abandoned {
            return Err(ServingError::unavailable(format!(
                "GPU {} failed again and again and is given up until the server is started anew",
                self.ordinal
            )));
        }
        if state.lost.strong_count() > 0 {
            return Err(ServingError::unavailable(format!(
                "GPU {} failed; it is set up again when the last instance that uses it is gone",
                self.ordinal
            )));
        }
        let made = self.make(state.must_reset).map_err(|error| Trouble::Device(error).into_error())?;
        if std::mem::take(&mut state.must_reset) {
            tracing::warn!(gpu = self.ordinal, "the context of a failed GPU was made anew");
        }
        Ok(Arc::clone(state.current.insert(made)))
    }

    fn make(&self, reset: bool) -> Result<Arc<Generation>, DeviceError> {
        if reset {
            let old = Context::retain(&self.driver, self.ordinal)?;
            #[allow(unsafe_code, reason = "destroys what was made on the device")]
            // SAFETY: no instance of the lost generation is left, and with them their sessions, streams and buffers are gone;
            // only this backend uses devices.
            unsafe {
                old.reset()?;
            }
        }
        let context = Context::retain(&self.driver, self.ordinal)?;
        let pool = DevicePool::new(&context, self.pool_limit);
        Ok(Arc::new(Generation {
            pool,
            context,
            pinned: Arc::clone(&self.pinned),
            copier: OnceLock::new(),
            lost: AtomicBool::new(false),
            watchers: Watchers::default(),
        }))
    }

    /// Asks `generation` how it is, after something else than an execution failed in it: a session that could not be made may
    /// have damaged the context, or met one that was.
    pub(crate) fn ask(&self, generation: &Arc<Generation>) {
        if let Err(error) = generation.context.memory() {
            self.note(generation, error.severity());
        }
    }

    /// Notes a failure in `generation` and decides what follows; the generation is lost when its context is.
    pub(crate) fn note(&self, generation: &Arc<Generation>, severity: Severity) {
        let mut state = self.state.lock();
        let now = self.started.elapsed();
        let decision = recovery(severity, &state.history, now);
        if decision == Recovery::Keep || generation.lost.swap(true, Ordering::Relaxed) {
            return;
        }
        if state.current.as_ref().is_some_and(|current| Arc::ptr_eq(current, generation)) {
            state.current = None;
        }
        state.lost = Arc::downgrade(generation);
        state.must_reset = true;
        if decision == Recovery::Abandon {
            state.abandoned = true;
            tracing::error!(gpu = self.ordinal, ?severity, "a GPU is given up");
        } else {
            state.history.note(now);
            tracing::error!(gpu = self.ordinal, ?severity, "the context of a GPU is lost");
        }
        drop(state);
        generation.tell_lost();
    }
}
