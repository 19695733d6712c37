//! Seeded random numbers that never change between releases, and the distributions that this crate draws from.
//!
//! Not for secrets. Own code on purpose: a bandit's weights must be replayable from its seed years later, and general
//! crates keep the right to change their streams.
//!
//! Sources: SplitMix64 (Steele, Lea, Flood, OOPSLA 2014, figure 17); normal by Marsaglia's polar method (1964); gamma by
//! Marsaglia and Tsang, ACM TOMS 26 (2000), with their boost below shape 1; geometric by inversion (Devroye 1986, X.2).

use serde::{Deserialize, Serialize};

/// A stream of random numbers; the same seed gives the same stream on every machine and release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Random {
    state: u64,
}

/// SplitMix64's output function: a bijection of 64 bits that mixes well.
pub(crate) fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

impl Random {
    /// The stream of `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// Stream number `stream` of `seed`; streams of one seed don't overlap in practice.
    #[must_use]
    pub fn stream(seed: u64, stream: u64) -> Self {
        Self { state: mix(seed ^ mix(stream.wrapping_add(0x9e37_79b9_7f4a_7c15))) }
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.state)
    }

    /// Uniform in `[0, 1)`, 53 bits.
    pub fn uniform(&mut self) -> f64 {
        (self.bits() >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
    }

    /// True with `probability`.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.uniform() < probability
    }

    /// Number of trials up to and including the first success; `probability` in `(0, 1]`.
    pub fn geometric(&mut self, probability: f64) -> u64 {
        // 1 - uniform is in (0, 1], so the logarithm is finite.
        let trials = ((1.0 - self.uniform()).ln() / (-probability).ln_1p()).floor();
        // A cast of a float saturates; nobody waits longer than that.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates, never negative")]
        let trials = trials as u64;
        trials.saturating_add(1)
    }

    /// Standard normal.
    pub fn normal(&mut self) -> f64 {
        loop {
            let (x, y) = (2.0 * self.uniform() - 1.0, 2.0 * self.uniform() - 1.0);
            let square = x * x + y * y;
            if square > 0.0 && square < 1.0 {
                return x * (-2.0 * square.ln() / square).sqrt();
            }
        }
    }

    /// Gamma with `shape` above 0 and scale 1.
    pub fn gamma(&mut self, shape: f64) -> f64 {
        if shape < 1.0 {
            let boost = (1.0 - self.uniform()).powf(1.0 / shape);
            return self.gamma(shape + 1.0) * boost;
        }
        let d = shape - 1.0 / 3.0;
        let c = 1.0 / (9.0 * d).sqrt();
        loop {
            let x = self.normal();
            let v = (1.0 + c * x).powi(3);
            if v <= 0.0 {
                continue;
            }
            let u = 1.0 - self.uniform();
            if u.ln() < 0.5 * x * x + d - d * v + d * v.ln() {
                return d * v;
            }
        }
    }

    /// Beta with both parameters above 0.
    pub fn beta(&mut self, successes: f64, failures: f64) -> f64 {
        let x = self.gamma(successes);
        let y = self.gamma(failures);
        if x + y > 0.0 { x / (x + y) } else { 0.5 }
    }
}

#[cfg(test)]
mod tests {
    use super::Random;

    fn moments(draws: u32, mut draw: impl FnMut() -> f64) -> (f64, f64) {
        let values: Vec<f64> = (0..draws).map(|_| draw()).collect();
        let mean = values.iter().sum::<f64>() / f64::from(draws);
        (mean, values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / f64::from(draws))
    }

    #[test]
    fn stream_is_the_published_one() {
        // Reference output of SplitMix64 for seed 1234567 (Vigna's splitmix64.c, quoted by Rosetta Code).
        let mut random = Random::new(1_234_567);
        let expected = [6_457_827_717_110_365_317_u64, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
        assert_eq!([random.bits(), random.bits(), random.bits()], expected);
    }

    #[test]
    fn moments_are_those_of_the_distributions() {
        // Bounds are five standard errors of the mean, and for the variance twice that.
        let mut random = Random::new(7);
        let (mean, variance) = moments(200_000, || random.normal());
        assert!(mean.abs() < 0.0112 && (variance - 1.0).abs() < 0.032);
        let (mean, variance) = moments(200_000, || random.beta(3.0, 7.0));
        assert!((mean - 0.3).abs() < 0.0016 && (variance - 21.0 / 1100.0).abs() < 0.0006);
        let (mean, variance) = moments(200_000, || random.gamma(0.5));
        assert!((mean - 0.5).abs() < 0.008 && (variance - 0.5).abs() < 0.04);
        let (mean, _) = moments(200_000, || random.geometric(0.01) as f64);
        assert!((mean - 100.0).abs() < 1.12);
        assert_eq!(Random::new(1).geometric(1.0), 1);
    }
}
