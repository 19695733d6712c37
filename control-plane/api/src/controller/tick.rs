//! One look at the runtimes and the store, and everything that follows from it.

use std::collections::BTreeMap;
use std::sync::Arc;

use hanok_routing::observation::OutcomeKind;
use hanok_state::{PAGE_RECORDS, ReadFrom, Sequence, ServedRequest, Timestamp};
use tokio::time::Instant;

use super::error::ControlError;
use super::judge::{CheckedPlan, Judge, ReadPosition, ReadPositions, StoredBody, position_of};
use super::state::{ArmWeights, Controller, KnownWeights};
use super::{events, feed, unit_segment};
use crate::declared::TrafficSpec;
use crate::plan::StoredTable;
use crate::port::{RecordBatch, RequestRecord, RuntimeRecord};

/// Rows of one call of the store.
const SERVED_ROWS: usize = 10_000;
/// Pages of pairs in one tick, at most.
const MOST_PAGES: usize = 16;

impl Controller {
    /// One tick. A failure is noted for the status and ends the tick; the next one begins with a reload.
    pub(super) async fn tick(&mut self) {
        let done = self.try_tick().await;
        self.last_failure = match done {
            Ok(()) => None,
            Err(error) => {
                let text = error.to_string();
                if self.last_failure.as_ref() != Some(&text) {
                    tracing::warn!(error = %text, "control tick failed");
                }
                self.needs_reload = true;
                Some(text)
            }
        };
        self.publish();
    }

    async fn try_tick(&mut self) -> Result<(), ControlError> {
        if !self.ensure_leadership().await? {
            return self.follow().await;
        }
        if self.needs_reload {
            self.reload().await?;
        }
        let batches = self.drain().await;
        for (link, batch) in batches {
            self.absorb(link, &batch).await?;
        }
        self.absorb_pairs().await?;
        self.judge().await?;
        if self.now().saturating_sub(self.checkpointed_at) >= duration_millis(self.settings.checkpoint) {
            self.checkpoint().await?;
        }
        self.settle_conflicts().await?;
        self.push_tables().await;
        self.keep_house().await
    }

    /// While another replica acts: looks at what it made durable now and then, so that what is shown here is not old.
    async fn follow(&mut self) -> Result<(), ControlError> {
        if self.now().saturating_sub(self.checkpointed_at) >= duration_millis(self.settings.checkpoint) {
            self.reload().await?;
            self.checkpointed_at = self.now();
            // Whatever it does next is not seen before the lease is ours.
            self.needs_reload = true;
        }
        Ok(())
    }

    /// Records that have come from runtimes, by index of the link. Runtimes that were slow before are not waited for.
    async fn drain(&mut self) -> Vec<(usize, RecordBatch)> {
        let (now, deadline) = (self.now(), self.settings.call_deadline);
        let patient = Instant::now() + self.settings.patience;
        let begun: Vec<bool> = self.links.iter_mut().map(|link| link.begin_drain(deadline)).collect();
        let mut batches = Vec::new();
        for (index, link) in self.links.iter_mut().enumerate() {
            let until = if begun[index] { patient } else { Instant::now() };
            batches.extend(link.drained(until, now).await.map(|batch| (index, batch)));
        }
        batches
    }

    async fn absorb(&mut self, link: usize, batch: &RecordBatch) -> Result<(), ControlError> {
        let runtime = self.links[link].port.name().to_owned();
        if batch.records.is_empty() {
            return Ok(());
        }
        self.record_health(&runtime, batch).await?;
        self.record_served(batch)?;
        let mut by_model: BTreeMap<&str, Vec<(u64, &RuntimeRecord)>> = BTreeMap::new();
        for (position, record) in (batch.first..).zip(&batch.records) {
            let model = match record {
                RuntimeRecord::Request(record) => record.observation.public_model(),
                RuntimeRecord::Shadow(record) => &record.public_model,
                RuntimeRecord::Health(_) => continue,
            };
            by_model.entry(model).or_default().push((position, record));
        }
        let last = batch.first - 1 + batch.records.len() as u64;
        let weights: KnownWeights = self.weights_of(&by_model);
        let table = Arc::clone(&self.traffic);
        for judge in self.judges.values_mut().filter(|judge| judge.is_watching()) {
            let known = judge.position(&runtime, batch.epoch);
            if known >= last {
                continue;
            }
            for (_, record) in by_model
                .get(judge.stored.model.as_str())
                .into_iter()
                .flatten()
                .filter(|(position, _)| *position > known)
            {
                absorb_record(judge, record, &table, &weights);
            }
            judge.advance(&runtime, batch.epoch, last);
        }
        Ok(())
    }

