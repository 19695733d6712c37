//! The process's log: text or JSON lines on standard error, with a level that can change while it runs.
//!
//! There is no log file to be set over the network (Triton's CVE-2024-0087); lines are escaped by the formatters.

use std::sync::{Mutex, PoisonError};

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry, fmt, reload};

/// How lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// One readable line per event.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// How much is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Only failures.
    Error,
    /// And what may become one.
    Warning,
    /// And what happens.
    #[default]
    Info,
    /// And how it happens.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    const fn directive(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warn",
            // The parts that talk much at their own info level are kept to warnings.
            Self::Info => "info,h2=warn,hyper=warn,tract=warn",
            Self::Debug => "debug,h2=info,hyper=info,tract=info",
            Self::Trace => "trace,h2=info,hyper=info",
        }
    }
}

/// What the log is started with.
#[derive(Clone, Debug, Default)]
pub struct LogSettings {
    /// How lines look.
    pub format: LogFormat,
    /// How much is said.
    pub level: LogLevel,
    /// A full filter in `tracing` syntax; wins over `level`.
    pub filter: Option<String>,
}

/// The log's settings at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogState {
    /// How lines look.
    pub format: LogFormat,
    /// How much is said.
    pub level: LogLevel,
}

/// The running log; lets the level be changed.
#[derive(Debug)]
pub struct Logging {
    filter: reload::Handle<EnvFilter, Registry>,
    state: Mutex<LogState>,
}

impl Logging {
    /// Starts the process's log. Only the first call in a process has an effect on where events go.
    ///
    /// # Errors
    /// A text for the operator when `settings.filter` cannot be parsed.
    pub fn start(settings: &LogSettings) -> Result<Self, String> {
        let directive = settings.filter.as_deref().unwrap_or(settings.level.directive());
        let filter = EnvFilter::try_new(directive)
            .map_err(|error| format!("`{directive}` is not a log filter: {error}; try `info` or `hanok=debug,info`"))?;
        let (filter, handle) = reload::Layer::new(filter);
        let registry = tracing_subscriber::registry().with(filter);
        let started = match settings.format {
            LogFormat::Text => {
                let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr());
                registry.with(fmt::layer().with_writer(std::io::stderr).with_ansi(ansi)).try_init()
            }
            LogFormat::Json => {
                registry.with(fmt::layer().json().flatten_event(true).with_writer(std::io::stderr)).try_init()
            }
        };
        if started.is_err() {
            tracing::debug!("a log is running already; its settings stay");
        }
        let state = LogState { format: settings.format, level: settings.level };
        Ok(Self { filter: handle, state: Mutex::new(state) })
    }

    /// The settings at this moment.
    #[must_use]
    pub fn state(&self) -> LogState {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes how much is said, at once.
    pub fn set_level(&self, level: LogLevel) {
        let Ok(filter) = EnvFilter::try_new(level.directive()) else { return };
        if self.filter.reload(filter).is_ok() {
            self.state.lock().unwrap_or_else(PoisonError::into_inner).level = level;
        }
    }
}
