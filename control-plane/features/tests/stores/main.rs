//! Online stores from outside: Feast's own answers, a real Redis, and processes that are killed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

mod child;
mod contracts;
mod declarations;
mod feast;
mod kill;
mod redis_hash;
mod redis_outage;
mod redis_server;
