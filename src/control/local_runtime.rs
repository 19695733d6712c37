//! The runtime of this process, as the control plane steers it.

use std::collections::BTreeMap;
use std::future::ready;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use hanok_api::{
    DrainRequest, ModelFacts, PortError, PortFuture, RecordBatch, RetainedRecords, RuntimePort, ShadowQuery,
    ShadowView, TableInForce, TableOrder, VersionFacts,
};
use hanok_repository::{ModelRepository, VersionState};
use hanok_routing::Snapshot;
use hanok_server::Traffic;

use super::observation_pump::ObservationPump;
use super::shadow_views;

/// Records that are held until the control plane has dealt with them.
const RETAINED: usize = 1 << 17;

/// The runtime of this process.
#[derive(Debug)]
pub(crate) struct LocalRuntime {
    name: String,
    repository: Arc<ModelRepository>,
    traffic: Arc<Traffic>,
    records: Arc<RetainedRecords>,
    /// Ends with this.
    _pump: ObservationPump,
}

impl LocalRuntime {
    /// Begins to observe. `None` when somebody observes already.
    pub(crate) fn start(
        name: &str,
        repository: Arc<ModelRepository>,
        traffic: Arc<Traffic>,
    ) -> std::io::Result<Option<Self>> {
        let Some(reader) = traffic.begin_observations() else { return Ok(None) };
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let epoch = u64::try_from(since.as_micros()).unwrap_or(u64::MAX);
        let records = Arc::new(RetainedRecords::new(epoch, RETAINED));
        let pump = ObservationPump::start(reader, Arc::clone(&traffic), Arc::clone(&records))?;
        Ok(Some(Self { name: name.to_owned(), repository, traffic, records, _pump: pump }))
    }

    fn in_force(&self, snapshot: &Snapshot) -> TableInForce {
        TableInForce { epoch: self.records.epoch(), table: snapshot.table().clone() }
    }

    fn now_in_force(&self) -> TableInForce {
        self.in_force(&self.traffic.router().tables().in_force())
    }

    fn put(&self, order: TableOrder) -> Result<TableInForce, PortError> {
        let faults: Vec<String> = order
            .comparisons
            .iter()
            .flat_map(|(name, rules)| {
                rules
                    .faults()
                    .into_iter()
                    .map(move |fault| format!("comparison `{name}`: {}: {}", fault.path, fault.message))
            })
            .collect();
        if !faults.is_empty() {
            return Err(PortError::Invalid(faults));
        }
        let tables = self.traffic.router().tables();
        // Rules first: a table must never be in force without the comparisons that it names.
        self.traffic.shadows().set_comparisons(order.comparisons);
        tables.compare_and_set(order.expected, order.table)?;
        Ok(self.now_in_force())
    }

    fn facts(&self) -> Vec<ModelFacts> {
        let mut models: BTreeMap<String, Vec<VersionFacts>> = BTreeMap::new();
        for ready in self.repository.ready().all() {
            let facts = VersionFacts {
                version: ready.version,
                ready: true,
                memory_bytes: (ready.memory_bytes > 0).then_some(ready.memory_bytes),
            };
            models.entry(ready.model.to_string()).or_default().push(facts);
        }
        for entry in self.repository.index(false) {
            let versions = models.entry(entry.name).or_default();
            let Some(version) = entry.version else { continue };
            let ready = entry.state == Some(VersionState::Ready);
            if versions.iter().all(|known| known.version != version) {
                versions.push(VersionFacts { version, ready, memory_bytes: None });
            }
        }
        let sorted = |(name, mut versions): (String, Vec<VersionFacts>)| {
            versions.sort_by_key(|facts| facts.version);
            ModelFacts { name, versions }
        };
        models.into_iter().map(sorted).collect()
    }
}

impl RuntimePort for LocalRuntime {
    fn name(&self) -> &str {
        &self.name
    }

    fn table(&self) -> PortFuture<'_, TableInForce> {
        Box::pin(ready(Ok(self.now_in_force())))
    }

    fn apply(&self, order: TableOrder) -> PortFuture<'_, TableInForce> {
        Box::pin(ready(self.put(order)))
    }

    fn restore_last_good(&self, at_least: u64) -> PortFuture<'_, TableInForce> {
        let restored = self.traffic.router().tables().restore_last_good(at_least);
        Box::pin(ready(restored.map(|snapshot| self.in_force(&snapshot)).map_err(PortError::from)))
    }

    fn mark_good(&self, version: u64) -> PortFuture<'_, ()> {
        Box::pin(ready(self.traffic.router().tables().mark_good(version).map_err(PortError::from)))
    }

    fn drain(&self, request: DrainRequest) -> PortFuture<'_, RecordBatch> {
        let version = self.traffic.router().tables().version();
        Box::pin(ready(Ok(self.records.drain(request, version))))
    }

    fn models(&self) -> PortFuture<'_, Vec<ModelFacts>> {
        // The index reads folders, which may block.
        Box::pin(async move { Ok(tokio::task::block_in_place(|| self.facts())) })
    }

    fn shadows(&self, query: ShadowQuery) -> PortFuture<'_, Vec<ShadowView>> {
        Box::pin(ready(Ok(shadow_views::views(&self.traffic.shadows().reports(query.examples), &query))))
    }
}
