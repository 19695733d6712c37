//! Errors as `application/problem+json` (RFC 9457), and the one place that turns failures into statuses.
//!
//! `code` is stable: programs go by it. `detail` says what happened, `action` what to do about it.

use hanok_registry::{ErrorCode as RegistryCode, RegistryError};
use hanok_state::{ErrorCode, StateError};
use http::StatusCode;
use serde_json::{Value, json};

use crate::controller::ControlError;
use crate::declared::Problem as Fault;
use crate::port::PortError;

/// Most characters of a detail.
const LONGEST_DETAIL: usize = 1_000;

/// An error for a caller.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    pub(super) status: StatusCode,
    code: &'static str,
    detail: String,
    action: &'static str,
    more: Vec<(&'static str, Value)>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>, action: &'static str) -> Self {
        let mut detail = detail.into();
        // It may hold what somebody sent, of any length.
        if let Some((end, _)) = detail.char_indices().nth(LONGEST_DETAIL) {
            detail.truncate(end);
            detail.push_str("...");
        }
        Self { status, code, detail, action, more: Vec::new() }
    }

    pub(super) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid-argument", detail, "correct the request")
    }

    pub(super) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", detail, "list what exists, and correct the name")
    }

    fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.more.push((name, value.into()));
        self
    }

    /// Several faults of what was sent.
    pub(super) fn faults(faults: &[Fault]) -> Self {
        let detail = format!("the declaration has `{}` problems", faults.len());
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid-declaration", detail, "correct every listed problem")
            .with("problems", json!(faults))
    }

    pub(super) fn to_json(&self) -> Value {
        let mut document = json!({
            "type": format!("urn:hanok:problem:{}", self.code),
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "status": self.status.as_u16(),
            "code": self.code,
            "detail": self.detail,
            "action": self.action,
        });
        if let Some(members) = document.as_object_mut() {
            members.extend(self.more.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        }
        document
    }
}

impl From<StateError> for Problem {
    fn from(error: StateError) -> Self {
        if let Some(detail) = error.operator_detail() {
            tracing::warn!(%error, detail, "the state store failed a call");
        }
        let (status, code, action) = match error.code() {
            ErrorCode::InvalidArgument => (StatusCode::BAD_REQUEST, "invalid-argument", "correct the request"),
            ErrorCode::NotFound => (StatusCode::NOT_FOUND, "not-found", "list what exists, and correct the name"),
            ErrorCode::AlreadyExists => (StatusCode::CONFLICT, "already-exists", "use another id"),
            ErrorCode::Conflict => (StatusCode::CONFLICT, "conflict", "read again, then decide again"),
            ErrorCode::Fenced => (StatusCode::SERVICE_UNAVAILABLE, "not-leader", "ask the replica that acts"),
            ErrorCode::ResourceExhausted => {
                (StatusCode::INSUFFICIENT_STORAGE, "resource-exhausted", "free space, or wait")
            }
            ErrorCode::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "try again"),
            ErrorCode::OutcomeUnknown => {
                (StatusCode::SERVICE_UNAVAILABLE, "outcome-unknown", "read what is there, then try again")
            }
            ErrorCode::Unsupported => (StatusCode::NOT_IMPLEMENTED, "unsupported", "see the operator's log"),
            ErrorCode::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal", "see the operator's log"),
        };
        Self::new(status, code, error.to_string(), action)
    }
}

impl From<RegistryError> for Problem {
    fn from(error: RegistryError) -> Self {
        if let Some(detail) = error.operator_detail() {
            tracing::warn!(%error, detail, "the registry failed a call");
        }
        let (status, code, action) = match error.code() {
            RegistryCode::InvalidArgument => (StatusCode::BAD_REQUEST, "invalid-argument", "correct the request"),
            RegistryCode::NotFound => (StatusCode::NOT_FOUND, "not-found", "list what exists, and correct the name"),
            RegistryCode::AlreadyExists => (StatusCode::CONFLICT, "already-exists", "use another name"),
            RegistryCode::Conflict => (StatusCode::CONFLICT, "conflict", "read again, then decide again"),
            RegistryCode::FailedPrecondition => {
                (StatusCode::CONFLICT, "failed-precondition", "do what the detail says is missing, then try again")
            }
            RegistryCode::ResourceExhausted => {
                (StatusCode::INSUFFICIENT_STORAGE, "resource-exhausted", "free space, or raise the limit")
            }
            RegistryCode::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "try again"),
            RegistryCode::OutcomeUnknown => {
                (StatusCode::SERVICE_UNAVAILABLE, "outcome-unknown", "read what is there, then try again")
            }
            RegistryCode::DataLoss => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "data-loss",
                "run `hanok registry verify`, and restore what is damaged",
            ),
            RegistryCode::Unsupported => (StatusCode::NOT_IMPLEMENTED, "unsupported", "see the operator's log"),
            RegistryCode::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal", "see the operator's log"),
        };
        Self::new(status, code, error.to_string(), action)
    }
}

impl From<ControlError> for Problem {
    fn from(error: ControlError) -> Self {
        let detail = error.to_string();
        match error {
            ControlError::Problems(faults) => Self::faults(&faults),
            ControlError::RevisionMismatch { expected, found } => {
                let action = "plan again on the present revision";
                Self::new(StatusCode::PRECONDITION_FAILED, "revision-mismatch", detail, action)
                    .with("expected", expected)
                    .with("found", found)
            }
            ControlError::NotFound { .. } => Self::not_found(detail),
            ControlError::Refused(_) => Self::new(StatusCode::CONFLICT, "refused", detail, "see the detail"),
            ControlError::KeyReused => {
                let action = "use a new key for a new request";
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "idempotency-key-reused", detail, action)
            }
            ControlError::NotLeader { holder } => {
                let action = "ask the replica that acts";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "not-leader", detail, action).with("leader", holder)
            }
            ControlError::NotRecorded { .. } => {
                let action = "traffic is safe; mend the store, then use the kill switch again to have it recorded";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "not-recorded", detail, action)
            }
            ControlError::Store(error) => error.into(),
            ControlError::Stored { .. } => {
                let action = "it was written by another version; go back to that one, or restore a backup";
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "stored-unreadable", detail, action)
            }
            ControlError::Busy => Self::new(StatusCode::TOO_MANY_REQUESTS, "busy", detail, "try again"),
            ControlError::Stopped => Self::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", detail, "try again"),
        }
    }
}

impl From<PortError> for Problem {
    fn from(error: PortError) -> Self {
        let (status, code) = match &error {
            PortError::Conflict { .. } | PortError::NotNew { .. } => (StatusCode::CONFLICT, "table-conflict"),
            PortError::Invalid(_) => (StatusCode::UNPROCESSABLE_ENTITY, "invalid-table"),
            PortError::UnknownVersion { .. } | PortError::NoGoodTable => (StatusCode::NOT_FOUND, "no-such-table"),
            PortError::Unreachable(_) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            PortError::Unauthorised => (StatusCode::BAD_GATEWAY, "bad-gateway"),
            PortError::Protocol(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        };
        Self::new(status, code, error.to_string(), "read the table in force, then decide again")
            .with("runtime_error", json!(error))
    }
}
