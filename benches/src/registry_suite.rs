//! The suite `registry`: whether what was registered is kept, whoever is killed.

mod kills;

use crate::suite::Part;

/// The parts, in the order in which they are measured.
pub(crate) const PARTS: [Part; 1] = [("kills", kills::figures)];
