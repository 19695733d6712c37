//! Routing as the server calls it: the table in force and the sequences that live across its changes.

use crate::decision::{Decision, Reason, UnknownLabel};
use crate::sequence_pins::{PinCounts, PinKey, PinLimits, SequencePins};
use crate::snapshot::{CompiledModel, Snapshot, explicit_version};
use crate::table_handle::TableHandle;
use crate::{RequestFacts, RequestedVersion, SequenceFact, SequenceIdFact, ServedVersion};

/// Decides where requests go.
#[derive(Debug)]
pub struct Router {
    tables: TableHandle,
    pins: SequencePins,
}

impl Default for Router {
    fn default() -> Self {
        Self::new(PinLimits::default())
    }
}

impl Router {
    /// A router with an empty table.
    #[must_use]
    pub fn new(limits: PinLimits) -> Self {
        Self { tables: TableHandle::default(), pins: SequencePins::new(limits) }
    }

    /// The table, for who writes it.
    #[must_use]
    pub const fn tables(&self) -> &TableHandle {
        &self.tables
    }

    /// Whether the table has an entry for `model`. A request for a model without one, outside a sequence, need not be
    /// routed at all.
    #[must_use]
    pub fn names(&self, model: &str) -> bool {
        self.tables.load().model(model).is_some()
    }

    /// Whether `word` may stand in the place of a version of `model`: a label of its entry, or `latest` where it has one.
    #[must_use]
    pub fn knows_label(&self, model: &str, word: &str) -> bool {
        let snapshot = self.tables.load();
        let entry = snapshot.model(model);
        entry.is_some() && explicit_version(entry, model, RequestedVersion::Label(word)).is_ok()
    }

    /// The model and version that stand for `model` where something is only told about it: the version that a label
    /// names, or the baseline arm of a name that is no model itself.
    ///
    /// # Errors
    /// [`UnknownLabel`].
    pub fn describe(
        &self,
        model: &str,
        version: RequestedVersion<'_>,
        is_model: bool,
    ) -> Result<(Box<str>, ServedVersion), UnknownLabel> {
        let snapshot = self.tables.load();
        let entry = snapshot.model(model);
        let explicit = explicit_version(entry, model, version)?;
        Ok(match (explicit, entry.and_then(CompiledModel::baseline)) {
            (Some(version), _) => (model.into(), version),
            (None, Some(baseline)) if !is_model => (baseline.model.clone(), baseline.version),
            (None, _) => (model.into(), ServedVersion::Latest),
        })
    }

    /// Decides where a request for the public name `model` goes.
    ///
    /// A version or label in the request bypasses everything, pins and shadows too. Otherwise a sequence follows its first
    /// request, also while its arm is ejected; then the first rule that matches decides, then the sticky key (or, without
    /// one, the sequence id), then the request's number. Takes no lock and allocates nothing unless the request is in a
    /// sequence, which costs one short lock on 1/64 of the pins.
    ///
    /// # Errors
    /// [`UnknownLabel`] for a word in the place of a version that the table does not know.
    pub fn route<F: RequestFacts + ?Sized>(
        &self,
        model: &str,
        version: RequestedVersion<'_>,
        facts: &F,
    ) -> Result<Decision, UnknownLabel> {
        let snapshot = self.tables.load();
        let entry = snapshot.model(model);
        if let Some(version) = explicit_version(entry, model, version)? {
            let tell = entry.is_some_and(CompiledModel::tells);
            return Ok(Decision::unsplit(version, Reason::Explicit, snapshot.version(), tell));
        }
        Ok(match facts.sequence() {
            Some(sequence) => self.route_sequence(&snapshot, entry, model, sequence, facts),
            None => decide(&snapshot, entry, facts, None),
        })
    }

    fn route_sequence<F: RequestFacts + ?Sized>(
        &self,
        snapshot: &Snapshot,
        entry: Option<&CompiledModel>,
        model: &str,
        sequence: SequenceFact<'_>,
        facts: &F,
    ) -> Decision {
        let key = PinKey::new(model, sequence.id);
        let now = facts.now_microseconds();
        if !sequence.start
            && let Some(mut decision) = self.pins.follow(key, now, sequence.end)
        {
            decision.reason = Reason::PinnedSequence;
            decision.observed = entry.is_some_and(CompiledModel::is_observed);
            // A candidate that the table dropped gets no more copies.
            decision.shadows.retain(|shadow| entry.is_some_and(|entry| entry.shadows(shadow)));
            return decision;
        }
        let decision = decide(snapshot, entry, facts, Some(&sequence));
        if sequence.end {
            self.pins.forget(key);
            return decision;
        }
        self.pins.pin(key, decision, now, sequence.start)
    }

    /// Holds a live sequence to `version`, after the repository resolved "latest" for its first request. Does nothing for a
    /// sequence that is not pinned or has a version.
    pub fn resolve_sequence(&self, model: &str, sequence: SequenceIdFact<'_>, version: u64) {
        self.pins.resolve(PinKey::new(model, sequence), version);
    }

    /// How many sequences are pinned. Takes every lock once.
    #[must_use]
    pub fn pin_counts(&self) -> PinCounts {
        self.pins.counts()
    }
}

fn decide<F: RequestFacts + ?Sized>(
    snapshot: &Snapshot,
    entry: Option<&CompiledModel>,
    facts: &F,
    sequence: Option<&SequenceFact<'_>>,
) -> Decision {
    match entry {
        None => Decision::unsplit(ServedVersion::Latest, Reason::NoEntry, snapshot.version(), false),
        Some(entry) => entry.decide(facts, sequence, snapshot.version()),
    }
}
