//! Which requests are traced: the settings, how a model's are made of its own and the global ones, and the decision for each
//! request.
//!
//! As Triton's trace manager does it: a model's setting takes from the global one what was not set for the model; a change
//! begins a new count of requests; what is cleared globally is again what the server was started with. A count tells the
//! traces that are still to come. No clock, no file.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::numbered_files::TraceStream;

/// What a trace tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TraceLevel {
    /// Nothing is traced.
    #[default]
    Off,
    /// When a request came to which point.
    Timestamps,
}

/// The settings of one model, or of all that have none of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceSettings {
    /// What is told.
    pub level: TraceLevel,
    /// One request of so many is traced.
    pub rate: u32,
    /// Traces to come; -1 for no end.
    pub count: i32,
    /// Traces in a numbered file; 0 for one file without a number.
    pub log_frequency: u32,
}

impl Default for TraceSettings {
    fn default() -> Self {
        Self { level: TraceLevel::Off, rate: 1000, count: -1, log_frequency: 0 }
    }
}

/// What becomes of one value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Change<T> {
    /// It stays as it is.
    #[default]
    Keep,
    /// It is what it would be had it never been set.
    Clear,
    /// It is this from now on.
    Set(T),
}

impl<T: Copy> Change<T> {
    /// The value that is set from now on, where `set` was before.
    const fn after(self, set: Option<T>) -> Option<T> {
        match self {
            Self::Keep => set,
            Self::Clear => None,
            Self::Set(value) => Some(value),
        }
    }
}

/// A change of settings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TraceChanges {
    /// Of the level.
    pub level: Change<TraceLevel>,
    /// Of the rate.
    pub rate: Change<u32>,
    /// Of the count.
    pub count: Change<i32>,
    /// Of the log frequency.
    pub log_frequency: Change<u32>,
}

/// Settings that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TraceSettingError {
    /// No file was named when the server was started.
    NoFile,
    /// The rate is 0.
    ZeroRate,
}

impl fmt::Display for TraceSettingError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = match self {
            Self::NoFile => "trace file name is not given",
            Self::ZeroRate => "sample rate must be non-zero",
        };
        write!(formatter, "Attempting to set invalid trace setting :{reason}")
    }
}

impl std::error::Error for TraceSettingError {}

/// What was set, as opposed to taken from elsewhere.
#[derive(Clone, Copy, Debug, Default)]
struct Specified {
    level: Option<TraceLevel>,
    rate: Option<u32>,
    count: Option<i32>,
    log_frequency: Option<u32>,
}

impl Specified {
    const fn is_nothing(&self) -> bool {
        self.level.is_none() && self.rate.is_none() && self.count.is_none() && self.log_frequency.is_none()
    }

    fn over(&self, fallback: &TraceSettings) -> TraceSettings {
        TraceSettings {
            level: self.level.unwrap_or(fallback.level),
            rate: self.rate.unwrap_or(fallback.rate),
            count: self.count.unwrap_or(fallback.count),
            log_frequency: self.log_frequency.unwrap_or(fallback.log_frequency),
        }
    }
}

/// One setting in force: its values, and where its count of requests is.
#[derive(Debug)]
struct Scope {
    specified: Specified,
    settings: TraceSettings,
    seen: u64,
    stream: Arc<TraceStream>,
}

impl Scope {
    fn new(specified: Specified, fallback: &TraceSettings) -> Self {
        let settings = specified.over(fallback);
        let stream = Arc::new(TraceStream::of(settings.log_frequency, settings.count));
        Self { specified, settings, seen: 0, stream }
    }

    /// What is specified after `changes`; a count that was set and goes on is what is left of it.
    fn specified_after(&self, changes: &TraceChanges) -> Specified {
        let count = self.specified.count.map(|_| self.settings.count);
        Specified {
            level: changes.level.after(self.specified.level),
            rate: changes.rate.after(self.specified.rate),
            count: changes.count.after(count),
            log_frequency: changes.log_frequency.after(self.specified.log_frequency),
        }
    }

    fn samples(&self) -> bool {
        self.settings.level != TraceLevel::Off && self.settings.count != 0 && self.settings.rate > 0
    }

    fn sample(&mut self) -> bool {
        if !self.samples() {
            return false;
        }
        self.seen += 1;
        let sampled = self.seen.is_multiple_of(u64::from(self.settings.rate));
        if sampled && self.settings.count > 0 {
            self.settings.count -= 1;
        }
        sampled
    }
}

/// All settings of a server.
#[derive(Debug)]
pub(super) struct TracePolicy {
    /// What the server was started with.
    defaults: TraceSettings,
    has_file: bool,
    global: Scope,
    models: BTreeMap<Box<str>, Scope>,
}

impl TracePolicy {
    pub(super) fn new(defaults: TraceSettings, has_file: bool) -> Self {
        let global = Scope::new(Specified::default(), &defaults);
        Self { defaults, has_file, global, models: BTreeMap::new() }
    }

    /// Whether any request may be traced.
    pub(super) fn samples(&self) -> bool {
        self.has_file && (self.global.samples() || self.models.values().any(Scope::samples))
    }

    /// The settings of a model, or the global ones.
    pub(super) fn settings(&self, model: Option<&str>) -> TraceSettings {
        model.and_then(|model| self.models.get(model)).unwrap_or(&self.global).settings
    }

    /// Counts a request of `model`; gives where its trace goes when it is to be traced.
    pub(super) fn sample(&mut self, model: &str) -> Option<Arc<TraceStream>> {
        if !self.has_file {
            return None;
        }
        let scope = self.models.get_mut(model).unwrap_or(&mut self.global);
        scope.sample().then(|| Arc::clone(&scope.stream))
    }

    /// Changes the settings of a model, or the global ones and with them what models take from there.
    ///
    /// # Errors
    /// For settings that trace and cannot be; nothing is changed then.
    pub(super) fn change(&mut self, model: Option<&str>, changes: &TraceChanges) -> Result<(), TraceSettingError> {
        let Some(model) = model else {
            let global = Scope::new(self.global.specified_after(changes), &self.defaults);
            self.check(&global)?;
            let unchanged = TraceChanges::default();
            let again = |scope: &Scope| Scope::new(scope.specified_after(&unchanged), &global.settings);
            let models: Vec<_> = self.models.iter().map(|(model, scope)| (model.clone(), again(scope))).collect();
            models.iter().try_for_each(|(_, scope)| self.check(scope))?;
            self.models = models.into_iter().collect();
            self.global = global;
            return Ok(());
        };
        let specified = match self.models.get(model) {
            Some(scope) => scope.specified_after(changes),
            None => Scope::new(Specified::default(), &self.global.settings).specified_after(changes),
        };
        if specified.is_nothing() {
            self.models.remove(model);
            return Ok(());
        }
        let scope = Scope::new(specified, &self.global.settings);
        self.check(&scope)?;
        self.models.insert(model.into(), scope);
        Ok(())
    }

    fn check(&self, scope: &Scope) -> Result<(), TraceSettingError> {
        match scope.settings {
            TraceSettings { level: TraceLevel::Off, .. } => Ok(()),
            TraceSettings { rate: 0, .. } => Err(TraceSettingError::ZeroRate),
            _ if !self.has_file => Err(TraceSettingError::NoFile),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