    /// Weights by table version and model, for the requests of a batch that experiments with three arms and more need.
    fn weights_of(&self, by_model: &BTreeMap<&str, Vec<(u64, &RuntimeRecord)>>) -> KnownWeights {
        let mut weights: KnownWeights = BTreeMap::new();
        let asking = self.judges.values().filter(|judge| matches!(&judge.stored.body, StoredBody::Experiment { .. }));
        for judge in asking {
            let model = &judge.stored.model;
            for (_, record) in by_model.get(model.as_str()).into_iter().flatten() {
                let RuntimeRecord::Request(request) = record else { continue };
                let version = request.observation.table_version;
                let known = weights.entry(version).or_default();
                if !known.contains_key(model) {
                    known.insert(model.clone(), self.weights_at(version, model).unwrap_or_default());
                }
            }
        }
        weights
    }

    async fn record_health(&mut self, runtime: &str, batch: &RecordBatch) -> Result<(), ControlError> {
        let now = self.timestamp();
        let mut changes = Vec::new();
        for (position, record) in (batch.first..).zip(&batch.records) {
            if let RuntimeRecord::Health(health) = record {
                changes.push(events::health(runtime, (batch.epoch, position), health, now));
            }
        }
        for some in changes.chunks(hanok_state::TRANSACTION_ITEMS) {
            self.store.append(some.to_vec(), self.lease.clone(), now).await?;
        }
        Ok(())
    }

    /// Hands requests that outcomes may be reported for over to the store. What it has no room for is counted.
    fn record_served(&mut self, batch: &RecordBatch) -> Result<(), ControlError> {
        let joined = |(name, traffic): (&str, &TrafficSpec)| {
            traffic.join_outcomes.then(|| traffic.public_model(name).to_owned())
        };
        let joined: Vec<String> = self.declared.set.traffics().filter_map(joined).collect();
        let wanted = |model: &str| {
            joined.iter().any(|joined| joined == model)
                || self.judges.values().any(|judge| judge.reads_outcomes() && judge.stored.model == model)
        };
        let rows: Vec<ServedRequest> = batch
            .records
            .iter()
            .filter_map(|record| match record {
                RuntimeRecord::Request(request) if wanted(request.observation.public_model()) => served(request),
                _ => None,
            })
            .collect();
        let now = self.timestamp();
        let mut rows = rows.into_iter().peekable();
        while rows.peek().is_some() {
            let some: Vec<ServedRequest> = rows.by_ref().take(SERVED_ROWS).collect();
            let receipt = self.store.record_served(some, now)?;
            self.served_unflushed = true;
            self.served_refused += (receipt.no_room + receipt.invalid.len()) as u64;
        }
        Ok(())
    }

