//! Making room: removing what nobody needs, and evicting what nobody uses.

use std::collections::BTreeSet;
use std::fs::File;

use hanok_state::Timestamp;
use rusqlite::{Transaction, params};
use serde::Serialize;
use serde_json::json;

use crate::audit::{self, Action};
use crate::digest::Digest;
use crate::error::RegistryError;
use crate::eviction::{StoredVersion, choose_evictions, least_bytes_with, stored_bytes};
use crate::manifest::Manifest;
use crate::names::VersionName;
use crate::registry::Registry;
use crate::rows;
use crate::staging::Staging;
use crate::version::{Actor, Version};

/// What the quota bounds.
const QUOTA: &str = "bytes in the registry";

/// What to collect.
#[derive(Clone, Debug, Default)]
pub struct CollectRequest {
    /// Bytes to stay below; `None`: evict nothing.
    pub quota_bytes: Option<u64>,
    /// Versions with this content are in use, besides those held, with an alias, in staging or in production.
    pub in_use: BTreeSet<Digest>,
    /// Tell what would go, and change nothing.
    pub dry_run: bool,
}

/// What was collected.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Collected {
    /// Versions whose files were evicted.
    pub evicted: Vec<VersionName>,
    /// Contents removed that no version needed.
    pub orphans: u64,
    /// Bytes on the disk before, by the rows.
    pub bytes_before: u64,
    /// Bytes on the disk after, by the rows.
    pub bytes_after: u64,
}

/// What is about to go: the versions, and the contents that nothing needs without them.
struct Plan {
    collected: Collected,
    unneeded: Vec<Digest>,
}

impl Registry {
    /// Removes contents that no version needs, and evicts versions to stay below a quota: those that were pulled, are in
    /// stage `none` or `archived`, have no alias and are neither held nor named in the request; least recently used first.
    /// An evicted version stays on record, and comes back by pulling it again.
    ///
    /// # Errors
    /// None of its own. That the quota cannot be met is in the report.
    pub fn collect(&self, request: &CollectRequest, actor: &Actor) -> Result<Collected, RegistryError> {
        match self.collect_once(request, actor) {
            Err(error) if error.is_full() && self.folder.release_reserve()? => self.collect_once(request, actor),
            done => done,
        }
    }

