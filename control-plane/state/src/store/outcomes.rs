//! Calls on the store: served requests, outcomes, and the pairs of both.

use crate::error::StateError;
use crate::limits::{BATCH_ROWS, check_count};
use crate::outcome::{JoinedPair, Outcome, OutcomeCounts, OutcomeReceipt, ServedReceipt, ServedRequest};
use crate::pending::Pending;
use crate::store::StateStore;
use crate::store::records::check_page;
use crate::stream::{Page, ReadFrom};
use crate::tables::{outcomes, pairs};
use crate::timestamp::Timestamp;
use crate::writer::Job;

impl StateStore {
    /// Hands served requests (1 to [`BATCH_ROWS`]) over without waiting for anything.
    ///
    /// **Not durable when it returns.** They are written in batches: at the latest one
    /// [`served_flush_interval`](crate::StoreSettings::served_flush_interval) and one commit later, or when
    /// [`served_flush_rows`](crate::StoreSettings::served_flush_rows) have come together. A kill loses the rows in
    /// between, at most [`served_buffer_rows`](crate::StoreSettings::served_buffer_rows); their outcomes are kept and
    /// expire unjoined. An id that is in the window already is counted and otherwise ignored.
    ///
    /// # Errors
    /// `InvalidArgument` for the number of rows; what is wrong with single rows is in the receipt.
    pub fn record_served(&self, requests: Vec<ServedRequest>, now: Timestamp) -> Result<ServedReceipt, StateError> {
        check_count("served requests", requests.len(), BATCH_ROWS)?;
        let mut invalid = Vec::new();
        let mut valid = Vec::with_capacity(requests.len());
        for (index, request) in requests.into_iter().enumerate() {
            match request.check(now) {
                Ok(()) => valid.push(request),
                Err(error) => invalid.push((index, error)),
            }
        }
        let given = valid.len();
        let (accepted, was_empty) = self.shared.buffer.offer(valid, now);
        if was_empty && accepted > 0 {
            // With a full queue the writer is awake anyway and looks at the buffer after each group.
            match self.queue(Job::Nudge) {
                Ok(()) | Err(StateError::QueueFull { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(ServedReceipt { accepted, no_room: given - accepted, invalid })
    }

    /// Writes the served requests that are buffered at this moment; durable when answered.
    ///
    /// # Errors
    /// None of its own. Rows that could not be written stay buffered.
    pub fn flush_served(&self) -> Pending<()> {
        self.queue_answer(Job::Flush)
    }

    /// Records outcomes (1 to [`BATCH_ROWS`]), in any order and also before their requests. One receipt each, in order;
    /// what a receipt calls joined or held is durable. An outcome that breaks a rule, comes twice with two values, or
    /// comes too late does not keep the others from being recorded.
    ///
    /// # Errors
    /// `InvalidArgument` for the number of outcomes.
    pub fn record_outcomes(&self, outcomes: Vec<Outcome>, now: Timestamp) -> Pending<Vec<OutcomeReceipt>> {
        let window = self.shared.settings.window;
        let checked = check_count("outcomes", outcomes.len(), BATCH_ROWS).map(|()| {
            let verdicts: Vec<_> = outcomes.iter().map(|outcome| outcome.check(now)).collect();
            let mut verdict = verdicts.iter();
            let mut outcomes = outcomes;
            outcomes.retain(|_| verdict.next().is_some_and(Result::is_ok));
            (outcomes, verdicts)
        });
        self.write(checked, move |sql, (outcomes, verdicts)| {
            let mut receipts =
                if outcomes.is_empty() { Vec::new() } else { outcomes::record(sql, &outcomes, &window, now)? }
                    .into_iter();
            Ok(verdicts
                .into_iter()
                .filter_map(|verdict| match verdict {
                    Ok(()) => receipts.next(),
                    Err(error) => Some(OutcomeReceipt::Invalid(error)),
                })
                .collect())
        })
    }

    /// Reads joined pairs, at most `limit` (1 to [`PAGE_RECORDS`](crate::PAGE_RECORDS)). A consumer that moves its cursor
    /// in the transaction that uses the pairs uses each exactly once.
    ///
    /// # Errors
    /// `InvalidArgument`; `NotFound` if the cursor is not registered.
    pub fn pairs(&self, from: ReadFrom, limit: usize) -> Pending<Page<JoinedPair>> {
        self.read(check_page(&from, limit), move |sql, ()| pairs::read(sql, &from, limit))
    }

    /// Lets go of what has left the window: counts outcomes whose requests never came, and frees their place. To be called
    /// now and then; what is joined does not depend on when.
    ///
    /// # Errors
    /// None of its own.
    pub fn expire_outcomes(&self, now: Timestamp) -> Pending<()> {
        let window = self.shared.settings.window;
        self.write(Ok(()), move |sql, ()| outcomes::expire(sql, &window, now))
    }

    /// What became of served requests and outcomes so far.
    ///
    /// # Errors
    /// None of its own.
    pub fn outcome_counts(&self) -> Pending<OutcomeCounts> {
        let buffer = std::sync::Arc::clone(&self.shared.buffer);
        self.read(Ok(()), move |sql, ()| {
            let (served_buffered, served_refused) = buffer.counts();
            Ok(OutcomeCounts { served_buffered, served_refused, ..outcomes::counts(sql)? })
        })
    }
}
