//! What verdicts promise, simulated: false rollbacks, detection, promotion, clumped errors, sample ratio, bandits.
//!
//! The simulations are `hanok-rollout`'s own, through the state machine that serves; seeds are fixed.

use hanok_rollout::simulation::{Effort, figures as simulated};

use crate::Options;
use crate::figure::{Figure, Target};

/// Every simulated figure; reduced where the suite was asked to be short.
pub(super) fn figures(options: &Options) -> Vec<Figure> {
    let effort = if options.rounds < 3 { Effort::Reduced } else { Effort::Full };
    simulated(effort)
        .into_iter()
        .map(|figure| {
            let bound = figure.target.rsplit(' ').next().and_then(|bound| bound.parse().ok());
            let target = match (figure.target.starts_with("at most"), bound) {
                (true, Some(bound)) => Target::AtMost(bound),
                (false, Some(bound)) if figure.target.starts_with("at least") => Target::AtLeast(bound),
                _ => Target::Information,
            };
            Figure::of(figure.name, figure.unit, target, vec![figure.measured])
        })
        .collect()
}
