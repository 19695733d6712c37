//! Bad events of two arms, with the good requests between them skipped.

use crate::Random;

/// One bad request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadEvent {
    /// Number of the request in the stream, from 1.
    pub request: u64,
    /// Whether the candidate had it.
    pub from_candidate: bool,
}

/// An endless stream of requests, each assigned by chance and each bad by chance, told by its bad ones.
#[derive(Clone, Debug)]
pub struct BadEvents {
    random: Random,
    request: u64,
    rate: f64,
    candidate_part: f64,
}

impl BadEvents {
    /// Rates of bad requests in `(0, 1)`, and the candidate's share as a fraction.
    #[must_use]
    pub fn new(random: Random, baseline_rate: f64, candidate_rate: f64, share: f64) -> Self {
        let mut events = Self { random, request: 0, rate: 0.0, candidate_part: 0.0 };
        events.change(baseline_rate, candidate_rate, share);
        events
    }

    /// Other rates or another share from here on.
    fn change(&mut self, baseline_rate: f64, candidate_rate: f64, share: f64) {
        self.rate = share * candidate_rate + (1.0 - share) * baseline_rate;
        self.candidate_part = share * candidate_rate / self.rate;
    }

    /// Continues after request `request`, at another share. Gaps have no memory, so nothing is lost.
    pub fn restart_after(&mut self, request: u64, rate: f64, share: f64) {
        self.request = request;
        self.change(rate, rate, share);
    }

    /// The next bad request.
    pub fn next_event(&mut self) -> BadEvent {
        self.request = self.request.saturating_add(self.random.geometric(self.rate));
        BadEvent { request: self.request, from_candidate: self.random.chance(self.candidate_part) }
    }
}
