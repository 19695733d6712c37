//! A rollout, experiment or bandit under way: its declaration, its state, and how far it has read.
//!
//! Invariant: what is stored is whole. Loaded again it goes on as if it had never stopped, skipping what it had read.

use std::collections::BTreeMap;

use hanok_rollout::bandit::{BanditPlan, BanditState, ValidatedBandit};
use hanok_rollout::experiment::{ExperimentPlan, ExperimentState, ValidatedExperiment};
use hanok_rollout::rollout::{Observation, RolloutPlan, RolloutState, ValidatedPlan};
use hanok_state::{Machine, MachineVersion};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::declared::{BanditSpec, ExperimentSpec, ResourceKind, RolloutSpec, Spec, TrafficSpec};

/// How far the records of one runtime were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReadPosition {
    /// Run of the runtime.
    pub(crate) epoch: u64,
    /// Last record that was dealt with.
    pub(crate) position: u64,
}

/// By name of the runtime.
pub(crate) type ReadPositions = BTreeMap<String, ReadPosition>;

/// What is stored of a judge.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StoredJudge {
    /// Names this run: `NAME@REVISION`.
    pub(crate) run: String,
    /// Revision of the declaration that made the run.
    pub(crate) revision: u64,
    /// Name of the `Traffic`.
    pub(crate) traffic: String,
    /// Public model name.
    pub(crate) model: String,
    /// When it began to watch, in milliseconds since the epoch.
    pub(crate) started_at: Option<u64>,
    /// Revision of the declared resources when it ended, if it has.
    pub(crate) ended_in: Option<u64>,
    pub(crate) positions: ReadPositions,
    /// Where reading stood when it began to watch: records up to there are none of its business.
    pub(crate) started_behind: ReadPositions,
    /// Last joined pair that was dealt with.
    pub(crate) pairs: u64,
    pub(crate) body: StoredBody,
}

/// What differs between kinds.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum StoredBody {
    Rollout { spec: Box<RolloutSpec>, plan: Box<RolloutPlan>, state: Box<RolloutState> },
    Experiment { spec: ExperimentSpec, plan: ExperimentPlan, state: ExperimentState, refused: u64 },
    Bandit { spec: BanditSpec, plan: BanditPlan, state: BanditState, updates: u64, updated_at: u64, stopped: bool },
}

/// The checked plan beside the state.
#[derive(Clone, Debug)]
pub(crate) enum CheckedPlan {
    Rollout(ValidatedPlan),
    Experiment(ValidatedExperiment),
    Bandit(ValidatedBandit),
}

/// A judge under way.
#[derive(Clone, Debug)]
pub(crate) struct Judge {
    pub(crate) name: String,
    pub(crate) stored: StoredJudge,
    pub(crate) plan: CheckedPlan,
    pub(crate) version: MachineVersion,
    /// Positions as they are on the disk: what may be acknowledged.
    pub(crate) durable: ReadPositions,
    pub(crate) durable_pairs: u64,
    /// Whether memory is ahead of the disk.
    pub(crate) dirty: bool,
    /// What a rollout is to learn at its next step; empty between ticks.
    pub(crate) inbox: Vec<Observation>,
}

/// Where a new judge begins.
#[derive(Clone, Debug)]
pub(crate) struct Beginning {
    /// Revision of the declaration that makes the run.
    pub(crate) revision: u64,
    /// In milliseconds since the epoch.
    pub(crate) now: u64,
    /// Last joined pair that was read.
    pub(crate) pairs: u64,
    /// What was read of the records of every runtime; what served before is none of its business.
    pub(crate) positions: ReadPositions,
}

/// Kind of machine and name.
pub(crate) type JudgeKey = (ResourceKind, String);

/// The kinds that are judges, with the kind of machine that each is stored as.
pub(crate) const JUDGES: [(ResourceKind, &str); 3] =
    [(ResourceKind::Rollout, "rollout"), (ResourceKind::Experiment, "experiment"), (ResourceKind::Bandit, "bandit")];

/// Kind of machine of a kind of judge.
pub(crate) fn machine_kind(kind: ResourceKind) -> &'static str {
    JUDGES.iter().find(|(judge, _)| *judge == kind).map_or("", |(_, machine)| *machine)
}

