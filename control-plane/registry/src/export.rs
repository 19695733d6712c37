//! A version's files in a model repository, in Triton's layout: `MODEL/NUMBER/...`.
//!
//! Files are copied, so that what serves never depends on the registry. They come into sight by one rename (`laying`); what is
//! there already is never written to. A `config.pbtxt` at the top of a version belongs to the model and is laid beside it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::digest::{Digest, DigestBuilder};
use crate::error::RegistryError;
use crate::folder::{is_free, make_working_folder, remove_folder_if_there, sync_folder};
use crate::laying::Laid;
use crate::local_files::CONFIGURATION;
use crate::manifest::{FileContent, Manifest};
use crate::names::{VersionName, VersionReference, check_name};
use crate::registry::Registry;
use crate::syncing::Syncing;
use crate::version::Version;
use crate::walk::{files_below, read_blocks};

/// Beginning of the names of folders that are being filled. What lies in them looks like no model.
const SCRATCH: &str = ".hanok-export-";
/// Beginning of the names of folders that are being removed.
const WITHDRAWN: &str = ".hanok-export-withdrawn-";

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
    /// not there before. (Killed between configuration and version, it leaves the model's configuration without the version:
    /// running it again completes it.)
    pub fn export(
        &self,
        meant: &VersionReference,
        repository: &Path,
        model: Option<&str>,
        now: hanok_state::Timestamp,
    ) -> Result<Exported, RegistryError> {
        self.lay(meant, repository, model, now, true)
    }

    /// As [`Registry::export`], but for the model's configuration: that is left to the caller, who gets the version's own
    /// from [`Registry::configuration`].
    ///
    /// # Errors
    /// As of [`Registry::export`].
    pub fn export_files(
        &self,
        meant: &VersionReference,
        repository: &Path,
        model: Option<&str>,
        now: hanok_state::Timestamp,
    ) -> Result<Exported, RegistryError> {
        self.lay(meant, repository, model, now, false)
    }

    /// The `config.pbtxt` that the version brought, if it brought one.
    ///
    /// # Errors
    /// `NotFound`; `FailedPrecondition`: its files were evicted; `DataLoss`: it is missing, damaged or no text.
    pub fn configuration(
        &self,
        meant: &VersionReference,
        now: hanok_state::Timestamp,
    ) -> Result<Option<String>, RegistryError> {
        let (version, _hold) = self.hold(meant, now)?;
        let manifest = self.record(&version.name.into())?.manifest;
        let Some(expected) = manifest.files().get(CONFIGURATION) else { return Ok(None) };
        let bytes = fs::read(self.folder.blob(&expected.digest))
            .map_err(|error| RegistryError::corrupt(format!("{CONFIGURATION}: {error}")))?;
        same_digest(CONFIGURATION, &expected.digest, &Digest::of(&bytes))?;
        String::from_utf8(bytes).map(Some).map_err(|error| RegistryError::corrupt(format!("{CONFIGURATION}: {error}")))
    }

    /// Takes a version that was pulled, and so can be had again, out of a model repository: what a retired version leaves.
    /// `false`: it is not there, was added on this machine, or what is there is not the version.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn withdraw(&self, version: &VersionName, repository: &Path, model: &str) -> Result<bool, RegistryError> {
        check_name("model", model)?;
        let record = self.record(&version.clone().into())?;
        let place = repository.join(model).join(version.number.to_string());
        if record.version.facts.origin.is_none() || check_same(&place, &record.manifest, &record.version).is_err() {
            return Ok(false);
        }
        // Under a name that the next sweep removes, should we be killed here.
        let aside = repository.join(format!("{WITHDRAWN}{model}-{}", version.number));
        let _lock = self.folder.lock()?;
        remove_folder_if_there(&aside)?;
        fs::rename(&place, &aside)?;
        remove_folder_if_there(&aside)?;
        Ok(true)
    }

    /// Removes from the model repository at `repository` what exports of killed processes have left half filled. It was never
    /// in sight as a model, and the next export would remove it, too.
    ///
    /// # Errors
    /// When the repository cannot be read or written to.
    pub fn sweep_exports(&self, repository: &Path) -> Result<(), RegistryError> {
        let _lock = self.folder.lock()?;
        Scratch::sweep(repository)
    }

    fn lay(
        &self,
        meant: &VersionReference,
        repository: &Path,
        model: Option<&str>,
        now: hanok_state::Timestamp,
        with_configuration: bool,
    ) -> Result<Exported, RegistryError> {
        let (version, _hold) = self.hold(meant, now)?;
        let manifest = self.record(&version.name.clone().into())?.manifest;
        let name = model.unwrap_or(&version.name.model);
        check_name("model", name)?;
        let laid = Laid::of(&version, &manifest, repository, name, with_configuration);
        let new = self.lay_out(&laid, &version, &manifest, repository, with_configuration)?;
        Ok(Exported { version, path: laid.place, new })
    }

    /// `false`: it is there already, file by file the same.
    fn lay_out(
        &self,
        laid: &Laid,
        version: &Version,
        manifest: &Manifest,
        repository: &Path,
        with_configuration: bool,
    ) -> Result<bool, RegistryError> {
        let mut made = MadeFolders::default();
        let laid_out = self.lay_out_in(laid, version, manifest, repository, with_configuration, &mut made);
        if laid_out.is_err() {
            // Whoever else exports from here makes and needs folders while holding it.
            let _lock = self.folder.lock();
            made.remove();
        }
        laid_out
    }

    fn lay_out_in(
        &self,
        laid: &Laid,
        version: &Version,
        manifest: &Manifest,
        repository: &Path,
        with_configuration: bool,
        made: &mut MadeFolders,
    ) -> Result<bool, RegistryError> {
        let scratch = {
            let _lock = self.folder.lock()?;
            made.make(repository)
                .and_then(|()| Scratch::sweep(repository))
                // Refused before anything is copied.
                .and_then(|()| laid.check_configuration())
                .and_then(|_| if laid.place.exists() { Ok(None) } else { Scratch::make(repository).map(Some) })
                .map_err(RegistryError::in_repository)?
        };
        let new = match scratch {
            None => false,
            Some(scratch) => {
                let fresh = scratch.path.join("model");
                self.fill(&fresh, version, manifest, with_configuration).map_err(RegistryError::in_repository)?;
                let _lock = self.folder.lock()?;
                laid.publish(&fresh).map_err(RegistryError::in_repository)?
            }
        };
        if !new {
            check_same(&laid.place, manifest, version)?;
        }
        Ok(new)
    }

    /// Copies a version's files to where they are not in sight yet.
    fn fill(
        &self,
        fresh: &Path,
        version: &Version,
        manifest: &Manifest,
        with_configuration: bool,
    ) -> Result<(), RegistryError> {
        let folder = fresh.join(version.name.number.to_string());
        fs::create_dir_all(&folder)?;
        let mut folders = BTreeSet::from([fresh.to_owned(), folder.clone()]);
        let mut syncing = Syncing::new();
        for (path, content) in manifest.files() {
            if path == CONFIGURATION && !with_configuration {
                continue;
            }
            let to = if path == CONFIGURATION { fresh.join(path) } else { folder.join(path) };
            syncing.add(self.copy(path, content, &to)?)?;
            folders.extend(to.ancestors().skip(1).take_while(|above| above.starts_with(&folder)).map(Path::to_owned));
        }
        syncing.finish()?;
        Ok(folders.iter().try_for_each(|folder| sync_folder(folder))?)
    }

    /// A complete copy, which is to be synchronised.
    fn copy(&self, path: &str, content: &FileContent, to: &Path) -> Result<File, RegistryError> {
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
        same_digest(path, &content.digest, &digest.finish())?;
        Ok(file)
    }
}

