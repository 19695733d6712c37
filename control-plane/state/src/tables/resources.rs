//! Collections of resources and all of their revisions.
//!
//! A resource has one row for each revision that changed it, so a revision costs what it changes and any set can be
//! read: per resource, the newest row that is not newer than the revision asked for.

use std::collections::BTreeMap;

use crate::error::StateError;
use crate::limits::{PAGE_RECORDS, decode_document};
use crate::resource::{Resource, ResourceSet, RevisionInfo};
use crate::sql::{Sql, Value, insert_rows, query_row};
use crate::timestamp::Timestamp;
use crate::transaction::{CheckedEdit, CheckedResourceWrite, RevisionAfter};
use crate::versions::Revision;

/// By kind and name, the revision of the last change and the text.
type Texts = BTreeMap<(String, String), (Revision, String)>;

pub(crate) fn revision(sql: &mut dyn Sql, collection: &str) -> Result<Revision, StateError> {
    let row = query_row(sql, "SELECT revision FROM collections WHERE name = $1", &[collection.into()])?;
    Ok(Revision(row.map_or(Ok(0), |row| row.number(0))?))
}

/// Refuses unless the collection is at `expected`.
pub(crate) fn expect(sql: &mut dyn Sql, collection: &str, expected: Revision) -> Result<(), StateError> {
    let found = revision(sql, collection)?;
    if found != expected {
        return Err(StateError::Conflict {
            what: "collection",
            name: collection.to_owned(),
            expected: expected.0,
            actual: found.0,
        });
    }
    Ok(())
}

/// The set at a revision, or the present one.
pub(crate) fn load(sql: &mut dyn Sql, collection: &str, at: Option<Revision>) -> Result<ResourceSet, StateError> {
    let revision = known_revision(sql, collection, at)?;
    let resources = texts(sql, collection, revision)?
        .into_iter()
        .map(|((kind, name), (changed_in, text))| {
            Ok(Resource { kind, name, changed_in, document: decode_document(&text)? })
        })
        .collect::<Result<_, StateError>>()?;
    Ok(ResourceSet { revision, resources })
}

fn known_revision(sql: &mut dyn Sql, collection: &str, at: Option<Revision>) -> Result<Revision, StateError> {
    let newest = revision(sql, collection)?;
    match at {
        None => Ok(newest),
        Some(at) if at <= newest => Ok(at),
        Some(at) => Err(StateError::NotFound { what: "revision", name: format!("{collection}/{at}") }),
    }
}

fn texts(sql: &mut dyn Sql, collection: &str, at: Revision) -> Result<Texts, StateError> {
    let statement = "SELECT r.kind, r.name, r.revision, r.document FROM resource_names n
        JOIN resources r ON r.collection = n.collection AND r.kind = n.kind AND r.name = n.name
            AND r.revision = (SELECT MAX(o.revision) FROM resources o WHERE o.collection = n.collection
                AND o.kind = n.kind AND o.name = n.name AND o.revision <= $1)
        WHERE n.collection = $2 AND r.document IS NOT NULL";
    sql.query(statement, &[at.into(), collection.into()])?
        .iter_mut()
        .map(|row| Ok(((row.text(0)?, row.text(1)?), (Revision(row.number(2)?), row.text(3)?))))
        .collect()
}

/// The present text of one resource.
fn text(sql: &mut dyn Sql, collection: &str, kind: &str, name: &str) -> Result<Option<String>, StateError> {
    let statement = "SELECT document FROM resources WHERE collection = $1 AND kind = $2 AND name = $3
        ORDER BY revision DESC LIMIT 1";
    query_row(sql, statement, &[collection.into(), kind.into(), name.into()])?
        .map_or(Ok(None), |mut row| row.optional_text(0))
}

/// Revisions before `before`, newest first.
pub(crate) fn history(
    sql: &mut dyn Sql,
    collection: &str,
    before: Revision,
    limit: usize,
) -> Result<Vec<RevisionInfo>, StateError> {
    let statement = "SELECT revision, created_at, author, restores FROM revisions
        WHERE collection = $1 AND revision < $2 ORDER BY revision DESC LIMIT $3";
    let limit = limit.min(PAGE_RECORDS) as u64;
    sql.query(statement, &[collection.into(), before.into(), limit.into()])?
        .iter_mut()
        .map(|row| {
            Ok(RevisionInfo {
                revision: Revision(row.number(0)?),
                created_at: row.time(1)?,
                author: row.text(2)?,
                restores: row.optional_number(3)?.map(Revision),
            })
        })
        .collect()
}

/// Changes a collection by compare-and-set. Nothing to change makes no revision.
pub(crate) fn write(
    sql: &mut dyn Sql,
    write: CheckedResourceWrite,
    now: Timestamp,
) -> Result<RevisionAfter, StateError> {
    let CheckedResourceWrite { collection, expected, author, edit } = write;
    expect(sql, &collection, expected)?;
    let (differences, restores) = match edit {
        CheckedEdit::Restore(target) => {
            known_revision(sql, &collection, Some(target))?;
            let present = texts(sql, &collection, expected)?;
            (differences_to(&present, texts(sql, &collection, target)?), Some(target))
        }
        CheckedEdit::Change(changes) => {
            let mut differences = Vec::new();
            for change in changes {
                let key = (change.kind, change.name);
                let found = text(sql, &collection, &key.0, &key.1)?;
                match (found, change.document) {
                    (None, None) => {
                        return Err(StateError::NotFound { what: "resource", name: format!("{}/{}", key.0, key.1) });
                    }
                    (Some(found), Some(document)) if found == document => {}
                    (_, document) => differences.push((key, document)),
                }
            }
            (differences, None)
        }
    };
    if differences.is_empty() {
        return Ok(RevisionAfter { revision: expected, changed: false });
    }
    let revision = Revision(expected.0 + 1);
    let rows: Vec<Vec<Value<'_>>> = differences
        .iter()
        .map(|((kind, name), document)| {
            vec![(&collection).into(), kind.into(), name.into(), revision.into(), document.as_ref().into()]
        })
        .collect();
    insert_rows(sql, "resources (collection, kind, name, revision, document)", 5, &rows, "")?;
    let names: Vec<Vec<Value<'_>>> = rows.iter().map(|row| row[..3].to_vec()).collect();
    insert_rows(sql, "resource_names (collection, kind, name)", 3, &names, "ON CONFLICT DO NOTHING")?;
    let statement =
        "INSERT INTO collections VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET revision = excluded.revision";
    sql.execute(statement, &[(&collection).into(), revision.into()])?;
    let values = [(&collection).into(), revision.into(), now.into(), (&author).into(), restores.into()];
    sql.execute("INSERT INTO revisions VALUES ($1, $2, $3, $4, $5)", &values)?;
    Ok(RevisionAfter { revision, changed: true })
}

/// What turns one set into another: new texts, and `None` for what goes.
fn differences_to(present: &Texts, target: Texts) -> Vec<((String, String), Option<String>)> {
    let removed = present.keys().filter(|key| !target.contains_key(*key)).cloned().map(|key| (key, None));
    let mut differences: Vec<_> = removed.collect();
    for (key, (_, text)) in target {
        if present.get(&key).is_none_or(|(_, found)| *found != text) {
            differences.push((key, Some(text)));
        }
    }
    differences
}
