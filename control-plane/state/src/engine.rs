//! A database under the store: transactions, one at a time, durable when committed.
//!
//! An engine knows no table. Writing transactions of all who share the database run one after the other.

#[cfg(feature = "postgres")]
pub(crate) mod postgres;
pub(crate) mod sqlite;
mod sqlite_file;

use crate::error::StateError;
use crate::sql::Sql;

/// What a transaction may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Access {
    Read,
    Write,
}

/// One connection, used by one thread.
pub(crate) trait Engine: Sql + Send {
    /// Opens a transaction. Reconnects or reopens first where the last one ended in doubt.
    fn begin(&mut self, access: Access) -> Result<(), StateError>;

    /// Makes the transaction durable. On an error other than `OutcomeUnknown` nothing has happened.
    fn commit(&mut self) -> Result<(), StateError>;

    /// Undoes the transaction, if one is open still.
    fn rollback(&mut self);

    /// Reads everything and compares it with itself, outside of any transaction.
    fn verify(&mut self) -> Result<(), StateError>;
}
