//! Anytime-valid statistics: one method per file, each with its source and golden values.
//!
//! Nothing here knows what a rollout is.

mod alpha_split;
mod difference_sequence;
mod disagreement;
mod frozen_quantile;
mod interval;
mod mean_sequence;
mod mixture_sprt;
mod relative_risk;
mod risk_ratio_sequence;
mod running_moments;
mod sample_ratio;
mod seen_keys;

pub use alpha_split::split_alpha;
pub use difference_sequence::DifferenceSequence;
pub use disagreement::DisagreementTest;
pub use frozen_quantile::FrozenQuantile;
pub use interval::Interval;
pub use mean_sequence::MeanSequence;
pub use mixture_sprt::{log_mixture_ratio, mixing_factor, mixture_radius};
pub use relative_risk::{GRID_POINTS, Hypothesis, RelativeRiskTest};
pub use risk_ratio_sequence::{RatioInterval, RiskRatioSequence};
pub use running_moments::RunningMoments;
pub use sample_ratio::SampleRatioTest;
pub use seen_keys::SeenKeys;

/// `ln` of the mean of `exp(values)`, without overflow. Minus infinity for no values.
pub(crate) fn log_mean_exp(values: &[f64]) -> f64 {
    let largest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if !largest.is_finite() {
        return largest;
    }
    let sum: f64 = values.iter().map(|value| (value - largest).exp()).sum();
    largest + (sum / values.len() as f64).ln()
}
