//! One atomic change of everything a decision touches, as a value; and what came of it.
//!
//! Checking is pure and happens before the call is queued. What the database must compare (versions, tokens, ids) is
//! compared inside the one database transaction.

use serde_json::Value;

use crate::cloud_event::{CheckedEvent, CloudEvent};
use crate::error::StateError;
use crate::lease::LeaseGrant;
use crate::limits::{TRANSACTION_BYTES, TRANSACTION_ITEMS, check_count, check_name, encode_document};
use crate::stream::Stream;
use crate::timestamp::Timestamp;
use crate::versions::{MachineVersion, Revision, Sequence};

/// What is to be true before, and what is to change, all or nothing.
///
/// The events are the transaction's identity. If all of them are in the journal already, with equal type, subject and
/// data, the transaction has happened before: nothing is written, whatever else is in it, and the answer says so. So
/// a caller that does not know what became of a commit sends the same one again. Without events a repetition meets its
/// own versions as a conflict.
#[derive(Clone, Debug, Default)]
pub struct Transaction {
    /// Instant of the change, as the caller's clock has it.
    pub now: Timestamp,
    /// The lease under which this is done: refused with `Fenced` if it has been granted to anybody since.
    pub lease: Option<LeaseGrant>,
    /// Versions that must be present, of things that this transaction does not write.
    pub expectations: Vec<Expectation>,
    /// Collections to change; each at most once.
    pub resources: Vec<ResourceWrite>,
    /// Machines to write; each at most once.
    pub machines: Vec<MachineWrite>,
    /// Records for the journal, in this order.
    pub events: Vec<CloudEvent>,
    /// Readers whose input is dealt with by this very transaction: what makes reading exactly-once.
    pub cursors: Vec<CursorAdvance>,
}

/// A version that must be present.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expectation {
    /// The collection is at this revision.
    Collection(String, Revision),
    /// The machine of this kind and name is at this version; [`MachineVersion::NONE`] if there must be none.
    Machine(String, String, MachineVersion),
}

/// A change of one collection.
#[derive(Clone, Debug)]
pub struct ResourceWrite {
    /// Which collection.
    pub collection: String,
    /// Revision it must be at; [`Revision::NONE`] for one that was never changed.
    pub expected: Revision,
    /// Who or what changes it.
    pub author: String,
    /// How. If nothing differs afterwards, no revision is made.
    pub edit: Edit,
}

/// How a collection changes.
#[derive(Clone, Debug)]
pub enum Edit {
    /// These resources; each at most once; the others stay.
    Change(Vec<Change>),
    /// Everything back to what an earlier revision held. [`Revision::NONE`] empties the collection.
    Restore(Revision),
}

/// A change of one resource.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Make it or replace it.
    Put {
        /// What it is.
        kind: String,
        /// Which one.
        name: String,
        /// Its whole content.
        document: Value,
    },
    /// Remove it; `NotFound` if it is not there.
    Delete {
        /// What it is.
        kind: String,
        /// Which one.
        name: String,
    },
}

/// A new state for one machine.
#[derive(Clone, Debug)]
pub struct MachineWrite {
    /// What it is.
    pub kind: String,
    /// Which one.
    pub name: String,
    /// Version it must be at; [`MachineVersion::NONE`] if it must not exist.
    pub expected: MachineVersion,
    /// Its new state; `None` removes it.
    pub state: Option<Value>,
}

/// A step of a reader.
#[derive(Clone, Debug)]
pub struct CursorAdvance {
    /// What is read.
    pub stream: Stream,
    /// The reader.
    pub name: String,
    /// Where its cursor must be.
    pub expected: Sequence,
    /// Where it goes: not back, and not past the stream's last record.
    pub to: Sequence,
}

/// What came of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommitOutcome {
    /// It happened now, and is durable.
    Committed(Committed),
    /// It had happened before; nothing was written.
    AlreadyCommitted {
        /// Places of its events in the journal, in the transaction's order.
        sequences: Vec<Sequence>,
    },
}

/// What a transaction wrote; each list in the transaction's order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// Per collection, where it is now.
    pub revisions: Vec<RevisionAfter>,
    /// Per machine, its version now.
    pub machine_versions: Vec<MachineVersion>,
    /// Per event, its place in the journal.
    pub sequences: Vec<Sequence>,
}

/// Where a collection is after a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RevisionAfter {
    /// Its revision.
    pub revision: Revision,
    /// Whether this transaction made it; `false` if there was nothing to change.
    pub changed: bool,
}

/// What came of appending one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// It is recorded here.
    Recorded(Sequence),
    /// It was recorded before, here; nothing was written.
    Duplicate(Sequence),
}

/// A transaction that passed its checks, with its JSON as text.
#[derive(Debug)]
pub(crate) struct CheckedTransaction {
    pub(crate) now: Timestamp,
    pub(crate) lease: Option<LeaseGrant>,
    pub(crate) expectations: Vec<Expectation>,
    pub(crate) resources: Vec<CheckedResourceWrite>,
    pub(crate) machines: Vec<CheckedMachineWrite>,
    pub(crate) events: Vec<CheckedEvent>,
    pub(crate) cursors: Vec<CursorAdvance>,
}

