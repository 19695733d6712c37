//! Rows and the values that they stand for. Every function runs inside a transaction that somebody else opened.

use std::collections::BTreeMap;

use hanok_state::Timestamp;
use rusqlite::types::Type;
use rusqlite::{OptionalExtension, Row, Transaction, params};

use crate::digest::Digest;
use crate::error::RegistryError;
use crate::manifest::{FileContent, Manifest};
use crate::names::{Selector, VersionName, VersionReference};
use crate::policy::Approval;
use crate::stage::Stage;
use crate::version::{Lineage, LineageStep, Model, Version};

/// A number as SQLite keeps it.
pub(crate) fn number(value: u64) -> Result<i64, RegistryError> {
    i64::try_from(value).map_err(|_| RegistryError::invalid("number", format!("expected below 2^63, got `{value}`")))
}

pub(crate) fn column_error(column: usize, reason: String) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, reason.into())
}

pub(crate) fn time(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    Timestamp::from_unix_millis(row.get(column)?).map_err(|error| column_error(column, error.to_string()))
}

/// A number that is not negative.
pub(crate) fn count(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column)?.try_into().map_err(|_| column_error(column, "a negative number".to_owned()))
}

fn parsed<T: std::str::FromStr<Err = RegistryError>>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    row.get::<_, String>(column)?.parse().map_err(|error: RegistryError| column_error(column, error.to_string()))
}

fn json<T: serde::de::DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    serde_json::from_str(&row.get::<_, String>(column)?).map_err(|error| column_error(column, error.to_string()))
}

pub(crate) fn model(transaction: &Transaction<'_>, name: &str) -> Result<Model, RegistryError> {
    let found = transaction
        .prepare_cached("SELECT name, policy, newest, created_at FROM models WHERE name = ?1")?
        .query_row([name], model_row)
        .optional()?;
    let mut model = found.ok_or_else(|| RegistryError::not_found("model", name))?;
    model.aliases = aliases(transaction, name)?;
    Ok(model)
}

pub(crate) fn models(transaction: &Transaction<'_>) -> Result<Vec<Model>, RegistryError> {
    let mut prepared =
        transaction.prepare_cached("SELECT name, policy, newest, created_at FROM models ORDER BY name")?;
    let mut models = prepared.query_map([], model_row)?.collect::<Result<Vec<_>, _>>()?;
    for model in &mut models {
        model.aliases = aliases(transaction, &model.name)?;
    }
    Ok(models)
}

fn model_row(row: &Row<'_>) -> rusqlite::Result<Model> {
    let created_at = time(row, 3)?;
    Ok(Model {
        name: row.get(0)?,
        policy: json(row, 1)?,
        versions: count(row, 2)?,
        created_at,
        aliases: BTreeMap::new(),
    })
}

