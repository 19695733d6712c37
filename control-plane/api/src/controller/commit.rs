//! One transaction for everything that a decision touches.
//!
//! After a failure of any kind memory is not to be trusted: what was absorbed is thrown away and read again.

use hanok_state::{
    Change, CloudEvent, CommitOutcome, Committed, CursorAdvance, Edit, MachineVersion, MachineWrite, ResourceWrite,
    Sequence, Stream, Transaction,
};
use serde_json::Value;

use super::error::ControlError;
use super::judge::{JudgeKey, machine_kind};
use super::state::{Controller, PAIRS_CURSOR, TRAFFIC};
use crate::plan::StoredTable;

/// What a judge decided: the record for the journal, and for rollouts the decision by its number.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) event: CloudEvent,
    pub(super) decision: Option<(String, Value)>,
}

impl Controller {
    pub(super) fn transaction(&self) -> Transaction {
        Transaction { now: self.timestamp(), lease: self.lease.clone(), ..Transaction::default() }
    }

    /// Does everything in the transaction. Where it had happened before, memory is reloaded at the next tick.
    pub(super) async fn commit(&mut self, transaction: Transaction) -> Result<Committed, ControlError> {
        match self.store.commit(transaction).await {
            Ok(CommitOutcome::Committed(committed)) => Ok(committed),
            Ok(CommitOutcome::AlreadyCommitted { sequences }) => {
                self.needs_reload = true;
                Ok(Committed { sequences, ..Committed::default() })
            }
            Err(error) => {
                self.needs_reload = true;
                if error.code() == hanok_state::ErrorCode::Fenced {
                    self.lease = None;
                }
                Err(error.into())
            }
        }
    }

    /// The write of a table, as the last of its transaction's resources; with it the present one becomes the good one,
    /// when that is asked for and it was settled.
    pub(super) fn write_table(
        &self,
        transaction: &mut Transaction,
        table: &StoredTable,
        author: &str,
        mark_good: bool,
    ) {
        let document = serde_json::to_value(table).unwrap_or(Value::Null);
        let put = Change::Put { kind: "TrafficTable".to_owned(), name: "current".to_owned(), document };
        transaction.resources.push(ResourceWrite {
            collection: TRAFFIC.to_owned(),
            expected: self.traffic_revision,
            author: author.to_owned(),
            edit: Edit::Change(vec![put]),
        });
        if mark_good && self.becomes_good() {
            transaction.machines.push(MachineWrite {
                kind: "traffic".to_owned(),
                name: "good".to_owned(),
                expected: self.good_version,
                state: serde_json::to_value(&*self.traffic).ok(),
            });
        }
    }

    fn becomes_good(&self) -> bool {
        let known = self.good.as_ref().is_some_and(|good| good.table.version == self.traffic.table.version);
        self.settled && self.traffic.table.version > 0 && !self.traffic.held && !known
    }

    /// Takes over what [`write_table`](Self::write_table) wrote, once it is durable.
    pub(super) fn table_written(&mut self, committed: &Committed, table: StoredTable, mark_good: bool) {
        if mark_good && self.becomes_good() {
            self.good = Some(std::sync::Arc::clone(&self.traffic));
            if let Some(version) = committed.machine_versions.last() {
                self.good_version = *version;
            }
        }
        if let Some(revision) = committed.revisions.last() {
            self.traffic_revision = revision.revision;
        }
        self.adopt_table(table);
    }

    /// Makes a judge durable, with what it decided and the table that follows.
    pub(super) async fn commit_judge(
        &mut self,
        key: &JudgeKey,
        verdicts: Vec<Verdict>,
        table: Option<StoredTable>,
        mark_good: bool,
    ) -> Result<(), ControlError> {
        let Some(judge) = self.judges.get(key) else { return Ok(()) };
        let mut transaction = self.transaction();
        transaction.machines.push(MachineWrite {
            kind: machine_kind(key.0).to_owned(),
            name: key.1.clone(),
            expected: judge.version,
            state: Some(judge.to_value()),
        });
        for verdict in verdicts {
            transaction.events.push(verdict.event);
            if let Some((name, decision)) = verdict.decision {
                transaction.machines.push(MachineWrite {
                    kind: "rollout-decision".to_owned(),
                    name,
                    expected: MachineVersion::NONE,
                    state: Some(decision),
                });
            }
        }
        if let Some(table) = &table {
            self.write_table(&mut transaction, table, &judge.stored.run, mark_good);
        }
        let cursor = self.pairs_to_advance(key);
        transaction.cursors.extend(cursor.map(|to| CursorAdvance {
            stream: Stream::Pairs,
            name: PAIRS_CURSOR.to_owned(),
            expected: Sequence(self.pairs_cursor),
            to: Sequence(to),
        }));
        let committed = self.commit(transaction).await?;
        if self.needs_reload {
            return Ok(());
        }
        if let Some(judge) = self.judges.get_mut(key) {
            judge.version = committed.machine_versions.first().copied().unwrap_or(judge.version);
            judge.durable.clone_from(&judge.stored.positions);
            judge.durable_pairs = judge.stored.pairs;
            judge.dirty = false;
        }
        self.pairs_cursor = cursor.unwrap_or(self.pairs_cursor);
        if let Some(table) = table {
            self.table_written(&committed, table, mark_good);
        }
        Ok(())
    }

    /// How far the shared cursor may go once the judge `key` is durable: as far as every judge that reads outcomes.
    fn pairs_to_advance(&self, key: &JudgeKey) -> Option<u64> {
        let readers = self.judges.iter().filter(|(_, judge)| judge.reads_outcomes() && judge.is_watching());
        let durable = readers.map(|(other, judge)| if other == key { judge.stored.pairs } else { judge.durable_pairs });
        durable.min().filter(|to| *to > self.pairs_cursor)
    }
}
