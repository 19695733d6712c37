//! Making room: removing what nobody needs, and evicting what nobody uses.

use std::collections::BTreeSet;
use std::fs::File;

use rusqlite::params;
use serde::Serialize;
use serde_json::json;

use crate::audit::{self, Action};
use crate::digest::Digest;
use crate::error::RegistryError;
use crate::eviction::{StoredVersion, choose_evictions, stored_bytes};
use crate::manifest::{FileContent, Manifest};
use crate::names::VersionName;
use crate::registry::Registry;
use crate::rows;
use crate::staging::Staging;
use crate::version::{Actor, Version};

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

impl Registry {
    /// Removes contents that no version needs, and evicts versions to stay below a quota: those that were pulled, are in
    /// stage `none` or `archived`, have no alias and are neither held nor named in the request; least recently used first.
    /// An evicted version stays on record, and comes back by pulling it again.
    ///
    /// # Errors
    /// None of its own. That the quota cannot be met is in the report.
    pub fn collect(&self, request: &CollectRequest, actor: &Actor) -> Result<Collected, RegistryError> {
        self.sweep()?;
        let lock = self.folder.lock()?;
        let stored = self.read(|transaction| self.stored(&manifests(transaction)?, &request.in_use))?;
        let evicted = request.quota_bytes.map_or_else(Vec::new, |quota| choose_evictions(&stored, &[], quota));
        let (mut collected, unneeded) = self.plan(&stored, evicted)?;
        if !request.dry_run {
            self.evict(&collected.evicted, &unneeded, actor, &lock)?;
            self.folder.remove_free_marks(&lock)?;
        }
        collected.orphans = unneeded.len() as u64;
        Ok(collected)
    }

    /// Evicts what must go for `incoming` to stay below the quota. The caller holds the registry's lock.
    pub(crate) fn make_room(&self, incoming: &Manifest, actor: &Actor, lock: &File) -> Result<(), RegistryError> {
        let Some(quota) = self.settings.quota_bytes else { return Ok(()) };
        let incoming: Vec<FileContent> = incoming.files().values().copied().collect();
        let stored = self.read(|transaction| self.stored(&manifests(transaction)?, &BTreeSet::new()))?;
        let evicted = choose_evictions(&stored, &incoming, quota);
        let arriving = StoredVersion {
            name: VersionName { model: String::new(), number: 0 },
            files: incoming,
            used_at: actor.now,
            evictable: false,
        };
        let left = stored.iter().filter(|version| !evicted.contains(&version.name));
        let actual = stored_bytes(left.chain([&arriving]));
        if actual > quota {
            return Err(RegistryError::LimitReached { what: "bytes in the registry", limit: quota, actual });
        }
        if evicted.is_empty() {
            return Ok(());
        }
        let (collected, mut unneeded) = self.plan(&stored, evicted)?;
        // What is about to come in need not go first.
        unneeded.retain(|digest| arriving.files.iter().all(|file| file.digest != *digest));
        self.evict(&collected.evicted, &unneeded, actor, lock)
    }

    /// What eviction leaves, and the contents that nothing needs then.
    fn plan(
        &self,
        stored: &[StoredVersion],
        evicted: Vec<VersionName>,
    ) -> Result<(Collected, Vec<Digest>), RegistryError> {
        let left: Vec<&StoredVersion> = stored.iter().filter(|version| !evicted.contains(&version.name)).collect();
        let needed: BTreeSet<Digest> = left.iter().flat_map(|version| &version.files).map(|file| file.digest).collect();
        let unneeded = self.folder.blobs()?.into_iter().filter(|blob| !needed.contains(blob)).collect();
        let (bytes_before, bytes_after) = (stored_bytes(stored), stored_bytes(left));
        Ok((Collected { evicted, orphans: 0, bytes_before, bytes_after }, unneeded))
    }

    /// Rows first: a kill in between leaves files that the sweep removes, never a version without its files.
    fn evict(
        &self,
        versions: &[VersionName],
        unneeded: &[Digest],
        actor: &Actor,
        lock: &File,
    ) -> Result<(), RegistryError> {
        let staging = Staging::make(&self.folder, lock)?;
        staging.intend(unneeded)?;
        self.write(|transaction| {
            for name in versions {
                let values = params![name.model, rows::number(name.number)?];
                transaction.execute("UPDATE versions SET present = 0 WHERE model = ?1 AND number = ?2", values)?;
                audit::record(transaction, actor, Action::VersionEvicted, &name.model, Some(name.number), &json!({}))?;
            }
            Ok(())
        })?;
        if let Err(error) = self.folder.remove_blobs(unneeded) {
            staging.abandon();
            return Err(error);
        }
        Ok(())
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

/// The versions whose files are here, with their files.
pub(crate) fn manifests(transaction: &rusqlite::Transaction<'_>) -> Result<Vec<(Version, Manifest)>, RegistryError> {
    let present = rows::versions(transaction, None)?.into_iter().filter(|version| version.present);
    present
        .map(|version| {
            let manifest = rows::manifest(transaction, &version.digest)?;
            Ok((version, manifest))
        })
        .collect()
}
