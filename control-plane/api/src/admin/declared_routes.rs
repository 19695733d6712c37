//! Routes of the place of declarations: what it declares beside what is in force, and reasons to look at it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use http::StatusCode;
use serde_json::{Value, json};

use super::problem::Problem;
use super::request::{AdminRequest, Answer};
use super::routes::{ControlOffer, not_offered};
use crate::controller::{Compared, View};
use crate::plan::estimate;
use crate::port::ModelFacts;
use crate::reconcile::DeclaredHandle;

/// Longest time that a runtime is waited for, to tell which versions it lacks.
const RUNTIME_DEADLINE: Duration = Duration::from_secs(2);

fn offered(control: &ControlOffer) -> Result<&DeclaredHandle, Problem> {
    control.declared.as_ref().ok_or_else(|| not_offered("place of declarations"))
}

/// What the last look gave, the drift as it is now, and the state that this makes.
pub(super) async fn status(control: &ControlOffer, request: &AdminRequest) -> Result<Answer, Problem> {
    request.only_parameters(&[])?;
    let status = offered(control)?.status();
    let (mut answer, drift) = match &status.resources {
        Some(resources) => {
            let compared = control.handle.compare(&status.place, resources.to_vec()).await?;
            (json!(status.with_differences(compared.changes.len())), drift(control, compared).await?)
        }
        None => (json!(*status), Value::Null),
    };
    if let Some(members) = answer.as_object_mut() {
        members.insert("drift".to_owned(), drift);
    }
    Ok(Answer::json(&answer))
}

/// Resources that differ, what nobody declared there, runtimes that go by another table, and versions that are not there.
async fn drift(control: &ControlOffer, compared: Compared) -> Result<Value, Problem> {
    let seen = control.handle.view(View::Status).await?;
    let runtimes = seen["runtimes"].as_array().cloned().unwrap_or_default();
    let stray: Vec<Value> = runtimes.into_iter().filter(|runtime| runtime["in_step"] != true).collect();
    let asked = control.runtimes.iter().map(|runtime| async move {
        let models = tokio::time::timeout(RUNTIME_DEADLINE, runtime.models()).await;
        Some((runtime.name().to_owned(), models.ok()?.ok()?))
    });
    let facts: Vec<(String, Vec<ModelFacts>)> = join_all(asked).await.into_iter().flatten().collect();
    let (_, missing) = estimate(&compared.table, &facts);
    Ok(json!({
        "revision": compared.revision,
        "resources": compared.changes,
        "not_declared": compared.foreign,
        "held": compared.table.held,
        "runtimes": stray,
        "missing": missing,
    }))
}

/// Looks soon, and does not wait for it.
pub(super) fn look(control: &ControlOffer, request: &AdminRequest) -> Result<Answer, Problem> {
    request.only_parameters(&[])?;
    offered(control)?.look();
    Ok(Answer { status: StatusCode::ACCEPTED, ..Answer::json(&json!({ "looking": true })) })
}

/// Looks now, and puts in force what is declared.
pub(super) async fn sync(control: &ControlOffer, request: &AdminRequest) -> Result<Answer, Problem> {
    request.only_parameters(&[])?;
    let done = offered(control)?.sync(request.author()?).await;
    let busy = || {
        let detail = "more orders wait than are taken";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail, "try again")
    };
    let status: Arc<_> = done.ok_or_else(busy)?;
    Ok(Answer::json(&json!(*status)))
}
