//! Records of the journal: CloudEvents 1.0 (CNCF specification v1.0.2) with JSON data.
//!
//! Not here: binary mode, batches, `dataschema`, and sending. One extension attribute is ours to give: `sequence` of the
//! specification's Sequence extension, a decimal text padded to twenty digits so that it sorts as text. The optional
//! `sequencetype` is left out: its only defined value means 32-bit numbers.

use serde_json::{Map, Value};

use crate::error::StateError;
use crate::limits::{check_name, check_optional_name, check_time, encode_document};
use crate::timestamp::Timestamp;
use crate::versions::Sequence;

/// The content type of every record's data.
const JSON: &str = "application/json";

/// An event before it is recorded. `source` and `id` together name it for ever: one decision, one id.
#[derive(Clone, Debug, PartialEq)]
pub struct CloudEvent {
    /// Unique within the source.
    pub id: String,
    /// What the event is from: a URI reference, such as `/hanok/rollouts/flight_delay`.
    pub source: String,
    /// What happened, such as `io.hanok.rollout.step.advanced`.
    pub event_type: String,
    /// What it happened to, if that is narrower than the source.
    pub subject: Option<String>,
    /// When it happened; at most [`CLOCK_SKEW_MILLIS`](crate::CLOCK_SKEW_MILLIS) ahead of the call's `now`.
    pub time: Timestamp,
    /// What else there is to know: JSON of at most [`DOCUMENT_BYTES`](crate::DOCUMENT_BYTES).
    pub data: Option<Value>,
}

/// An event with its place in the journal.
#[derive(Clone, Debug, PartialEq)]
pub struct JournalRecord {
    /// Position: from 1, without a gap.
    pub sequence: Sequence,
    /// `now` of the call that recorded it; retention by age goes by this.
    pub recorded_at: Timestamp,
    /// The event itself.
    pub event: CloudEvent,
}

/// An event that passed its checks, with its data as text.
#[derive(Debug)]
pub(crate) struct CheckedEvent {
    pub(crate) event: CloudEvent,
    pub(crate) data: Option<String>,
}

impl CheckedEvent {
    pub(crate) fn check(event: CloudEvent, now: Timestamp) -> Result<Self, StateError> {
        check_name("event id", &event.id)?;
        check_name("event source", &event.source)?;
        if event.source.contains(|character: char| character.is_whitespace() || "<>\"{}|\\^`".contains(character)) {
            return Err(StateError::invalid("event source", "expected a URI reference (RFC 3986)"));
        }
        check_name("event type", &event.event_type)?;
        check_optional_name("event subject", event.subject.as_deref())?;
        check_time("event time", event.time, now)?;
        let data = event.data.as_ref().map(|data| encode_document("event data", data)).transpose()?;
        Ok(Self { event, data })
    }

    /// Bytes of text that the record takes; what retention by size counts.
    pub(crate) fn bytes(&self) -> usize {
        let event = &self.event;
        event.id.len()
            + event.source.len()
            + event.event_type.len()
            + event.subject.as_ref().map_or(0, String::len)
            + self.data.as_ref().map_or(0, String::len)
    }
}

impl JournalRecord {
    /// The record in structured JSON mode (`application/cloudevents+json`), ready to be sent.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let event = &self.event;
        let mut members = Map::new();
        let mut text = |name: &str, value: String| members.insert(name.to_owned(), Value::String(value));
        text("specversion", "1.0".to_owned());
        text("id", event.id.clone());
        text("source", event.source.clone());
        text("type", event.event_type.clone());
        if let Some(subject) = &event.subject {
            text("subject", subject.clone());
        }
        text("time", event.time.to_string());
        text("sequence", format!("{:020}", self.sequence.0));
        if let Some(data) = &event.data {
            text("datacontenttype", JSON.to_owned());
            members.insert("data".to_owned(), data.clone());
        }
        Value::Object(members)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use super::*;

    fn event() -> CloudEvent {
        CloudEvent {
            id: "step-3".to_owned(),
            source: "/hanok/rollouts/flight_delay".to_owned(),
            event_type: "io.hanok.rollout.step.advanced".to_owned(),
            subject: Some("canary".to_owned()),
            time: Timestamp::from_unix_millis(1_709_208_000_123).unwrap(),
            data: Some(serde_json::json!({"weight": 0.25})),
        }
    }

    #[test]
    fn is_written_in_structured_mode() {
        let record = JournalRecord { sequence: Sequence(42), recorded_at: event().time, event: event() };
        assert_eq!(
            record.to_json(),
            serde_json::json!({
                "specversion": "1.0", "id": "step-3", "source": "/hanok/rollouts/flight_delay",
                "type": "io.hanok.rollout.step.advanced", "subject": "canary", "time": "2024-02-29T12:00:00.123Z",
                "sequence": "00000000000000000042", "datacontenttype": "application/json", "data": {"weight": 0.25},
            })
        );
        let bare = JournalRecord { event: CloudEvent { subject: None, data: None, ..event() }, ..record };
        let members = bare.to_json();
        assert!(["subject", "data", "datacontenttype"].iter().all(|name| members.get(name).is_none()));
    }

    #[test]
    fn refuses_what_the_specification_forbids() {
        let now = event().time;
        CheckedEvent::check(event(), now).unwrap();
        let refused = [
            CloudEvent { id: String::new(), ..event() },
            CloudEvent { source: String::new(), ..event() },
            CloudEvent { source: "two words".to_owned(), ..event() },
            CloudEvent { event_type: String::new(), ..event() },
            CloudEvent { subject: Some(String::new()), ..event() },
            CloudEvent { id: "x".repeat(1 << 20), ..event() },
            CloudEvent { time: now.plus_millis(86_400_000), ..event() },
        ];
        for event in refused {
            assert!(CheckedEvent::check(event, now).is_err());
        }
    }
}
