//! When the requests of an open loop arrive.
//!
//! A pure sequence of instants since the start. Poisson arrivals have exponential gaps by inversion; the generator is
//! SplitMix64 (Steele, Lea, Flood 2014): good enough for load, not for secrets.

use std::time::Duration;

/// How arrivals are spaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Spacing {
    /// Independent arrivals: gaps are exponential.
    Poisson,
    /// Equal gaps.
    Constant,
}

/// SplitMix64.
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    /// The generator of this seed.
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub(super) const fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Uniform within 0 (included) and 1 (excluded).
    #[allow(clippy::cast_precision_loss, reason = "53 bits fit a double exactly")]
    pub(super) fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// The arrivals of an open loop, ascending, without end.
#[derive(Clone, Debug)]
pub(super) struct Arrivals {
    rate: f64,
    spacing: Spacing,
    random: Random,
    count: f64,
    seconds: f64,
}

impl Arrivals {
    /// Arrivals at `rate` per second, above 0.
    pub(super) const fn new(rate: f64, spacing: Spacing, seed: u64) -> Self {
        Self { rate, spacing, random: Random::new(seed), count: 0.0, seconds: 0.0 }
    }
}

impl Iterator for Arrivals {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        match self.spacing {
            Spacing::Constant => {
                // From the count, so that rounding does not add up.
                self.seconds = self.count / self.rate;
                self.count += 1.0;
            }
            Spacing::Poisson => self.seconds += -(1.0 - self.random.unit()).ln() / self.rate,
        }
        Duration::try_from_secs_f64(self.seconds).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constant_gaps_do_not_drift() {
        let mut arrivals = Arrivals::new(3.0, Spacing::Constant, 1);
        assert_eq!(arrivals.next(), Some(Duration::ZERO));
        assert_eq!(arrivals.nth(2999), Some(Duration::from_secs(1000)));
    }

    #[test]
    fn poisson_gaps_have_the_mean_and_variance_of_an_exponential() {
        let times: Vec<f64> =
            Arrivals::new(200.0, Spacing::Poisson, 7).take(100_000).map(|time| time.as_secs_f64()).collect();
        let gaps: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let count = f64::from(u32::try_from(gaps.len()).unwrap_or(1));
        let mean = gaps.iter().sum::<f64>() / count;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / count;
        assert!((mean * 200.0 - 1.0).abs() < 0.02, "{mean}");
        assert!((variance.sqrt() / mean - 1.0).abs() < 0.03, "{variance}");
        assert!(gaps.iter().all(|&gap| gap >= 0.0));
    }

    #[test]
    fn splitmix_matches_its_published_sequence() {
        // First outputs for seed 1234567, from the reference implementation by Vigna.
        let mut random = Random::new(1_234_567);
        assert_eq!(random.bits(), 6_457_827_717_110_365_317);
        assert_eq!(random.bits(), 3_203_168_211_198_807_973);
    }
}
