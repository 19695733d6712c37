//! Checks of the clauses about loading.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Factory;
use super::clause::{Checked, Clause, Verdict, broken};
use super::computing::new_instance;
use super::fixture::Fixture;
use crate::{ErrorCode, Model, ServingError};

pub(super) fn load(factory: Factory<'_>, fixture: &Fixture) -> Result<Arc<dyn Model>, Verdict> {
    let backend = factory().map_err(|error| broken(format!("no backend: {error}")))?;
    backend.load(&fixture.source()).map_err(|error| broken(format!("the model does not load: {error}")))
}

pub(super) fn check(clause: Clause, factory: Factory<'_>, fixture: &Fixture) -> Checked {
    if clause == Clause::Loads {
        let model = load(factory, fixture)?;
        return new_instance(&model, 0).map(drop);
    }
    let Some(file) = &fixture.model_file else {
        return Err(Verdict::DoesNotApply("the backend reads no file"));
    };
    let folder = ScratchFolder::new().map_err(|error| broken(format!("no scratch folder: {error}")))?;
    let version_folder = folder.path.join(fixture.version.to_string());
    let content = match clause {
        Clause::GarbageFileIsAnError => Some(b"\x93this is no model\x00\xff\xfe of any kind".repeat(100)),
        Clause::TruncatedFileIsAnError => {
            let original = fixture.model_directory.join(fixture.version.to_string()).join(file);
            let bytes = std::fs::read(original).map_err(|error| broken(format!("the model file: {error}")))?;
            Some(bytes[..bytes.len() / 2].to_vec())
        }
        _ => None,
    };
    let prepared = std::fs::create_dir_all(&version_folder).and_then(|()| match &content {
        Some(content) => std::fs::write(version_folder.join(file), content),
        None => Ok(()),
    });
    prepared.map_err(|error| broken(format!("no scratch folder: {error}")))?;

    let backend = factory().map_err(|error| broken(format!("no backend: {error}")))?;
    let loaded = backend.load(&fixture.source_in(&folder.path)).and_then(|model| {
        let placement = crate::InstancePlacement { name: "fixture_0_0".to_owned(), placement: crate::Placement::Cpu };
        model.create_instance(&placement)
    });
    match loaded {
        Ok(_) => Err(broken("the model loaded")),
        Err(error) => check_error(&error, &folder.path, content.is_some()),
    }
}

fn check_error(error: &ServingError, folder: &Path, must_be_the_models: bool) -> Checked {
    let message = error.message();
    let folder_text = folder.to_string_lossy();
    if message.contains(&*folder_text) || message.contains("/tmp") || message.contains("0x") {
        return Err(broken(format!("the message tells a path or an address: {message}")));
    }
    let of_the_model = matches!(error.code(), ErrorCode::InvalidArgument | ErrorCode::Unsupported);
    if must_be_the_models && !of_the_model {
        return Err(broken(format!("expected InvalidArgument or Unsupported, got {:?}: {error}", error.code())));
    }
    if error.code() == ErrorCode::Internal {
        return Err(broken(format!("expected another code than Internal: {error}")));
    }
    Ok(())
}

/// A folder of its own, removed at the end.
struct ScratchFolder {
    path: PathBuf,
}

impl ScratchFolder {
    fn new() -> std::io::Result<Self> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("hanok-conformance-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        Ok(Self { path })
    }
}

impl Drop for ScratchFolder {
    fn drop(&mut self) {
        // A folder that stays behind in the temporary folder harms nobody.
        drop(std::fs::remove_dir_all(&self.path));
    }
}
