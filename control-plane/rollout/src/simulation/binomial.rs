//! How many of so many runs may fail by chance when each fails with a promised probability.

/// The smallest count that is exceeded with probability at most `risk` by a binomial of `runs` and `probability`.
#[must_use]
pub fn binomial_bound(runs: u64, probability: f64, risk: f64) -> u64 {
    let log_factorial = |value: u64| libm::lgamma(value as f64 + 1.0);
    let mut at_most = 0.0;
    for count in 0..=runs {
        let log = log_factorial(runs) - log_factorial(count) - log_factorial(runs - count)
            + count as f64 * probability.ln()
            + (runs - count) as f64 * (-probability).ln_1p();
        at_most += log.exp();
        if 1.0 - at_most <= risk {
            return count;
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::binomial_bound;

    #[test]
    fn golden_values_of_scipy() {
        // scipy.stats.binom.isf(0.00135, n, p).
        let golden = [(2000, 0.05, 130), (2000, 0.01, 35), (1000, 0.01, 21), (1000, 0.001, 5), (300, 0.05, 27)];
        for (runs, probability, expected) in golden {
            assert_eq!(binomial_bound(runs, probability, 0.00135), expected, "{runs} {probability}");
        }
    }
}
