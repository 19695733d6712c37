//! The two streams that readers follow at their own pace: the journal and the joined pairs.
//!
//! A reader is a name with a durable cursor. It reads a page, deals with it, and moves its cursor by compare-and-set;
//! moved in the transaction that deals with the page, each record is dealt with exactly once.

use crate::timestamp::Timestamp;
use crate::versions::Sequence;

/// What can be read in sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stream {
    /// Decisions and other events: [`JournalRecord`](crate::JournalRecord).
    Journal,
    /// Outcomes joined to their requests: [`JoinedPair`](crate::JoinedPair).
    Pairs,
}

impl Stream {
    /// Name of its table, and of its row among the streams.
    pub(crate) const fn table(self) -> &'static str {
        match self {
            Self::Journal => "journal",
            Self::Pairs => "pairs",
        }
    }
}

/// A reader's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// What it reads.
    pub stream: Stream,
    /// The reader.
    pub name: String,
    /// Last record dealt with.
    pub position: Sequence,
    /// Records that retention dropped before this reader had dealt with them, ever.
    pub missed: u64,
    /// When it last moved.
    pub updated_at: Timestamp,
}

/// Where to start reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadFrom {
    /// Behind this position; `Sequence::NONE` for the oldest record.
    After(Sequence),
    /// Behind the place of this registered reader, which does not move.
    Cursor(String),
}

/// Some consecutive records.
#[derive(Clone, Debug, PartialEq)]
pub struct Page<T> {
    /// The records, in sequence.
    pub records: Vec<T>,
    /// Where a cursor goes once these are dealt with.
    pub next: Sequence,
    /// The stream's last record when the page was read.
    pub last: Sequence,
    /// Records after the starting point that retention has dropped; they are not coming.
    pub missed: u64,
}
