//! Changes of what may change: rules, stages, aliases, approvals. Each is one transaction with its log record.

use rusqlite::{Transaction, params};
use serde_json::json;

use crate::audit::{self, Action};
use crate::error::RegistryError;
use crate::names::{VersionName, VersionReference, check_name};
use crate::policy::{ModelPolicy, NewApproval, StageRule, obstacles};
use crate::registry::Registry;
use crate::rows;
use crate::stage::{Stage, is_transition};
use crate::version::{Actor, Model, Version};

/// Where an alias must point for a change of it to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AliasExpectation {
    /// Anywhere, or nowhere.
    Anything,
    /// It must not exist.
    Absent,
    /// At this version.
    Version(u64),
}

impl AliasExpectation {
    /// Whether an alias that points at `actual` is as expected.
    #[must_use]
    pub fn holds(self, actual: Option<u64>) -> bool {
        match self {
            Self::Anything => true,
            Self::Absent => actual.is_none(),
            Self::Version(number) => actual == Some(number),
        }
    }
}

/// A change of a version's stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StageMove {
    /// Where it goes.
    pub to: Stage,
    /// The stage that it must be in; `None`: whichever.
    pub expected: Option<Stage>,
    /// Archive the model's other versions in that stage, in the same transaction.
    pub archive_others: bool,
}

impl Registry {
    /// Replaces a model's rule for one stage; one that wants nothing is removed. The model is made if need be. Versions stay in
    /// the stages that they are in.
    ///
    /// # Errors
    /// `InvalidArgument` for the name or the rule.
    pub fn set_rule(&self, model: &str, stage: Stage, rule: StageRule, actor: &Actor) -> Result<Model, RegistryError> {
        rule.check(stage)?;
        self.write(|transaction| {
            ensure_model(transaction, model, actor)?;
            let before = rows::model(transaction, model)?.policy;
            let mut after = before.clone();
            if rule == StageRule::default() {
                after.rules.remove(&stage);
            } else {
                after.rules.insert(stage, rule);
            }
            if before != after {
                let values = params![json!(after).to_string(), model];
                transaction.execute("UPDATE models SET policy = ?1 WHERE name = ?2", values)?;
                let detail = json!({ "before": before, "after": after });
                audit::record(transaction, actor, Action::PolicySet, model, None, &detail)?;
            }
            rows::model(transaction, model)
        })
    }

    /// Brings a version to a stage, if it is in the stage that the caller expects. A version that is there already stays, and
    /// nothing is logged.
    ///
    /// # Errors
    /// `NotFound`; `Conflict`: it is in another stage than expected; `InvalidArgument`: there is no such transition;
    /// `FailedPrecondition`: the model's rules for the stage are not met, by the version or by one that is to be archived with
    /// it, or somebody's rejection stands, or the version's files were evicted and the stage is one of use.
    pub fn promote(
        &self,
        meant: &VersionReference,
        change: StageMove,
        actor: &Actor,
    ) -> Result<Version, RegistryError> {
        let StageMove { to, expected, archive_others } = change;
        self.write(|transaction| {
            let version = rows::version(transaction, meant)?;
            if let Some(expected) = expected.filter(|expected| *expected != version.stage) {
                let (version, actual) = (version.name.to_string(), version.stage);
                return Err(RegistryError::StageMoved { version, expected, actual });
            }
            if version.stage != to {
                check_promotion(transaction, &version, to)?;
                move_stage(transaction, &version, to, actor)?;
            }
            if archive_others {
                for other in rows::versions(transaction, Some(&version.name.model))? {
                    if other.stage == to && other.name != version.name && is_transition(to, Stage::Archived) {
                        check_promotion(transaction, &other, Stage::Archived)?;
                        move_stage(transaction, &other, Stage::Archived, actor)?;
                    }
                }
            }
            rows::version(transaction, &version.name.into())
        })
    }

