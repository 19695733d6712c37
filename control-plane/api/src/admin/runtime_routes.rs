//! Routes of a runtime that a control plane elsewhere steers: [`RuntimePort`] over HTTP, call by call.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::problem::Problem;
use super::request::{AdminRequest, Answer};
use super::routes::Operation;
use crate::port::{DrainRequest, RuntimePort, ShadowQuery, TableOrder};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KillSwitchBody {
    at_least: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GoodBody {
    version: u64,
}

pub(super) async fn answer(
    runtime: &dyn RuntimePort,
    operation: Operation,
    request: &AdminRequest,
) -> Result<Answer, Problem> {
    request.only_parameters(&[])?;
    match operation {
        Operation::PutRuntimeTable => encoded(&runtime.apply(request.body_json::<TableOrder>()?).await?),
        Operation::RuntimeKillSwitch => {
            let body: KillSwitchBody = request.body_json()?;
            encoded(&runtime.restore_last_good(body.at_least).await?)
        }
        Operation::MarkRuntimeGood => {
            let body: GoodBody = request.body_json()?;
            runtime.mark_good(body.version).await?;
            Ok(Answer::json(&json!({ "version": body.version })))
        }
        Operation::DrainRuntime => encoded(&runtime.drain(request.body_json::<DrainRequest>()?).await?),
        Operation::ListRuntimeShadows => encoded(&runtime.shadows(request.body_json::<ShadowQuery>()?).await?),
        Operation::ListRuntimeModels => encoded(&runtime.models().await?),
        _ => encoded(&runtime.table().await?),
    }
}

/// Straight to bytes: a batch of records is too large to be a tree of values on the way.
fn encoded(value: &impl Serialize) -> Result<Answer, Problem> {
    let body = serde_json::to_vec(value).map_err(|error| Problem::bad_request(error.to_string()))?;
    Ok(Answer { body, ..Answer::json(&json!(null)) })
}
