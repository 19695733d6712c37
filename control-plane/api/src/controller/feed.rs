//! From records and pairs to what each judge learns from. Pure.
//!
//! Only requests whose arm was left to chance are evidence: by weight, by sticky key, or in a sequence that began so.

use hanok_rollout::BasisPoints;
use hanok_rollout::UnixMillis;
use hanok_rollout::bandit::BanditObservation;
use hanok_rollout::experiment::{ExperimentObservation, MetricValue};
use hanok_rollout::rollout::{
    Arm, ComparisonObservation, LabelObservation, MetricKind, Observation, RequestObservation, RequestOutcome,
};
use hanok_routing::observation::{Observation as Finished, OutcomeKind};
use hanok_routing::{ModelTraffic, Reason, TrafficTable, VersionName};
use hanok_state::JoinedPair;

use super::judge::StoredBody;
use super::unit_segment;
use crate::declared::{BanditReward, ExperimentSpec, LabelRule, MetricSource, RolloutSpec};
use crate::port::{RequestRecord, ShadowRecord};

/// Whether chance chose the arm.
fn is_evidence(finished: &Finished) -> bool {
    matches!(finished.reason, Reason::Weight | Reason::Sticky | Reason::PinnedSequence)
}

fn unit(hash: u64) -> Option<u64> {
    (hash != 0).then_some(hash)
}

fn side(spec: &RolloutSpec, arm: &str) -> Option<Arm> {
    if arm == spec.candidate { Some(Arm::Candidate) } else { (arm == spec.baseline).then_some(Arm::Baseline) }
}

/// The candidate's share, given the share of the arm that served: together they are the whole.
fn candidate_share(arm: Arm, probability: u16) -> BasisPoints {
    let candidate = match arm {
        Arm::Candidate => probability,
        Arm::Baseline => 10_000_u16.saturating_sub(probability),
    };
    BasisPoints::new(candidate).unwrap_or_default()
}

/// What a rollout learns from a finished request.
pub(super) fn rollout_request(spec: &RolloutSpec, record: &RequestRecord) -> Option<Observation> {
    let finished = &record.observation;
    let arm = side(spec, &finished.arm.as_ref().filter(|_| is_evidence(finished))?.name)?;
    Some(Observation::Request(RequestObservation {
        arm,
        candidate_share: candidate_share(arm, finished.probability_basis_points),
        unit: unit(finished.sticky_key_hash),
        outcome: match finished.outcome {
            // What the client did wrong is answered as it should be.
            OutcomeKind::Success | OutcomeKind::ClientError => RequestOutcome::Answered,
            OutcomeKind::ServerError | OutcomeKind::Deadline => RequestOutcome::Failed,
            OutcomeKind::Shed => RequestOutcome::Shed,
            OutcomeKind::Cancelled => RequestOutcome::Cancelled,
        },
        latency_microseconds: Some(finished.latency.total_microseconds),
        at: UnixMillis(finished.finished_microseconds / 1_000),
    }))
}

/// What a rollout learns from a shadow comparison: one observation per disagreement metric of its plan.
pub(super) fn rollout_comparisons<'a>(
    spec: &'a RolloutSpec,
    table: &TrafficTable,
    record: &'a ShadowRecord,
) -> impl Iterator<Item = Observation> + 'a {
    let entry = table.models.get(&*record.public_model);
    let concerns = entry.is_some_and(|entry| is_candidate(entry, table, spec, record));
    let metrics =
        spec.metrics.iter().filter(move |metric| concerns && matches!(metric.kind, MetricKind::Disagreement { .. }));
    metrics.map(|metric| {
        Observation::Comparison(ComparisonObservation {
            metric: metric.name.clone(),
            unit: unit(record.sticky_key_hash),
            disagrees: record.disagrees,
            at: UnixMillis(record.finished_microseconds / 1_000),
        })
    })
}

fn is_candidate(entry: &ModelTraffic, table: &TrafficTable, spec: &RolloutSpec, record: &ShadowRecord) -> bool {
    let Some(arm) = entry.arms.iter().find(|arm| arm.name == spec.candidate) else { return false };
    let model = arm.model.as_deref().unwrap_or(&record.public_model);
    let version = match &arm.version {
        VersionName::Latest => return model == &*record.candidate_model,
        VersionName::Number(number) => Some(*number),
        VersionName::Label(label) => table.models.get(model).and_then(|entry| entry.labels.get(label)).copied(),
    };
    model == &*record.candidate_model && version == Some(record.candidate_version)
}

/// What an experiment learns from a finished request. `Err` counts one that cannot be used: its arms' shares are unknown.
pub(super) fn experiment_request(
    (spec, arms): (&ExperimentSpec, &[String]),
    weights: Option<&[(String, u16)]>,
    record: &RequestRecord,
) -> Result<Option<ExperimentObservation>, ()> {
    let finished = &record.observation;
    let Some(arm) = finished.arm.as_ref().filter(|_| is_evidence(finished)) else { return Ok(None) };
    let Some(index) = arms.iter().position(|name| **name == *arm.name) else { return Ok(None) };
    let probability = finished.probability_basis_points;
    let shares = shares(arms, weights, index, probability).ok_or(())?;
    let answered = finished.outcome == OutcomeKind::Success;
    let failed = matches!(finished.outcome, OutcomeKind::ServerError | OutcomeKind::Deadline | OutcomeKind::Shed);
    let mut values = Vec::new();
    for metric in &spec.metrics {
        let value = match metric.source {
            MetricSource::Error if answered || failed => f64::from(u8::from(failed)),
            MetricSource::LatencyMilliseconds if answered => finished.latency.total_microseconds as f64 / 1_000.0,
            _ => continue,
        };
        values.push(MetricValue { metric: metric.name.clone(), value });
    }
    Ok(Some(ExperimentObservation {
        arm: index,
        shares,
        unit: unit(finished.sticky_key_hash),
        segment: finished.segment.as_deref().map(str::to_owned),
        assignment: true,
        values,
    }))
}