    /// Records that somebody approves or rejects a version for a stage. Of each person the last decision counts.
    ///
    /// # Errors
    /// `NotFound`; `InvalidArgument`.
    pub fn approve(
        &self,
        meant: &VersionReference,
        approval: &NewApproval,
        actor: &Actor,
    ) -> Result<Version, RegistryError> {
        approval.check()?;
        self.write(|transaction| {
            let version = rows::version(transaction, meant)?;
            let VersionName { model, number } = &version.name;
            let checks = json!(approval.checks);
            let values = params![
                model,
                rows::number(*number)?,
                approval.stage.as_str(),
                json!(approval.verdict).to_string(),
                actor.name,
                actor.now.unix_millis(),
                checks.to_string(),
                approval.note,
            ];
            let statement = "INSERT INTO approvals (model, number, stage, verdict, author, at, checks, note)
                VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
            transaction.execute(statement, values)?;
            let detail = json!({
                "stage": approval.stage, "verdict": approval.verdict, "checks": checks, "note": approval.note,
            });
            audit::record(transaction, actor, Action::ApprovalRecorded, model, Some(*number), &detail)?;
            Ok(version)
        })
    }

    /// Points an alias at a version, or removes it (`to` is `None`), if it is where the caller expects it. An alias that is
    /// there already stays, and nothing is logged. Returns where it pointed before.
    ///
    /// # Errors
    /// `InvalidArgument` for the alias; `NotFound` for the model or the version; `Conflict`: it points elsewhere.
    pub fn set_alias(
        &self,
        model: &str,
        alias: &str,
        to: Option<u64>,
        expected: AliasExpectation,
        actor: &Actor,
    ) -> Result<Option<u64>, RegistryError> {
        check_name("alias", alias)?;
        self.write(|transaction| {
            rows::model(transaction, model)?;
            let before = rows::alias(transaction, model, alias)?;
            if !expected.holds(before) {
                let expected = if let AliasExpectation::Version(number) = expected { Some(number) } else { None };
                return Err(RegistryError::AliasMoved { alias: format!("{model}@{alias}"), expected, actual: before });
            }
            if before == to {
                return Ok(before);
            }
            match to {
                Some(number) => {
                    let name = VersionName { model: model.to_owned(), number };
                    rows::version(transaction, &name.into())?;
                    transaction.execute(
                        "INSERT INTO aliases VALUES (?1, ?2, ?3) ON CONFLICT (model, alias) DO UPDATE SET number = ?3",
                        params![model, alias, rows::number(number)?],
                    )?;
                }
                None => {
                    transaction.execute("DELETE FROM aliases WHERE model = ?1 AND alias = ?2", [model, alias])?;
                }
            }
            let detail = json!({ "alias": alias, "before": before, "after": to });
            audit::record(transaction, actor, Action::AliasMoved, model, to.or(before), &detail)?;
            Ok(before)
        })
    }
}

/// Makes the model, without rules, if it does not exist.
pub(crate) fn ensure_model(transaction: &Transaction<'_>, name: &str, actor: &Actor) -> Result<(), RegistryError> {
    check_name("model", name)?;
    let policy = json!(ModelPolicy::default()).to_string();
    let made = transaction.execute(
        "INSERT INTO models VALUES (?1, ?2, 0, ?3) ON CONFLICT DO NOTHING",
        params![name, policy, actor.now.unix_millis()],
    )?;
    if made > 0 {
        audit::record(transaction, actor, Action::ModelCreated, name, None, &json!({}))?;
    }
    Ok(())
}

fn check_promotion(transaction: &Transaction<'_>, version: &Version, to: Stage) -> Result<(), RegistryError> {
    if !is_transition(version.stage, to) {
        return Err(RegistryError::NoTransition { from: version.stage, to });
    }
    if to.is_in_use() && !version.present {
        let source = version.facts.origin.as_ref().map(|origin| origin.pinned.clone());
        return Err(RegistryError::Evicted { version: version.name.to_string(), source });
    }
    let model = rows::model(transaction, &version.name.model)?;
    // Where the model wants nothing, a rejection stands all the same.
    let rule = model.policy.rules.get(&to).cloned().unwrap_or_default();
    let mut approvals = rows::approvals(transaction, &version.name)?;
    approvals.retain(|approval| approval.stage == to);
    let obstacles = obstacles(&rule, &version.registered_by, &approvals);
    if obstacles.is_empty() {
        return Ok(());
    }
    Err(RegistryError::NotApproved { version: version.name.to_string(), stage: to, obstacles })
}

fn move_stage(transaction: &Transaction<'_>, version: &Version, to: Stage, actor: &Actor) -> Result<(), RegistryError> {
    rows::set_stage(transaction, &version.name, to)?;
    let detail = json!({ "before": version.stage, "after": to });
    audit::record(transaction, actor, Action::StageChanged, &version.name.model, Some(version.name.number), &detail)
}
