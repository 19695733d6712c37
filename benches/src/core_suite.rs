//! The suite `core`: every figure of the serving core, against its target.
//!
//! Subjects are measured in turn, round after round, so that a busy minute of the machine hits all of them; figures are
//! medians over the rounds, and ratios to a floor are taken within a round. Parts that lack something are skipped with
//! the reason, and a suite with skipped figures does not succeed.

mod closed_loop;
mod engine_share;
mod footprint;

use crate::overload;
use crate::suite::Part;

/// The parts, in the order in which they are measured.
pub(crate) const PARTS: [Part; 6] = [
    ("identity", closed_loop::identity),
    ("queue-delay", closed_loop::queue_delay),
    ("boosting", closed_loop::boosting),
    ("engine", engine_share::figures),
    ("footprint", footprint::figures),
    ("overload", overload::figures),
];
