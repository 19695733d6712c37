//! Apply and rollback of declared resources: checked whole, planned, and done in one transaction or not at all.

use std::collections::BTreeMap;

use hanok_rollout::rollout::Phase;
use hanok_state::{Change, Edit, MachineVersion, MachineWrite, ResourceWrite, Revision};
use serde_json::{Value, json};

use super::error::ControlError;
use super::events;
use super::judge::{Beginning, Judge, JudgeKey, StoredBody, machine_kind};
use super::load::set_at;
use super::reconciling::RECORD;
use super::state::{Controller, DECLARED, overlays};
use crate::declared::{Declared, DeclaredSet, Problem, ProblemKind, ResourceKey, ResourceKind, Spec};
use crate::plan::{Action, Plan, StoredTable, derive};
use crate::port::ModelFacts;
use crate::reconcile::{DeclaredOrigin, DeclaredRecord};

/// Most resources that may change at once: with their machines and records they fit one transaction.
pub(crate) const MOST_CHANGES: usize = 300;

/// What is to be in force.
#[derive(Clone, Debug)]
pub(crate) enum ApplySource {
    /// These resources, in the order of their documents; with `prune`, only these.
    Declared { resources: Vec<Declared>, prune: bool },
    /// What an earlier revision held.
    Revision(u64),
    /// What the place of declarations holds, in place of what it held before.
    Reconciled(Box<Reconciliation>),
}

/// What a place of declarations holds, and why it is put in force.
#[derive(Clone, Debug)]
pub(crate) struct Reconciliation {
    pub(crate) resources: Vec<Declared>,
    pub(crate) origin: DeclaredOrigin,
    /// `declared`, `commit`, `drift` or `order`.
    pub(crate) cause: &'static str,
    /// Who ordered it, if anybody: only then it may end what the kill switch did.
    pub(crate) ordered_by: Option<String>,
}

/// A call.
#[derive(Clone, Debug)]
pub(crate) struct ApplyRequest {
    pub(crate) source: ApplySource,
    /// Revision that must be the present one.
    pub(crate) expected: Option<u64>,
    /// Names this call: repeated, it gets the answer that it got.
    pub(crate) idempotency_key: Option<String>,
    /// Digest of everything that the caller sent.
    pub(crate) digest: String,
    pub(crate) author: String,
    pub(crate) dry_run: bool,
}

/// Everything that an apply changes, before it is durable.
struct Staged {
    set: DeclaredSet,
    plan: Plan,
    table: Option<StoredTable>,
    /// Judges that begin.
    begun: Vec<Judge>,
    /// Judges that go, with the versions of their machines.
    gone: Vec<(JudgeKey, MachineVersion)>,
    /// The record of the place of declarations, where it is not what it was.
    record: Option<RecordStep>,
}

/// A new record of the place of declarations.
struct RecordStep {
    record: DeclaredRecord,
    /// Version of the one before.
    expected: MachineVersion,
    /// What was in force and becomes the place's own: from now on the place may remove it.
    adopted: Vec<ResourceKey>,
}

impl Controller {
    /// Plans, and unless it is a dry run applies.
    pub(super) async fn apply(&mut self, request: ApplyRequest) -> Result<Value, ControlError> {
        let key = request.idempotency_key.clone().filter(|_| !request.dry_run);
        if request.dry_run {
            if self.needs_reload {
                self.reload().await?;
            }
        } else {
            self.ready_to_change().await?;
        }
        if let Some(key) = &key
            && let Some(known) = self.store.machine("idempotency", key).await?
        {
            let same = known.state.get("digest").and_then(Value::as_str) == Some(request.digest.as_str());
            return if same {
                Ok(known.state.get("answer").cloned().unwrap_or_default())
            } else {
                Err(ControlError::KeyReused)
            };
        }
        let found = self.declared.revision.0;
        if let Some(expected) = request.expected.filter(|expected| *expected != found) {
            return Err(ControlError::RevisionMismatch { expected, found });
        }
        let staged = self.stage(&request).await?;
        if request.dry_run {
            return Ok(answer(&staged.plan, found, self.traffic.table.version, false, true));
        }
        let answer = self.carry_out(staged, &request, key).await?;
        self.push_tables().await;
        Ok(answer)
    }

