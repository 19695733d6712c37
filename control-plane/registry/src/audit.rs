//! The log of every change, written in the transaction that makes the change. Records are never edited or removed.

use hanok_state::Timestamp;
use rusqlite::{Row, Transaction, params};
use serde::Serialize;
use serde_json::Value;

use crate::error::RegistryError;
use crate::rows::{column_error, count, number, time};
use crate::version::Actor;

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// A model was made.
    ModelCreated,
    /// A model's rules were replaced.
    PolicySet,
    /// A version was registered.
    VersionRegistered,
    /// The files of an evicted version came back.
    VersionRestored,
    /// A version's files were removed to make room.
    VersionEvicted,
    /// A version went to another stage.
    StageChanged,
    /// An alias was made, moved or removed.
    AliasMoved,
    /// Somebody approved or rejected a version.
    ApprovalRecorded,
}

impl Action {
    const ALL: [Self; 8] = [
        Self::ModelCreated,
        Self::PolicySet,
        Self::VersionRegistered,
        Self::VersionRestored,
        Self::VersionEvicted,
        Self::StageChanged,
        Self::AliasMoved,
        Self::ApprovalRecorded,
    ];

    /// As it is written, such as `stage_changed`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ModelCreated => "model_created",
            Self::PolicySet => "policy_set",
            Self::VersionRegistered => "version_registered",
            Self::VersionRestored => "version_restored",
            Self::VersionEvicted => "version_evicted",
            Self::StageChanged => "stage_changed",
            Self::AliasMoved => "alias_moved",
            Self::ApprovalRecorded => "approval_recorded",
        }
    }
}

/// One change.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LogRecord {
    /// Its place, from 1, without a gap.
    pub sequence: u64,
    /// When.
    #[serde(serialize_with = "crate::version::rfc3339")]
    pub at: Timestamp,
    /// Who.
    pub actor: String,
    /// What.
    pub action: Action,
    /// The model.
    pub model: String,
    /// The version, where one is concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub number: Option<u64>,
    /// Before and after, or what else there is to say.
    pub detail: Value,
}

pub(crate) fn record(
    transaction: &Transaction<'_>,
    actor: &Actor,
    action: Action,
    model: &str,
    version: Option<u64>,
    detail: &Value,
) -> Result<(), RegistryError> {
    let next: i64 = transaction.query_row("SELECT COALESCE(MAX(sequence), 0) + 1 FROM log", [], |row| row.get(0))?;
    let version = version.map(number).transpose()?;
    let values =
        params![next, actor.now.unix_millis(), actor.name, action.as_str(), model, version, detail.to_string()];
    transaction.prepare_cached("INSERT INTO log VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?.execute(values)?;
    Ok(())
}

/// At most `limit` records after `after`, oldest first; with `model`, its records only.
pub(crate) fn read(
    transaction: &Transaction<'_>,
    model: Option<&str>,
    after: u64,
    limit: usize,
) -> Result<Vec<LogRecord>, RegistryError> {
    let statement = "SELECT sequence, at, actor, action, model, number, detail FROM log
        WHERE sequence > ?1 AND (?2 IS NULL OR model = ?2) ORDER BY sequence LIMIT ?3";
    let mut prepared = transaction.prepare_cached(statement)?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let records = prepared.query_map(params![number(after)?, model, limit], log_record)?;
    Ok(records.collect::<Result<_, _>>()?)
}

fn log_record(row: &Row<'_>) -> rusqlite::Result<LogRecord> {
    let name: String = row.get(3)?;
    let action = Action::ALL.into_iter().find(|action| action.as_str() == name);
    Ok(LogRecord {
        sequence: count(row, 0)?,
        at: time(row, 1)?,
        actor: row.get(2)?,
        action: action.ok_or_else(|| column_error(3, format!("unknown action `{name}`")))?,
        model: row.get(4)?,
        number: row.get::<_, Option<i64>>(5)?.map(|_| count(row, 5)).transpose()?,
        detail: serde_json::from_str(&row.get::<_, String>(6)?).map_err(|error| column_error(6, error.to_string()))?,
    })
}
