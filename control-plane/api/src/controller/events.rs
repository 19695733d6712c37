//! The records that the control plane writes into the journal: their types, sources and ids in one place.
//!
//! Invariant: the id of a record follows from what happened, never from when or how often it was tried.

use hanok_rollout::Decision;
use hanok_state::{CloudEvent, Timestamp};
use serde_json::{Value, json};

use super::apply::Reconciliation;
use super::judge::Judge;
use crate::declared::ResourceKey;
use crate::port::HealthRecord;
use crate::reconcile::DeclaredRecord;

/// Resources were applied or restored.
pub(super) fn applied(
    revision: u64,
    (author, from): (&str, Option<&Reconciliation>),
    summary: &[Value],
    now: Timestamp,
) -> CloudEvent {
    let mut data = json!({ "revision": revision, "author": author, "changes": summary });
    if let (Some(from), Some(members)) = (from, data.as_object_mut()) {
        let source = json!({ "cause": from.cause, "origin": from.origin, "ordered_by": from.ordered_by });
        members.insert("source".to_owned(), source);
    }
    CloudEvent {
        id: format!("revision/{revision}"),
        source: "/hanok/resources".to_owned(),
        event_type: "io.hanok.resources.applied".to_owned(),
        subject: Some(format!("revision {revision}")),
        time: now,
        data: Some(data),
    }
}

/// Resources that were in force became a place's own, with the `number`th record of what was taken.
pub(super) fn adopted(number: u64, record: &DeclaredRecord, adopted: &[ResourceKey], now: Timestamp) -> CloudEvent {
    let adopted = adopted.iter().map(|(kind, name)| json!({ "kind": kind, "name": name })).collect::<Vec<Value>>();
    CloudEvent {
        id: format!("adopted/{number}"),
        source: "/hanok/declared".to_owned(),
        event_type: "io.hanok.declared.adopted".to_owned(),
        subject: record.origin.commit.as_ref().map(|commit| commit.id.clone()),
        time: now,
        data: Some(json!({ "origin": record.origin, "revision": record.revision, "adopted": adopted })),
    }
}

/// A rollout decided, or a person did.
pub(super) fn decided(judge: &Judge, decision: &Decision, author: Option<&str>, now: Timestamp) -> CloudEvent {
    let action = serde_json::to_value(decision.action).unwrap_or_default();
    CloudEvent {
        id: decision.id.clone(),
        source: format!("/hanok/rollouts/{}", judge.name),
        event_type: format!("io.hanok.rollout.{}", action.as_str().unwrap_or("decided")),
        subject: Some(judge.stored.model.clone()),
        time: Timestamp::default().plus_millis(decision.at.0).min(now),
        data: Some(json!({ "decision": decision, "author": author })),
    }
}

/// A bandit moved its weights for the `number`th time.
pub(super) fn moved_weights(judge: &Judge, number: u64, data: Value, now: Timestamp) -> CloudEvent {
    CloudEvent {
        id: format!("{}/{number:06}", judge.stored.run),
        source: format!("/hanok/bandits/{}", judge.name),
        event_type: "io.hanok.bandit.weights".to_owned(),
        subject: Some(judge.stored.model.clone()),
        time: now,
        data: Some(data),
    }
}

/// A table was put in force that no judge decided: by the kill switch, or over a runtime's own.
pub(super) fn table(id: String, event_type: &str, data: Value, now: Timestamp) -> CloudEvent {
    CloudEvent {
        id,
        source: "/hanok/traffic".to_owned(),
        event_type: event_type.to_owned(),
        subject: None,
        time: now,
        data: Some(data),
    }
}

/// An arm's health changed on a runtime, as its record at this position says.
pub(super) fn health(
    runtime: &str,
    (epoch, position): (u64, u64),
    record: &HealthRecord,
    now: Timestamp,
) -> CloudEvent {
    CloudEvent {
        id: format!("{epoch}/{position}"),
        source: format!("/hanok/runtimes/{}", plain(runtime)),
        event_type: "io.hanok.arm.health".to_owned(),
        subject: Some(record.arm.public_model.to_string()),
        // A runtime's clock may be ahead; the store refuses the future.
        time: Timestamp::default().plus_millis(record.at_microseconds / 1_000).min(now),
        data: Some(json!({
            "runtime": runtime,
            "public_model": record.arm.public_model,
            "arm": record.arm.name,
            "from": record.from,
            "to": record.to,
        })),
    }
}

/// A text in which everything that does not belong into a path of a URI is `-`.
fn plain(text: &str) -> String {
    let fits = |character: char| character.is_ascii_alphanumeric() || "._~-".contains(character);
    text.chars().map(|character| if fits(character) { character } else { '-' }).collect()
}
