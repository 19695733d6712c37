//! The right to act as the one controller, and the token that fences earlier holders off.
//!
//! Safety rests on the token alone: it is compared inside the transaction that acts, so a holder that was paused for an
//! hour changes nothing. Time only decides when somebody else may take over. (Fencing tokens: C. Gray, D. Cheriton,
//! "Leases", SOSP 1989; M. Kleppmann, "Designing Data-Intensive Applications", section 8.4.)

use crate::timestamp::Timestamp;
use crate::versions::FencingToken;

/// A lease that was granted. It stays usable until somebody else is granted it, even after `expires_at`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseGrant {
    /// Which lease.
    pub name: String,
    /// Larger than that of every earlier grant of this lease.
    pub token: FencingToken,
    /// When others may take it over: by the server's clock on PostgreSQL, by the callers' `now` on SQLite.
    pub expires_at: Timestamp,
}

/// What came of asking for a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseAnswer {
    /// It is yours.
    Granted(LeaseGrant),
    /// Somebody else holds it.
    Held {
        /// Who.
        holder: String,
        /// Until when, unless renewed.
        expires_at: Timestamp,
    },
}
