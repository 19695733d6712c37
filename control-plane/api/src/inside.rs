//! What others in this process ask of the control plane: what the admin API offers, without the network.
//!
//! No second way in: the same queue, the same checks, the same journal with the author's name.

use hanok_rollout::rollout::Command;
use hanok_routing::TrafficTable;
use hanok_state::StateStore;
use thiserror::Error;

use crate::controller::{ApplyRequest, ApplySource, ControlHandle, View};
use crate::declared::{Declared, DeclaredSet, ResourceKind, Spec, TrafficSpec, parse_resource};

/// Calls on a running control plane. Cheap to clone; after its end every call fails.
#[derive(Clone, Debug)]
pub struct ControlCalls {
    handle: ControlHandle,
    store: StateStore,
}

/// Why a call did not succeed, for the log.
#[derive(Clone, Debug, Error)]
#[error("{0}")]
pub struct CallError(String);

/// The traffic of one public model: declared, and in force.
#[derive(Clone, Debug, PartialEq)]
pub struct TrafficStanding {
    /// Name of the `Traffic`.
    pub name: String,
    /// What is declared.
    pub spec: TrafficSpec,
    /// Share of each arm in force, in hundredths of a percent, in the order of the table's arms.
    pub shares: Vec<(String, u32)>,
    /// Its rollout: one under way before those that are over.
    pub rollout: Option<RolloutStanding>,
    /// The place of declarations that keeps it, if one does: who changes it elsewhere has it set back.
    pub kept_in: Option<String>,
}

/// Where a rollout stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolloutStanding {
    /// Name of the `Rollout`.
    pub name: String,
    /// Name of the arm that served when it began.
    pub baseline: String,
    /// Name of the arm that it is about.
    pub candidate: String,
    /// Whether nothing can happen any more.
    pub over: bool,
}

impl ControlCalls {
    pub(crate) const fn new(handle: ControlHandle, store: StateStore) -> Self {
        Self { handle, store }
    }

    /// The traffic of the public model `model`, if any is declared.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn traffic_of(&self, model: &str) -> Result<Option<TrafficStanding>, CallError> {
        let (_, set) = self.declared().await?;
        let found = set.iter().find_map(|(_, name, spec)| match spec {
            Spec::Traffic(spec) if spec.public_model(name) == model => Some((name.to_owned(), spec.clone())),
            _ => None,
        });
        let Some((name, spec)) = found else { return Ok(None) };
        let view = self.handle.view(View::Traffic).await.map_err(told)?;
        let table: TrafficTable = serde_json::from_value(view["table"].clone()).map_err(told)?;
        let arms = table.models.get(model).map(|entry| entry.arms.as_slice()).unwrap_or_default();
        let shares = arms.iter().map(|arm| (arm.name.clone(), u32::from(arm.weight_basis_points))).collect();
        let mut rollout: Option<RolloutStanding> = None;
        for (_, declared, spec) in set.iter() {
            let Spec::Rollout(spec) = spec else { continue };
            if spec.traffic == name && rollout.as_ref().is_none_or(|found| found.over) {
                let view = self.handle.view(View::Rollout(declared.to_owned())).await.map_err(told)?;
                let over = ["promoted", "rolled_back", "aborted"].iter().any(|phase| view["phase"] == *phase);
                let (baseline, candidate) = (spec.baseline.clone(), spec.candidate.clone());
                rollout = Some(RolloutStanding { name: declared.to_owned(), baseline, candidate, over });
            }
        }
        let kept = self.handle.view(View::KeptIn(ResourceKind::Traffic, name.clone())).await.map_err(told)?;
        let kept_in = kept.as_str().map(str::to_owned);
        Ok(Some(TrafficStanding { name, spec, shares, rollout, kept_in }))
    }

    /// Puts `resources` in force beside those that are. Gives the revision.
    ///
    /// # Errors
    /// [`CallError`] with the first problem; then nothing has changed.
    pub async fn apply(&self, resources: Vec<Declared>, author: &str) -> Result<u64, CallError> {
        self.put(ApplySource::Declared { resources, prune: false }, None, author).await
    }

    /// Takes back a rollout that is over, so that the same may begin anew.
    ///
    /// # Errors
    /// [`CallError`]: it is under way, or somebody else changed what is declared at the same time.
    pub async fn withdraw(&self, rollout: &str, author: &str) -> Result<(), CallError> {
        let (revision, mut set) = self.declared().await?;
        set.resources.remove(&(ResourceKind::Rollout, rollout.to_owned()));
        let kept = set.resources.into_iter().map(|((_, name), spec)| Declared { name, spec });
        let source = ApplySource::Declared { resources: kept.collect(), prune: true };
        self.put(source, Some(revision), author).await.map(drop)
    }

    async fn put(&self, source: ApplySource, expected: Option<u64>, author: &str) -> Result<u64, CallError> {
        let request = ApplyRequest {
            source,
            expected,
            // Without a key nobody compares digests.
            idempotency_key: None,
            digest: String::new(),
            author: author.to_owned(),
            dry_run: false,
        };
        let answer = self.handle.apply(request).await.map_err(told)?;
        Ok(answer["revision"].as_u64().unwrap_or_default())
    }

    /// Ends a rollout with no traffic for its candidate.
    ///
    /// # Errors
    /// [`CallError`]: it does not exist, or is over.
    pub async fn abort(&self, rollout: &str, author: &str) -> Result<(), CallError> {
        self.handle.order(rollout.to_owned(), Command::Abort, author.to_owned()).await.map(drop).map_err(told)
    }

    async fn declared(&self) -> Result<(u64, DeclaredSet), CallError> {
        let set = self.store.resources("declared", None).await.map_err(told)?;
        let revision = set.revision.0;
        let read = |document| {
            parse_resource(document, None)
                .map_err(|problems| CallError(problems.first().map_or_else(String::new, ToString::to_string)))
        };
        let kept = set.resources.into_iter().filter(|resource| resource.kind.parse::<ResourceKind>().is_ok());
        let resources: Result<Vec<Declared>, CallError> = kept.map(|resource| read(resource.document)).collect();
        Ok((revision, DeclaredSet::new(resources?)))
    }
}

fn told(error: impl std::fmt::Display) -> CallError {
    CallError(error.to_string())
}
