//! A runtime for tests: the real router and health monitor, fed by a seeded generator instead of clients and models.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use hanok_api::{
    Comparisons, DrainRequest, HealthRecord, ModelFacts, PortError, PortFuture, RecordBatch, RequestRecord,
    RetainedRecords, RuntimePort, RuntimeRecord, ShadowQuery, ShadowView, TableInForce, TableOrder, VersionFacts,
};
use hanok_routing::arm_health::HealthMonitor;
use hanok_routing::observation::{Latency, Observation, OutcomeKind};
use hanok_routing::{PlainFacts, RequestedVersion, Router};

/// A real router, and what is needed to answer as a runtime.
#[derive(Debug)]
pub(crate) struct RouterRuntime {
    name: String,
    pub(crate) router: Router,
    pub(crate) records: RetainedRecords,
    monitor: Mutex<HealthMonitor>,
    pub(crate) comparisons: Mutex<Comparisons>,
    reachable: AtomicBool,
    drawn: AtomicU64,
}

/// How a simulated model behaves: probability of failure and latency, by name of the arm.
pub(crate) type Behaviour<'a> = &'a dyn Fn(&str) -> (f64, u64);

impl RouterRuntime {
    pub(crate) fn new(name: &str, epoch: u64) -> Arc<Self> {
        Arc::new(Self {
            name: name.to_owned(),
            router: Router::default(),
            records: RetainedRecords::new(epoch, 1 << 20),
            monitor: Mutex::default(),
            comparisons: Mutex::default(),
            reachable: AtomicBool::new(true),
            drawn: AtomicU64::new(epoch),
        })
    }

    /// Cuts or mends the connection.
    pub(crate) fn set_reachable(&self, reachable: bool) {
        self.reachable.store(reachable, Ordering::SeqCst);
    }

    /// SplitMix64.
    fn draw(&self) -> u64 {
        let mut word = self.drawn.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// Serves `count` requests that end at `now` (milliseconds), with ids `PREFIX-N` where a prefix is given. Gives how
    /// many each arm got.
    pub(crate) fn serve(
        &self,
        model: &str,
        count: u64,
        now: u64,
        prefix: Option<&str>,
        behaviour: Behaviour<'_>,
    ) -> std::collections::BTreeMap<String, u64> {
        let mut served = std::collections::BTreeMap::new();
        let mut batch = Vec::new();
        for index in 0..count {
            let facts = PlainFacts { number: self.draw(), ..PlainFacts::default() };
            let decision = self.router.route(model, RequestedVersion::Any, &facts).expect("no label is asked for");
            let arm = decision.arm.as_ref().map_or(String::new(), |arm| arm.name.to_string());
            let (failure, latency) = behaviour(&arm);
            let failed = (self.draw() >> 11) as f64 / ((1_u64 << 53) as f64) < failure;
            *served.entry(arm).or_default() += 1;
            if !decision.observed {
                continue;
            }
            batch.push(Observation {
                request_id: prefix.map_or_else(String::new, |prefix| format!("{prefix}-{index}")).into(),
                model: decision.model(model).into(),
                version: 1,
                probability_basis_points: decision.probability_basis_points,
                reason: decision.reason,
                table_version: decision.table_version,
                sticky_key_hash: decision.sticky_key_hash,
                segment: decision.segment.clone(),
                outcome: if failed { OutcomeKind::ServerError } else { OutcomeKind::Success },
                latency: Latency { total_microseconds: latency, ..Latency::default() },
                finished_microseconds: now * 1_000,
                arm: decision.arm,
            });
        }
        let snapshot = self.router.tables().in_force();
        let changes = self.monitor.lock().unwrap().absorb(&snapshot, &batch, now * 1_000);
        let requests = batch.into_iter().map(|observation| RuntimeRecord::Request(RequestRecord { observation }));
        self.records.extend(requests);
        let health = changes.iter().map(|change| RuntimeRecord::Health(HealthRecord::of(change, now * 1_000)));
        self.records.extend(health);
        served
    }

    /// Whether nobody reads what becomes of the requests for `model`.
    pub(crate) fn is_unobserved(&self, model: &str) -> bool {
        self.router.tables().in_force().table().models[model].unobserved
    }

    /// Weight in force of an arm, in basis points.
    pub(crate) fn weight(&self, model: &str, arm: &str) -> u16 {
        let snapshot = self.router.tables().in_force();
        let entry = snapshot.table().models.get(model);
        let found = entry.and_then(|entry| entry.arms.iter().find(|declared| declared.name == arm));
        found.map_or(0, |arm| arm.weight_basis_points)
    }

    fn answer<T: Send + 'static>(&self, answer: impl FnOnce() -> Result<T, PortError>) -> PortFuture<'_, T> {
        let answer = if self.reachable.load(Ordering::SeqCst) {
            answer()
        } else {
            Err(PortError::Unreachable("the connection was cut".to_owned()))
        };
        Box::pin(std::future::ready(answer))
    }

    fn in_force(&self) -> TableInForce {
        TableInForce { epoch: self.records.epoch(), table: self.router.tables().in_force().table().clone() }
    }
}

impl RuntimePort for RouterRuntime {
    fn name(&self) -> &str {
        &self.name
    }

    fn table(&self) -> PortFuture<'_, TableInForce> {
        self.answer(|| Ok(self.in_force()))
    }

    fn apply(&self, order: TableOrder) -> PortFuture<'_, TableInForce> {
        self.answer(|| {
            self.router.tables().compare_and_set(order.expected, order.table)?;
            *self.comparisons.lock().unwrap() = order.comparisons;
            Ok(self.in_force())
        })
    }

    fn restore_last_good(&self, at_least: u64) -> PortFuture<'_, TableInForce> {
        self.answer(|| {
            self.router.tables().restore_last_good(at_least)?;
            Ok(self.in_force())
        })
    }

    fn mark_good(&self, version: u64) -> PortFuture<'_, ()> {
        self.answer(|| Ok(self.router.tables().mark_good(version)?))
    }

    fn drain(&self, request: DrainRequest) -> PortFuture<'_, RecordBatch> {
        self.answer(|| Ok(self.records.drain(request, self.router.tables().version())))
    }

    fn models(&self) -> PortFuture<'_, Vec<ModelFacts>> {
        let version = |version, ready| VersionFacts { version, ready, memory_bytes: Some(version * 1_000) };
        let flight =
            ModelFacts { name: "flight_delay".to_owned(), versions: vec![version(1, true), version(2, false)] };
        self.answer(move || Ok(vec![flight]))
    }

    fn shadows(&self, query: ShadowQuery) -> PortFuture<'_, Vec<ShadowView>> {
        let one = ShadowView { public_model: query.model.unwrap_or_else(|| "any".to_owned()), ..ShadowView::default() };
        self.answer(move || Ok(vec![one]))
    }
}
