//! What every store must do, as clauses that run unchanged over each database.
//!
//! A clause gets a fresh place for a store and may open it as often as it likes; where two handles at once are allowed
//! (replicas), it says so. Nothing here knows which database it is talking to.

pub(crate) mod journal;
pub(crate) mod leases;
pub(crate) mod outcomes;
pub(crate) mod refusals;
pub(crate) mod resources;
pub(crate) mod transactions;
pub(crate) mod values;

use hanok_state::{StateStore, StoreSettings};

/// A fresh place for one clause's store.
pub(crate) trait Place {
    /// Opens the store there; what an earlier handle acknowledged is in it.
    fn open(&self, settings: StoreSettings) -> StateStore;
}

/// One clause and its name.
pub(crate) type Clause = (&'static str, fn(&dyn Place));

macro_rules! clauses {
    ($($module:ident :: $clause:ident),* $(,)?) => {
        /// All clauses.
        pub(crate) const CLAUSES: &[Clause] = &[$((stringify!($clause), $module::$clause)),*];
    };
}

clauses![
    resources::revisions_are_whole_sets,
    resources::an_earlier_set_comes_back_as_a_new_revision,
    resources::a_wrong_revision_changes_nothing,
    resources::follows_a_model_of_itself,
    transactions::all_parts_happen_together,
    transactions::any_refusal_undoes_all_parts,
    transactions::the_same_transaction_again_is_recognised,
    transactions::machines_are_written_by_compare_and_set,
    transactions::many_callers_lose_no_update,
    transactions::survives_reopening,
    journal::ids_are_recorded_once,
    journal::pages_have_no_gap,
    journal::cursors_are_durable_and_compare_and_set,
    journal::retention_waits_for_readers_within_the_bound,
    journal::retention_by_age_and_size,
    leases::exactly_one_holder_and_growing_tokens,
    leases::a_fenced_holder_changes_nothing,
    leases::a_lease_that_ran_out_is_taken_over,
    outcomes::joins_in_either_order_exactly_once,
    outcomes::duplicates_and_conflicts_are_told_apart,
    outcomes::the_window_is_bounded_in_time,
    outcomes::the_window_is_bounded_in_number,
    outcomes::follows_a_model_of_itself,
    outcomes::a_consumer_uses_each_pair_exactly_once,
    outcomes::served_requests_survive_closing,
    refusals::bad_values_are_refused_by_code,
    refusals::a_closed_store_says_so,
];

/// Runs all clauses, each at a place of its own, and names those that broke.
pub(crate) fn run(mut place: impl FnMut(&str) -> Box<dyn Place>) {
    let mut broken = Vec::new();
    for (name, clause) in CLAUSES {
        let place = place(name);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| clause(&*place)));
        if outcome.is_err() {
            broken.push(*name);
        }
    }
    assert!(broken.is_empty(), "broken clauses: {broken:?}");
}
