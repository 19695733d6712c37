//! Backfills: the past of a view out of its sources, checked against its declaration, and kept one Parquet file a day in the
//! view's offline folder, where joins and materialisations read it.
//!
//! What Tecton calls a backfill and Hopsworks an insertion of history: whole partitions of time are computed anew and take
//! the place of what was there. So it may be run again at any time, for any days, and interrupted anywhere: each day is
//! replaced at once, and a day that is there already, from the same files by the same declaration, is left as it is.
//!
//! Rows take a bounded amount of memory: what does not fit goes through sorted runs on a disk.

mod fingerprint;
mod nulls;
mod partition;
mod run;
mod runs;
mod windows;

pub use run::{BackfillBounds, BackfillReport, DayDone, backfill};
