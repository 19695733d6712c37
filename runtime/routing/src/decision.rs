//! What routing decided about one request, and why.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{SampledShadows, ServedVersion};

/// One arm of a public model: who it is and whom it sends requests to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arm {
    /// Name that clients ask for.
    pub public_model: Box<str>,
    /// Name of the arm.
    pub name: Box<str>,
    /// Model or ensemble that serves.
    pub model: Box<str>,
    /// Version that serves.
    pub version: ServedVersion,
}

/// Who gets a copy of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShadowTarget {
    /// Name that clients ask for.
    pub public_model: Box<str>,
    /// Model that gets the copy.
    pub model: Box<str>,
    /// Version that gets the copy.
    pub version: ServedVersion,
    /// Name of the comparison that judges the outputs.
    pub compare: Box<str>,
}

/// Why a request went where it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The table says nothing about the model.
    NoEntry,
    /// The request named a version or label.
    Explicit,
    /// A rule matched.
    Rule,
    /// By weight, with the request's own number.
    Weight,
    /// By weight, with the hash of a sticky key or sequence id.
    Sticky,
    /// The sequence was decided at an earlier request.
    PinnedSequence,
    /// The arm that was due is ejected; another arm took its place by weight.
    Ejected,
}

/// Where a request goes. Stays valid whatever happens to the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The arm; `None` when the request is served as if there were no split ([`Reason::NoEntry`], [`Reason::Explicit`],
    /// or a sequence that began so).
    pub arm: Option<Arc<Arm>>,
    /// Version to serve.
    pub version: ServedVersion,
    /// Share of requests in basis points that went to this arm under the weights and ejections in force when this was
    /// decided: the propensity for analysis, 1 to 10,000. 10,000 when nothing was left to chance: no entry, explicit, rule.
    pub probability_basis_points: u16,
    /// Why.
    pub reason: Reason,
    /// Version of the table that decided; for a pinned sequence the one that decided its first request.
    pub table_version: u64,
    /// Hash of the sticky key or sequence id, the unit of analysis; 0 when there was none.
    pub sticky_key_hash: u64,
    /// Whether the answer should say which arm and version served.
    pub tell: bool,
    /// The segment that the request is in, where the table says what tells it and somebody reads it.
    pub segment: Option<Box<str>>,
    /// Whether somebody reads what becomes of the request.
    pub observed: bool,
    /// Who gets a copy.
    pub shadows: SampledShadows,
}

impl Decision {
    /// A decision outside any split.
    pub(crate) fn unsplit(version: ServedVersion, reason: Reason, table_version: u64, tell: bool) -> Self {
        Self {
            arm: None,
            version,
            probability_basis_points: crate::assignment_hash::BUCKETS,
            reason,
            table_version,
            sticky_key_hash: 0,
            tell,
            segment: None,
            observed: false,
            shadows: SampledShadows::default(),
        }
    }

    /// Model to serve, given the name that the client asked for.
    #[must_use]
    pub fn model<'a>(&'a self, requested: &'a str) -> &'a str {
        self.arm.as_ref().map_or(requested, |arm| &arm.model)
    }
}

/// The request named a version by a label that the table does not have.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("model `{model}` has no version or label `{label}`")]
pub struct UnknownLabel {
    /// Name that the client asked for.
    pub model: Box<str>,
    /// What stood in the place of the version.
    pub label: Box<str>,
}
