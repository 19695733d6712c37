//! Routes of the control plane itself: resources, traffic, judges.

use hanok_rollout::rollout::Command;
use hanok_state::{PAGE_RECORDS, Revision};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::problem::Problem;
use super::request::{AdminRequest, Answer};
use super::routes::{ControlOffer, Operation};
use crate::controller::{ApplyRequest, ApplySource, View};
use crate::declared::{LARGEST_DECLARATION_BYTES, ResourceKind, read_declarations};

pub(super) async fn apply(control: &ControlOffer, request: &AdminRequest) -> Result<Answer, Problem> {
    request.only_parameters(&["dry_run", "prune"])?;
    let (dry_run, prune) = (request.flag("dry_run")?, request.flag("prune")?);
    let text = request.body_text()?;
    if text.len() > LARGEST_DECLARATION_BYTES {
        let detail = format!("expected at most `{LARGEST_DECLARATION_BYTES}` bytes, got `{}`", text.len());
        let action = "declare fewer resources at once";
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail, action));
    }
    let resources = read_declarations(text, request.is_json()).map_err(|faults| Problem::faults(&faults))?;
    let source = ApplySource::Declared { resources, prune };
    run(control, request, source, dry_run, &format!("apply prune={prune}")).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RollbackBody {
    revision: u64,
}

pub(super) async fn rollback(control: &ControlOffer, request: &AdminRequest) -> Result<Answer, Problem> {
    request.only_parameters(&["dry_run"])?;
    let dry_run = request.flag("dry_run")?;
    let body: RollbackBody = request.body_json()?;
    run(control, request, ApplySource::Revision(body.revision), dry_run, "rollback").await
}

async fn run(
    control: &ControlOffer,
    request: &AdminRequest,
    source: ApplySource,
    dry_run: bool,
    what: &str,
) -> Result<Answer, Problem> {
    let expected = request.expected_revision()?;
    let mut digest = Sha256::new();
    digest.update(format!("{what} expected={expected:?}\n"));
    digest.update(&request.body);
    let digest = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    let idempotency_key = request.idempotency_key()?;
    let author = request.author()?;
    let call = ApplyRequest { source, expected, idempotency_key, digest, author, dry_run };
    Ok(Answer::revised(&control.handle.apply(call).await?))
}

pub(super) async fn resources(
    control: &ControlOffer,
    request: &AdminRequest,
    kind: Option<&str>,
    name: Option<&str>,
) -> Result<Answer, Problem> {
    request.only_parameters(&["revision"])?;
    let newest = request.number("revision", u64::MAX)?;
    let at = (newest != u64::MAX).then_some(Revision(newest));
    if let Some(kind) = kind
        && kind.parse::<ResourceKind>().is_err()
    {
        return Err(Problem::not_found(format!("there is no kind `{kind}`")));
    }
    let set = control.store.resources("declared", at).await?;
    let wanted = set.resources.into_iter().filter(|resource| {
        kind.is_none_or(|kind| resource.kind == kind) && name.is_none_or(|name| resource.name == name)
    });
    let mut documents: Vec<Value> = wanted.map(|resource| resource.document).collect();
    if let Some(name) = name {
        let missing = || Problem::not_found(format!("there is no `{}` named `{name}`", kind.unwrap_or_default()));
        let document = documents.pop().ok_or_else(missing)?;
        return Ok(Answer { revision: Some(set.revision.0), ..Answer::json(&document) });
    }
    Ok(Answer::revised(&json!({ "revision": set.revision.0, "items": documents })))
}

pub(super) async fn revisions(control: &ControlOffer, request: &AdminRequest) -> Result<Answer, Problem> {
    request.only_parameters(&["before", "limit"])?;
    let before = Revision(request.number("before", u64::MAX)?);
    let limit = usize::try_from(request.number("limit", 100)?).unwrap_or(PAGE_RECORDS + 1);
    let revisions = control.store.revisions("declared", before, limit).await?;
    let shown = revisions.into_iter().map(|info| {
        json!({
            "revision": info.revision.0,
            "created_at": info.created_at.to_string(),
            "author": info.author,
            "restores": info.restores.map(|revision| revision.0),
        })
    });
    Ok(Answer::json(&json!({ "revisions": shown.collect::<Vec<_>>() })))
}

pub(super) async fn kill_switch(control: &ControlOffer, request: &AdminRequest) -> Result<Answer, Problem> {
    request.only_parameters(&[])?;
    Ok(Answer::json(&control.handle.kill_switch(request.author()?).await?))
}

pub(super) async fn order(control: &ControlOffer, request: &AdminRequest, order: Command) -> Result<Answer, Problem> {
    request.only_parameters(&[])?;
    let name = request.place(0).to_owned();
    Ok(Answer::json(&control.handle.order(name, order, request.author()?).await?))
}

pub(super) async fn explain(control: &ControlOffer, request: &AdminRequest) -> Result<Answer, Problem> {
    request.only_parameters(&[])?;
    let as_text = request.wants_text();
    let explained = control.handle.view(View::Explain(request.place(0).to_owned(), as_text)).await?;
    Ok(match explained {
        Value::String(text) => Answer::text(text),
        value => Answer::json(&value),
    })
}

pub(super) async fn view(
    control: &ControlOffer,
    request: &AdminRequest,
    operation: Operation,
) -> Result<Answer, Problem> {
    request.only_parameters(&[])?;
    let name = request.place(0).to_owned();
    let view = match operation {
        Operation::GetTraffic => View::Traffic,
        Operation::ListRollouts => View::Rollouts,
        Operation::GetRollout => View::Rollout(name),
        Operation::GetExperiment => View::Experiment(name),
        Operation::GetBandit => View::Bandit(name),
        _ => View::Status,
    };
    Ok(Answer::json(&control.handle.view(view).await?))
}
