//! The suite `registry`: whether what was registered or pulled is kept, whoever is killed, how soon an alias that
//! moved is served, and how fast features are looked up and joined.

mod features;
mod join;
mod kills;
mod pulls;

use crate::suite::Part;

/// The parts, in the order in which they are measured.
pub(crate) const PARTS: [Part; 4] =
    [("kills", kills::figures), ("pulls", pulls::figures), ("features", features::figures), ("join", join::figures)];
