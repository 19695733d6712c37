//! One runtime as the controller sees it: how far its records are read, which table it has, and calls under way.
//!
//! Calls run as tasks with a deadline of their own and are aborted when dropped, so a runtime that hangs keeps nobody
//! waiting but itself. At most one call of a kind is under way.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};

use crate::plan::StoredTable;
use crate::port::{DrainRequest, PortError, RecordBatch, RuntimePort, TableInForce, TableOrder};

/// Most records of one answer.
const MOST_RECORDS: u32 = 65_536;

/// A call under way.
#[derive(Debug)]
struct Call<T> {
    task: JoinHandle<Result<T, PortError>>,
}

impl<T> Drop for Call<T> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl<T: Send + 'static> Call<T> {
    fn start(deadline: Duration, call: impl Future<Output = Result<T, PortError>> + Send + 'static) -> Self {
        let bounded = async move {
            let late = || PortError::Unreachable(format!("no answer within {} ms", deadline.as_millis()));
            timeout(deadline, call).await.unwrap_or_else(|_| Err(late()))
        };
        Self { task: tokio::spawn(bounded) }
    }

    /// The answer, if it comes until then.
    async fn answer_until(&mut self, until: Instant) -> Option<Result<T, PortError>> {
        let joined = timeout_at(until, &mut self.task).await.ok()?;
        Some(joined.unwrap_or_else(|error| Err(PortError::Protocol(error.to_string()))))
    }
}

/// A runtime and what is known of it.
#[derive(Debug)]
pub(crate) struct Link {
    pub(super) port: Arc<dyn RuntimePort>,
    /// Run of the runtime that the positions belong to; 0 before the first answer.
    pub(super) epoch: u64,
    /// Records up to here were read.
    pub(super) read: u64,
    /// Newest record of this run that was ever read: going back to read again does not change it.
    pub(super) newest: u64,
    /// Whether everything that waited when this run was first heard of has been read once.
    pub(super) caught_up: bool,
    /// Records up to here are dealt with for good.
    pub(super) acknowledged: u64,
    /// Records that the runtime lost, as it says.
    pub(super) dropped: u64,
    /// Version in force, as it said last.
    pub(super) in_force: Option<u64>,
    /// Epoch and version of the table that it confirmed.
    pub(super) confirmed: Option<(u64, u64)>,
    /// Epoch and version that it was told is good.
    marked: Option<(u64, u64)>,
    /// Why the last call failed, and when the failures began.
    pub(super) failing: Option<(u64, PortError)>,
    drain: Option<Call<RecordBatch>>,
    push: Option<Call<Pushed>>,
}

/// What came of offering a table.
#[derive(Debug)]
pub(crate) struct Pushed {
    /// What is in force now.
    in_force: TableInForce,
    /// Version that was marked good, if one was.
    marked: Option<u64>,
}

impl Link {
    pub(crate) fn new(port: Arc<dyn RuntimePort>) -> Self {
        Self {
            port,
            epoch: 0,
            read: 0,
            newest: 0,
            caught_up: false,
            acknowledged: 0,
            dropped: 0,
            in_force: None,
            confirmed: None,
            marked: None,
            failing: None,
            drain: None,
            push: None,
        }
    }

    /// Forgets how far records were read, so that everything that is not acknowledged comes again.
    pub(crate) fn rewind(&mut self) {
        self.drain = None;
        self.read = self.acknowledged;
    }

    /// Asks for records, unless that is under way. Whether this began something.
    pub(crate) fn begin_drain(&mut self, deadline: Duration) -> bool {
        if self.drain.is_some() {
            return false;
        }
        let (epoch, after, acknowledged) = (self.epoch, self.read, self.acknowledged);
        let request = DrainRequest { epoch, after, acknowledged, most: MOST_RECORDS };
        let port = Arc::clone(&self.port);
        self.drain = Some(Call::start(deadline, async move { port.drain(request).await }));
        true
    }

