//! Letting judges judge: one step of each that is under way, and what follows durable before anything else happens.

use hanok_rollout::rollout::{Action, Command, Phase, command, step};
use hanok_rollout::{Decision, UnixMillis};
use serde_json::json;

use super::commit::Verdict;
use super::error::ControlError;
use super::events;
use super::judge::{CheckedPlan, JudgeKey, StoredBody};
use super::link::Link;
use super::state::{Controller, overlays};
use crate::declared::{ResourceKind, StartRule};
use crate::plan::derive;

/// Decisions of one rollout in one tick, at most.
const MOST_DECISIONS: usize = 16;

impl Controller {
    /// Lets every judge judge what it has absorbed.
    pub(super) async fn judge(&mut self) -> Result<(), ControlError> {
        let keys: Vec<JudgeKey> = self.judges.keys().cloned().collect();
        for key in keys {
            match key.0 {
                ResourceKind::Rollout => self.judge_rollout(&key).await?,
                ResourceKind::Bandit => self.judge_bandit(&key).await?,
                _ => {}
            }
            if self.needs_reload {
                break;
            }
        }
        Ok(())
    }

    async fn judge_rollout(&mut self, key: &JudgeKey) -> Result<(), ControlError> {
        let now = UnixMillis(self.now());
        let may_start = !self.traffic.held && self.links.iter().all(Link::is_known);
        let Some(judge) = self.judges.get_mut(key) else { return Ok(()) };
        let (StoredBody::Rollout { spec, state, .. }, CheckedPlan::Rollout(plan)) =
            (&mut judge.stored.body, &judge.plan)
        else {
            return Ok(());
        };
        let observations = std::mem::take(&mut judge.inbox);
        let mut observations = observations.as_slice();
        let mut decisions = Vec::new();
        if state.phase() == Phase::Pending && spec.start == StartRule::Automatic && may_start {
            decisions.extend(command(plan, state, Command::Start, now).ok());
        }
        while decisions.len() < MOST_DECISIONS {
            match step(plan, state, std::mem::take(&mut observations), now) {
                Ok(Some(decision)) => decisions.push(decision),
                Ok(None) => break,
                Err(error) => {
                    let (what, name) = ("rollout", key.1.clone());
                    return Err(ControlError::Stored { what, name, reason: error.to_string() });
                }
            }
        }
        if decisions.is_empty() { Ok(()) } else { self.decided(key, &decisions, None).await }
    }

    /// Makes decisions of a rollout durable, with the table that they mean.
    pub(super) async fn decided(
        &mut self,
        key: &JudgeKey,
        decisions: &[Decision],
        author: Option<&str>,
    ) -> Result<(), ControlError> {
        let (now, revision) = (self.now(), self.declared.revision.0);
        let positions = self.newest_positions();
        let timestamp = self.timestamp();
        let Some(judge) = self.judges.get_mut(key) else { return Ok(()) };
        for decision in decisions {
            if decision.action == Action::Start {
                judge.stored.started_at = Some(now);
                judge.stored.positions.clone_from(&positions);
                judge.stored.started_behind.clone_from(&positions);
            }
            if decision.phase.is_over() {
                judge.stored.ended_in = Some(revision);
            }
            tracing::info!(rollout = %judge.name, id = %decision.id, action = ?decision.action, "rollout decided");
        }
        judge.dirty = true;
        let verdicts = decisions
            .iter()
            .map(|decision| Verdict {
                event: events::decided(judge, decision, author, timestamp),
                decision: Some((decision.id.clone(), serde_json::to_value(decision).unwrap_or_default())),
            })
            .collect();
        let table = self.table_of_judges();
        self.commit_judge(key, verdicts, table, true).await
    }

    /// The table that declarations and judges mean now; none when it is the one in force, or that one is held.
    pub(super) fn table_of_judges(&self) -> Option<crate::plan::StoredTable> {
        if self.traffic.held {
            return None;
        }
        let overlays = overlays(&self.judges, &self.declared.changed_in);
        let table = derive(&self.declared.set, &overlays, &self.traffic, self.next_table_version());
        (!table.is_like(&self.traffic)).then_some(table)
    }

    async fn judge_bandit(&mut self, key: &JudgeKey) -> Result<(), ControlError> {
        let (now, timestamp, held) = (self.now(), self.timestamp(), self.traffic.held);
        let Some(judge) = self.judges.get_mut(key) else { return Ok(()) };
        let (StoredBody::Bandit { spec, state, updates, updated_at, stopped: false, .. }, CheckedPlan::Bandit(plan)) =
            (&mut judge.stored.body, &judge.plan)
        else {
            return Ok(());
        };
        if held || now.saturating_sub(*updated_at) < spec.update_seconds.saturating_mul(1_000) {
            return Ok(());
        }
        let before = state.weights().to_vec();
        let weights = state.update(plan).to_vec();
        let (number, first) = (*updates, *updates == 0);
        *updates += 1;
        *updated_at = now;
        let data =
            json!({ "arms": plan.plan().arms, "before": before, "weights": weights, "tallies": state.tallies() });
        judge.dirty = true;
        if weights == before && !first {
            return Ok(());
        }
        let event = events::moved_weights(judge, number, data, timestamp);
        let table = self.table_of_judges();
        self.commit_judge(key, vec![Verdict { event, decision: None }], table, false).await
    }
}
