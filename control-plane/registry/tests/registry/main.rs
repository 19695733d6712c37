//! The registry against a real folder: registering, governing, housekeeping, faults, and being killed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

mod bench;
mod exporting;
mod faults;
mod fetching;
mod governing;
mod housekeeping;
mod killing;
mod locking;
mod registering;
mod strays;
