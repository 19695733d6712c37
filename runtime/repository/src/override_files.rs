//! Files that come with a load request, put where a backend can open them.
//!
//! Names are `VERSION/NAME`: a version number and one path component. Nothing else reaches the file system, so no name
//! can lead out of the private folder, which is removed when the model is loaded anew or unloaded.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use hanok_backend::ServingError;

use crate::LoadRequest;
use crate::layout::{ModelFolder, ModelRoots, is_model_name};

/// A private folder in the form of a model's; removed when dropped.
#[derive(Debug)]
pub(crate) struct OverrideFolder {
    root: PathBuf,
}

static NEXT: AtomicU64 = AtomicU64::new(0);

impl OverrideFolder {
    /// Writes the files of `request`, if it brings any.
    pub(crate) fn create(scratch: &Path, model: &str, request: &LoadRequest) -> Result<Option<Self>, ServingError> {
        if request.files.is_empty() {
            return Ok(None);
        }
        if request.config_json.is_none() {
            return Err(ServingError::invalid("files in a load request need a `config` beside them"));
        }
        if !is_model_name(model) {
            return Err(ServingError::invalid(format!("'{model}' is not a model name")));
        }
        let mut checked = Vec::with_capacity(request.files.len());
        for (name, content) in &request.files {
            checked.push((checked_name(name)?, content));
        }
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = Self { root: scratch.join(format!("load-{}-{number}", std::process::id())) };
        for ((version, name), content) in checked {
            let directory = folder.root.join(model).join(version);
            let written = fs::create_dir_all(&directory).and_then(|()| fs::write(directory.join(name), content));
            written.map_err(|error| {
                ServingError::internal("a file of the load request could not be stored")
                    .with_operator_detail(error.to_string())
            })?;
        }
        Ok(Some(folder))
    }

    pub(crate) fn as_model_folder(&self, model: &str) -> Result<ModelFolder, ServingError> {
        ModelRoots::new(vec![self.root.clone()], None).read(model).map_err(|problem| {
            ServingError::internal("the files of the load request could not be read back")
                .with_operator_detail(format!("{problem:?}"))
        })
    }
}

impl Drop for OverrideFolder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.root) {
            tracing::warn!(%error, "files of a load request could not be removed");
        }
    }
}

fn checked_name(name: &str) -> Result<(&str, &str), ServingError> {
    let refused = || {
        ServingError::invalid(format!(
            "file name `{}` of a load request must be `VERSION/NAME` with one number and one name of at most 255 bytes",
            name.escape_default().take(300).collect::<String>()
        ))
    };
    let (version, file) = name.split_once('/').ok_or_else(refused)?;
    let is_version = version.parse::<u64>().is_ok_and(|number| number > 0 && number.to_string() == version);
    if is_version && is_model_name(file) { Ok((version, file)) } else { Err(refused()) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    fn request(name: &str) -> LoadRequest {
        LoadRequest { config_json: Some("{}".to_owned()), files: vec![(name.to_owned(), b"x".to_vec())] }
    }

    #[test]
    fn names_cannot_leave_the_folder() {
        let scratch = tempfile::tempdir().unwrap();
        let long = format!("1/{}", "x".repeat(256));
        for bad in ["model.onnx", "1/../../x", "1/", "../1/x", "/1/x", "01/x", "-1/x", "1/a/b", "1/..", "0/x", &long] {
            assert!(OverrideFolder::create(scratch.path(), "m", &request(bad)).is_err(), "{bad}");
        }
        assert!(fs::read_dir(scratch.path()).unwrap().next().is_none());
        assert!(OverrideFolder::create(scratch.path(), "../m", &request("1/model.onnx")).is_err());
    }

    #[test]
    fn files_live_as_long_as_the_folder() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = OverrideFolder::create(scratch.path(), "m", &request("1/model.onnx")).unwrap().unwrap();
        let model = folder.as_model_folder("m").unwrap();
        assert_eq!(fs::read(model.versions[&1].join("model.onnx")).unwrap(), b"x");
        drop(folder);
        assert!(fs::read_dir(scratch.path()).unwrap().next().is_none());
        let without_config = LoadRequest { config_json: None, ..request("1/model.onnx") };
        assert!(OverrideFolder::create(scratch.path(), "m", &without_config).is_err());
    }
}
