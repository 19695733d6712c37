//! Calls on the store: transactions, the journal, readers, retention, machines and leases.

use crate::cloud_event::{CheckedEvent, CloudEvent, JournalRecord};
use crate::error::StateError;
use crate::lease::{LeaseAnswer, LeaseGrant};
use crate::limits::{PAGE_RECORDS, TRANSACTION_ITEMS, check_count, check_name};
use crate::machine::Machine;
use crate::pending::Pending;
use crate::retention::{Retention, RetentionReport};
use crate::store::StateStore;
use crate::stream::{Cursor, Page, ReadFrom, Stream};
use crate::tables::{commit, cursors, journal, leases, machines, streams};
use crate::timestamp::Timestamp;
use crate::transaction::{Appended, CheckedTransaction, CommitOutcome, CursorAdvance, Transaction};
use crate::versions::Sequence;

impl StateStore {
    /// Does everything in the transaction, or nothing.
    ///
    /// # Errors
    /// `InvalidArgument`: a value breaks a rule, or something is written twice. `Conflict`: a version is not the expected
    /// one. `Fenced`: the lease has been granted since. `AlreadyExists`: an event's id is taken by other content, or only
    /// some of the events are recorded. `NotFound`: a cursor, a revision to restore or a resource to delete.
    pub fn commit(&self, transaction: Transaction) -> Pending<CommitOutcome> {
        self.write(CheckedTransaction::check(transaction), commit::commit)
    }

    /// Records those events that are not recorded yet; of one that is, its place is told again.
    ///
    /// # Errors
    /// `InvalidArgument`; `AlreadyExists` if an id is taken by other content; `Fenced` if `lease` is given and has been
    /// granted since. Then none of the events is recorded.
    pub fn append(&self, events: Vec<CloudEvent>, lease: Option<LeaseGrant>, now: Timestamp) -> Pending<Vec<Appended>> {
        let checked = check_count("events", events.len(), TRANSACTION_ITEMS).and_then(|()| {
            events.into_iter().map(|event| CheckedEvent::check(event, now)).collect::<Result<Vec<_>, _>>()
        });
        self.write(checked, move |sql, events| {
            if let Some(grant) = &lease {
                leases::check(sql, grant)?;
            }
            journal::append(sql, events, now)
        })
    }

    /// Reads the journal, at most `limit` (1 to [`PAGE_RECORDS`]) records.
    ///
    /// # Errors
    /// `InvalidArgument`; `NotFound` if the cursor is not registered.
    pub fn journal(&self, from: ReadFrom, limit: usize) -> Pending<Page<JournalRecord>> {
        self.read(check_page(&from, limit), move |sql, ()| journal::read(sql, &from, limit))
    }

    /// Registers a reader, so that retention waits for it. Its place is behind `after`, or as near as the stream allows;
    /// a reader that is registered keeps the place it has.
    ///
    /// # Errors
    /// `InvalidArgument`.
    pub fn register_cursor(&self, stream: Stream, name: &str, after: Sequence, now: Timestamp) -> Pending<Cursor> {
        let checked = check_name("cursor", name).map(|()| name.to_owned());
        self.write(checked, move |sql, name| cursors::register(sql, stream, &name, after, now))
    }

