//! Reporting outcomes by request id: one, an array, or lines of JSON; a receipt for each, in order.

use hanok_state::{BATCH_ROWS, Outcome, OutcomeReceipt, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use super::problem::Problem;
use super::request::{AdminRequest, Answer};
use super::routes::ControlOffer;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OutcomeBody {
    request_id: String,
    metric: String,
    value: f64,
    /// RFC 3339, or milliseconds since the epoch; now where absent.
    #[serde(default)]
    observed_at: Option<Instant>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Instant {
    Millis(i64),
    Text(String),
}

pub(super) async fn report(control: &ControlOffer, request: &AdminRequest) -> Result<Answer, Problem> {
    request.only_parameters(&[])?;
    let now = Timestamp::default().plus_millis(control.clock.now_millis());
    let items = items(request)?;
    if items.is_empty() || items.len() > BATCH_ROWS {
        return Err(Problem::bad_request(format!("expected 1 to `{BATCH_ROWS}` outcomes, got `{}`", items.len())));
    }
    let read: Vec<Result<Outcome, String>> = items.into_iter().map(|item| outcome(item, now)).collect();
    let valid: Vec<Outcome> = read.iter().filter_map(|one| one.as_ref().ok().cloned()).collect();
    let receipts = if valid.is_empty() { Vec::new() } else { control.store.record_outcomes(valid, now).await? };
    let mut receipts = receipts.into_iter();
    let shown = read.into_iter().map(|one| match one {
        Ok(_) => receipts.next().map_or(Value::Null, |receipt| shown(&receipt)),
        Err(reason) => json!({ "status": "invalid", "detail": reason }),
    });
    Ok(Answer::json(&json!({ "receipts": shown.collect::<Vec<_>>() })))
}

/// Each outcome, or why it could not be read. Only a body that is no JSON at all is refused whole.
fn items(request: &AdminRequest) -> Result<Vec<Result<Value, String>>, Problem> {
    if request.is_ndjson() {
        let lines = request.body_text()?.lines().filter(|line| !line.trim().is_empty());
        return Ok(lines.map(|line| serde_json::from_str(line).map_err(|error| error.to_string())).collect());
    }
    Ok(match request.body_json::<Value>()? {
        Value::Array(items) => items.into_iter().map(Ok).collect(),
        item => vec![Ok(item)],
    })
}

fn outcome(item: Result<Value, String>, now: Timestamp) -> Result<Outcome, String> {
    let body: OutcomeBody = serde_json::from_value(item?).map_err(|error| error.to_string())?;
    let observed_at = match body.observed_at {
        None => now,
        Some(Instant::Millis(millis)) => Timestamp::from_unix_millis(millis).map_err(|error| error.to_string())?,
        Some(Instant::Text(text)) => Timestamp::from_rfc3339(&text).map_err(|error| error.to_string())?,
    };
    Ok(Outcome { request_id: body.request_id, metric: body.metric, value: body.value, observed_at })
}

fn shown(receipt: &OutcomeReceipt) -> Value {
    match receipt {
        OutcomeReceipt::Joined(sequence) => json!({ "status": "joined", "pair": sequence.0 }),
        OutcomeReceipt::Held => json!({ "status": "held" }),
        OutcomeReceipt::Duplicate => json!({ "status": "duplicate" }),
        OutcomeReceipt::Conflicting { recorded } => json!({ "status": "conflicting", "recorded": recorded }),
        OutcomeReceipt::TooLate => json!({ "status": "too_late" }),
        OutcomeReceipt::NoRoom { limit } => json!({ "status": "no_room", "limit": limit }),
        OutcomeReceipt::Invalid(error) => json!({ "status": "invalid", "detail": error.to_string() }),
    }
}

pub(super) async fn count(control: &ControlOffer, request: &AdminRequest) -> Result<Answer, Problem> {
    request.only_parameters(&[])?;
    let counts = control.store.outcome_counts().await?;
    Ok(Answer::json(&json!({
        "served": counts.served,
        "served_duplicates": counts.served_duplicates,
        "served_evicted": counts.served_evicted,
        "served_refused": counts.served_refused,
        "served_buffered": counts.served_buffered,
        "joined": counts.joined,
        "waiting": counts.waiting,
        "expired": counts.expired,
        "too_late": counts.too_late,
    })))
}