    fn collect_once(&self, request: &CollectRequest, actor: &Actor) -> Result<Collected, RegistryError> {
        self.sweep()?;
        let lock = self.folder.lock()?;
        let choose = |transaction: &Transaction<'_>| {
            let stored = self.stored(&manifests(transaction)?, &request.in_use)?;
            let evicted = request.quota_bytes.map_or_else(Vec::new, |quota| choose_evictions(&stored, &[], quota));
            self.plan(&stored, evicted)
        };
        if request.dry_run {
            return Ok(self.read(choose)?.collected);
        }
        // What no row tells of goes without a word: that works on a full disk.
        let orphans = self.read(|transaction| {
            let stored = self.stored(&manifests(transaction)?, &request.in_use)?;
            Ok(self.plan(&stored, Vec::new())?.unneeded)
        })?;
        self.folder.remove_blobs(&orphans)?;
        let mut collected = self.evict(choose, actor, &lock)?;
        collected.orphans += orphans.len() as u64;
        self.folder.remove_free_marks(&lock)?;
        self.folder.keep_reserve(&lock);
        Ok(collected)
    }

    /// Whether a version with files of these sizes can have room at all, before a byte of it is fetched. Its content is not known
    /// yet, so that this refuses only what [`Import::register`](crate::Import::register) would refuse whatever the content is:
    /// a file counts unless one of its size is here already, and files of one size count once.
    ///
    /// # Errors
    /// `ResourceExhausted`: the quota, though everything that may be were evicted.
    pub fn check_room(&self, sizes: &BTreeSet<u64>) -> Result<(), RegistryError> {
        let Some(quota) = self.settings.quota_bytes else { return Ok(()) };
        let stored = self.read(|transaction| self.stored(&manifests(transaction)?, &BTreeSet::new()))?;
        let actual = least_bytes_with(&stored, sizes);
        if actual > quota {
            return Err(RegistryError::LimitReached { what: QUOTA, limit: quota, actual });
        }
        Ok(())
    }

    /// Whether a version of this content can have room, before a byte of it is fetched again.
    ///
    /// # Errors
    /// `ResourceExhausted`: the quota, though everything that may be were evicted.
    pub fn check_room_for(&self, incoming: &Manifest) -> Result<(), RegistryError> {
        let Some(quota) = self.settings.quota_bytes else { return Ok(()) };
        let stored = self.read(|transaction| self.stored(&manifests(transaction)?, &BTreeSet::new()))?;
        fitting(&stored, &arriving(incoming, Timestamp::default()), quota).map(drop)
    }

    /// Evicts what must go for `incoming` to stay below the quota. The caller holds the registry's lock.
    pub(crate) fn make_room(&self, incoming: &Manifest, actor: &Actor, lock: &File) -> Result<(), RegistryError> {
        let Some(quota) = self.settings.quota_bytes else { return Ok(()) };
        let arriving = arriving(incoming, actor.now);
        let choose = |transaction: &Transaction<'_>| {
            let stored = self.stored(&manifests(transaction)?, &BTreeSet::new())?;
            let mut plan = self.plan(&stored, fitting(&stored, &arriving, quota)?)?;
            // What is about to come in need not go first.
            plan.unneeded.retain(|digest| arriving.files.iter().all(|file| file.digest != *digest));
            Ok(plan)
        };
        self.evict(choose, actor, lock).map(drop)
    }

    /// What eviction leaves, and the contents that nothing needs then.
    fn plan(&self, stored: &[StoredVersion], evicted: Vec<VersionName>) -> Result<Plan, RegistryError> {
        let left: Vec<&StoredVersion> = stored.iter().filter(|version| !evicted.contains(&version.name)).collect();
        let needed: BTreeSet<Digest> = left.iter().flat_map(|version| &version.files).map(|file| file.digest).collect();
        let unneeded: Vec<Digest> = self.folder.blobs()?.into_iter().filter(|blob| !needed.contains(blob)).collect();
        let (bytes_before, bytes_after) = (stored_bytes(stored), stored_bytes(left));
        let orphans = unneeded.len() as u64;
        Ok(Plan { collected: Collected { evicted, orphans, bytes_before, bytes_after }, unneeded })
    }

    /// Chooses and marks in one transaction, so that nobody brings a version into use in between. Rows before files: a kill in
    /// between leaves files that the sweep removes, never a version without its files.
    fn evict(
        &self,
        choose: impl Fn(&Transaction<'_>) -> Result<Plan, RegistryError>,
        actor: &Actor,
        lock: &File,
    ) -> Result<Collected, RegistryError> {
        let plan = self.read(&choose)?;
        if plan.collected.evicted.is_empty() {
            return Ok(Collected { orphans: 0, ..plan.collected });
        }
        let staging = Staging::make(&self.folder, lock)?;
        let plan = self.write(|transaction| {
            let plan = choose(transaction)?;
            staging.intend(&plan.unneeded)?;
            for name in &plan.collected.evicted {
                let values = params![name.model, rows::number(name.number)?];
                transaction.execute("UPDATE versions SET present = 0 WHERE model = ?1 AND number = ?2", values)?;
                audit::record(transaction, actor, Action::VersionEvicted, &name.model, Some(name.number), &json!({}))?;
            }
            Ok(plan)
        })?;
        if let Err(error) = self.folder.remove_blobs(&plan.unneeded) {
            staging.abandon();
            return Err(error);
        }
        Ok(plan.collected)
    }

    fn stored(
        &self,
        versions: &[(Version, Manifest)],
        in_use: &BTreeSet<Digest>,
    ) -> Result<Vec<StoredVersion>, RegistryError> {
        let stored = |(version, manifest): &(Version, Manifest)| {
            let can_go = version.facts.origin.is_some()
                && version.aliases.is_empty()
                && !version.stage.is_in_use()
                && !in_use.contains(&version.digest);
            Ok(StoredVersion {
                name: version.name.clone(),
                files: manifest.files().values().copied().collect(),
                used_at: version.used_at,
                evictable: can_go && !self.folder.is_held(&version.digest)?,
            })
        };
        versions.iter().map(stored).collect()
    }
}

fn arriving(incoming: &Manifest, now: Timestamp) -> StoredVersion {
    StoredVersion {
        name: VersionName { model: String::new(), number: 0 },
        files: incoming.files().values().copied().collect(),
        used_at: now,
        evictable: false,
    }
}

/// What must be evicted for `arriving` to stay below `quota`.
fn fitting(stored: &[StoredVersion], arriving: &StoredVersion, quota: u64) -> Result<Vec<VersionName>, RegistryError> {
    let evicted = choose_evictions(stored, &arriving.files, quota);
    let left = stored.iter().filter(|version| !evicted.contains(&version.name));
    let actual = stored_bytes(left.chain([arriving]));
    if actual > quota { Err(RegistryError::LimitReached { what: QUOTA, limit: quota, actual }) } else { Ok(evicted) }
}

/// The versions whose files are here, with their files.
pub(crate) fn manifests(transaction: &Transaction<'_>) -> Result<Vec<(Version, Manifest)>, RegistryError> {
    let present = rows::versions(transaction, None)?.into_iter().filter(|version| version.present);
    present
        .map(|version| {
            let manifest = rows::manifest(transaction, &version.digest)?;
            Ok((version, manifest))
        })
        .collect()
}
