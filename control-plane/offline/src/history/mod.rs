//! Rows of a view by key and time, and which of them held when.

mod as_of;
mod keys;

pub(crate) use as_of::History;
pub(crate) use keys::{KeyIndex, NO_KEY, present_keys};
