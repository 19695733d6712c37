//! What others may look at: status, traffic, and the state of judges, as JSON.

use hanok_rollout::experiment::{ExperimentReport, report_text};
use hanok_rollout::rollout::{Evidence, explain_json, explain_text};
use hanok_rollout::{Decision, UnixMillis};
use hanok_state::PAGE_RECORDS;
use serde_json::{Value, json};

use super::error::ControlError;
use super::judge::{CheckedPlan, Judge, StoredBody};
use super::state::Controller;
use crate::declared::ResourceKind;
use crate::metrics::{JudgeMetrics, MetricsView, RuntimeMetrics};

/// What is looked at.
#[derive(Clone, Debug)]
pub(crate) enum View {
    Status,
    Traffic,
    /// The place of declarations that a resource is kept in, if it is.
    KeptIn(ResourceKind, String),
    Rollouts,
    Rollout(String),
    /// As text, or as JSON.
    Explain(String, bool),
    Experiment(String),
    Bandit(String),
}

impl Controller {
    /// Answers from memory, which is at most one tick old; decisions come from the store.
    pub(super) async fn view(&mut self, view: View) -> Result<Value, ControlError> {
        match view {
            View::Status => Ok(self.status()),
            View::Traffic => Ok(json!({
                "version": self.traffic.table.version,
                "held": self.traffic.held,
                "good_version": self.good.as_ref().map(|good| good.table.version),
                "table": self.traffic.table,
                "comparisons": self.traffic.comparisons,
            })),
            View::KeptIn(kind, name) => Ok(json!(self.kept_in(kind, name).await?)),
            View::Rollouts => {
                let rollouts = self.judges.values().filter(|judge| judge.kind() == ResourceKind::Rollout);
                Ok(json!({ "rollouts": rollouts.map(|judge| self.rollout(judge, false)).collect::<Vec<_>>() }))
            }
            View::Rollout(name) => {
                self.judge_named(ResourceKind::Rollout, &name).map(|judge| self.rollout(judge, true))
            }
            View::Explain(name, as_text) => {
                let run = self.judge_named(ResourceKind::Rollout, &name)?.stored.run.clone();
                let decisions = self.decisions(&run).await?;
                Ok(if as_text { explain_text(&decisions).into() } else { explain_json(&decisions) })
            }
            View::Experiment(name) => self.judge_named(ResourceKind::Experiment, &name).map(experiment),
            View::Bandit(name) => self.judge_named(ResourceKind::Bandit, &name).map(bandit),
        }
    }

    fn judge_named(&self, kind: ResourceKind, name: &str) -> Result<&Judge, ControlError> {
        let what = super::judge::machine_kind(kind);
        self.judges.get(&(kind, name.to_owned())).ok_or_else(|| ControlError::NotFound { what, name: name.to_owned() })
    }

    /// Every decision of a run, oldest first.
    async fn decisions(&self, run: &str) -> Result<Vec<Decision>, ControlError> {
        let prefix = format!("{run}/");
        let mut after = prefix.clone();
        let mut decisions = Vec::new();
        loop {
            let page = self.store.machines("rollout-decision", &after, PAGE_RECORDS).await?;
            let full = page.len() == PAGE_RECORDS;
            for machine in page {
                if !machine.name.starts_with(&prefix) {
                    return Ok(decisions);
                }
                after.clone_from(&machine.name);
                let read = serde_json::from_value(machine.state);
                decisions.push(read.map_err(|error| ControlError::Stored {
                    what: "decision",
                    name: machine.name,
                    reason: error.to_string(),
                })?);
            }
            if !full {
                return Ok(decisions);
            }
        }
    }