fn same_digest(what: &str, expected: &Digest, actual: &Digest) -> Result<(), RegistryError> {
    if expected == actual {
        return Ok(());
    }
    let (expected, actual) = (Some(*expected), Some(*actual));
    Err(RegistryError::DigestMismatch { what: what.to_owned(), expected, actual })
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

/// Folders that an export made for its repository: they go again when nothing comes into them.
#[derive(Debug, Default)]
struct MadeFolders(Vec<PathBuf>);

impl MadeFolders {
    fn make(&mut self, folder: &Path) -> Result<(), RegistryError> {
        if folder.exists() && !folder.is_dir() {
            return Err(RegistryError::invalid("model repository", "expected a folder, got something else"));
        }
        let missing = folder.ancestors().take_while(|one| !one.as_os_str().is_empty() && !one.exists());
        let missing: Vec<PathBuf> = missing.map(Path::to_owned).collect();
        for one in missing.into_iter().rev() {
            match fs::create_dir(&one) {
                Ok(()) => self.0.push(one),
                // Somebody else was quicker; it is theirs.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Those that are empty, the innermost first.
    fn remove(self) {
        for folder in self.0.iter().rev() {
            if fs::remove_dir(folder).is_err() {
                return;
            }
        }
    }
}

/// A folder beside the models that is not one: what is in it comes into sight by rename. Removed when dropped, or by the
/// next export when its process was killed.
struct Scratch {
    path: PathBuf,
    _lock: File,
}

impl Scratch {
    /// Removes those whose processes are gone. Others, of other registries too, may be making and sweeping theirs.
    fn sweep(repository: &Path) -> Result<(), RegistryError> {
        for entry in fs::read_dir(repository)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if name.starts_with(WITHDRAWN) {
                remove_folder_if_there(&path)?;
            } else if name.starts_with(SCRATCH) {
                match File::open(path.join("lock")) {
                    // Held until the folder is gone: whoever was about to take it makes another.
                    Ok(lock) if is_free(&lock)? => remove_folder_if_there(&path)?,
                    // Killed before it had one, or about to have one: only while it is empty.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => drop(fs::remove_dir(&path)),
                    Ok(_) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }

    /// Makes one.
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
