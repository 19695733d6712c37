//! Registering a version: its files are written beside the registry first, then come into sight with their rows.
//!
//! Order, for whoever kills us: files complete and durable in a folder of their own; the intent durable; files renamed to
//! their places; one transaction with the rows. Before the last, a sweep removes everything; after it, everything stays.

use std::collections::BTreeMap;

use rusqlite::{OptionalExtension, Transaction, params};
use serde_json::json;

use crate::audit::{self, Action};
use crate::changes::ensure_model;
use crate::digest::Digest;
use crate::error::RegistryError;
use crate::manifest::{FileContent, Manifest};
use crate::names::{VersionName, check_path};
use crate::registry::Registry;
use crate::rows;
use crate::staging::{CompleteFile, StagedFile, Staging, publish};
use crate::syncing::Syncing;
use crate::version::{Actor, Version, VersionFacts};

/// A version whose files are being written. Dropping it leaves nothing.
#[derive(Debug)]
pub struct Import<'a> {
    registry: &'a Registry,
    files: BTreeMap<String, CompleteFile>,
    bytes: u64,
    // Dropped before the folder that the files lie in.
    syncing: Syncing,
    staging: Staging,
}

/// A file of an [`Import`] that is being written. Dropping it unfinished takes it out of the version.
#[derive(Debug)]
pub struct ImportFile {
    path: String,
    staged: StagedFile,
    room: u64,
    limit: u64,
}

/// What came of registering.
#[derive(Clone, Debug, PartialEq)]
pub struct Registered {
    /// The version.
    pub version: Version,
    /// `false`: the model had this content from this source already, as this version.
    pub new: bool,
}

impl Registry {
    /// Begins to register a version.
    ///
    /// # Errors
    /// None of its own.
    pub fn import(&self) -> Result<Import<'_>, RegistryError> {
        let lock = self.folder.lock()?;
        self.folder.keep_reserve(&lock);
        let staging = Staging::make(&self.folder, &lock)?;
        Ok(Import { registry: self, files: BTreeMap::new(), bytes: 0, syncing: Syncing::new(), staging })
    }
}

impl Import<'_> {
    /// Begins a file of the version.
    ///
    /// # Errors
    /// `InvalidArgument`: the path breaks a rule or is taken. `ResourceExhausted`: too many files.
    pub fn file(&mut self, path: &str) -> Result<ImportFile, RegistryError> {
        check_path(path)?;
        if self.files.contains_key(path) {
            return Err(RegistryError::invalid("path", format!("`{path}` comes twice")));
        }
        let settings = &self.registry.settings;
        if self.files.len() >= settings.max_files {
            let (limit, actual) = (settings.max_files as u64, self.files.len() as u64 + 1);
            return Err(RegistryError::LimitReached { what: "files", limit, actual });
        }
        let limit = settings.max_version_bytes;
        Ok(ImportFile { path: path.to_owned(), staged: self.staging.file()?, room: limit - self.bytes, limit })
    }

    /// Takes a complete file into the version, and begins to make it durable. Returns its digest and size.
    ///
    /// # Errors
    /// `ResourceExhausted`: the version is full.
    pub fn finish(&mut self, file: ImportFile) -> Result<FileContent, RegistryError> {
        let path = file.path;
        let (complete, written) = file.staged.finish();
        let content = complete.content;
        self.bytes = self.bytes.saturating_add(content.bytes);
        let limit = self.registry.settings.max_version_bytes;
        if self.bytes > limit {
            return Err(RegistryError::LimitReached { what: "bytes of a version", limit, actual: self.bytes });
        }
        self.syncing.add(written)?;
        self.files.insert(path, complete);
        Ok(content)
    }

    /// Registers what was finished as the next version of `model`, which is made if need be. Durable when it returns.
    ///
    /// Content that the model has from the same source already (or from this machine, with the same facts) is not registered
    /// again: its version is returned, and its files are back if they were evicted.
    ///
    /// # Errors
    /// `InvalidArgument`: a name, a fact or the set of files breaks a rule. `NotFound`: a parent. `ResourceExhausted`: the
    /// quota, though everything that may be was evicted, or the disk is full.
    pub fn register(self, model: &str, facts: &VersionFacts, actor: &Actor) -> Result<Registered, RegistryError> {
        facts.check()?;
        crate::names::check_name("model", model)?;
        let content = self.files.iter().map(|(path, file)| (path.clone(), file.content)).collect();
        let manifest = Manifest::new(content)?;
        let Self { registry, files, syncing, staging, .. } = self;
        // Before the lock: others need not wait for that.
        syncing.finish()?;
        let lock = registry.folder.lock()?;
        let digests: Vec<Digest> = files.values().map(|file| file.content.digest).collect();
        // Before room is made: what the last version to need it leaves for this one belongs to nobody until this is on record.
        staging.intend(&digests)?;
        let written = registry
            .make_room(&manifest, actor, &lock)
            .and_then(|()| publish(files.values(), &registry.folder))
            .and_then(|()| registry.write(|transaction| rows_for(transaction, model, &manifest, facts, actor)));
        if written.is_err() {
            // What nothing refers to goes again; where even this fails, the intent is still there for the sweep.
            let orphans = registry.read(|transaction| {
                let mut orphans = Vec::new();
                for digest in digests {
                    if !rows::is_needed(transaction, &digest)? {
                        orphans.push(digest);
                    }
                }
                Ok(orphans)
            });
            if let Err(error) = orphans.and_then(|orphans| registry.folder.remove_blobs(&orphans)) {
                staging.abandon();
                return Err(error);
            }
        }
        written
    }
}

