//! A model repository in a temporary folder, for one suite: written before, removed after.

use std::path::{Path, PathBuf};

use crate::Problem;

/// A folder that is removed when this goes.
#[derive(Debug)]
pub(crate) struct ModelRepository {
    folder: PathBuf,
}

impl ModelRepository {
    /// An empty repository.
    pub(crate) fn new(name: &str) -> Result<Self, Problem> {
        let folder = std::env::temp_dir().join(format!("hanok-benches-{}-{name}", std::process::id()));
        make(&folder)?;
        Ok(Self { folder })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.folder
    }

    /// Adds an identity of the builtin backend over `width` FP32 values; `settings` is appended to its configuration.
    pub(crate) fn add_identity(&self, name: &str, width: u32, settings: &str) -> Result<(), Problem> {
        let side = |side: &str, tensor: &str| {
            format!("{side} [ {{ name: \"{tensor}\" data_type: TYPE_FP32 dims: [ {width} ] }} ]\n")
        };
        let config = format!(
            "name: \"{name}\"\nbackend: \"builtin\"\n{}{}{}{settings}\n",
            side("input", "INPUT0"),
            side("output", "OUTPUT0"),
            parameter("model", "identity"),
        );
        make(&self.folder.join(name).join("1"))?;
        write(&self.folder.join(name).join("config.pbtxt"), &config)
    }

    /// Adds an identity of the builtin backend over `inputs` FP32 inputs of one value, `f0` and so on; `settings` is appended
    /// to its configuration.
    pub(crate) fn add_many(&self, name: &str, inputs: usize, settings: &str) -> Result<(), Problem> {
        let side = |side: &str, suffix: &str| -> String {
            let tensor = |index| format!("{side} {{ name: \"f{index}{suffix}\" data_type: TYPE_FP32 dims: [ 1 ] }}\n");
            (0..inputs).map(tensor).collect()
        };
        let config = format!(
            "name: \"{name}\"\nbackend: \"builtin\"\nmax_batch_size: 64\n{}{}{}{settings}\n",
            side("input", ""),
            side("output", "_out"),
            parameter("model", "identity"),
        );
        make(&self.folder.join(name).join("1"))?;
        write(&self.folder.join(name).join("config.pbtxt"), &config)
    }

    /// Adds a model of the builtin backend over one INT32.
    pub(crate) fn add_integers(&self, name: &str, kind: &str) -> Result<(), Problem> {
        let side = |side: &str, tensor: &str| {
            format!("{side} [ {{ name: \"{tensor}\" data_type: TYPE_INT32 dims: [ 1 ] }} ]\n")
        };
        let config = format!(
            "name: \"{name}\"\nbackend: \"builtin\"\nmax_batch_size: 8\n{}{}{}",
            side("input", "INPUT0"),
            side("output", "OUTPUT0"),
            parameter("model", kind),
        );
        make(&self.folder.join(name).join("1"))?;
        write(&self.folder.join(name).join("config.pbtxt"), &config)
    }

    /// Adds a version to a model, and has all versions served.
    pub(crate) fn add_version(&self, name: &str, version: u32) -> Result<(), Problem> {
        make(&self.folder.join(name).join(version.to_string()))?;
        let path = self.folder.join(name).join("config.pbtxt");
        let config = std::fs::read_to_string(&path).map_err(|error| format!("cannot read `{name}`: {error}"))?;
        write(&path, &(config + "version_policy { all { } }\n"))
    }

    /// Copies a model, with `settings` appended to its configuration; tells how to get one that is missing.
    pub(crate) fn add_copy(&self, from: &Path, name: &str, settings: &str) -> Result<(), Problem> {
        let source = from.join(name);
        if !source.join("1").is_dir() {
            return Err(format!(
                "there is no model `{}`: make it with `python3 tests/models/collect.py {} --only {name}`",
                source.display(),
                from.display()
            ));
        }
        let goal = self.folder.join(name);
        make(&goal.join("1"))?;
        for folder in ["", "1"] {
            let files =
                std::fs::read_dir(source.join(folder)).map_err(|error| format!("cannot read `{name}`: {error}"))?;
            for file in files.flatten().filter(|file| file.path().is_file()) {
                let copy = goal.join(folder).join(file.file_name());
                std::fs::copy(file.path(), &copy).map_err(|error| format!("cannot copy `{name}`: {error}"))?;
            }
        }
        let config = goal.join("config.pbtxt");
        let text = std::fs::read_to_string(&config).unwrap_or_default();
        write(&config, &format!("{text}\n{settings}\n"))
    }
}

impl Drop for ModelRepository {
    fn drop(&mut self) {
        // A folder that stays behind in the temporary directory does no harm.
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

/// A parameter of a configuration.
pub(crate) fn parameter(key: &str, value: &str) -> String {
    format!("parameters {{ key: \"{key}\" value {{ string_value: \"{value}\" }} }}\n")
}

fn make(folder: &Path) -> Result<(), Problem> {
    std::fs::create_dir_all(folder).map_err(|error| format!("cannot make `{}`: {error}", folder.display()))
}

fn write(path: &Path, text: &str) -> Result<(), Problem> {
    std::fs::write(path, text).map_err(|error| format!("cannot write `{}`: {error}", path.display()))
}
