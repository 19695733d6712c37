//! A version's files in a model repository, in Triton's layout: `MODEL/NUMBER/...`.
//!
//! Files are copied, so that what serves never depends on the registry. They come into sight by one rename; what is there
//! already is never written to. A `config.pbtxt` at the top of a version belongs to the model and is laid beside it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::digest::{Digest, DigestBuilder};
use crate::error::RegistryError;
use crate::folder::{is_free, make_working_folder, remove_folder_if_there, sync_folder};
use crate::local_files::CONFIGURATION;
use crate::manifest::{FileContent, Manifest};
use crate::names::{VersionReference, check_name};
use crate::registry::Registry;
use crate::version::Version;
use crate::walk::{files_below, read_blocks};

/// Beginning of the names of folders that are being filled. What lies in them looks like no model.
const SCRATCH: &str = ".hanok-export-";

/// What came of laying a version out.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Exported {
    /// The version.
    pub version: Version,
    /// Its folder in the repository.
    pub path: PathBuf,
    /// `false`: it was there already, file by file the same.
    pub new: bool,
}

impl Registry {
    /// Lays the version that is meant into the model repository at `repository`, as `model` (its own name if `None`), and
    /// checks every byte on the way.
    ///
    /// # Errors
    /// `NotFound`; `FailedPrecondition`: its files were evicted; `AlreadyExists`: the version's folder or the model's
    /// configuration is there with other content; `DataLoss`: a file is missing or damaged. Then nothing is there that was
    /// not there before. (Killed between its two renames, it leaves the model's configuration without the version: running
    /// it again completes it.)
    pub fn export(
        &self,
        meant: &VersionReference,
        repository: &Path,
        model: Option<&str>,
        now: hanok_state::Timestamp,
    ) -> Result<Exported, RegistryError> {
        let (version, _hold) = self.hold(meant, now)?;
        let manifest = self.record(&version.name.clone().into())?.manifest;
        let name = model.unwrap_or(&version.name.model);
        check_name("model", name)?;
        let target = repository.join(name);
        let place = target.join(version.name.number.to_string());
        let configuration = manifest.files().get(CONFIGURATION);
        if let Some(expected) = configuration {
            check_configuration(&target.join(CONFIGURATION), expected, name)?;
        }
        fs::create_dir_all(repository)?;
        let scratch = {
            let _lock = self.folder.lock()?;
            Scratch::sweep(repository)?;
            if place.exists() { None } else { Some(Scratch::make(repository)?) }
        };
        let Some(scratch) = scratch else {
            check_same(&place, &manifest, &version)?;
            return Ok(Exported { version, path: place, new: false });
        };
        let fresh = scratch.path.join("model");
        let folder = fresh.join(version.name.number.to_string());
        fs::create_dir_all(&folder)?;
        let mut folders = BTreeSet::from([fresh.clone(), folder.clone()]);
        for (path, content) in manifest.files() {
            let to = if path == CONFIGURATION { fresh.join(path) } else { folder.join(path) };
            self.copy(path, content, &to)?;
            folders.extend(to.ancestors().skip(1).take_while(|above| above.starts_with(&folder)).map(Path::to_owned));
        }
        folders.iter().try_for_each(|folder| sync_folder(folder))?;
        if target.exists() {
            let laid = target.join(CONFIGURATION);
            if configuration.is_some() && !laid.exists() {
                fs::rename(fresh.join(CONFIGURATION), laid)?;
            }
            fs::rename(folder, &place)?;
            sync_folder(&target)?;
        } else {
            fs::rename(fresh, &target)?;
        }
        sync_folder(repository)?;
        Ok(Exported { version, path: place, new: true })
    }

    fn copy(&self, path: &str, content: &FileContent, to: &Path) -> Result<(), RegistryError> {
        to.parent().map_or(Ok(()), fs::create_dir_all)?;
        let mut source = File::open(self.folder.blob(&content.digest))
            .map_err(|error| RegistryError::corrupt(format!("{path}: {error}")))?;
        let mut file = File::create_new(to)?;
        let (mut digest, mut block) = (DigestBuilder::default(), vec![0; 1 << 20]);
        loop {
            match io::Read::read(&mut source, &mut block)? {
                0 => break,
                read => {
                    digest.update(&block[..read]);
                    file.write_all(&block[..read])?;
                }
            }
        }
        file.sync_all()?;
        same_digest(path, &content.digest, &digest.finish())
    }
}

fn same_digest(what: &str, expected: &Digest, actual: &Digest) -> Result<(), RegistryError> {
    if expected == actual {
        return Ok(());
    }
    let (expected, actual) = (Some(*expected), Some(*actual));
    Err(RegistryError::DigestMismatch { what: what.to_owned(), expected, actual })
}

fn check_configuration(path: &Path, expected: &FileContent, model: &str) -> Result<(), RegistryError> {
    match fs::read(path) {
        Ok(bytes) if Digest::of(&bytes) == expected.digest => Ok(()),
        Ok(_) => Err(RegistryError::AlreadyExists { what: "configuration", name: format!("{model}/{CONFIGURATION}") }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn check_same(place: &Path, manifest: &Manifest, version: &Version) -> Result<(), RegistryError> {
    let mut expected = manifest.files().clone();
    expected.remove(CONFIGURATION);
    if files_of(place, expected.len(), |_| false).is_ok_and(|found| found == expected) {
        return Ok(());
    }
    Err(RegistryError::AlreadyExists { what: "version folder", name: version.name.to_string() })
}

/// What lies in a folder, file by file.
pub(crate) fn files_of(
    folder: &Path,
    most: usize,
    skip: impl Fn(&str) -> bool,
) -> Result<BTreeMap<String, FileContent>, RegistryError> {
    let mut files = BTreeMap::new();
    for (path, place) in files_below(folder, most, skip)? {
        let (mut digest, mut bytes) = (DigestBuilder::default(), 0);
        read_blocks(&path, &place, |block| {
            digest.update(block);
            bytes += block.len() as u64;
            Ok(())
        })?;
        files.insert(path, FileContent { digest: digest.finish(), bytes });
    }
    Ok(files)
}

/// A folder beside the models that is not one: what is in it comes into sight by rename. Removed when dropped, or by the
/// next export when its process was killed.
struct Scratch {
    path: PathBuf,
    _lock: File,
}

impl Scratch {
    /// Removes those whose processes are gone. The caller holds the registry's lock.
    fn sweep(repository: &Path) -> Result<(), RegistryError> {
        for entry in fs::read_dir(repository)? {
            let path = entry?.path();
            let ours = path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(SCRATCH));
            if ours && File::open(path.join("lock")).map_or(Ok(true), |lock| is_free(&lock))? {
                remove_folder_if_there(&path)?;
            }
        }
        Ok(())
    }

    /// Makes one. The caller holds the registry's lock, so that no sweep meets it without its own.
    fn make(repository: &Path) -> Result<Self, RegistryError> {
        let (path, lock) = make_working_folder(repository, SCRATCH)?;
        Ok(Self { path, _lock: lock })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.path));
    }
}
