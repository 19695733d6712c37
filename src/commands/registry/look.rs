//! `hanok registry list`, `show`, `diff` and `log`: what is on record, as tables or JSON.

use std::fmt::Write as _;
use std::process::ExitCode;

use hanok_registry::{
    FactChange, FileChange, FileContent, Lineage, LogRecord, Model, Stage, StageRule, TensorSignature, Version,
    VersionDifference, VersionFilter, VersionRecord, VersionReference, difference, one_line,
};
use serde_json::{Value, json};

use super::{Desk, pair, size};
use crate::commands::error::CommandError;
use crate::commands::text_table::TextTable;

/// Arguments of `hanok registry list`.
#[derive(Debug, clap::Args)]
pub(super) struct ListArguments {
    /// The model whose versions are listed
    model: Option<String>,
    /// Only versions in this stage: none, staging, production or archived
    #[arg(long)]
    stage: Option<Stage>,
    /// Only versions with this tag; may be given several times
    #[arg(long = "tag", value_name = "NAME=TEXT", value_parser = pair)]
    tags: Vec<(String, String)>,
    /// Only versions that were trained on this reference or digest
    #[arg(long, value_name = "REFERENCE")]
    training_data: Option<String>,
    /// Only versions whose code's commit begins like this
    #[arg(long, value_name = "COMMIT")]
    git_commit: Option<String>,
    /// Only versions that were fetched from a reference that begins like this
    #[arg(long, value_name = "REFERENCE")]
    origin: Option<String>,
}

/// Arguments of `hanok registry show`.
#[derive(Debug, clap::Args)]
pub(super) struct ShowArguments {
    /// MODEL (its newest version), MODEL/VERSION or MODEL@ALIAS
    version: VersionReference,
}

/// Arguments of `hanok registry diff`.
#[derive(Debug, clap::Args)]
pub(super) struct DiffArguments {
    /// MODEL, MODEL/VERSION or MODEL@ALIAS
    before: VersionReference,
    /// MODEL, MODEL/VERSION or MODEL@ALIAS
    after: VersionReference,
}

/// Arguments of `hanok registry log`.
#[derive(Debug, clap::Args)]
pub(super) struct LogArguments {
    /// Only what concerns this model
    model: Option<String>,
    /// Only what came after this record
    #[arg(long, value_name = "SEQUENCE", default_value_t = 0)]
    after: u64,
    /// Most records
    #[arg(long, value_name = "COUNT", default_value_t = 1_000)]
    limit: usize,
}

pub(super) fn list(desk: &Desk, arguments: &ListArguments) -> Result<ExitCode, CommandError> {
    let filter = VersionFilter {
        stage: arguments.stage,
        tags: arguments.tags.iter().cloned().collect(),
        training_data: arguments.training_data.clone(),
        git_commit: arguments.git_commit.clone(),
        origin: arguments.origin.clone(),
    };
    let mut versions = desk.registry.versions(arguments.model.as_deref())?;
    versions.retain(|version| filter.matches(version));
    if arguments.model.is_some() || filter != VersionFilter::default() {
        return desk.print(&json!({ "versions": versions }), || version_table(&versions));
    }
    let models = desk.registry.models()?;
    desk.print(&json!({ "models": models }), || model_table(&models, &versions))
}

fn model_table(models: &[Model], versions: &[Version]) -> String {
    if models.is_empty() {
        return "the registry has no models; `hanok registry add MODEL PATH` registers one\n".to_owned();
    }
    let mut table = TextTable::new(&["model", ">versions", "production", "staging", "aliases"]);
    for model in models {
        let within = |stage: Stage| {
            let own = versions.iter().filter(|version| version.name.model == model.name && version.stage == stage);
            dash(&own.map(|version| version.name.number.to_string()).collect::<Vec<_>>().join(", "))
        };
        let aliases: Vec<String> = model.aliases.iter().map(|(alias, version)| format!("{alias}={version}")).collect();
        let (production, staging) = (within(Stage::Production), within(Stage::Staging));
        table.row([model.name.clone(), model.versions.to_string(), production, staging, dash(&aliases.join(", "))]);
    }
    table.to_string()
}

fn version_table(versions: &[Version]) -> String {
    if versions.is_empty() {
        return "no version is like that\n".to_owned();
    }
    let mut table = TextTable::new(&["version", "stage", "aliases", ">size", "files", "registered", "by", "digest"]);
    for version in versions {
        table.row([
            version.name.to_string(),
            version.stage.to_string(),
            dash(&version.aliases.join(", ")),
            size(version.bytes),
            if version.present { "here" } else { "evicted" }.to_owned(),
            version.registered_at.to_string(),
            version.registered_by.clone(),
            version.digest.hex().chars().take(12).collect(),
        ]);
    }
    table.to_string()
}

pub(super) fn show(desk: &Desk, arguments: &ShowArguments) -> Result<ExitCode, CommandError> {
    let record = desk.registry.record(&arguments.version)?;
    desk.print(&record, || record_text(&record))
}

