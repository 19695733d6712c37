//! Materialisation: the newest row of each key within an interval, on its way into an online store; from where the next one
//! goes on, and what is noted of that on disk.
//!
//! Writes to no store: whoever has one asks for rows in portions. Rows carry their event time, by which stores leave out
//! what is older than what they have, so any interval may be materialised again, in any order.

mod beginning;
mod marks;
mod newest;

pub use beginning::{Beginning, mark_after};
pub use marks::Marks;
pub use newest::{NewestRows, newest_rows};

pub(crate) use newest::value;
