//! Point-in-time joins: for each row of a table of entities the newest values of features at its time, and never later.
//!
//! The semantics are those of pandas' `merge_asof(direction="backward", by=KEYS, tolerance=AGE)` and of Feast's
//! `get_historical_features`: at or before the row's time, at most the declared age before it, null otherwise. Of rows of
//! one key and time the one written last counts, by its created time where there is one, otherwise by its place.

mod entities;
mod plan;
mod run;

pub use plan::{AskedFeature, JoinPlan};
pub use run::{FilledFeature, JoinReport, JoinedView, join};

pub(crate) use run::answer;