    fn rollout(&self, judge: &Judge, with_evidence: bool) -> Value {
        let (StoredBody::Rollout { spec, state, .. }, CheckedPlan::Rollout(plan)) = (&judge.stored.body, &judge.plan)
        else {
            return Value::Null;
        };
        let mut value = json!({
            "name": judge.name,
            "run": judge.stored.run,
            "model": judge.stored.model,
            "baseline": spec.baseline,
            "candidate": spec.candidate,
            "phase": state.phase(),
            "candidate_share_basis_points": state.candidate_share(),
            "decisions": state.next_decision(),
            "started_at": judge.stored.started_at,
        });
        if with_evidence && let Some(members) = value.as_object_mut() {
            let evidence = Evidence::of(plan, state, UnixMillis(self.now()));
            members.insert("evidence".to_owned(), serde_json::to_value(evidence).unwrap_or_default());
            members.insert("plan".to_owned(), serde_json::to_value(plan.plan()).unwrap_or_default());
        }
        value
    }

    fn status(&self) -> Value {
        let version = self.traffic.table.version;
        let runtimes = self.links.iter().map(|link| {
            json!({
                "name": link.port.name(),
                "reachable": link.failing.is_none() && link.epoch != 0,
                "failing_since": link.failing.as_ref().map(|(since, _)| since),
                "error": link.failing.as_ref().map(|(_, error)| error.to_string()),
                "table_version": link.in_force,
                "in_step": link.in_force == Some(version) || (version == 0 && link.in_force.is_some()),
                "records_read": link.read,
                "records_acknowledged": link.acknowledged,
                "records_lost_by_runtime": link.dropped,
            })
        });
        json!({
            "revision": self.declared.revision.0,
            "resources": self.declared.set.len(),
            "table_version": version,
            "held": self.traffic.held,
            "acting": self.other_leader.is_none(),
            "leader": self.other_leader,
            "failure": self.last_failure,
            "served_refused": self.served_refused,
            "runtimes": runtimes.collect::<Vec<_>>(),
        })
    }

    /// Puts what the metrics port shows where it can be read without asking.
    pub(super) fn publish(&self) {
        let judges = self.judges.values().map(|judge| {
            let (phase, share, decisions) = match &judge.stored.body {
                StoredBody::Rollout { state, .. } => {
                    (state.phase().name(), Some(state.candidate_share().get()), state.next_decision())
                }
                StoredBody::Experiment { .. } => ("running", None, 0),
                StoredBody::Bandit { stopped, updates, .. } => {
                    (if *stopped { "stopped" } else { "running" }, None, *updates)
                }
            };
            let (kind, model) = (super::judge::machine_kind(judge.kind()), judge.stored.model.clone());
            JudgeMetrics { kind, name: judge.name.clone(), model, phase, share, decisions }
        });
        let runtimes = self.links.iter().map(|link| RuntimeMetrics {
            name: link.port.name().to_owned(),
            reachable: link.failing.is_none() && link.epoch != 0,
            table_version: link.in_force.unwrap_or_default(),
            dropped: link.dropped,
        });
        self.board.show(MetricsView {
            judges: judges.collect(),
            runtimes: runtimes.collect(),
            table_version: self.traffic.table.version,
            revision: self.declared.revision.0,
            failing: self.last_failure.is_some(),
            served_refused: self.served_refused,
        });
    }
}

fn experiment(judge: &Judge) -> Value {
    let (StoredBody::Experiment { state, refused, .. }, CheckedPlan::Experiment(plan)) =
        (&judge.stored.body, &judge.plan)
    else {
        return Value::Null;
    };
    let report = ExperimentReport::of(plan, state);
    json!({
        "name": judge.name,
        "run": judge.stored.run,
        "model": judge.stored.model,
        "refused_observations": refused,
        "text": report_text(&report),
        "report": report,
    })
}

fn bandit(judge: &Judge) -> Value {
    let StoredBody::Bandit { plan, state, updates, updated_at, stopped, .. } = &judge.stored.body else {
        return Value::Null;
    };
    let arms = plan.arms.iter().zip(state.weights()).zip(state.tallies()).zip(state.estimates());
    let arms = arms.map(|(((arm, weight), tally), estimate)| {
        json!({ "name": arm, "weight_basis_points": weight, "tally": tally, "unbiased_rate": estimate.rate() })
    });
    json!({
        "name": judge.name,
        "run": judge.stored.run,
        "model": judge.stored.model,
        "updates": updates,
        "updated_at": updated_at,
        "stopped": stopped,
        "arms": arms.collect::<Vec<_>>(),
    })
}
