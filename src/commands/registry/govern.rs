//! `hanok registry promote`, `approve`, `alias` and `policy`: who may serve, and who says so.

use std::process::ExitCode;

use hanok_registry::{AliasExpectation, NewApproval, Stage, StageMove, StageRule, Verdict, VersionReference};
use serde_json::json;

use super::look::policy_text;
use super::{Desk, pair};
use crate::commands::error::CommandError;

/// Arguments of `hanok registry promote`.
#[derive(Debug, clap::Args)]
pub(super) struct PromoteArguments {
    /// MODEL (its newest version), MODEL/VERSION or MODEL@ALIAS
    version: VersionReference,
    /// none, staging, production or archived
    stage: Stage,
    /// Archive the model's other versions in that stage, in the same step
    #[arg(long)]
    archive_others: bool,
    /// The stage that it must be in now for this to happen
    #[arg(long, value_name = "STAGE")]
    expect: Option<Stage>,
}

/// Arguments of `hanok registry approve`.
#[derive(Debug, clap::Args)]
pub(super) struct ApproveArguments {
    /// MODEL (its newest version), MODEL/VERSION or MODEL@ALIAS
    version: VersionReference,
    /// The stage that it is approved for: staging, production or archived
    stage: Stage,
    /// Reject it; an earlier approval by the same person counts no more
    #[arg(long)]
    reject: bool,
    /// A check that was looked at, and whether it passed; may be given several times
    #[arg(long = "check", value_name = "NAME=passed|failed", value_parser = check)]
    checks: Vec<(String, bool)>,
    /// What else there is to say
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
}

/// Arguments of `hanok registry alias`.
#[derive(Debug, clap::Args)]
pub(super) struct AliasArguments {
    /// The model
    model: String,
    /// The alias
    alias: String,
    /// The version that it is to point at
    #[arg(required_unless_present = "remove", conflicts_with = "remove")]
    version: Option<u64>,
    /// Remove the alias
    #[arg(long)]
    remove: bool,
    /// Where it must point now for this to happen: a version, or `none`
    #[arg(long, value_name = "VERSION|none", value_parser = expectation)]
    expect: Option<AliasExpectation>,
}

/// Arguments of `hanok registry policy`.
#[derive(Debug, clap::Args)]
pub(super) struct PolicyArguments {
    /// The model; it is made if need be when a rule is set
    model: String,
    /// The stage whose rule is set: staging, production or archived; without it, the rules are shown. A rule without any
    /// wish is removed
    stage: Option<Stage>,
    /// How many different people must approve
    #[arg(long, value_name = "COUNT", default_value_t = 0, requires = "stage")]
    approvals: u32,
    /// A check that an approval must tell to have passed; may be given several times
    #[arg(long = "check", value_name = "NAME", requires = "stage")]
    checks: Vec<String>,
    /// Do not count the approval of whoever registered the version
    #[arg(long, requires = "stage")]
    four_eyes: bool,
}

pub(super) fn promote(desk: &Desk, arguments: &PromoteArguments) -> Result<ExitCode, CommandError> {
    let actor = desk.actor()?;
    let PromoteArguments { stage, archive_others, expect, .. } = *arguments;
    let change = StageMove { to: stage, expected: expect, archive_others };
    let version = desk.registry.promote(&arguments.version, change, &actor)?;
    desk.print(&version, || format!("{} is in stage {}\n", version.name, version.stage))
}

pub(super) fn approve(desk: &Desk, arguments: &ApproveArguments) -> Result<ExitCode, CommandError> {
    let approval = NewApproval {
        stage: arguments.stage,
        verdict: if arguments.reject { Verdict::Rejected } else { Verdict::Approved },
        checks: arguments.checks.iter().cloned().collect(),
        note: arguments.note.clone(),
    };
    let actor = desk.actor()?;
    let version = desk.registry.approve(&arguments.version, &approval, &actor)?;
    let verdict = if arguments.reject { "rejected" } else { "approved" };
    let document = json!({
        "model": version.name.model, "number": version.name.number, "stage": approval.stage, "verdict": verdict,
        "by": actor.name,
    });
    desk.print(&document, || format!("{} is {verdict} for {} by {}\n", version.name, approval.stage, actor.name))
}

pub(super) fn alias(desk: &Desk, arguments: &AliasArguments) -> Result<ExitCode, CommandError> {
    let AliasArguments { model, alias, version, expect, .. } = arguments;
    let expected = expect.unwrap_or(AliasExpectation::Anything);
    let before = desk.registry.set_alias(model, alias, *version, expected, &desk.actor()?)?;
    desk.print(&json!({ "model": model, "alias": alias, "before": before, "after": version }), || {
        let place = |version: Option<u64>| version.map_or("nothing".to_owned(), |number| format!("version {number}"));
        format!("{model}@{alias}: {} -> {}\n", place(before), place(*version))
    })
}

pub(super) fn policy(desk: &Desk, arguments: &PolicyArguments) -> Result<ExitCode, CommandError> {
    let model = match arguments.stage {
        None => desk.registry.model(&arguments.model)?,
        Some(stage) => {
            let rule = StageRule {
                approvals: arguments.approvals,
                checks: arguments.checks.iter().cloned().collect(),
                four_eyes: arguments.four_eyes,
            };
            desk.registry.set_rule(&arguments.model, stage, rule, &desk.actor()?)?
        }
    };
    desk.print(&json!({ "model": model.name, "policy": model.policy }), || policy_text(&model))
}

/// `NAME=passed` or `NAME=failed`.
fn check(text: &str) -> Result<(String, bool), String> {
    match pair(text)? {
        (name, verdict) if verdict == "passed" => Ok((name, true)),
        (name, verdict) if verdict == "failed" => Ok((name, false)),
        _ => Err(format!("expected NAME=passed or NAME=failed, got `{text}`")),
    }
}

/// A version, or `none`.
fn expectation(text: &str) -> Result<AliasExpectation, String> {
    if text == "none" {
        return Ok(AliasExpectation::Absent);
    }
    text.parse().map(AliasExpectation::Version).map_err(|_| format!("expected a version or `none`, got `{text}`"))
}
