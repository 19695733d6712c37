//! The declared feature services of a server: one look-up for each, shared by every model and version that uses it, so that
//! the keys of all their requests are read together.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use hanok_backend::ServingError;
use hanok_features::{FeatureSet, Lookup, LookupSettings, LookupStatistics, OpenStores, system_clock};
use hanok_model_config::ModelConfig;
use hanok_repository::{FeatureSource, FeatureStep};
use tokio::runtime::Handle;

use super::declarations::{open_stores, read_declarations};
use super::metrics;
use super::plan::StepPlan;
use super::served_log::ServedLog;
use super::step::{LookupStep, serving_error};
use crate::commands::error::CommandError;

/// The declared services, and the look-ups of those that models use.
#[derive(Debug)]
pub(crate) struct FeatureServices {
    set: FeatureSet,
    stores: OpenStores,
    /// Where the look-ups' tasks run; models are loaded elsewhere.
    runtime: Handle,
    lookups: Mutex<BTreeMap<String, Arc<Lookup>>>,
    /// What was served, where it is noted.
    log: Option<ServedLog>,
}

impl FeatureServices {
    /// Reads the declarations and opens their stores, and in a folder a log of what is served, of at most so many bytes.
    /// Blocks.
    pub(crate) fn open(file: &Path, log: Option<(&Path, u64)>, runtime: Handle) -> Result<Self, CommandError> {
        let set = read_declarations(file)?;
        let stores = open_stores(&set, file)?;
        let log = log.map(|(folder, bytes)| ServedLog::open(folder, bytes)).transpose()?;
        Ok(Self { log, ..Self::new(set, stores, runtime) })
    }

    pub(super) fn new(set: FeatureSet, stores: OpenStores, runtime: Handle) -> Self {
        Self { set, stores, runtime, lookups: Mutex::default(), log: None }
    }

    /// Counts of the look-ups, in Prometheus' text format.
    pub(crate) fn metrics(&self) -> String {
        let lookups = self.lookups.lock().unwrap_or_else(PoisonError::into_inner);
        let counts: Vec<(&str, LookupStatistics)> =
            lookups.iter().map(|(service, lookup)| (service.as_str(), lookup.statistics())).collect();
        metrics::render(&counts, self.log.as_ref().map(ServedLog::counts))
    }

    fn lookup(&self, service: &str) -> Result<Arc<Lookup>, ServingError> {
        let mut lookups = self.lookups.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lookup) = lookups.get(service) {
            return Ok(Arc::clone(lookup));
        }
        // The look-up's tasks are started here and run there.
        let _runtime = self.runtime.enter();
        let lookup = Lookup::start(&self.set, service, &self.stores, LookupSettings::default(), system_clock);
        let lookup = Arc::new(lookup.map_err(|error| serving_error(&error))?);
        lookups.insert(service.to_owned(), Arc::clone(&lookup));
        Ok(lookup)
    }
}

impl FeatureSource for FeatureServices {
    fn step(&self, config: &ModelConfig, service: &str) -> Result<Arc<dyn FeatureStep>, ServingError> {
        let declared = self.set.service(service).map_err(|error| {
            ServingError::not_found(format!(
                "the configuration of model '{}' names what is not declared: {error}",
                config.name
            ))
        })?;
        let plan = StepPlan::new(&self.set, declared, config)?;
        let offers = self.log.as_ref().map(ServedLog::offers);
        Ok(Arc::new(LookupStep::new(plan, self.lookup(service)?, offers)))
    }
}