    async fn stage(&mut self, request: &ApplyRequest) -> Result<Staged, ControlError> {
        let mut before = (None, MachineVersion::NONE);
        let (set, resources) = match &request.source {
            ApplySource::Declared { resources, prune } => {
                let given = DeclaredSet::new(resources.iter().cloned());
                (self.declared.set.merged(&given, *prune), resources.as_slice())
            }
            ApplySource::Revision(revision) => {
                (set_at(&self.store, Revision(*revision)).await?, <&[Declared]>::default())
            }
            ApplySource::Reconciled(reconciliation) => {
                if self.traffic.held && reconciliation.ordered_by.is_none() {
                    let reason = "traffic is held at the last good table since the kill switch; \
                                  `hanok declared sync` ends that";
                    return Err(ControlError::Refused(reason.to_owned()));
                }
                before = self.declared_record(&reconciliation.origin.place).await?;
                let owned = before.0.as_ref().map(|record| record.owned.clone()).unwrap_or_default();
                let given = DeclaredSet::new(reconciliation.resources.iter().cloned());
                (self.declared.set.reconciled(&given, &owned), reconciliation.resources.as_slice())
            }
        };
        let documents: BTreeMap<JudgeKey, usize> = resources
            .iter()
            .enumerate()
            .map(|(index, declared)| ((declared.spec.kind(), declared.name.clone()), index))
            .collect();
        let document = |kind, name: &str| documents.get(&(kind, name.to_owned())).copied();
        let mut problems = set.problems(document);
        let blank = self.traffic.is_like(&StoredTable::default());
        let unchanged =
            Plan::new(self.declared.revision, (&self.declared.set, &set), (&self.traffic, &self.traffic), &[]);
        if unchanged.changes.len() > MOST_CHANGES {
            return Err(ControlError::Refused(format!(
                "expected at most `{MOST_CHANGES}` resources to change at once, got `{}`: make the change in several steps",
                unchanged.changes.len()
            )));
        }
        problems.extend(self.conflicts_with_judges(&unchanged, &set, document));
        if !problems.is_empty() {
            return Err(ControlError::Problems(problems));
        }
        let (begun, gone) = self.judges_after(&unchanged, &set);
        let mut judges = self.judges.clone();
        gone.iter().for_each(|(key, _)| drop(judges.remove(key)));
        judges.extend(begun.iter().map(|judge| (judge.key(), judge.clone())));
        let changed_in = self.changed_in_after(&unchanged);
        let overlays = overlays(&judges, &changed_in);
        let table = derive(&set, &overlays, &self.traffic, self.next_table_version());
        let same = table.is_like(&self.traffic) || (blank && table.table.models.is_empty());
        let table = (!same).then_some(table);
        let (facts, mut warnings) = self.model_facts().await;
        let after = table.as_ref().unwrap_or(&self.traffic);
        let mut plan = Plan::new(self.declared.revision, (&self.declared.set, &set), (&self.traffic, after), &facts);
        warnings.append(&mut plan.warnings);
        warnings.extend(self.weights_kept(&set, &judges));
        let record = match &request.source {
            ApplySource::Reconciled(reconciliation) => self.record_after(reconciliation, &plan, before),
            ApplySource::Declared { .. } | ApplySource::Revision(_) => {
                warnings.extend(self.declared_elsewhere(&plan.changes).await?);
                None
            }
        };
        plan.warnings = warnings;
        Ok(Staged { set, plan, table, begun, gone, record })
    }

