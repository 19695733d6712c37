//! E-process on bad events: did the candidate cause more of them than its share of traffic explains?
//!
//! Only bad events are looked at. When bad event `i` happened while the candidate had share `w` of the traffic and
//! its relative risk is `d`, it came from the candidate with probability `q(d) = w d / (w d + 1 - w)`. The evidence
//! against a boundary `b` is the average over a grid of alternatives `d` of the products of `q(d) / q(b)` (events of
//! the candidate) and `(1 - q(d)) / (1 - q(b))` (events of the baseline). Under every relative risk that the
//! hypothesis allows it is a non-negative supermartingale that starts at 1, so by Ville's inequality (Ville 1939;
//! Howard, Ramdas, McAuliffe, Sekhon, Probability Surveys 17, 2020, section 3) it *ever* reaches `1 / alpha` with
//! probability at most `alpha`: however often one looks, with shares that move on the way (each fixed before its
//! event) and with a rate of bad events that drifts, as long as it drifts for both arms. Conditioning on the events:
//! Lindon and Malek, NeurIPS 2022, section 4. The average over a grid is Robbins' method of mixtures.
//!
//! The grids are geometric and fixed: for "at most" 1.1 to 20 times the boundary (below 1.1 nobody rolls back; at 20 an
//! event weighs at least half of the most it can, `1 / w`, at shares from 5 % up), for "at least" 1.1 to 10 times below
//! it (a candidate is rarely ten times better). They were chosen on pilot simulations with other seeds than those of
//! `simulation`. A grid changes how fast evidence grows, never the promise about alpha.
//!
//! It doesn't know what a bad event is, nor that events of one user come in clumps: see [`SeenKeys`](super::SeenKeys).

use serde::{Deserialize, Serialize};

use super::log_mean_exp;

/// Number of alternatives in the grid.
pub const GRID_POINTS: usize = 40;

const SMALLEST_STEP: f64 = 1.1;
const LARGEST_STEP_ABOVE: f64 = 20.0;
const LARGEST_STEP_BELOW: f64 = 10.0;

/// What is to be refuted about the relative risk, candidate to baseline. The boundary is positive and finite.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hypothesis {
    /// The relative risk is at most this: refuted when the candidate has too many events.
    AtMost(f64),
    /// The relative risk is at least this: refuted when the candidate has few enough events.
    AtLeast(f64),
}

impl Hypothesis {
    fn boundary(self) -> f64 {
        match self {
            Self::AtMost(boundary) | Self::AtLeast(boundary) => boundary,
        }
    }

    /// Alternative number `index`, relative to the boundary.
    fn alternative(self, index: usize) -> f64 {
        let (largest, sign) = match self {
            Self::AtMost(_) => (LARGEST_STEP_ABOVE, 1.0),
            Self::AtLeast(_) => (LARGEST_STEP_BELOW, -1.0),
        };
        let position = index as f64 / (GRID_POINTS - 1) as f64;
        (sign * (SMALLEST_STEP.ln() + position * (largest / SMALLEST_STEP).ln())).exp()
    }
}

/// The test's whole state: 40 logarithms. About 60 ns an event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "StoredTest", into = "StoredTest")]
pub struct RelativeRiskTest {
    hypothesis: Hypothesis,
    log_ratios: [f64; GRID_POINTS],
    log_e_max: f64,
    events: u64,
    costs: EventCosts,
}

impl RelativeRiskTest {
    /// A test with no evidence yet.
    #[must_use]
    pub fn new(hypothesis: Hypothesis) -> Self {
        Self { hypothesis, log_ratios: [0.0; GRID_POINTS], log_e_max: 0.0, events: 0, costs: EventCosts::default() }
    }

