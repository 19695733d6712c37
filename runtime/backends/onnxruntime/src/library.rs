//! The shared library: where it may be, and how it is opened.

mod code_pages;
mod open;
mod python;
mod search;

pub(crate) use code_pages::release_code_pages;
pub use open::TELEMETRY_SWITCH;
pub(crate) use open::{Library, open};
pub use search::{Found, LibrarySearch, Place, SearchReport, Tried, locate};