    /// What may not change while a judge moves traffic.
    fn conflicts_with_judges(
        &self,
        plan: &Plan,
        set: &DeclaredSet,
        document: impl Fn(ResourceKind, &str) -> Option<usize>,
    ) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut add = |kind: ResourceKind, name: &str, path: &str, message: String| {
            problems.push(Problem {
                document: document(kind, name),
                resource: Some(format!("{kind}/{name}")),
                path: path.to_owned(),
                message,
                kind: ProblemKind::UnderWay,
            });
        };
        for change in &plan.changes {
            let key = (change.kind, change.name.clone());
            let Some(judge) = self.judges.get(&key) else { continue };
            if change.kind == ResourceKind::Rollout && judge.is_watching() {
                add(
                    change.kind,
                    &change.name,
                    "",
                    "expected a rollout that is not under way: abort it first".to_owned(),
                );
            }
        }
        let mut moving: BTreeMap<&str, &str> = BTreeMap::new();
        for (kind, name, spec) in set.iter() {
            let Spec::Rollout(rollout) = spec else { continue };
            let changes = plan.changes.iter().any(|change| change.kind == kind && change.name == name);
            let judge = self.judges.get(&(kind, name.to_owned()));
            if !changes && judge.is_some_and(is_over) {
                continue;
            }
            if let Some(other) = moving.insert(&rollout.traffic, name) {
                let message =
                    format!("expected one rollout of `{}` that is not over, `{other}` is another", rollout.traffic);
                add(kind, name, "spec.traffic", message);
            }
            let Some(traffic) = set.traffic(&rollout.traffic) else { continue };
            let model = traffic.public_model(&rollout.traffic);
            if let Some(judge) = judge.filter(|judge| !changes && judge.stored.model != model) {
                let message = format!("expected model `{}` while rollout `{name}` is not over", judge.stored.model);
                add(ResourceKind::Traffic, &rollout.traffic, "spec.model", message);
            }
        }
        problems
    }

    /// Judges that begin with this change, and those that go.
    fn judges_after(&self, plan: &Plan, set: &DeclaredSet) -> (Vec<Judge>, Vec<(JudgeKey, MachineVersion)>) {
        let begins = Beginning {
            revision: self.declared.revision.0 + 1,
            now: self.now(),
            pairs: self.pairs_read,
            positions: self.newest_positions(),
        };
        let mut begun = Vec::new();
        let mut gone = Vec::new();
        // An experiment or bandit begins anew when the arms of its traffic change.
        let arms_changed = |traffic: &str| {
            let arms = |set: &DeclaredSet| set.traffic(traffic).map(|traffic| traffic.arms.clone());
            arms(&self.declared.set) != arms(set)
        };
        for (kind, name, spec) in set.iter() {
            let key = (kind, name.to_owned());
            let changed = plan.changes.iter().any(|change| change.kind == kind && change.name == name);
            let (traffic, anew) = match spec {
                Spec::Rollout(spec) => (&spec.traffic, false),
                Spec::Experiment(spec) => (&spec.traffic, arms_changed(&spec.traffic)),
                Spec::Bandit(spec) => (&spec.traffic, arms_changed(&spec.traffic) || self.traffic.held),
                Spec::Traffic(_) | Spec::Comparison(_) => continue,
            };
            if !changed && !anew && self.judges.contains_key(&key) {
                continue;
            }
            let version = self.judges.get(&key).map_or(MachineVersion::NONE, |judge| judge.version);
            begun
                .extend(set.traffic(traffic).and_then(|traffic| Judge::declare(name, spec, traffic, &begins, version)));
        }
        for (key, judge) in &self.judges {
            if set.get(key.0, &key.1).is_none() {
                gone.push((key.clone(), judge.version));
            }
        }
        (begun, gone)
    }

    /// The record of the place of declarations, where it is not what it was.
    fn record_after(
        &self,
        reconciliation: &Reconciliation,
        plan: &Plan,
        (before, expected): (Option<DeclaredRecord>, MachineVersion),
    ) -> Option<RecordStep> {
        let record = DeclaredRecord {
            origin: reconciliation.origin.clone(),
            owned: DeclaredSet::new(reconciliation.resources.iter().cloned()).keys(),
            revision: self.declared.revision.0 + u64::from(!plan.changes.is_empty()),
        };
        if before.as_ref() == Some(&record) {
            return None;
        }
        let was_owned = |key: &ResourceKey| before.as_ref().is_some_and(|before| before.owned.contains(key));
        let in_force = |key: &ResourceKey| self.declared.set.get(key.0, &key.1).is_some();
        let adopted = record.owned.iter().filter(|key| in_force(key) && !was_owned(key)).cloned().collect();
        Some(RecordStep { record, expected, adopted })
    }

    fn changed_in_after(&self, plan: &Plan) -> BTreeMap<JudgeKey, u64> {
        let mut changed_in = self.declared.changed_in.clone();
        for change in &plan.changes {
            let key = (change.kind, change.name.clone());
            match change.action {
                Action::Removed => drop(changed_in.remove(&key)),
                Action::Created | Action::Changed => drop(changed_in.insert(key, self.declared.revision.0 + 1)),
            }
        }
        changed_in
    }

    /// Warnings about declared weights that a controller overrides.
    fn weights_kept(&self, set: &DeclaredSet, judges: &BTreeMap<JudgeKey, Judge>) -> Vec<String> {
        let moving = judges.values().filter(|judge| judge.kind() != ResourceKind::Experiment && judge.is_watching());
        moving
            .filter(|judge| self.declared.set.traffic(&judge.stored.traffic) != set.traffic(&judge.stored.traffic))
            .filter(|judge| judge.stored.started_at.is_some() && self.judges.contains_key(&judge.key()))
            .map(|judge| {
                let (kind, name, traffic) = (judge.kind(), &judge.name, &judge.stored.traffic);
                format!("weights of `Traffic/{traffic}` stay where `{kind}/{name}` has them while it is under way")
            })
            .collect()
    }

    /// What runtimes know of models, as far as they answer in time.
    async fn model_facts(&mut self) -> (Vec<(String, Vec<ModelFacts>)>, Vec<String>) {
        let deadline = self.settings.call_deadline.min(std::time::Duration::from_secs(2));
        let calls = self.links.iter().map(|link| {
            let port = std::sync::Arc::clone(&link.port);
            async move { (port.name().to_owned(), tokio::time::timeout(deadline, port.models()).await) }
        });
        let mut facts = Vec::new();
        let mut warnings = Vec::new();
        for (runtime, answer) in futures_util::future::join_all(calls).await {
            match answer {
                Ok(Ok(models)) => facts.push((runtime, models)),
                Ok(Err(error)) => warnings.push(format!("models of runtime `{runtime}` were not checked: {error}")),
                Err(_) => warnings.push(format!("models of runtime `{runtime}` were not checked: no answer in time")),
            }
        }
        (facts, warnings)
    }

    async fn carry_out(
        &mut self,
        staged: Staged,
        request: &ApplyRequest,
        key: Option<String>,
    ) -> Result<Value, ControlError> {
        let present = self.declared.revision;
        let changes = !staged.plan.changes.is_empty();
        let revision = present.0 + u64::from(changes);
        let version = staged.table.as_ref().map_or(self.traffic.table.version, |table| table.table.version);
        let changed = changes || staged.table.is_some();
        let answer = answer(&staged.plan, revision, version, changed, false);
        let mut transaction = self.transaction();
        if let Some(key) = key {
            transaction.machines.push(MachineWrite {
                kind: "idempotency".to_owned(),
                name: key,
                expected: MachineVersion::NONE,
                state: Some(json!({ "digest": request.digest, "answer": answer })),
            });
        } else if !changed && staged.record.is_none() {
            return Ok(answer);
        }
        if changes {
            let edit = match &request.source {
                ApplySource::Revision(revision) => Edit::Restore(Revision(*revision)),
                ApplySource::Declared { .. } | ApplySource::Reconciled(_) => Edit::Change(resource_edits(&staged)),
            };
            let (collection, author) = (DECLARED.to_owned(), request.author.clone());
            transaction.resources.push(ResourceWrite { collection, expected: present, author, edit });
            let summary = staged
                .plan
                .changes
                .iter()
                .map(|change| json!({ "kind": change.kind, "name": change.name, "action": change.action }));
            let summary = summary.collect::<Vec<Value>>();
            let from = match &request.source {
                ApplySource::Reconciled(reconciliation) => Some(&**reconciliation),
                ApplySource::Declared { .. } | ApplySource::Revision(_) => None,
            };
            transaction.events.push(events::applied(
                revision,
                (request.author.as_str(), from),
                &summary,
                self.timestamp(),
            ));
        }
        if let Some(RecordStep { record, expected, adopted }) = &staged.record {
            let (kind, name) = RECORD;
            transaction.machines.push(MachineWrite {
                kind: kind.to_owned(),
                name: name.to_owned(),
                expected: *expected,
                state: serde_json::to_value(record).ok(),
            });
            if !adopted.is_empty() {
                transaction.events.push(events::adopted(expected.0 + 1, record, adopted, self.timestamp()));
            }
        }
        for judge in &staged.begun {
            transaction.machines.push(MachineWrite {
                kind: machine_kind(judge.kind()).to_owned(),
                name: judge.name.clone(),
                expected: judge.version,
                state: Some(judge.to_value()),
            });
        }
        for ((kind, name), expected) in staged.gone {
            let kind = machine_kind(kind).to_owned();
            transaction.machines.push(MachineWrite { kind, name, expected, state: None });
        }
        if let Some(table) = &staged.table {
            self.write_table(&mut transaction, table, &request.author, true);
        }
        let committed = self.commit(transaction).await?;
        if let Some(table) = staged.table {
            self.table_written(&committed, table, true);
        }
        // What is durable is the truth; taking it from there costs a few reads and cannot differ.
        self.reload().await?;
        tracing::info!(revision, table = self.traffic.table.version, author = %request.author, "resources applied");
        Ok(answer)
    }
}

fn is_over(judge: &Judge) -> bool {
    match &judge.stored.body {
        StoredBody::Rollout { state, .. } => {
            matches!(state.phase(), Phase::Promoted | Phase::RolledBack | Phase::Aborted)
        }
        StoredBody::Experiment { .. } | StoredBody::Bandit { .. } => false,
    }
}

fn resource_edits(staged: &Staged) -> Vec<Change> {
    let edit = |change: &crate::plan::ResourceChange| {
        let (kind, name) = (change.kind.as_str().to_owned(), change.name.clone());
        match (change.action, staged.set.get(change.kind, &change.name)) {
            (Action::Created | Action::Changed, Some(spec)) => {
                let document = Declared { name: name.clone(), spec: spec.clone() }.document();
                Change::Put { kind, name, document }
            }
            _ => Change::Delete { kind, name },
        }
    };
    staged.plan.changes.iter().map(edit).collect()
}

fn answer(plan: &Plan, revision: u64, table_version: u64, changed: bool, dry_run: bool) -> Value {
    json!({
        "revision": revision,
        "table_version": table_version,
        "changed": changed,
        "dry_run": dry_run,
        "plan": plan,
    })
}
