//! The suite `registry`: whether what was registered is kept, whoever is killed, and how fast features are looked up.

mod features;
mod kills;

use crate::suite::Part;

/// The parts, in the order in which they are measured.
pub(crate) const PARTS: [Part; 2] = [("kills", kills::figures), ("features", features::figures)];
