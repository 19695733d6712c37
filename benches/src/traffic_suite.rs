//! The suite `traffic`: what splitting costs, whether it keeps its weights, and whether verdicts keep their promises.

mod controlled;
mod kills;
mod rollback;
mod routing;
mod shadow;
mod verdicts;

use crate::suite::Part;

/// The parts, in the order in which they are measured.
pub(crate) const PARTS: [Part; 6] = [
    ("routing", routing::cost),
    ("weights", routing::weights),
    ("shadow", shadow::figures),
    ("rollback", rollback::figures),
    ("kills", kills::figures),
    ("verdicts", verdicts::figures),
];
