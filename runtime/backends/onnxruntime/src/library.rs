//! The shared library: where it may be, and how it is opened.

mod open;
mod python;
mod search;

pub use open::TELEMETRY_SWITCH;
pub(crate) use open::{Library, open};
pub use search::{Found, LibrarySearch, Place, SearchReport, Tried, locate};
