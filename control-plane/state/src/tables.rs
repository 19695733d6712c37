//! The tables and the statements on them, the same for both databases.
//!
//! Every function here runs inside a transaction that somebody else opened and will end. Writers run one after the
//! other, so what a statement reads is still so when the next one writes.

pub(crate) mod commit;
pub(crate) mod consistency;
pub(crate) mod cursors;
pub(crate) mod journal;
pub(crate) mod leases;
pub(crate) mod machines;
pub(crate) mod outcomes;
pub(crate) mod pairs;
pub(crate) mod resources;
pub(crate) mod schema;
pub(crate) mod served;
pub(crate) mod streams;