impl Judge {
    /// A new run of a declared judge, not started; none for what is no judge. The set that `traffic` is of holds together.
    pub(crate) fn declare(
        name: &str,
        spec: &Spec,
        traffic: &TrafficSpec,
        begins: &Beginning,
        version: MachineVersion,
    ) -> Option<Self> {
        let Beginning { revision, now, pairs, ref positions } = *begins;
        let run = format!("{name}@{revision}");
        let (traffic_name, started_at, body, plan) = match spec {
            Spec::Rollout(spec) => {
                let plan = spec.plan(&run, traffic.public_model(&spec.traffic));
                let checked = plan.clone().validate().ok()?;
                let state = RolloutState::new(&checked);
                let body =
                    StoredBody::Rollout { spec: Box::new(spec.clone()), plan: Box::new(plan), state: Box::new(state) };
                (&spec.traffic, None, body, CheckedPlan::Rollout(checked))
            }
            Spec::Experiment(spec) => {
                let plan = spec.plan(&run, traffic);
                let checked = plan.clone().validate().ok()?;
                let state = ExperimentState::new(&checked);
                let body = StoredBody::Experiment { spec: spec.clone(), plan, state, refused: 0 };
                (&spec.traffic, Some(now), body, CheckedPlan::Experiment(checked))
            }
            Spec::Bandit(spec) => {
                let plan = spec.plan(&run, traffic);
                let checked = plan.clone().validate().ok()?;
                let state = BanditState::new(&checked);
                let body =
                    StoredBody::Bandit { spec: spec.clone(), plan, state, updates: 0, updated_at: now, stopped: false };
                (&spec.traffic, Some(now), body, CheckedPlan::Bandit(checked))
            }
            Spec::Traffic(_) | Spec::Comparison(_) => return None,
        };
        let stored = StoredJudge {
            model: traffic.public_model(traffic_name).to_owned(),
            traffic: traffic_name.clone(),
            run,
            revision,
            started_at,
            ended_in: None,
            positions: positions.clone(),
            started_behind: positions.clone(),
            pairs,
            body,
        };
        let (name, durable) = (name.to_owned(), ReadPositions::new());
        Some(Self { name, stored, plan, version, durable, durable_pairs: pairs, dirty: true, inbox: Vec::new() })
    }

    /// The judge that a machine holds.
    pub(crate) fn load(machine: Machine) -> Result<Self, String> {
        let stored: StoredJudge = serde_json::from_value(machine.state).map_err(|error| error.to_string())?;
        let invalid = |problems: Vec<hanok_rollout::Problem>| {
            problems.first().map_or_else(|| "its plan is not valid".to_owned(), ToString::to_string)
        };
        let plan = match &stored.body {
            StoredBody::Rollout { plan, .. } => CheckedPlan::Rollout((**plan).clone().validate().map_err(invalid)?),
            StoredBody::Experiment { plan, .. } => CheckedPlan::Experiment(plan.clone().validate().map_err(invalid)?),
            StoredBody::Bandit { plan, .. } => CheckedPlan::Bandit(plan.clone().validate().map_err(invalid)?),
        };
        Ok(Self {
            name: machine.name,
            durable: stored.positions.clone(),
            durable_pairs: stored.pairs,
            version: machine.version,
            dirty: false,
            inbox: Vec::new(),
            plan,
            stored,
        })
    }

    /// Its state as it is stored. Plain data always has a JSON form.
    pub(crate) fn to_value(&self) -> Value {
        serde_json::to_value(&self.stored).unwrap_or(Value::Null)
    }

    pub(crate) fn kind(&self) -> ResourceKind {
        match self.stored.body {
            StoredBody::Rollout { .. } => ResourceKind::Rollout,
            StoredBody::Experiment { .. } => ResourceKind::Experiment,
            StoredBody::Bandit { .. } => ResourceKind::Bandit,
        }
    }

    pub(crate) fn key(&self) -> JudgeKey {
        (self.kind(), self.name.clone())
    }

    /// Whether records and pairs mean anything to it now.
    pub(crate) fn is_watching(&self) -> bool {
        match &self.stored.body {
            StoredBody::Rollout { state, .. } => state.phase().step().is_some(),
            StoredBody::Experiment { .. } => true,
            StoredBody::Bandit { stopped, .. } => !stopped,
        }
    }

    /// Whether it reads outcomes that clients report.
    pub(crate) fn reads_outcomes(&self) -> bool {
        match &self.stored.body {
            StoredBody::Rollout { spec, .. } => spec.label_metrics().next().is_some(),
            StoredBody::Experiment { spec, .. } => spec.metrics.iter().any(|metric| metric.source.outcome().is_some()),
            StoredBody::Bandit { spec, .. } => matches!(spec.reward, crate::declared::BanditReward::Outcome(_)),
        }
    }

    /// How far it has read the records of a run of a runtime.
    pub(crate) fn position(&self, runtime: &str, epoch: u64) -> u64 {
        position_of(&self.stored.positions, runtime, epoch)
    }

    /// Moves on. What it has seen of it must be absorbed.
    pub(crate) fn advance(&mut self, runtime: &str, epoch: u64, position: u64) {
        self.stored.positions.insert(runtime.to_owned(), ReadPosition { epoch, position });
        self.dirty = true;
    }
}

/// How far the records of a run of a runtime were read; 0 for another run.
pub(crate) fn position_of(positions: &ReadPositions, runtime: &str, epoch: u64) -> u64 {
    positions.get(runtime).filter(|read| read.epoch == epoch).map_or(0, |read| read.position)
}
