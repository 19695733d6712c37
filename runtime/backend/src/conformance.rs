//! What every backend must do, as checks that name the clause a backend breaks.
//!
//! Not a test framework: [`check`] is one function that a backend's own tests call with a factory and a [`Fixture`],
//! a model whose answers are known from elsewhere. [`execute`] is the scheduler's part of an execution, for tests
//! that look closer. The invariant: an answer is judged against the fixture alone, never against the backend's own.

mod clause;
mod comparison;
mod computing;
mod execution;
mod fixture;
mod golden;
mod loading;

use std::sync::Arc;

use crate::{Backend, ServingError};

pub use clause::{BrokenClause, Clause, Report};
pub use execution::{Execution, Outcome, execute};
pub use fixture::{Fixture, Sample, Tolerance};

/// Makes the backend to be checked; called several times, and may give the same backend every time.
pub type Factory<'a> = &'a dyn Fn() -> Result<Arc<dyn Backend>, ServingError>;

/// Checks every clause that applies to `fixture`, in the order of [`Clause::ALL`].
///
/// # Errors
/// The first clause that the backend breaks.
pub fn check(factory: Factory<'_>, fixture: &Fixture) -> Result<Report, BrokenClause> {
    let mut report = Report::default();
    for clause in Clause::ALL {
        let result = match clause {
            Clause::Loads
            | Clause::MissingFileIsAnError
            | Clause::GarbageFileIsAnError
            | Clause::TruncatedFileIsAnError => loading::check(clause, factory, fixture),
            _ => computing::check(clause, factory, fixture),
        };
        match result {
            Ok(()) => report.kept.push(clause),
            Err(clause::Verdict::DoesNotApply(reason)) => report.skipped.push((clause, reason)),
            Err(clause::Verdict::Broken(detail)) => return Err(BrokenClause { clause, detail }),
        }
    }
    Ok(report)
}