    /// Takes `repeats` equal events in a row, that is events of one arm at one share.
    ///
    /// `share` is the candidate's share in force when the event's request was *assigned*. Outside `(0, 1)` the arm was
    /// no matter of chance: nothing is recorded.
    pub fn record(&mut self, from_candidate: bool, share: f64, repeats: u64) {
        if !(share > 0.0 && share < 1.0) || repeats == 0 {
            return;
        }
        self.costs.prepare(self.hypothesis, share);
        self.events = self.events.saturating_add(repeats);
        let times = repeats as f64;
        let step = if from_candidate { &self.costs.candidate } else { &self.costs.baseline };
        let mut largest = f64::NEG_INFINITY;
        for (log_ratio, change) in self.log_ratios.iter_mut().zip(step) {
            *log_ratio += times * change;
            largest = largest.max(*log_ratio);
        }
        // An average is at most its largest member, so most events need no exponentials. Equal events move all
        // ratios in one direction, so the largest E-value of the run is at one of its ends.
        if largest > self.log_e_max {
            self.log_e_max = self.log_e_max.max(log_mean_exp(&self.log_ratios));
        }
    }

    /// Natural logarithm of the E-value now.
    #[must_use]
    pub fn log_e(&self) -> f64 {
        log_mean_exp(&self.log_ratios)
    }

    /// Natural logarithm of the largest E-value so far, at least 0: what is compared with `ln(1 / alpha)`.
    #[must_use]
    pub fn log_e_max(&self) -> f64 {
        self.log_e_max
    }

    /// Whether the hypothesis is refuted at `alpha`: once true, always true.
    #[must_use]
    pub fn refutes(&self, alpha: f64) -> bool {
        self.log_e_max >= -alpha.ln()
    }

    /// Events recorded.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.events
    }

    /// What the test is to refute.
    #[must_use]
    pub fn hypothesis(&self) -> Hypothesis {
        self.hypothesis
    }
}

/// What one event adds to each logarithm at one share. Derived, so never stored and never compared.
#[derive(Clone, Debug)]
struct EventCosts {
    share: f64,
    candidate: [f64; GRID_POINTS],
    baseline: [f64; GRID_POINTS],
}

impl EventCosts {
    fn prepare(&mut self, hypothesis: Hypothesis, share: f64) {
        if self.share.to_bits() == share.to_bits() {
            return;
        }
        self.share = share;
        let boundary = hypothesis.boundary();
        let at_boundary = (share * (boundary - 1.0)).ln_1p();
        for index in 0..GRID_POINTS {
            let alternative = hypothesis.alternative(index);
            let cost = (share * (boundary * alternative - 1.0)).ln_1p() - at_boundary;
            self.candidate[index] = alternative.ln() - cost;
            self.baseline[index] = -cost;
        }
    }
}

impl Default for EventCosts {
    fn default() -> Self {
        Self { share: f64::NAN, candidate: [0.0; GRID_POINTS], baseline: [0.0; GRID_POINTS] }
    }
}

impl PartialEq for EventCosts {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredTest {
    hypothesis: Hypothesis,
    log_ratios: Vec<f64>,
    log_e_max: f64,
    events: u64,
}

impl From<RelativeRiskTest> for StoredTest {
    fn from(test: RelativeRiskTest) -> Self {
        let RelativeRiskTest { hypothesis, log_ratios, log_e_max, events, costs: _ } = test;
        Self { hypothesis, log_ratios: log_ratios.to_vec(), log_e_max, events }
    }
}

impl TryFrom<StoredTest> for RelativeRiskTest {
    type Error = String;

    fn try_from(stored: StoredTest) -> Result<Self, Self::Error> {
        let found = stored.log_ratios.len();
        let log_ratios = <[f64; GRID_POINTS]>::try_from(stored.log_ratios)
            .map_err(|_| format!("expected {GRID_POINTS} `log_ratios`, found `{found}`"))?;
        let boundary = stored.hypothesis.boundary();
        if !(boundary > 0.0 && boundary.is_finite()) {
            return Err(format!("expected a positive boundary, found `{boundary}`"));
        }
        let finite = log_ratios.iter().chain([&stored.log_e_max]).all(|value| value.is_finite());
        if !finite {
            return Err("expected finite `log_ratios` and `log_e_max`".to_owned());
        }
        Ok(Self {
            hypothesis: stored.hypothesis,
            log_ratios,
            log_e_max: stored.log_e_max,
            events: stored.events,
            costs: EventCosts::default(),
        })
    }
}

#[cfg(test)]
#[path = "relative_risk_tests.rs"]
mod tests;
