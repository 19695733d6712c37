//! The durable store of the control plane: resources, journal, machines, leases, and the join of outcomes.
//!
//! One [`StateStore`] stands on an embedded SQLite file, or on PostgreSQL when several replicas share their state
//! (cargo feature `postgres`). Both run the same statements through the same code, so that they cannot disagree.
//! It decides nothing: rollouts, plans and authorisation live elsewhere, and it never reads a clock to judge by.
//!
//! Invariants: what was acknowledged is on the disk; a [`Transaction`] happens whole or not at all; the journal has no
//! gap and names each decision once; no call blocks a tokio thread.

mod cloud_event;
mod engine;
mod error;
mod lease;
mod limits;
mod machine;
mod outcome;
mod outcome_join;
mod pending;
mod resource;
mod retention;
mod served_buffer;
mod sql;
mod store;
mod stream;
mod tables;
mod timestamp;
mod transaction;
mod versions;
mod writer;

pub use cloud_event::{CloudEvent, JournalRecord};
pub use error::{EngineFailure, ErrorCode, StateError};
pub use lease::{LeaseAnswer, LeaseGrant};
pub use limits::{
    BATCH_ROWS, CLOCK_SKEW_MILLIS, DOCUMENT_BYTES, DOCUMENT_DEPTH, NAME_BYTES, PAGE_RECORDS, TRANSACTION_BYTES,
    TRANSACTION_ITEMS,
};
pub use machine::Machine;
pub use outcome::{JoinedPair, Outcome, OutcomeCounts, OutcomeReceipt, OutcomeWindow, ServedReceipt, ServedRequest};
pub use pending::Pending;
pub use resource::{Resource, ResourceSet, RevisionInfo};
pub use retention::{Retention, RetentionReport};
pub use store::{StateStore, StoreSettings};
pub use stream::{Cursor, Page, ReadFrom, Stream};
pub use timestamp::Timestamp;
pub use transaction::{
    Appended, Change, CommitOutcome, Committed, CursorAdvance, Edit, Expectation, MachineWrite, ResourceWrite,
    RevisionAfter, Transaction,
};
pub use versions::{FencingToken, MachineVersion, Revision, Sequence};
