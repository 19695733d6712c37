//! Features of the past: tables on disk, joins at points in time, and what they are for.
//!
//! Reads the files that feature views declare as their sources, Parquet and CSV, through one seam ([`Storage`]), and joins
//! them to tables of entities without leakage. Knows no server, no model and no request.
//!
//! Invariants: a row never sees what became true after its time; a file that is written is whole or not there; a value
//! that does not fit its declaration is an error with its place, never another value.

mod backfill;
mod csv_file;
mod error;
mod history;
mod join;
mod materialize;
mod parquet_file;
mod past;
mod period;
mod skew;
mod storage;
mod table;

pub use backfill::{BackfillBounds, BackfillReport, DayDone, backfill};
pub use error::{OfflineError, OfflineErrorCode};
pub use join::{AskedFeature, FilledFeature, JoinPlan, JoinReport, JoinedView, join};
pub use materialize::{Beginning, Marks, NewestRows, mark_after, newest_rows};
pub use past::Seen;
pub use period::{Period, instant_text, nanos_of_instant};
pub use skew::{SkewReport, SkewedFeature, skew, stability_index};
pub use storage::{LocalStorage, NewFile, ObjectStorage, Places, RandomRead, Storage};
