//! The kill switch, and runtimes that have a table of their own.
//!
//! The switch is the one thing that acts before it is durable: runtimes put their last good table in force at once, also
//! while the store cannot be written. It is recorded right after, and what rollouts and bandits were about to do ends.

use hanok_rollout::UnixMillis;
use hanok_rollout::rollout::{Command, command};
use hanok_state::MachineWrite;
use serde_json::{Value, json};

use super::error::ControlError;
use super::events;
use super::judge::{CheckedPlan, JudgeKey, StoredBody, machine_kind};
use super::state::Controller;
use crate::plan::StoredTable;
use crate::port::{PortError, TableInForce, TableOrder};

impl Controller {
    /// Back to the last good table, on every runtime that can be reached.
    pub(super) async fn kill_switch(&mut self, author: &str) -> Result<Value, ControlError> {
        if !self.ensure_leadership().await.unwrap_or(true) {
            return Err(ControlError::NotLeader { holder: self.other_leader.clone().unwrap_or_default() });
        }
        let Some(good) = self.good.clone() else {
            return Err(ControlError::Refused("no table was good before the present one".to_owned()));
        };
        let version = self.next_table_version();
        let mut wanted = StoredTable { held: true, ..(*good).clone() };
        wanted.table.version = version;
        let restored = self.restore(&wanted).await;
        let in_force = restored.iter().filter(|answer| answer.is_ok()).count();
        let highest = restored.iter().filter_map(|answer| answer.as_ref().ok()).max().copied().unwrap_or_default();
        wanted.table.version = version.max(highest);
        self.record_kill_switch(wanted, author).await.map_err(|error| match error {
            ControlError::Store(reason) => ControlError::NotRecorded { in_force, runtimes: self.links.len(), reason },
            other => other,
        })?;
        self.push_tables().await;
        Ok(json!({
            "table_version": self.traffic.table.version,
            "restored_version": good.table.version,
            "runtimes": self.links.len(),
            "runtimes_in_force": in_force,
        }))
    }

    /// Offers the content to all runtimes at once; gives the version that each has then.
    async fn restore(&mut self, wanted: &StoredTable) -> Vec<Result<u64, PortError>> {
        let deadline = self.settings.call_deadline;
        let calls = self.links.iter().map(|link| {
            let (port, wanted) = (std::sync::Arc::clone(&link.port), wanted.clone());
            async move {
                let restoring = async {
                    match port.restore_last_good(wanted.table.version).await {
                        // It was restarted, or marked another one: it gets the store's.
                        Ok(TableInForce { table, .. }) if table.models == wanted.table.models => Ok(table.version),
                        Ok(TableInForce { table, .. }) => replace(&*port, table.version, wanted).await,
                        Err(PortError::NoGoodTable) => {
                            let in_force = port.table().await?.table.version;
                            replace(&*port, in_force, wanted).await
                        }
                        Err(error) => Err(error),
                    }
                };
                let late = || PortError::Unreachable("no answer in time".to_owned());
                tokio::time::timeout(deadline, restoring).await.unwrap_or_else(|_| Err(late()))
            }
        });
        let answers = futures_util::future::join_all(calls).await;
        let now = self.now();
        for (link, answer) in self.links.iter_mut().zip(&answers) {
            link.in_force = answer.as_ref().ok().copied().or(link.in_force);
            link.confirmed = None;
            link.noted(answer.clone(), now);
        }
        answers
    }

    async fn record_kill_switch(&mut self, table: StoredTable, author: &str) -> Result<(), ControlError> {
        if self.needs_reload {
            self.reload().await?;
        }
        let (now, timestamp, revision) = (self.now(), self.timestamp(), self.declared.revision.0);
        let mut transaction = self.transaction();
        let mut stopped: Vec<JudgeKey> = Vec::new();
        for (key, judge) in &mut self.judges {
            match (&mut judge.stored.body, &judge.plan) {
                (StoredBody::Rollout { state, .. }, CheckedPlan::Rollout(plan)) if !state.phase().is_over() => {
                    let Ok(decision) = command(plan, state, Command::Abort, UnixMillis(now)) else { continue };
                    judge.stored.ended_in = Some(revision);
                    transaction.events.push(events::decided(judge, &decision, Some(author), timestamp));
                    transaction.machines.push(MachineWrite {
                        kind: "rollout-decision".to_owned(),
                        name: decision.id.clone(),
                        expected: hanok_state::MachineVersion::NONE,
                        state: serde_json::to_value(&decision).ok(),
                    });
                }
                (StoredBody::Bandit { stopped, .. }, _) if !*stopped => *stopped = true,
                _ => continue,
            }
            transaction.machines.push(MachineWrite {
                kind: machine_kind(key.0).to_owned(),
                name: key.1.clone(),
                expected: judge.version,
                state: Some(judge.to_value()),
            });
            stopped.push(key.clone());
        }
        let data = json!({
            "author": author,
            "from_version": self.traffic.table.version,
            "to_version": table.table.version,
            "stopped": stopped.iter().map(|(kind, name)| format!("{kind}/{name}")).collect::<Vec<_>>(),
        });
        let id = format!("kill-switch/{}", table.table.version);
        transaction.events.push(events::table(id, "io.hanok.traffic.kill_switch", data, timestamp));
        self.write_table(&mut transaction, &table, author, false);
        let committed = self.commit(transaction).await?;
        self.table_written(&committed, table, false);
        // Versions of the machines have moved: the simplest truth is the store's.
        self.reload().await
    }

    /// Gives a runtime that has a table of its own the store's again, under a version that it must take.
    pub(super) async fn settle_conflicts(&mut self) -> Result<(), ControlError> {
        let version = self.traffic.table.version;
        if version == 0 {
            return Ok(());
        }
        let conflicts: Vec<(String, u64)> = self
            .links
            .iter()
            .filter_map(|link| Some((link.port.name().to_owned(), link.conflicting_version(version)?)))
            .collect();
        if conflicts.is_empty() {
            return Ok(());
        }
        let mut table = (*self.traffic).clone();
        table.table.version = self.next_table_version();
        let runtimes: Vec<Value> =
            conflicts.iter().map(|(runtime, found)| json!({ "runtime": runtime, "version": found })).collect();
        let data = json!({ "stored_version": version, "to_version": table.table.version, "runtimes": runtimes });
        let id = format!("conflict/{}", table.table.version);
        let mut transaction = self.transaction();
        transaction.events.push(events::table(id, "io.hanok.traffic.conflict", data, self.timestamp()));
        self.write_table(&mut transaction, &table, "control-plane", false);
        let committed = self.commit(transaction).await?;
        if !self.needs_reload {
            self.table_written(&committed, table, false);
        }
        Ok(())
    }
}

async fn replace(port: &dyn crate::port::RuntimePort, in_force: u64, wanted: StoredTable) -> Result<u64, PortError> {
    let StoredTable { mut table, comparisons, .. } = wanted;
    table.version = table.version.max(in_force.saturating_add(1));
    Ok(port.apply(TableOrder { expected: in_force, table, comparisons }).await?.table.version)
}