    /// Forgets a reader.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn remove_cursor(&self, stream: Stream, name: &str) -> Pending<()> {
        let checked = check_name("cursor", name).map(|()| name.to_owned());
        self.write(checked, move |sql, name| cursors::remove(sql, stream, &name))
    }

    /// Moves a reader, apart from any transaction: what it read may then be dealt with once more or not at all.
    ///
    /// # Errors
    /// `Conflict` if it is not where it is expected; `InvalidArgument` if it would go back or past the end; `NotFound`.
    pub fn advance_cursor(&self, step: CursorAdvance, now: Timestamp) -> Pending<()> {
        let checked = check_name("cursor", &step.name).map(|()| step);
        self.write(checked, move |sql, step| cursors::advance(sql, &step, now))
    }

    /// All readers of a stream, by name.
    ///
    /// # Errors
    /// None of its own.
    pub fn cursors(&self, stream: Stream) -> Pending<Vec<Cursor>> {
        self.read(Ok(()), move |sql, ()| cursors::list(sql, stream))
    }

    /// Drops records that have outlived the policy; to be called now and then, again at once while the answer says `more`.
    /// A dropped journal record no longer guards its id: what is older than the policy could be recorded again.
    ///
    /// # Errors
    /// None of its own.
    pub fn retain(&self, stream: Stream, policy: Retention, now: Timestamp) -> Pending<RetentionReport> {
        self.write(Ok(()), move |sql, ()| streams::retain(sql, stream, &policy, now))
    }

    /// One machine, if there is one of this kind and name.
    ///
    /// # Errors
    /// `InvalidArgument`.
    pub fn machine(&self, kind: &str, name: &str) -> Pending<Option<Machine>> {
        let checked = check_name("machine kind", kind)
            .and_then(|()| check_name("machine name", name))
            .map(|()| (kind.to_owned(), name.to_owned()));
        self.read(checked, |sql, (kind, name)| machines::load(sql, &kind, &name))
    }

    /// Machines of a kind whose names come after `after` (empty for all) in the order of bytes, at most `limit`
    /// (1 to [`PAGE_RECORDS`]).
    ///
    /// # Errors
    /// `InvalidArgument`.
    pub fn machines(&self, kind: &str, after: &str, limit: usize) -> Pending<Vec<Machine>> {
        let checked = check_name("machine kind", kind)
            .and_then(|()| if after.is_empty() { Ok(()) } else { check_name("after", after) })
            .and_then(|()| check_count("limit", limit, PAGE_RECORDS))
            .map(|()| (kind.to_owned(), after.to_owned()));
        self.read(checked, move |sql, (kind, after)| machines::list(sql, &kind, &after, limit))
    }

    /// Asks for a lease for `term_millis` (at least 1). `holder` names the replica; asking again, as after a restart,
    /// grants it anew and fences the earlier grant off.
    ///
    /// # Errors
    /// `InvalidArgument`.
    pub fn acquire_lease(&self, name: &str, holder: &str, term_millis: u64, now: Timestamp) -> Pending<LeaseAnswer> {
        let checked = check_name("lease", name)
            .and_then(|()| check_name("holder", holder))
            .and_then(|()| check_term(term_millis))
            .map(|()| (name.to_owned(), holder.to_owned()));
        self.write(checked, move |sql, (name, holder)| leases::acquire(sql, &name, &holder, term_millis, now))
    }

    /// Moves the end of a lease to `term_millis` (at least 1) from now. Works after its end too, if nobody came.
    ///
    /// # Errors
    /// `Fenced` if it was granted or released since.
    pub fn renew_lease(&self, grant: LeaseGrant, term_millis: u64, now: Timestamp) -> Pending<LeaseGrant> {
        let checked = check_term(term_millis).map(|()| grant);
        self.write(checked, move |sql, grant| leases::renew(sql, grant, term_millis, now))
    }

    /// Gives a lease back: others may have it at once, and the grant is good for nothing more.
    ///
    /// # Errors
    /// `Fenced` if it was granted or released since.
    pub fn release_lease(&self, grant: LeaseGrant) -> Pending<()> {
        self.write(Ok(grant), |sql, grant| leases::release(sql, &grant))
    }
}

pub(super) fn check_page(from: &ReadFrom, limit: usize) -> Result<(), StateError> {
    if let ReadFrom::Cursor(name) = from {
        check_name("cursor", name)?;
    }
    check_count("limit", limit, PAGE_RECORDS)
}

fn check_term(term_millis: u64) -> Result<(), StateError> {
    if term_millis == 0 {
        return Err(StateError::invalid("term", "expected at least 1 ms, got 0"));
    }
    Ok(())
}
