//! Everything an experiment remembers, and how an observation enters it.

use serde::{Deserialize, Serialize};

use super::observation::{ExperimentObservation, ObservationRefused};
use super::plan::{MetricScale, ValidatedExperiment};
use crate::BasisPoints;
use crate::random::mix;
use crate::statistics::{
    DifferenceSequence, RiskRatioSequence, RunningMoments, SampleRatioTest, SeenKeys, log_mean_exp,
};

/// 256 KiB of filter once a sticky key comes; every unit and each of its metrics is one key.
const SEEN_KEYS_LOG2_BITS: u8 = 21;

/// The state of an experiment; serialisable whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExperimentState {
    pub(crate) experiment: String,
    pub(crate) sample_ratio: SampleRatioTest,
    pub(crate) seen: SeenKeys,
    /// By population (all units, then the segments), metric, arm; the control's entry stays empty.
    pub(crate) comparisons: Vec<ComparisonState>,
}

/// One arm against the control in one metric and population.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ComparisonState {
    pub(crate) control: RunningMoments,
    pub(crate) treatment: RunningMoments,
    pub(crate) difference: DifferenceSequence,
    pub(crate) rate: Option<RateEvidence>,
}

/// Exact evidence on a rate: the events and, for rates near 1, what isn't an event.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RateEvidence {
    pub(crate) events: RiskRatioSequence,
    non_events: RiskRatioSequence,
    log_e_max: f64,
}

impl RateEvidence {
    fn record(&mut self, event: bool, treated: bool, treatment: BasisPoints, control: BasisPoints) {
        let sequence = if event { &mut self.events } else { &mut self.non_events };
        sequence.record(treated, treatment, control);
        // Two e-processes of one stream of units: so is their average (Vovk and Wang, Annals of Statistics 49, 2021).
        self.log_e_max = self.log_e_max.max(log_mean_exp(&[self.events.log_e(), self.non_events.log_e()]));
    }

    pub(crate) fn p_value(&self) -> f64 {
        (-self.log_e_max).exp()
    }
}

impl ExperimentState {
    /// The state of an experiment without observations.
    #[must_use]
    pub fn new(plan: &ValidatedExperiment) -> Self {
        let declared = plan.plan();
        let mut comparisons = Vec::new();
        for population in 0..=declared.segments.len() {
            let alpha = plan.comparison_alpha(population > 0);
            for metric in &declared.metrics {
                comparisons.extend(declared.arms.iter().map(|_| ComparisonState {
                    control: RunningMoments::default(),
                    treatment: RunningMoments::default(),
                    difference: DifferenceSequence::new(declared.planned_units, alpha),
                    rate: (metric.scale == MetricScale::Rate).then(RateEvidence::default),
                }));
            }
        }
        Self {
            experiment: declared.experiment.clone(),
            sample_ratio: SampleRatioTest::new(declared.arms.len()),
            seen: SeenKeys::with_log2_bits(SEEN_KEYS_LOG2_BITS),
            comparisons,
        }
    }

    /// Takes one observation.
    ///
    /// # Errors
    /// [`ObservationRefused`]; nothing has changed then.
    pub fn absorb(
        &mut self,
        plan: &ValidatedExperiment,
        observation: &ExperimentObservation,
    ) -> Result<(), ObservationRefused> {
        let metrics = self.check(plan, observation)?;
        let fractions: Vec<f64> = observation.shares.iter().map(|share| share.fraction()).collect();
        if observation.assignment && self.is_first(observation.unit, 0) {
            self.sample_ratio.record(observation.arm, &fractions);
        }
        let declared = plan.plan();
        let named = observation.segment.as_ref().and_then(|name| declared.segments.iter().position(|own| own == name));
        for (metric, value) in metrics {
            if !self.is_first(observation.unit, metric as u64 + 1) {
                continue;
            }
            for population in [Some(0), named.map(|segment| segment + 1)].into_iter().flatten() {
                let first = (population * declared.metrics.len() + metric) * declared.arms.len();
                let comparisons = &mut self.comparisons[first..first + declared.arms.len()];
                record_value(comparisons, plan.control(), observation, value);
            }
        }
        Ok(())
    }

    /// Indices of the metrics and their values, when everything about the observation holds.
    fn check(
        &self,
        plan: &ValidatedExperiment,
        observation: &ExperimentObservation,
    ) -> Result<Vec<(usize, f64)>, ObservationRefused> {
        let declared = plan.plan();
        let arms = declared.arms.len();
        if self.comparisons.len() != (declared.segments.len() + 1) * declared.metrics.len() * arms
            || self.experiment != declared.experiment
        {
            return Err(ObservationRefused::OtherExperiment(self.experiment.clone()));
        }
        if observation.arm >= arms {
            return Err(ObservationRefused::UnknownArm { arms, arm: observation.arm });
        }
        let sum = observation.shares.iter().map(|share| u32::from(share.get())).sum();
        if observation.shares.len() != arms || sum != 10_000 {
            return Err(ObservationRefused::WrongShares { arms, found: observation.shares.len(), sum });
        }
        let mut values = Vec::with_capacity(observation.values.len());
        for given in &observation.values {
            let index = declared.metrics.iter().position(|metric| metric.name == given.metric);
            let Some(index) = index else {
                return Err(ObservationRefused::UnknownMetric(given.metric.clone()));
            };
            let is_rate = declared.metrics[index].scale == MetricScale::Rate;
            if !given.value.is_finite() || (is_rate && given.value != 0.0 && given.value != 1.0) {
                return Err(ObservationRefused::WrongValue { metric: given.metric.clone(), value: given.value });
            }
            values.push((index, given.value));
        }
        Ok(values)
    }

    fn is_first(&mut self, unit: Option<u64>, kind: u64) -> bool {
        unit.is_none_or(|key| self.seen.insert(key ^ mix(kind)))
    }
}

fn record_value(comparisons: &mut [ComparisonState], control: usize, observation: &ExperimentObservation, value: f64) {
    let shares = &observation.shares;
    for (arm, comparison) in comparisons.iter_mut().enumerate() {
        let treated = observation.arm == arm;
        let concerned = arm != control && (treated || observation.arm == control);
        if !concerned || shares[arm] == BasisPoints::ZERO || shares[control] == BasisPoints::ZERO {
            continue;
        }
        let (own, other) = (shares[arm].fraction(), shares[control].fraction());
        if treated {
            comparison.treatment.record(value)
        } else {
            comparison.control.record(value)
        }
        comparison.difference.record(treated, own / (own + other), value);
        if let Some(rate) = &mut comparison.rate {
            rate.record(value == 1.0, treated, shares[arm], shares[control]);
        }
    }
}
