//! Mixture sequential probability ratio test with a normal mixture: the likelihood ratio behind always-valid p-values,
//! and the confidence radius that is the same test turned round.
//!
//! Sources: Johari, Koomen, Pekelis, Walsh, "Peeking at A/B Tests", KDD 2017, equation (7) (their `n` pairs with variance
//! sum `V` enter as `variance_of_estimate = V / n`); Robbins, Ann. Math. Stat. 41 (1970). With an estimated variance the
//! level is asymptotic: Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas, "Time-uniform central limit theory and asymptotic
//! confidence sequences", Annals of Statistics 52 (2024), theorem 2.2; `mixing_factor` is their appendix B.2.

/// `ln` of the mixture likelihood ratio against "the mean is 0".
///
/// `estimate` has variance `variance_of_estimate` (above 0); under the alternative its mean is normal with variance
/// `mixing_variance` (above 0). The always-valid p-value is the smallest `min(1, exp(-ratio))` so far.
#[must_use]
pub fn log_mixture_ratio(estimate: f64, variance_of_estimate: f64, mixing_variance: f64) -> f64 {
    let total = variance_of_estimate + mixing_variance;
    0.5 * (variance_of_estimate / total).ln()
        + mixing_variance * estimate * estimate / (2.0 * variance_of_estimate * total)
}

/// Radius of the `1 - alpha` confidence sequence: estimates within it are those whose ratio is below `1 / alpha`.
#[must_use]
pub fn mixture_radius(variance_of_estimate: f64, mixing_variance: f64, alpha: f64) -> f64 {
    let total = variance_of_estimate + mixing_variance;
    let log = (total / variance_of_estimate).ln() - 2.0 * alpha.ln();
    (variance_of_estimate * total / mixing_variance * log).sqrt()
}

/// Mixing variance, as a multiple of one unit's variance, that makes the radius nearly smallest after
/// `planned_units` units. Any value keeps the level; a bad plan only costs width.
#[must_use]
pub fn mixing_factor(planned_units: u64, alpha: f64) -> f64 {
    let log = -2.0 * alpha.ln();
    (log + (log + 1.0).ln()) / planned_units.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::{log_mixture_ratio, mixing_factor, mixture_radius};

    #[test]
    fn golden_values() {
        // Johari's closed form, computed with numpy: V = 0.5, n = 1000, tau^2 = 0.01, difference 0.06.
        let ratio = log_mixture_ratio(0.06, 0.5 / 1000.0, 0.01);
        assert!((ratio - GOLDEN_RATIO).abs() < 1e-12, "{ratio}");
        // Waudby-Smith's form: sigma sqrt(2 (t rho^2 + 1) / (t^2 rho^2) ln(sqrt(t rho^2 + 1) / alpha)), sigma 2, t 500.
        let factor = mixing_factor(1000, 0.05);
        assert!((factor - GOLDEN_FACTOR).abs() < 1e-15, "{factor}");
        let radius = mixture_radius(4.0 / 500.0, factor * 4.0, 0.05);
        assert!((radius - GOLDEN_RADIUS).abs() < 1e-12, "{radius}");
    }

    const GOLDEN_RATIO: f64 = 1.906_310_209_709_716_9;
    const GOLDEN_FACTOR: f64 = 0.007_936_154_601_737_565;
    const GOLDEN_RADIUS: f64 = 0.275_802_770_344_770_5;

    #[test]
    fn the_radius_is_the_test_turned_round() {
        for alpha in [0.05, 0.001] {
            let radius = mixture_radius(0.003, 0.02, alpha);
            assert!((log_mixture_ratio(radius, 0.003, 0.02) + f64::ln(alpha)).abs() < 1e-12);
        }
    }
}