impl ImportFile {
    /// Takes the next bytes.
    ///
    /// # Errors
    /// `ResourceExhausted`: the version would be larger than allowed, or the disk is full.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), RegistryError> {
        let size = self.staged.bytes().saturating_add(bytes.len() as u64);
        if size > self.room {
            let actual = (self.limit - self.room).saturating_add(size);
            return Err(RegistryError::LimitReached { what: "bytes of a version", limit: self.limit, actual });
        }
        self.staged.write(bytes)
    }
}

fn rows_for(
    transaction: &Transaction<'_>,
    model: &str,
    manifest: &Manifest,
    facts: &VersionFacts,
    actor: &Actor,
) -> Result<Registered, RegistryError> {
    ensure_model(transaction, model, actor)?;
    let digest = manifest.digest();
    let pinned = facts.origin.as_ref().map(|origin| origin.pinned.as_str());
    let told = json!(facts).to_string();
    if let Some(number) = same_content(transaction, model, &digest, pinned, &told)? {
        return restored(transaction, VersionName { model: model.to_owned(), number }, actor);
    }
    for parent in &facts.parents {
        rows::version(transaction, &parent.clone().into())?;
    }
    write_manifest(transaction, &digest, manifest)?;
    transaction.execute("UPDATE models SET newest = newest + 1 WHERE name = ?1", [model])?;
    let number = rows::model(transaction, model)?.versions;
    let name = VersionName { model: model.to_owned(), number };
    let now = actor.now.unix_millis();
    let stored = rows::number(number)?;
    transaction.execute(
        "INSERT INTO versions VALUES (?1, ?2, ?3, ?4, ?5, 'none', 1, ?6, ?7, ?6)",
        params![model, stored, digest.hex(), pinned, told, now, actor.name],
    )?;
    for parent in &facts.parents {
        transaction.execute(
            "INSERT INTO parents VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
            params![model, stored, parent.model, rows::number(parent.number)?],
        )?;
    }
    let detail = json!({ "digest": digest, "bytes": manifest.bytes(), "origin": facts.origin });
    audit::record(transaction, actor, Action::VersionRegistered, model, Some(number), &detail)?;
    Ok(Registered { version: rows::version(transaction, &name.into())?, new: true })
}

/// The version that has this content from this source. Facts of a source may change over there, and are as they were when
/// the version was pulled; other facts about the same content from this machine make another version.
fn same_content(
    transaction: &Transaction<'_>,
    model: &str,
    digest: &Digest,
    pinned: Option<&str>,
    told: &str,
) -> Result<Option<u64>, RegistryError> {
    let statement = "SELECT number FROM versions WHERE model = ?1 AND digest = ?2 AND pinned IS ?3
        AND (pinned IS NOT NULL OR facts = ?4) ORDER BY number DESC LIMIT 1";
    let values = params![model, digest.hex(), pinned, told];
    let found = transaction.query_row(statement, values, |row| rows::count(row, 0));
    Ok(found.optional()?)
}

fn restored(transaction: &Transaction<'_>, name: VersionName, actor: &Actor) -> Result<Registered, RegistryError> {
    let version = rows::version(transaction, &name.clone().into())?;
    let now = actor.now.unix_millis();
    transaction.execute(
        "UPDATE versions SET present = 1, used_at = MAX(used_at, ?1) WHERE model = ?2 AND number = ?3",
        params![now, name.model, rows::number(name.number)?],
    )?;
    if !version.present {
        audit::record(transaction, actor, Action::VersionRestored, &name.model, Some(name.number), &json!({}))?;
    }
    Ok(Registered { version: rows::version(transaction, &name.into())?, new: false })
}

fn write_manifest(transaction: &Transaction<'_>, digest: &Digest, manifest: &Manifest) -> Result<(), RegistryError> {
    let bytes = rows::number(manifest.bytes())?;
    let made = transaction
        .execute("INSERT INTO manifests VALUES (?1, ?2) ON CONFLICT DO NOTHING", params![digest.hex(), bytes])?;
    if made > 0 {
        let mut insert = transaction.prepare_cached("INSERT INTO files VALUES (?1, ?2, ?3, ?4)")?;
        for (path, file) in manifest.files() {
            insert.execute(params![digest.hex(), path, file.digest.hex(), rows::number(file.bytes)?])?;
        }
    }
    Ok(())
}
