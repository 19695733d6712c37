//! Shadows of every runtime, asked for at once.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::timeout;

use super::problem::Problem;
use super::request::{AdminRequest, Answer};
use super::routes::ControlOffer;
use crate::port::{MOST_EXAMPLES, PortError, RuntimePort, ShadowQuery};

/// How long a runtime may take. One that takes longer is told of as failing; the others' shadows are shown.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a person asks for, from the query of the request.
fn query(request: &AdminRequest) -> Result<ShadowQuery, Problem> {
    request.only_parameters(&["model", "examples"])?;
    let examples = request.number("examples", 10)?;
    let examples = usize::try_from(examples).ok().filter(|&examples| examples <= MOST_EXAMPLES).ok_or_else(|| {
        Problem::bad_request(format!("`examples`: expected 0 to `{MOST_EXAMPLES}`, got `{examples}`"))
    })?;
    Ok(ShadowQuery { model: request.parameter("model").map(str::to_owned), examples })
}

pub(super) async fn list(control: &ControlOffer, request: &AdminRequest) -> Result<Answer, Problem> {
    let query = query(request)?;
    let ask = |runtime: &Arc<dyn RuntimePort>| {
        let (runtime, query) = (Arc::clone(runtime), query.clone());
        async move {
            let late = || Err(PortError::Unreachable(format!("no answer within {} s", PATIENCE.as_secs())));
            match timeout(PATIENCE, runtime.shadows(query)).await.unwrap_or_else(|_| late()) {
                Ok(shadows) => json!({ "runtime": runtime.name(), "shadows": shadows }),
                Err(error) => json!({ "runtime": runtime.name(), "error": error.to_string() }),
            }
        }
    };
    let asked: Vec<_> = control.runtimes.iter().map(|runtime| tokio::spawn(ask(runtime))).collect();
    let mut answers: Vec<Value> = Vec::with_capacity(asked.len());
    for answer in asked {
        answers.push(answer.await.map_err(|error| Problem::bad_request(error.to_string()))?);
    }
    Ok(Answer::json(&json!({ "runtimes": answers })))
}