/// Shares of all arms of the plan when a request was assigned with this probability.
fn shares(
    arms: &[String],
    weights: Option<&[(String, u16)]>,
    index: usize,
    probability: u16,
) -> Option<Vec<BasisPoints>> {
    if arms.len() == 2 {
        let other = 10_000_u16.checked_sub(probability)?;
        let points = if index == 0 { [probability, other] } else { [other, probability] };
        return points.into_iter().map(BasisPoints::new).collect();
    }
    let of = |arm: &String| weights?.iter().find(|(name, _)| name == arm).map(|(_, weight)| *weight);
    let points: Vec<u16> = arms.iter().map(of).collect::<Option<_>>()?;
    let whole = points.iter().map(|weight| u32::from(*weight)).sum::<u32>() == 10_000;
    // While an arm is ejected the others get more than their weights.
    if !whole || points.get(index) != Some(&probability) {
        return None;
    }
    points.into_iter().map(BasisPoints::new).collect()
}

/// What a bandit learns from a finished request; nothing when it learns from outcomes.
pub(super) fn bandit_request(
    (reward, arms): (&BanditReward, &[String]),
    record: &RequestRecord,
) -> Option<BanditObservation> {
    let finished = &record.observation;
    if matches!(reward, BanditReward::Outcome(_))
        || matches!(finished.outcome, OutcomeKind::ClientError | OutcomeKind::Cancelled)
    {
        return None;
    }
    let arm = finished.arm.as_ref().filter(|_| is_evidence(finished))?;
    Some(BanditObservation {
        arm: arms.iter().position(|name| **name == *arm.name)?,
        probability: BasisPoints::new(finished.probability_basis_points)?,
        success: finished.outcome == OutcomeKind::Success,
        latency_microseconds: Some(finished.latency.total_microseconds),
    })
}

fn is_event(rule: &LabelRule, pair: &JoinedPair) -> Option<bool> {
    (rule.outcome == pair.outcome.metric).then_some(pair.outcome.value >= rule.at_least)
}

/// Takes a joined pair into a judge's state. Requests that were served before the judge began are none of its business.
pub(super) fn absorb_pair(
    body: &mut StoredBody,
    plan: &super::judge::CheckedPlan,
    weights: Option<&[(String, u16)]>,
    pair: &JoinedPair,
) -> Vec<Observation> {
    use super::judge::CheckedPlan;
    let (unit, segment) = unit_segment::decode(pair.served.segment.as_deref());
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 10,000")]
    let probability = (pair.served.probability * 10_000.0).round().clamp(0.0, 10_000.0) as u16;
    match (body, plan) {
        (StoredBody::Rollout { spec, .. }, CheckedPlan::Rollout(_)) => {
            let Some(arm) = side(spec, &pair.served.arm) else { return Vec::new() };
            let at = UnixMillis(pair.served.served_at.unix_millis().unsigned_abs());
            let concerned = spec.label_metrics().filter(|(_, outcome, _)| *outcome == pair.outcome.metric);
            let label = |(metric, _, at_least): (&str, &str, f64)| {
                Observation::Label(LabelObservation {
                    metric: metric.to_owned(),
                    arm,
                    candidate_share: candidate_share(arm, probability),
                    unit,
                    event: pair.outcome.value >= at_least,
                    at,
                })
            };
            concerned.map(label).collect()
        }
        (StoredBody::Experiment { spec, plan, state, refused }, CheckedPlan::Experiment(checked)) => {
            let arms: Vec<String> = plan.arms.iter().map(|arm| arm.name.clone()).collect();
            let mut values = Vec::new();
            for metric in &spec.metrics {
                let value = match &metric.source {
                    MetricSource::OutcomeRate(rule) => is_event(rule, pair).map(|event| f64::from(u8::from(event))),
                    MetricSource::OutcomeValue(name) => (*name == pair.outcome.metric).then_some(pair.outcome.value),
                    MetricSource::Error | MetricSource::LatencyMilliseconds => None,
                };
                values.extend(value.map(|value| MetricValue { metric: metric.name.clone(), value }));
            }
            let Some(arm) = arms.iter().position(|name| *name == pair.served.arm) else { return Vec::new() };
            if values.is_empty() {
                return Vec::new();
            }
            let taken = shares(&arms, weights, arm, probability).is_some_and(|shares| {
                let observation = ExperimentObservation { arm, shares, unit, segment, assignment: false, values };
                state.absorb(checked, &observation).is_ok()
            });
            *refused += u64::from(!taken);
            Vec::new()
        }
        (StoredBody::Bandit { spec, plan, state, .. }, CheckedPlan::Bandit(checked)) => {
            let BanditReward::Outcome(rule) = &spec.reward else { return Vec::new() };
            let arm = plan.arms.iter().position(|name| *name == pair.served.arm);
            if let (Some(arm), Some(success), Some(probability)) =
                (arm, is_event(rule, pair), BasisPoints::new(probability))
            {
                state.absorb(checked, &BanditObservation { arm, probability, success, latency_microseconds: None });
            }
            Vec::new()
        }
        _ => Vec::new(),
    }
}