fn record_text(record: &VersionRecord) -> String {
    let (version, facts) = (&record.version, &record.version.facts);
    let mut text = format!("{}\n", version.name);
    let mut line = |name: &str, value: &str| text.push_str(&format!("  {name:<14}{}\n", one_line(value)));
    line("digest", &version.digest.to_string());
    line("stage", version.stage.as_str());
    line("aliases", &dash(&version.aliases.join(", ")));
    line("registered", &format!("{} by {}", version.registered_at, version.registered_by));
    let here = if version.present { "here" } else { "evicted" };
    line("size", &format!("{}, {here}, last used {}", size(version.bytes), version.used_at));
    if let Some(origin) = &facts.origin {
        line("from", &origin.asked);
        line("pinned", &origin.pinned);
    }
    if let Some(data) = &facts.training_data {
        let digest = data.digest.as_ref().map(|digest| format!(" ({digest})")).unwrap_or_default();
        line("trained on", &format!("{}{digest}", data.reference));
    }
    if let Some(git) = &facts.git {
        let remote = git.remote.as_ref().map(|remote| format!(" of {remote}")).unwrap_or_default();
        line("commit", &format!("{}{remote}", git.commit));
    }
    for (name, value) in &facts.metrics {
        line("metric", &format!("{name} = {value}"));
    }
    for (name, value) in &facts.tags {
        line("tag", &format!("{name} = {value}"));
    }
    if let Some(signature) = &facts.signature {
        let mut side = |label: &str, tensors: &[TensorSignature]| {
            for tensor in tensors {
                line(label, &format!("{} {} {:?}", tensor.name, tensor.data_type, tensor.shape));
            }
        };
        side("input", &signature.inputs);
        side("output", &signature.outputs);
    }
    for approval in &record.approvals {
        let verdict = json!(approval.verdict).as_str().unwrap_or_default().to_owned();
        let checks: Vec<String> = approval
            .checks
            .iter()
            .map(|(check, passed)| format!("{check} {}", if *passed { "passed" } else { "failed" }))
            .collect();
        let told = [checks.join(", "), approval.note.clone().unwrap_or_default()];
        let told: Vec<String> = told.into_iter().filter(|text| !text.is_empty()).collect();
        let told = if told.is_empty() { String::new() } else { format!(": {}", told.join("; ")) };
        line(&verdict, &format!("for {} by {} at {}{told}", approval.stage, approval.by, approval.at));
    }
    for (label, value) in lineage_lines(&record.lineage) {
        line(label, &value);
    }
    let mut files = TextTable::new(&["  file", ">size", "digest"]);
    for (path, content) in record.manifest.files() {
        files.row([format!("  {path}"), size(content.bytes), content.digest.to_string()]);
    }
    text + &files.to_string()
}

fn lineage_lines(lineage: &Lineage) -> Vec<(&'static str, String)> {
    let step = |step: &hanok_registry::LineageStep| format!("{} from {}", step.child, step.parent);
    let ancestors = lineage.ancestors.iter().map(|found| ("made from", step(found)));
    ancestors.chain(lineage.descendants.iter().map(|found| ("led to", step(found)))).collect()
}

pub(super) fn diff(desk: &Desk, arguments: &DiffArguments) -> Result<ExitCode, CommandError> {
    let (before, after) = (desk.registry.record(&arguments.before)?, desk.registry.record(&arguments.after)?);
    let found = difference((&before.version, &before.manifest), (&after.version, &after.manifest));
    let document = json!({ "before": before.version.name, "after": after.version.name, "difference": found });
    desk.print(&document, || difference_text(&found))
}

fn difference_text(found: &VersionDifference) -> String {
    if found.files.is_empty() && found.facts.is_empty() {
        return "no difference\n".to_owned();
    }
    let mut text = String::new();
    for FileChange { path, before, after } in &found.files {
        let told = |content: &FileContent| format!("{} ({})", content.digest, size(content.bytes));
        change(&mut text, &format!("file {path}"), before.as_ref().map(told), after.as_ref().map(told));
    }
    for FactChange { fact, before, after } in &found.facts {
        change(&mut text, fact, before.as_ref().map(Value::to_string), after.as_ref().map(Value::to_string));
    }
    text
}

/// As `hanok apply` shows changes.
fn change(text: &mut String, name: &str, before: Option<String>, after: Option<String>) {
    let line = match (before, after) {
        (Some(before), Some(after)) => format!("~ {name}: {before} -> {after}"),
        (None, Some(after)) => format!("+ {name}: {after}"),
        (Some(before), None) => format!("- {name}: {before}"),
        (None, None) => return,
    };
    text.push_str(&one_line(&line));
    text.push('\n');
}

pub(super) fn log(desk: &Desk, arguments: &LogArguments) -> Result<ExitCode, CommandError> {
    let records = desk.registry.log(arguments.model.as_deref(), arguments.after, arguments.limit)?;
    desk.print(&json!({ "records": records }), || log_table(&records))
}

fn log_table(records: &[LogRecord]) -> String {
    let mut table = TextTable::new(&[">sequence", "at", "by", "action", "version", "detail"]);
    for record in records {
        let action = json!(record.action).as_str().unwrap_or_default().to_owned();
        let version = record.number.map_or_else(|| record.model.clone(), |number| format!("{}/{number}", record.model));
        let detail = record.detail.to_string();
        let (at, by) = (record.at.to_string(), record.actor.clone());
        table.row([record.sequence.to_string(), at, by, action, version, detail]);
    }
    table.to_string()
}

/// A model's rules, a line for each stage.
pub(super) fn policy_text(model: &Model) -> String {
    if model.policy.rules.is_empty() {
        return format!("{} wants nothing before a stage\n", model.name);
    }
    let mut text = format!("{}\n", model.name);
    for (stage, StageRule { approvals, checks, four_eyes }) in &model.policy.rules {
        let mut wants = format!("{approvals} approvals");
        if *four_eyes {
            wants.push_str(", not counting that of whoever registered the version");
        }
        if !checks.is_empty() {
            let checks: Vec<&str> = checks.iter().map(String::as_str).collect();
            wants.push_str(&one_line(&format!("; checks {}", checks.join(", "))));
        }
        // Writing to a text cannot fail.
        writeln!(text, "  before {stage}: {wants}").unwrap_or_default();
    }
    text
}

fn dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}