fn aliases(transaction: &Transaction<'_>, model: &str) -> Result<BTreeMap<String, u64>, RegistryError> {
    let mut prepared = transaction.prepare_cached("SELECT alias, number FROM aliases WHERE model = ?1")?;
    let rows = prepared.query_map([model], |row| Ok((row.get(0)?, count(row, 1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(crate) fn alias(transaction: &Transaction<'_>, model: &str, alias: &str) -> Result<Option<u64>, RegistryError> {
    let mut prepared = transaction.prepare_cached("SELECT number FROM aliases WHERE model = ?1 AND alias = ?2")?;
    Ok(prepared.query_row([model, alias], |row| count(row, 0)).optional()?)
}

const VERSION: &str = "SELECT v.model, v.number, v.digest, m.bytes, v.facts, v.stage, v.present, v.registered_at,
    v.registered_by, v.used_at FROM versions v JOIN manifests m ON m.digest = v.digest";

/// The versions of a model, or all, by model and number.
pub(crate) fn versions(transaction: &Transaction<'_>, model: Option<&str>) -> Result<Vec<Version>, RegistryError> {
    let statement = format!("{VERSION} WHERE ?1 IS NULL OR v.model = ?1 ORDER BY v.model, v.number");
    let mut prepared = transaction.prepare_cached(&statement)?;
    let mut versions = prepared.query_map([model], version_row)?.collect::<Result<Vec<_>, _>>()?;
    let mut all = transaction.prepare_cached("SELECT model, number, alias FROM aliases ORDER BY alias")?;
    let pointing =
        all.query_map([], |row| Ok((VersionName { model: row.get(0)?, number: count(row, 1)? }, row.get(2)?)))?;
    let mut aliases: BTreeMap<VersionName, Vec<String>> = BTreeMap::new();
    for pair in pointing {
        let (name, alias) = pair?;
        aliases.entry(name).or_default().push(alias);
    }
    for version in &mut versions {
        version.aliases = aliases.remove(&version.name).unwrap_or_default();
    }
    Ok(versions)
}

/// The version that is meant.
pub(crate) fn version(transaction: &Transaction<'_>, meant: &VersionReference) -> Result<Version, RegistryError> {
    let model = model(transaction, &meant.model)?;
    let chosen = match &meant.selector {
        Selector::Newest => model.versions,
        Selector::Number(number) => *number,
        Selector::Alias(alias) => {
            *model.aliases.get(alias).ok_or_else(|| RegistryError::not_found("alias", meant.to_string()))?
        }
    };
    let found = transaction
        .prepare_cached(&format!("{VERSION} WHERE v.model = ?1 AND v.number = ?2"))?
        .query_row(params![meant.model, number(chosen)?], version_row)
        .optional()?;
    let mut version = found.ok_or_else(|| RegistryError::not_found("version", format!("{}/{chosen}", meant.model)))?;
    version.aliases = model.aliases.into_iter().filter(|(_, at)| *at == chosen).map(|(alias, _)| alias).collect();
    Ok(version)
}

fn version_row(row: &Row<'_>) -> rusqlite::Result<Version> {
    Ok(Version {
        name: VersionName { model: row.get(0)?, number: count(row, 1)? },
        digest: parsed(row, 2)?,
        bytes: count(row, 3)?,
        facts: json(row, 4)?,
        stage: parsed(row, 5)?,
        present: row.get(6)?,
        registered_at: time(row, 7)?,
        registered_by: row.get(8)?,
        used_at: time(row, 9)?,
        aliases: Vec::new(),
    })
}

pub(crate) fn manifest(transaction: &Transaction<'_>, digest: &Digest) -> Result<Manifest, RegistryError> {
    let mut prepared = transaction.prepare_cached("SELECT path, blob, bytes FROM files WHERE manifest = ?1")?;
    let files = prepared.query_map([digest.hex()], |row| {
        Ok((row.get(0)?, FileContent { digest: parsed(row, 1)?, bytes: count(row, 2)? }))
    })?;
    let files = files.collect::<Result<_, _>>()?;
    Manifest::new(files).map_err(|error| RegistryError::corrupt(format!("manifest {digest}: {error}")))
}

/// Whether a version whose files are here has this content.
pub(crate) fn is_needed(transaction: &Transaction<'_>, blob: &Digest) -> Result<bool, RegistryError> {
    let statement = "SELECT EXISTS (SELECT 1 FROM files f JOIN versions v ON v.digest = f.manifest
        WHERE f.blob = ?1 AND v.present = 1)";
    Ok(transaction.prepare_cached(statement)?.query_row([blob.hex()], |row| row.get(0))?)
}

/// Notes that a version's source told this revision of it.
pub(crate) fn add_revision(
    transaction: &Transaction<'_>,
    name: &VersionName,
    revision: &Digest,
) -> Result<(), RegistryError> {
    let values = params![name.model, number(name.number)?, revision.hex()];
    transaction.execute("INSERT INTO revisions VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING", values)?;
    Ok(())
}

/// The newest version from this pinned reference with this revision, if its files are here.
pub(crate) fn with_revision(
    transaction: &Transaction<'_>,
    model: &str,
    pinned: &str,
    revision: &Digest,
) -> Result<Option<u64>, RegistryError> {
    let statement = "SELECT v.number FROM versions v JOIN revisions r ON r.model = v.model AND r.number = v.number
        WHERE v.model = ?1 AND v.pinned = ?2 AND r.revision = ?3 AND v.present = 1 ORDER BY v.number DESC LIMIT 1";
    let found = transaction.query_row(statement, params![model, pinned, revision.hex()], |row| count(row, 0));
    Ok(found.optional()?)
}

pub(crate) fn approvals(transaction: &Transaction<'_>, name: &VersionName) -> Result<Vec<Approval>, RegistryError> {
    let statement = "SELECT stage, verdict, author, at, checks, note FROM approvals
        WHERE model = ?1 AND number = ?2 ORDER BY id";
    let mut prepared = transaction.prepare_cached(statement)?;
    let rows = prepared.query_map(params![name.model, number(name.number)?], |row| {
        Ok(Approval {
            stage: parsed(row, 0)?,
            verdict: json(row, 1)?,
            by: row.get(2)?,
            at: time(row, 3)?,
            checks: json(row, 4)?,
            note: row.get(5)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Everything that the version was made from, and everything made from it. Parents exist before their children, so this
/// ends.
pub(crate) fn lineage(transaction: &Transaction<'_>, name: &VersionName) -> Result<Lineage, RegistryError> {
    // `UNION` instead of `UNION ALL`: a version that is reached twice is followed once.
    let ancestors = "WITH RECURSIVE reached (model, number) AS (VALUES (?1, ?2) UNION
        SELECT p.parent_model, p.parent_number FROM parents p JOIN reached r ON p.model = r.model AND p.number = r.number)
        SELECT p.model, p.number, p.parent_model, p.parent_number
        FROM parents p JOIN reached r ON p.model = r.model AND p.number = r.number";
    let descendants = "WITH RECURSIVE reached (model, number) AS (VALUES (?1, ?2) UNION
        SELECT p.model, p.number FROM parents p
        JOIN reached r ON p.parent_model = r.model AND p.parent_number = r.number)
        SELECT p.model, p.number, p.parent_model, p.parent_number
        FROM parents p JOIN reached r ON p.parent_model = r.model AND p.parent_number = r.number";
    let steps = |statement: &str| -> Result<Vec<LineageStep>, RegistryError> {
        let mut prepared = transaction.prepare_cached(statement)?;
        let rows = prepared.query_map(params![name.model, number(name.number)?], |row| {
            Ok(LineageStep {
                child: VersionName { model: row.get(0)?, number: count(row, 1)? },
                parent: VersionName { model: row.get(2)?, number: count(row, 3)? },
            })
        })?;
        let mut steps = rows.collect::<Result<Vec<_>, _>>()?;
        steps.sort();
        Ok(steps)
    };
    Ok(Lineage { ancestors: steps(ancestors)?, descendants: steps(descendants)? })
}

/// The stage that a version is in, for a change of it.
pub(crate) fn set_stage(transaction: &Transaction<'_>, name: &VersionName, to: Stage) -> Result<(), RegistryError> {
    let values = params![to.as_str(), name.model, number(name.number)?];
    transaction.execute("UPDATE versions SET stage = ?1 WHERE model = ?2 AND number = ?3", values)?;
    Ok(())
}
