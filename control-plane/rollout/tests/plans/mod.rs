//! The plan that the suites test with.

use hanok_rollout::rollout::{
    Direction, LatencyThreshold, Metric, MetricKind, OnInconclusive, RolloutPlan, Step, WarmUp,
};

/// Two steps, four metrics of all kinds; two with margins. Alpha 2 %, so 0.5 % each.
pub(crate) fn plan() -> RolloutPlan {
    let step =
        |weight_basis_points| Step { weight_basis_points, minimum_duration_seconds: Some(30), minimum_samples: None };
    let metric =
        |name: &str, kind, margin_ratio| Metric { name: name.to_owned(), kind, margin_ratio, alpha_weight: 1.0 };
    let threshold = LatencyThreshold::BaselineQuantile { quantile: 0.9, samples: 970 };
    RolloutPlan {
        rollout: "r-1".to_owned(),
        model: "flight_delay".to_owned(),
        baseline: "1".to_owned(),
        candidate: "2".to_owned(),
        steps: vec![step(500), step(5000)],
        metrics: vec![
            metric("errors", MetricKind::ErrorRate, Some(2.0)),
            metric("slow", MetricKind::Latency { threshold }, Some(1.5)),
            metric("bought", MetricKind::Label { better: Direction::Higher }, None),
            metric("shadow", MetricKind::Disagreement { allowance: 0.01 }, None),
        ],
        alpha_rollback: 0.02,
        alpha_promotion: 0.05,
        on_inconclusive: OnInconclusive::Hold,
        maximum_duration_seconds: 100_000,
        warm_up: WarmUp::default(),
    }
}
