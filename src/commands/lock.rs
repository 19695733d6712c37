//! `hanok lock`: pins what lies in a model repository in a lock file, or checks a repository against one.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use hanok_registry::{
    ErrorCode, KnownSources, LockFile, Registry, RegistrySettings, check_locked, find_models, is_registry,
};
use serde_json::json;

use super::error::CommandError;
use crate::settings::{OutputFormat, RegistryFlags};

/// Arguments of `hanok lock`.
#[derive(Debug, clap::Args)]
pub(crate) struct LockArguments {
    /// Folder of models, in Triton's layout; may be given several times. The lock file does not know it: --check wants the same
    #[arg(long = "model-repository", value_name = "DIR", default_value = "models", env = "HANOK_MODEL_REPOSITORY")]
    roots: Vec<PathBuf>,
    /// The lock file
    #[arg(long, value_name = "FILE", default_value = "hanok.lock")]
    file: PathBuf,
    /// Change nothing; tell whether the repository is what the lock file pins, also by the exit code
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    registry: RegistryFlags,
}

/// Runs `hanok lock`.
pub(crate) fn run(arguments: &LockArguments) -> Result<ExitCode, CommandError> {
    let found = find_models(arguments.roots.iter().map(PathBuf::as_path))?;
    if arguments.check {
        let problems = check_locked(&LockFile::read(&arguments.file)?, &found);
        let mut out = std::io::stdout().lock();
        if arguments.registry.format == OutputFormat::Json {
            writeln!(out, "{:#}", json!({ "problems": problems }))?;
        } else if problems.is_empty() {
            writeln!(out, "the repository is what `{}` pins", arguments.file.display())?;
        } else {
            let roots: Vec<String> = arguments.roots.iter().map(|root| format!("`{}`", root.display())).collect();
            writeln!(out, "`{}` does not pin what lies in {}:", arguments.file.display(), roots.join(", "))?;
            problems.iter().try_for_each(|problem| writeln!(out, "{problem}"))?;
        }
        return Ok(if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let known = sources(&arguments.registry.registry)?;
    let before = previous(&arguments.file)?;
    let lock = LockFile::pin(&found, |model, number, digest| {
        // What the registry does not know (any more) is as it was pinned before, if it is the same.
        known.find(model, number, digest).or_else(|| {
            let locked = before.as_ref()?.models.get(model)?.versions.get(&number)?;
            if locked.digest == *digest { locked.source.clone() } else { None }
        })
    });
    lock.write(&arguments.file)?;
    let mut out = std::io::stdout().lock();
    if arguments.registry.format == OutputFormat::Json {
        write!(out, "{lock}")?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut versions = 0;
    for (model, locked) in &lock.models {
        for (number, version) in &locked.versions {
            versions += 1;
            if version.source.is_none() {
                writeln!(out, "version {number} of model `{model}`: no source is known; it is pinned by digest alone")?;
            }
        }
    }
    writeln!(out, "pinned {versions} versions of {} models in `{}`", lock.models.len(), arguments.file.display())?;
    Ok(ExitCode::SUCCESS)
}

/// What the registry knows; nothing where there is none.
fn sources(folder: &Path) -> Result<KnownSources, CommandError> {
    if !is_registry(folder) {
        return Ok(KnownSources::default());
    }
    Ok(Registry::open(folder, RegistrySettings::default())?.sources()?)
}

/// The lock file that is there. A file that is none is not written over.
fn previous(file: &Path) -> Result<Option<LockFile>, CommandError> {
    match LockFile::read(file) {
        Ok(lock) => Ok(Some(lock)),
        Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}
