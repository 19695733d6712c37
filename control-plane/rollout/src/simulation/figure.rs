//! One measured figure beside its target.

use serde::Serialize;

/// A figure as `benches` prints it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// What was measured, with the setting.
    pub name: String,
    /// The target in words; a dash for figures that only stand beside others.
    pub target: String,
    /// The measured value in `unit`.
    pub measured: f64,
    /// Unit of `measured`.
    pub unit: &'static str,
    /// Whether the target holds; none when there is none.
    pub holds: Option<bool>,
}

impl Figure {
    /// A figure that must be at most `bound`.
    #[must_use]
    pub fn at_most(name: impl Into<String>, measured: f64, bound: f64, unit: &'static str) -> Self {
        let target = format!("at most {}", (bound * 1e4).round() / 1e4);
        Self { name: name.into(), target, measured, unit, holds: Some(measured <= bound) }
    }

    /// A figure that must be at least `bound`.
    #[must_use]
    pub fn at_least(name: impl Into<String>, measured: f64, bound: f64, unit: &'static str) -> Self {
        let target = format!("at least {}", (bound * 1e4).round() / 1e4);
        Self { name: name.into(), target, measured, unit, holds: Some(measured >= bound) }
    }

    /// A figure without a target, for comparison.
    #[must_use]
    pub fn beside(name: impl Into<String>, measured: f64, unit: &'static str) -> Self {
        Self { name: name.into(), target: "-".to_owned(), measured, unit, holds: None }
    }
}

/// The `fraction` quantile of `values` (the smallest value with at least that fraction at or below it); 0 of none.
#[must_use]
pub fn quantile(values: &[u64], fraction: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place within the values")]
    let rank = (fraction * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).or(sorted.last()).map_or(0.0, |value| *value as f64)
}

/// The median of `values`; 0 of none.
#[must_use]
pub fn median(values: &[u64]) -> f64 {
    quantile(values, 0.5)
}
