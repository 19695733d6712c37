//! One promised error probability, divided over several tests (Bonferroni with weights).
//!
//! Any dependence between the tests is allowed. For tests that must *all* succeed (promotion) nothing needs dividing:
//! Berger, Technometrics 24 (1982).

/// Shares of `alpha` in proportion to `weights` (positive); their sum is `alpha`.
#[must_use]
pub fn split_alpha(alpha: f64, weights: &[f64]) -> Vec<f64> {
    let total: f64 = weights.iter().sum();
    weights.iter().map(|weight| alpha * weight / total).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::proptest;

    use super::split_alpha;

    proptest! {
        #[test]
        fn never_promises_more_than_there_is(weights in proptest::collection::vec(0.01..10.0_f64, 1..20), alpha in 0.001..0.5_f64) {
            let parts = split_alpha(alpha, &weights);
            assert!((parts.iter().sum::<f64>() - alpha).abs() < 1e-12);
            assert!(parts.iter().all(|part| *part > 0.0));
        }
    }
}