    /// Takes joined pairs to the judges that read outcomes.
    async fn absorb_pairs(&mut self) -> Result<(), ControlError> {
        for _ in 0..MOST_PAGES {
            if !self.judges.values().any(|judge| judge.reads_outcomes() && judge.is_watching()) {
                return Ok(());
            }
            let page = self.store.pairs(ReadFrom::After(Sequence(self.pairs_read)), PAGE_RECORDS).await?;
            if page.records.is_empty() {
                return Ok(());
            }
            let weights: BTreeMap<String, ArmWeights> = self
                .judges
                .values()
                .filter_map(|judge| {
                    let model = judge.stored.model.clone();
                    Some((model.clone(), self.weights_at(self.traffic.table.version, &model)?))
                })
                .collect();
            for judge in self.judges.values_mut().filter(|judge| judge.reads_outcomes() && judge.is_watching()) {
                let began = Timestamp::default().plus_millis(judge.stored.started_at.unwrap_or(u64::MAX));
                for pair in &page.records {
                    let new = pair.sequence.0 > judge.stored.pairs && pair.served.served_at >= began;
                    if !new || pair.served.model != judge.stored.model {
                        continue;
                    }
                    let weights = weights.get(&judge.stored.model).map(Vec::as_slice);
                    let labels = feed::absorb_pair(&mut judge.stored.body, &judge.plan, weights, pair);
                    judge.inbox.extend(labels);
                }
                if page.next.0 > judge.stored.pairs {
                    judge.stored.pairs = page.next.0;
                    judge.dirty = true;
                }
            }
            self.pairs_read = page.next.0;
            if page.next >= page.last {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Makes what judges have absorbed durable, and acknowledges it.
    pub(super) async fn checkpoint(&mut self) -> Result<(), ControlError> {
        if self.served_unflushed {
            self.store.flush_served().await?;
            self.served_unflushed = false;
        }
        let dirty: Vec<_> = self.judges.iter().filter(|(_, judge)| judge.dirty).map(|(key, _)| key.clone()).collect();
        for key in dirty {
            self.commit_judge(&key, Vec::new(), None, false).await?;
            if self.needs_reload {
                return Ok(());
            }
        }
        for link in &mut self.links {
            let watching = self.judges.values().filter(|judge| judge.is_watching());
            let durable = watching.map(|judge| position_of(&judge.durable, link.port.name(), link.epoch)).min();
            link.acknowledged = durable.unwrap_or(link.read).min(link.read).max(link.acknowledged);
        }
        self.checkpointed_at = self.now();
        Ok(())
    }

    /// Offers the table to every runtime that does not have it.
    pub(super) async fn push_tables(&mut self) {
        let (now, deadline) = (self.now(), self.settings.call_deadline);
        let version = self.traffic.table.version;
        if version == 0 {
            return;
        }
        let until = Instant::now() + self.settings.patience;
        let good = self.good.as_ref().map(|good| good.table.version);
        for link in &mut self.links {
            link.begin_push(&self.traffic, good, deadline);
        }
        for link in &mut self.links {
            link.pushed(until, now).await;
        }
    }

    /// The newest record of every runtime that was ever read: whoever begins now begins behind it.
    pub(super) fn newest_positions(&self) -> ReadPositions {
        let read = |link: &super::link::Link| ReadPosition { epoch: link.epoch, position: link.newest };
        self.links.iter().map(|link| (link.port.name().to_owned(), read(link))).collect()
    }
}

pub(super) fn duration_millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Takes a record into a judge. What a rollout learns waits for its step in the same tick.
fn absorb_record(judge: &mut Judge, record: &RuntimeRecord, table: &StoredTable, weights: &KnownWeights) {
    match (&mut judge.stored.body, &judge.plan, record) {
        (StoredBody::Rollout { spec, .. }, _, RuntimeRecord::Request(request)) => {
            judge.inbox.extend(feed::rollout_request(spec, request));
        }
        (StoredBody::Rollout { spec, .. }, _, RuntimeRecord::Shadow(shadow)) => {
            judge.inbox.extend(feed::rollout_comparisons(spec, &table.table, shadow));
        }
        (
            StoredBody::Experiment { spec, plan, state, refused },
            CheckedPlan::Experiment(checked),
            RuntimeRecord::Request(request),
        ) => {
            let arms: Vec<String> = plan.arms.iter().map(|arm| arm.name.clone()).collect();
            let known =
                weights.get(&request.observation.table_version).and_then(|models| models.get(&judge.stored.model));
            let known = known.filter(|weights| !weights.is_empty()).map(Vec::as_slice);
            match feed::experiment_request((spec, &arms), known, request) {
                Ok(Some(observation)) => *refused += u64::from(state.absorb(checked, &observation).is_err()),
                Ok(None) => {}
                Err(()) => *refused += 1,
            }
        }
        (
            StoredBody::Bandit { spec, plan, state, .. },
            CheckedPlan::Bandit(checked),
            RuntimeRecord::Request(request),
        ) => {
            if let Some(observation) = feed::bandit_request((&spec.reward, &plan.arms), request) {
                state.absorb(checked, &observation);
            }
        }
        _ => {}
    }
}

/// The row of a request that was answered, has an id and an arm.
fn served(request: &RequestRecord) -> Option<ServedRequest> {
    let finished = &request.observation;
    let arm = finished.arm.as_ref()?;
    if finished.request_id.is_empty() || finished.outcome != OutcomeKind::Success {
        return None;
    }
    Some(ServedRequest {
        request_id: finished.request_id.to_string(),
        model: arm.public_model.to_string(),
        arm: arm.name.to_string(),
        version: finished.version,
        served_at: Timestamp::default().plus_millis(finished.finished_microseconds / 1_000),
        probability: f64::from(finished.probability_basis_points) / 10_000.0,
        segment: unit_segment::encode(finished.sticky_key_hash, finished.segment.as_deref()),
    })
}
