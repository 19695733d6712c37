//! The store from outside: the clauses that each database meets, what is special to each, and faults.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

#[cfg(feature = "postgres")]
mod cluster;
mod conformance;
mod embedded;
mod faults;
#[cfg(feature = "postgres")]
mod shared_server;
