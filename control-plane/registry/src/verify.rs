//! Reading everything again, and comparing it with what is on record.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read as _;

use serde::Serialize;

use crate::digest::{Digest, DigestBuilder};
use crate::error::RegistryError;
use crate::housekeeping::manifests;
use crate::manifest::FileContent;
use crate::names::VersionName;
use crate::registry::Registry;

/// What is wrong with one file by content.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "problem", rename_all = "snake_case")]
pub enum BlobProblem {
    /// It is not there, or cannot be read.
    Missing {
        /// The version that needs it.
        version: VersionName,
        /// Its path there.
        path: String,
    },
    /// It holds something else.
    Differs {
        /// The version that needs it.
        version: VersionName,
        /// Its path there.
        path: String,
        /// Digest that it should have.
        expected: Digest,
        /// Digest that it has.
        actual: Digest,
    },
    /// The files on record of a version are not those that it was registered with.
    Manifest {
        /// Which version.
        version: VersionName,
    },
}

/// What came of reading everything again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct VerifyReport {
    /// Versions whose files are here.
    pub versions: u64,
    /// Contents read.
    pub blobs: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Contents that no version needs; collecting removes them.
    pub orphans: u64,
    /// What lies among the registry's files and is none of them, by path.
    pub strays: Vec<String>,
    /// What is wrong.
    pub problems: Vec<BlobProblem>,
}

impl Registry {
    /// Reads every file again and compares it with its digest, and the database with itself.
    ///
    /// # Errors
    /// `DataLoss` when the database is damaged. What is wrong with files is in the report.
    pub fn verify(&self) -> Result<VerifyReport, RegistryError> {
        let versions = self.read(|transaction| {
            let found: String = transaction.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
            if found != "ok" {
                return Err(RegistryError::corrupt(found));
            }
            manifests(transaction)
        })?;
        let mut report = VerifyReport { versions: versions.len() as u64, ..VerifyReport::default() };
        let mut read: BTreeMap<Digest, Option<Digest>> = BTreeMap::new();
        for (version, manifest) in versions {
            if manifest.digest() != version.digest {
                report.problems.push(BlobProblem::Manifest { version: version.name.clone() });
            }
            for (path, file) in manifest.files() {
                let actual = match read.get(&file.digest) {
                    Some(known) => *known,
                    None => {
                        let (actual, bytes) = self.digest_of(file);
                        report.bytes += bytes;
                        read.insert(file.digest, actual);
                        actual
                    }
                };
                let (version, path, expected) = (version.name.clone(), path.clone(), file.digest);
                match actual {
                    None => report.problems.push(BlobProblem::Missing { version, path }),
                    Some(actual) if actual != expected => {
                        report.problems.push(BlobProblem::Differs { version, path, expected, actual });
                    }
                    Some(_) => {}
                }
            }
        }
        report.blobs = read.len() as u64;
        self.settle(&mut report)?;
        Ok(report)
    }

    /// Others may register and evict meanwhile: what is missing of versions that were evicted is no problem, and what was
    /// published since is no orphan.
    fn settle(&self, report: &mut VerifyReport) -> Result<(), RegistryError> {
        let _lock = self.folder.lock()?;
        let versions = self.read(manifests)?;
        report.problems.retain(|problem| match problem {
            BlobProblem::Missing { version, .. } => versions.iter().any(|(present, _)| present.name == *version),
            BlobProblem::Differs { .. } | BlobProblem::Manifest { .. } => true,
        });
        let needed: BTreeSet<Digest> =
            versions.iter().flat_map(|(_, manifest)| manifest.files().values()).map(|file| file.digest).collect();
        report.strays = self.folder.strays()?;
        report.orphans = self.folder.blobs()?.iter().filter(|blob| !needed.contains(blob)).count() as u64;
        Ok(())
    }

    /// The digest of what lies there, `None` if nothing does or it cannot be read, and how many bytes were read.
    fn digest_of(&self, file: &FileContent) -> (Option<Digest>, u64) {
        let Ok(mut source) = File::open(self.folder.blob(&file.digest)) else { return (None, 0) };
        let (mut builder, mut bytes, mut block) = (DigestBuilder::default(), 0, vec![0; 1 << 20]);
        loop {
            match source.read(&mut block) {
                Ok(0) => return (Some(builder.finish()), bytes),
                Err(_) => return (None, bytes),
                Ok(read) => {
                    builder.update(&block[..read]);
                    bytes += read as u64;
                }
            }
        }
    }
}