#[derive(Debug)]
pub(crate) struct CheckedResourceWrite {
    pub(crate) collection: String,
    pub(crate) expected: Revision,
    pub(crate) author: String,
    pub(crate) edit: CheckedEdit,
}

#[derive(Debug)]
pub(crate) enum CheckedEdit {
    Change(Vec<CheckedChange>),
    Restore(Revision),
}

/// A resource with its new text; `None` removes it.
#[derive(Debug)]
pub(crate) struct CheckedChange {
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) document: Option<String>,
}

#[derive(Debug)]
pub(crate) struct CheckedMachineWrite {
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) expected: MachineVersion,
    pub(crate) state: Option<String>,
}

impl CheckedTransaction {
    pub(crate) fn check(transaction: Transaction) -> Result<Self, StateError> {
        let Transaction { now, lease, expectations, resources, machines, events, cursors } = transaction;
        let changes: usize = resources
            .iter()
            .map(|write| match &write.edit {
                Edit::Change(changes) => changes.len().max(1),
                Edit::Restore(_) => 1,
            })
            .sum();
        let items = changes + machines.len() + events.len() + cursors.len() + expectations.len();
        check_count("items of the transaction", items, TRANSACTION_ITEMS)?;
        for expectation in &expectations {
            match expectation {
                Expectation::Collection(name, _) => check_name("collection", name)?,
                Expectation::Machine(kind, name, _) => {
                    check_name("machine kind", kind)?;
                    check_name("machine name", name)?;
                }
            }
        }
        for advance in &cursors {
            check_name("cursor", &advance.name)?;
        }
        let checked = Self {
            now,
            lease,
            expectations,
            resources: resources.into_iter().map(check_resource_write).collect::<Result<_, _>>()?,
            machines: machines.into_iter().map(check_machine_write).collect::<Result<_, _>>()?,
            events: events.into_iter().map(|event| CheckedEvent::check(event, now)).collect::<Result<_, _>>()?,
            cursors,
        };
        checked.check_bytes()?;
        checked.check_repetitions()?;
        Ok(checked)
    }

    fn check_bytes(&self) -> Result<(), StateError> {
        let documents = self.resources.iter().flat_map(|write| match &write.edit {
            CheckedEdit::Change(changes) => changes.as_slice(),
            CheckedEdit::Restore(_) => &[],
        });
        let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let bytes = documents.map(|change| length(&change.document)).sum::<usize>()
            + self.machines.iter().map(|machine| length(&machine.state)).sum::<usize>()
            + self.events.iter().map(CheckedEvent::bytes).sum::<usize>();
        if bytes > TRANSACTION_BYTES {
            return Err(StateError::invalid(
                "bytes of the transaction",
                format!("expected at most {TRANSACTION_BYTES}, got {bytes}"),
            ));
        }
        Ok(())
    }

    fn check_repetitions(&self) -> Result<(), StateError> {
        check_distinct("collection", self.resources.iter().map(|write| write.collection.as_str()))?;
        check_distinct("machine", self.machines.iter().map(|machine| (machine.kind.as_str(), machine.name.as_str())))?;
        check_distinct(
            "event",
            self.events.iter().map(|event| (event.event.source.as_str(), event.event.id.as_str())),
        )?;
        check_distinct("cursor", self.cursors.iter().map(|advance| (advance.stream, advance.name.as_str())))?;
        for write in &self.resources {
            if let CheckedEdit::Change(changes) = &write.edit {
                check_distinct("resource", changes.iter().map(|change| (change.kind.as_str(), change.name.as_str())))?;
            }
        }
        Ok(())
    }
}

fn check_distinct<T: Ord>(what: &'static str, names: impl Iterator<Item = T>) -> Result<(), StateError> {
    let mut names: Vec<T> = names.collect();
    names.sort_unstable();
    if names.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(StateError::invalid(what, "expected each at most once in a transaction"));
    }
    Ok(())
}

fn check_resource_write(write: ResourceWrite) -> Result<CheckedResourceWrite, StateError> {
    check_name("collection", &write.collection)?;
    check_name("author", &write.author)?;
    let edit = match write.edit {
        Edit::Change(changes) => CheckedEdit::Change(changes.into_iter().map(check_change).collect::<Result<_, _>>()?),
        Edit::Restore(revision) => CheckedEdit::Restore(revision),
    };
    Ok(CheckedResourceWrite { collection: write.collection, expected: write.expected, author: write.author, edit })
}

fn check_change(change: Change) -> Result<CheckedChange, StateError> {
    let (kind, name, document) = match change {
        Change::Put { kind, name, document } => {
            let text = encode_document("document", &document)?;
            (kind, name, Some(text))
        }
        Change::Delete { kind, name } => (kind, name, None),
    };
    check_name("resource kind", &kind)?;
    check_name("resource name", &name)?;
    Ok(CheckedChange { kind, name, document })
}

fn check_machine_write(write: MachineWrite) -> Result<CheckedMachineWrite, StateError> {
    check_name("machine kind", &write.kind)?;
    check_name("machine name", &write.name)?;
    let state = write.state.as_ref().map(|state| encode_document("machine state", state)).transpose()?;
    Ok(CheckedMachineWrite { kind: write.kind, name: write.name, expected: write.expected, state })
}