    /// The records that have come, without those that were read before. `until` now: only looks.
    pub(crate) async fn drained(&mut self, until: Instant, now: u64) -> Option<RecordBatch> {
        let answer = self.drain.as_mut()?.answer_until(until).await?;
        self.drain = None;
        let mut batch = self.noted(answer, now)?;
        if batch.epoch != self.epoch {
            // Another run: nothing of it was read or confirmed.
            (self.epoch, self.read, self.acknowledged) = (batch.epoch, batch.first.saturating_sub(1), 0);
            (self.newest, self.caught_up) = (self.read, false);
        }
        let known = self.read.saturating_add(1).saturating_sub(batch.first);
        batch.records.drain(..usize::try_from(known).unwrap_or(usize::MAX).min(batch.records.len()));
        batch.first = batch.first.max(self.read + 1);
        self.read = batch.first - 1 + batch.records.len() as u64;
        self.newest = self.newest.max(self.read);
        self.caught_up |= !batch.more;
        self.dropped = batch.dropped;
        self.in_force = Some(batch.table_version);
        if self.confirmed.is_some_and(|(_, version)| version != batch.table_version) {
            self.confirmed = None;
        }
        Some(batch)
    }

    /// Whether it is known where records begin that come from now on: it has been read to its end once, or it is gone.
    pub(crate) fn is_known(&self) -> bool {
        (self.epoch != 0 && self.caught_up) || self.failing.is_some()
    }

    /// Whether the runtime is known to have this table.
    pub(crate) fn has(&self, version: u64) -> bool {
        self.confirmed == Some((self.epoch, version)) && self.epoch != 0
    }

    /// Offers the table, unless the runtime has it, cannot have it or is being offered one. `good` is marked on the way,
    /// where the runtime has it in force still.
    pub(crate) fn begin_push(&mut self, table: &Arc<StoredTable>, good: Option<u64>, deadline: Duration) {
        let version = table.table.version;
        if self.push.is_some() || self.epoch == 0 || self.has(version) {
            return;
        }
        let Some(in_force) = self.in_force.filter(|in_force| *in_force <= version) else { return };
        let mark = good.filter(|good| *good == in_force && self.marked != Some((self.epoch, *good)));
        let (port, table) = (Arc::clone(&self.port), Arc::clone(table));
        self.push = Some(Call::start(deadline, async move {
            if let Some(good) = mark {
                // A table that cannot be marked is no reason to keep the next one back.
                drop(port.mark_good(good).await);
            }
            let StoredTable { table, comparisons, .. } = (*table).clone();
            let in_force = port.apply(TableOrder { expected: in_force, table, comparisons }).await?;
            Ok(Pushed { in_force, marked: mark })
        }));
    }

    /// Takes what came of an offer until then.
    pub(crate) async fn pushed(&mut self, until: Instant, now: u64) {
        let Some(push) = &mut self.push else { return };
        let Some(answer) = push.answer_until(until).await else { return };
        self.push = None;
        if let Err(PortError::Conflict { in_force, .. } | PortError::NotNew { in_force, .. }) = &answer {
            self.in_force = Some(*in_force);
        }
        let Some(pushed) = self.noted(answer, now) else { return };
        let TableInForce { epoch, table } = pushed.in_force;
        self.in_force = Some(table.version);
        self.confirmed = Some((epoch, table.version));
        if let Some(marked) = pushed.marked {
            self.marked = Some((epoch, marked));
        }
    }

    /// The answer, with its failure noted.
    pub(super) fn noted<T>(&mut self, answer: Result<T, PortError>, now: u64) -> Option<T> {
        match answer {
            Ok(answer) => {
                if let Some((since, _)) = self.failing.take() {
                    tracing::info!(
                        runtime = self.port.name(),
                        failing_milliseconds = now - since.min(now),
                        "runtime is back"
                    );
                }
                Some(answer)
            }
            Err(error) => {
                if self.failing.is_none() {
                    tracing::warn!(runtime = self.port.name(), %error, "runtime failed");
                }
                let since = self.failing.as_ref().map_or(now, |(since, _)| *since);
                self.failing = Some((since, error));
                None
            }
        }
    }

    /// Whether it refuses the table for a version that is in force and not the store's.
    pub(crate) fn conflicting_version(&self, version: u64) -> Option<u64> {
        let other_content = matches!(self.failing, Some((_, PortError::NotNew { offered, in_force })) if offered == version && in_force == version);
        self.in_force.filter(|in_force| *in_force > version || (*in_force == version && other_content))
    }
}
