//! Routes of the journal: reading it from a place, and readers with a durable place of their own.

use hanok_state::{Cursor, CursorAdvance, PAGE_RECORDS, ReadFrom, Sequence, Stream, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use super::problem::Problem;
use super::request::{AdminRequest, Answer};
use super::routes::ControlOffer;

fn now(control: &ControlOffer) -> Timestamp {
    Timestamp::default().plus_millis(control.clock.now_millis())
}

pub(super) async fn read(control: &ControlOffer, request: &AdminRequest) -> Result<Answer, Problem> {
    request.only_parameters(&["after", "limit", "cursor"])?;
    let limit = usize::try_from(request.number("limit", 100)?).unwrap_or(PAGE_RECORDS + 1);
    let from = match request.parameter("cursor") {
        Some(_) if request.parameter("after").is_some() => {
            return Err(Problem::bad_request("expected `after` or `cursor`, got both"));
        }
        Some(cursor) => ReadFrom::Cursor(cursor.to_owned()),
        None => ReadFrom::After(Sequence(request.number("after", 0)?)),
    };
    let page = control.store.journal(from, limit).await?;
    Ok(Answer::json(&json!({
        "events": page.records.iter().map(hanok_state::JournalRecord::to_json).collect::<Vec<_>>(),
        "next": page.next.0,
        "last": page.last.0,
        "missed": page.missed,
    })))
}

fn shown(cursor: &Cursor) -> Value {
    json!({
        "name": cursor.name,
        "position": cursor.position.0,
        "missed": cursor.missed,
        "updated_at": cursor.updated_at.to_string(),
    })
}

pub(super) async fn list(control: &ControlOffer, request: &AdminRequest) -> Result<Answer, Problem> {
    request.only_parameters(&[])?;
    let cursors = control.store.cursors(Stream::Journal).await?;
    Ok(Answer::json(&json!({ "cursors": cursors.iter().map(shown).collect::<Vec<_>>() })))
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RegisterBody {
    #[serde(default)]
    after: u64,
}

pub(super) async fn register(control: &ControlOffer, request: &AdminRequest) -> Result<Answer, Problem> {
    request.only_parameters(&[])?;
    let body: RegisterBody = if request.body.is_empty() { RegisterBody::default() } else { request.body_json()? };
    let after = Sequence(body.after);
    let cursor = control.store.register_cursor(Stream::Journal, request.place(0), after, now(control)).await?;
    Ok(Answer::json(&shown(&cursor)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AdvanceBody {
    expected: u64,
    to: u64,
}

pub(super) async fn advance(control: &ControlOffer, request: &AdminRequest) -> Result<Answer, Problem> {
    request.only_parameters(&[])?;
    let body: AdvanceBody = request.body_json()?;
    let step = CursorAdvance {
        stream: Stream::Journal,
        name: request.place(0).to_owned(),
        expected: Sequence(body.expected),
        to: Sequence(body.to),
    };
    control.store.advance_cursor(step, now(control)).await?;
    Ok(Answer::json(&json!({ "name": request.place(0), "position": body.to })))
}

pub(super) async fn remove(control: &ControlOffer, request: &AdminRequest) -> Result<Answer, Problem> {
    request.only_parameters(&[])?;
    control.store.remove_cursor(Stream::Journal, request.place(0)).await?;
    Ok(Answer::json(&json!({ "name": request.place(0) })))
}
