//! The last step of an export: a complete copy comes into sight beside what others have laid, and never in its place.
//!
//! Whoever exports from the same registry takes turns; others are met by steps that fail where something is in the way: a hard
//! link for the configuration, a rename for the version's folder. The configuration comes first, so that no server ever meets
//! a version without its own.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::error::RegistryError;
use crate::folder::sync_folder;
use crate::local_files::CONFIGURATION;
use crate::manifest::Manifest;
use crate::version::Version;

/// Where a version goes in a model repository.
#[derive(Debug)]
pub(crate) struct Laid {
    /// The version's folder.
    pub(crate) place: PathBuf,
    target: PathBuf,
    model: String,
    number: String,
    configuration: Option<Digest>,
}

impl Laid {
    pub(crate) fn of(
        version: &Version,
        manifest: &Manifest,
        repository: &Path,
        model: &str,
        with_configuration: bool,
    ) -> Self {
        let (target, number) = (repository.join(model), version.name.number.to_string());
        let configuration = manifest.files().get(CONFIGURATION).filter(|_| with_configuration);
        Self {
            place: target.join(&number),
            target,
            model: model.to_owned(),
            number,
            configuration: configuration.map(|file| file.digest),
        }
    }

    /// Whether the model's configuration may be there: it is the version's, or there is none. Returns whether it is there.
    pub(crate) fn check_configuration(&self) -> Result<bool, RegistryError> {
        let Some(expected) = &self.configuration else { return Ok(true) };
        match fs::read(self.target.join(CONFIGURATION)) {
            Ok(bytes) if Digest::of(&bytes) == *expected => Ok(true),
            Ok(_) => {
                let name = format!("{}/{CONFIGURATION}", self.model);
                Err(RegistryError::AlreadyExists { what: "configuration", name })
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Brings what lies complete in `fresh` into sight. `false`: a folder of that version is there. The caller holds the
    /// registry's lock.
    pub(crate) fn publish(&self, fresh: &Path) -> Result<bool, RegistryError> {
        if !self.target.exists() && !in_the_way(fs::rename(fresh, &self.target))? {
            self.target.parent().map_or(Ok(()), sync_folder)?;
            return Ok(true);
        }
        let ours = self.publish_configuration(&fresh.join(CONFIGURATION))?;
        let new = !self.place.exists() && !in_the_way(fs::rename(fresh.join(&self.number), &self.place))?;
        if ours && !new {
            fs::remove_file(self.target.join(CONFIGURATION))?;
        }
        sync_folder(&self.target)?;
        Ok(new)
    }

    /// Whether it was this that brought it there.
    fn publish_configuration(&self, fresh: &Path) -> Result<bool, RegistryError> {
        if self.check_configuration()? {
            return Ok(false);
        }
        let place = self.target.join(CONFIGURATION);
        match fs::hard_link(fresh, &place) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => self.check_configuration().map(|_| false),
            // A file system without hard links.
            Err(_) => Ok(fs::rename(fresh, &place).map(|()| true)?),
        }
    }
}

/// Whether a rename met something that is there.
fn in_the_way(renamed: io::Result<()>) -> io::Result<bool> {
    match renamed {
        Ok(()) => Ok(false),
        Err(error) if matches!(error.kind(), ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists) => Ok(true),
        Err(error) => Err(error),
    }
}
