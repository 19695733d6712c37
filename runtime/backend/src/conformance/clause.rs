//! The clauses of the contract that can be checked from outside, and what a check found.

use std::fmt;

/// One clause of the contract between runtime and backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clause {
    /// The model loads and gives an instance.
    Loads,
    /// Every sample gets its expected outputs.
    ExpectedOutputs,
    /// Several requests in one execution get what each gets alone.
    BatchEqualsSingles,
    /// What an execution gave is never written again by a later one.
    OutputsAreKept,
    /// A lone request's bytes may start at any address.
    UnalignedInputs,
    /// A request whose bytes contradict its shape fails, and the instance works afterwards.
    BadContentFails,
    /// Two instances execute at the same time.
    InstancesAreIndependent,
    /// An output that nobody asked for is not given.
    OnlyWantedOutputs,
    /// An instance outlives its model and its backend.
    InstanceOutlivesModel,
    /// A missing model file is an error whose message tells no path.
    MissingFileIsAnError,
    /// A file that is no model is an error of the model, and its message tells no path.
    GarbageFileIsAnError,
    /// Half a model file is an error of the model, and its message tells no path.
    TruncatedFileIsAnError,
}

impl Clause {
    /// Every clause, in the order of checking.
    pub const ALL: [Self; 12] = [
        Self::Loads,
        Self::ExpectedOutputs,
        Self::BatchEqualsSingles,
        Self::OutputsAreKept,
        Self::UnalignedInputs,
        Self::BadContentFails,
        Self::InstancesAreIndependent,
        Self::OnlyWantedOutputs,
        Self::InstanceOutlivesModel,
        Self::MissingFileIsAnError,
        Self::GarbageFileIsAnError,
        Self::TruncatedFileIsAnError,
    ];

    /// The clause in words.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Loads => "the model loads and gives an instance",
            Self::ExpectedOutputs => "every sample gets its expected outputs",
            Self::BatchEqualsSingles => "a batch gives what its requests get alone",
            Self::OutputsAreKept => "outputs are not written again by a later execution",
            Self::UnalignedInputs => "input bytes may start at any address",
            Self::BadContentFails => "bytes that contradict their shape fail, and the instance works afterwards",
            Self::InstancesAreIndependent => "two instances execute at the same time",
            Self::OnlyWantedOutputs => "an output that nobody asked for is not given",
            Self::InstanceOutlivesModel => "an instance outlives its model and backend",
            Self::MissingFileIsAnError => "a missing model file is an error that tells no path",
            Self::GarbageFileIsAnError => "a file that is no model is the model's error and tells no path",
            Self::TruncatedFileIsAnError => "half a model file is the model's error and tells no path",
        }
    }
}

impl fmt::Display for Clause {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.text())
    }
}

/// A clause that a backend breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokenClause {
    /// The clause.
    pub clause: Clause,
    /// What was seen instead.
    pub detail: String,
}

impl fmt::Display for BrokenClause {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "broken clause `{}`: {}", self.clause, self.detail)
    }
}

impl std::error::Error for BrokenClause {}

/// What a whole check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Clauses that were checked and kept.
    pub kept: Vec<Clause>,
    /// Clauses that do not apply to the fixture, and why.
    pub skipped: Vec<(Clause, &'static str)>,
}

/// Why the check of a clause did not end with "kept".
#[derive(Debug)]
pub(super) enum Verdict {
    DoesNotApply(&'static str),
    Broken(String),
}

/// Result of one clause's check.
pub(super) type Checked = Result<(), Verdict>;

pub(super) fn broken(detail: impl Into<String>) -> Verdict {
    Verdict::Broken(detail.into())
}
