//! What lies in a model repository: one folder per model, numbered folders for its versions.
//!
//! Reads names, sizes and times, and `config.pbtxt`; never a model file. Names become paths only here, and only after
//! [`is_model_name`] has accepted them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Longest model name, in bytes: what file systems allow for one folder.
const MAX_NAME_BYTES: usize = 255;

/// The folders given as `--model-repository`, in order.
#[derive(Clone, Debug)]
pub struct ModelRoots {
    roots: Vec<PathBuf>,
    config_name: Option<String>,
}

/// One model's folder, as it was when it was looked at.
#[derive(Clone, Debug)]
pub struct ModelFolder {
    /// Name of the model.
    pub name: String,
    /// Its folder.
    pub directory: PathBuf,
    /// Text of the configuration; `None` when there is none.
    pub config_text: Option<String>,
    /// Version folders by number.
    pub versions: BTreeMap<u64, PathBuf>,
    /// Names of the files in the version folders, each once.
    pub files: Vec<String>,
    /// Changes when anything that matters changes.
    pub fingerprint: Fingerprint,
}

/// Names, sizes and modification times of everything in a model's folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fingerprint(BTreeMap<PathBuf, (u64, Option<SystemTime>)>);

/// Why a folder is not a model.
#[derive(Debug)]
pub enum FolderProblem {
    /// The name cannot be a model's: empty, too long, or with a separator in it.
    Name,
    /// No root has such a folder.
    Missing,
    /// Several roots have it.
    Ambiguous,
    /// Reading it failed.
    Unreadable(io::Error),
}

/// Whether `name` may be looked up: one path component, and not a special one.
#[must_use]
pub(crate) fn is_model_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= MAX_NAME_BYTES && name != "." && name != ".." && !name.contains(['/', '\\', '\0'])
}

impl ModelRoots {
    /// The repositories at `roots`. With `config_name`, a model's `configs/NAME.pbtxt` is used where it exists.
    #[must_use]
    pub fn new(roots: Vec<PathBuf>, config_name: Option<String>) -> Self {
        Self { roots, config_name }
    }

    /// The folders, as given.
    #[must_use]
    pub fn paths(&self) -> &[PathBuf] {
        &self.roots
    }

    /// Names of all models: folders with a configuration or a version. Others are passed over.
    ///
    /// # Errors
    /// When a root cannot be read.
    pub fn model_names(&self) -> io::Result<BTreeSet<String>> {
        let mut names = BTreeSet::new();
        for root in &self.roots {
            for entry in fs::read_dir(root)? {
                let path = entry?.path();
                let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
                if is_model_name(name) && path.is_dir() && looks_like_model(&path) {
                    names.insert(name.to_owned());
                }
            }
        }
        Ok(names)
    }

    /// Reads the folder of the model called `name`.
    ///
    /// # Errors
    /// [`FolderProblem`].
    pub fn read(&self, name: &str) -> Result<ModelFolder, FolderProblem> {
        if !is_model_name(name) {
            return Err(FolderProblem::Name);
        }
        let mut candidates = self.roots.iter().map(|root| root.join(name)).filter(|path| path.is_dir());
        let directory = candidates.next().ok_or(FolderProblem::Missing)?;
        if candidates.next().is_some() {
            return Err(FolderProblem::Ambiguous);
        }
        self.read_folder(name, directory).map_err(FolderProblem::Unreadable)
    }

    fn read_folder(&self, name: &str, directory: PathBuf) -> io::Result<ModelFolder> {
        let mut versions = BTreeMap::new();
        let mut files = BTreeSet::new();
        let mut fingerprint = Fingerprint::default();
        for entry in fs::read_dir(&directory)? {
            let path = entry?.path();
            match version_number(&path) {
                Some(version) => {
                    for file in fs::read_dir(&path)? {
                        let file = file?.path();
                        fingerprint.add(&file);
                        if let Some(file_name) = file.file_name().and_then(|name| name.to_str()) {
                            files.insert(file_name.to_owned());
                        }
                    }
                    fingerprint.0.insert(path.clone(), (0, None));
                    versions.insert(version, path);
                }
                None => fingerprint.add(&path),
            }
        }
        let config_text = self.read_config(&directory)?;
        let files = files.into_iter().collect();
        Ok(ModelFolder { name: name.to_owned(), directory, config_text, versions, files, fingerprint })
    }

    fn read_config(&self, directory: &Path) -> io::Result<Option<String>> {
        let named = self.config_name.as_ref().map(|name| directory.join("configs").join(format!("{name}.pbtxt")));
        for path in named.into_iter().chain([directory.join("config.pbtxt")]) {
            match fs::read(&path) {
                Ok(bytes) => return Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }
}

impl ModelFolder {
    /// Versions whose files are as they were, where nothing beside them changed but the configuration.
    pub(crate) fn unchanged_versions(&self, before: &Fingerprint) -> BTreeSet<u64> {
        let beside = |path: &Path| version_of(&self.directory, path).is_none() && !is_configuration(path);
        if before.part(beside) != self.fingerprint.part(beside) {
            return BTreeSet::new();
        }
        let same = |folder: &&PathBuf| {
            before.part(|path| path.starts_with(folder)) == self.fingerprint.part(|path| path.starts_with(folder))
        };
        self.versions.iter().filter(|(_, folder)| same(folder)).map(|(number, _)| *number).collect()
    }
}

impl Fingerprint {
    fn part(&self, wanted: impl Fn(&Path) -> bool) -> BTreeMap<&Path, (u64, Option<SystemTime>)> {
        let kept = self.0.iter().filter(|(path, _)| wanted(path));
        kept.map(|(path, facts)| (path.as_path(), *facts)).collect()
    }

    /// Whether nothing but configuration files differs.
    pub(crate) fn same_but_configuration(&self, other: &Self) -> bool {
        let is_model = |path: &Path| !is_configuration(path);
        self.part(is_model) == other.part(is_model)
    }

    fn add(&mut self, path: &Path) {
        if let Ok(metadata) = fs::metadata(path) {
            let size = if metadata.is_dir() { 0 } else { metadata.len() };
            let modified = if metadata.is_dir() { None } else { metadata.modified().ok() };
            self.0.insert(path.to_owned(), (size, modified));
        }
    }
}

fn is_configuration(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "pbtxt")
}

/// The number of the version folder of `model` that `path` is or was in.
fn version_of(model: &Path, path: &Path) -> Option<u64> {
    let first = path.strip_prefix(model).ok()?.components().next()?;
    first.as_os_str().to_str()?.parse().ok()
}

/// The number of a version folder: decimal, above 0, without a leading zero; anything else is not a version.
fn version_number(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    if name.starts_with('0') || !name.bytes().all(|byte| byte.is_ascii_digit()) || !path.is_dir() {
        return None;
    }
    name.parse().ok()
}

fn looks_like_model(directory: &Path) -> bool {
    directory.join("config.pbtxt").is_file()
        || fs::read_dir(directory)
            .is_ok_and(|mut entries| entries.any(|entry| entry.is_ok_and(|e| version_number(&e.path()).is_some())))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn names_never_become_other_paths() {
        for bad in ["", ".", "..", "a/b", "/etc", "a\\b", "a\0b", &"x".repeat(256)] {
            assert!(!is_model_name(bad), "{bad:?}");
        }
        for good in ["model..1", "..my_model", ".. ", "simple", &"x".repeat(255)] {
            assert!(is_model_name(good), "{good:?}");
        }
    }

    #[test]
    fn folders_are_read_and_changes_are_seen() {
        let root = tempfile::tempdir().unwrap();
        let model = root.path().join("m");
        fs::create_dir_all(model.join("1")).unwrap();
        fs::create_dir_all(model.join("02")).unwrap();
        fs::create_dir_all(model.join("extra")).unwrap();
        fs::create_dir_all(root.path().join("training")).unwrap();
        fs::write(model.join("1/model.onnx"), b"x").unwrap();
        let roots = ModelRoots::new(vec![root.path().to_owned()], None);
        assert_eq!(roots.model_names().unwrap().into_iter().collect::<Vec<_>>(), ["m"]);
        let before = roots.read("m").unwrap();
        assert_eq!(before.versions.keys().copied().collect::<Vec<_>>(), [1]);
        assert_eq!(before.files, ["model.onnx"]);
        assert!(before.config_text.is_none());
        fs::write(model.join("1/model.onnx"), b"xy").unwrap();
        assert_ne!(roots.read("m").unwrap().fingerprint, before.fingerprint);
        assert!(matches!(roots.read("absent"), Err(FolderProblem::Missing)));
        assert!(matches!(roots.read("../m"), Err(FolderProblem::Name)));
    }

    #[test]
    fn versions_that_did_not_change_are_told() {
        let root = tempfile::tempdir().unwrap();
        let model = root.path().join("m");
        let write = |path: &str, text: &str| {
            fs::create_dir_all(model.join(path).parent().unwrap()).unwrap();
            fs::write(model.join(path), text).unwrap();
        };
        write("1/model.onnx", "one");
        write("2/model.onnx", "two");
        write("labels.txt", "a");
        let roots = ModelRoots::new(vec![root.path().to_owned()], None);
        let before = roots.read("m").unwrap();
        let unchanged = |number: &[u64]| {
            let now = roots.read("m").unwrap();
            assert_eq!(now.unchanged_versions(&before.fingerprint).into_iter().collect::<Vec<_>>(), number);
        };
        unchanged(&[1, 2]);
        write("3/model.onnx", "three");
        write("config.pbtxt", "max_batch_size: 1");
        unchanged(&[1, 2]);
        write("2/model.onnx", "two and more");
        unchanged(&[1]);
        fs::remove_dir_all(model.join("2")).unwrap();
        unchanged(&[1]);
        write("1/weights.bin", "more");
        unchanged(&[]);
        fs::remove_file(model.join("1/weights.bin")).unwrap();
        unchanged(&[1]);
        write("labels.txt", "a, b");
        unchanged(&[]);
    }

    #[test]
    fn a_named_configuration_wins() {
        let root = tempfile::tempdir().unwrap();
        let model = root.path().join("m");
        fs::create_dir_all(model.join("configs")).unwrap();
        fs::write(model.join("config.pbtxt"), "a").unwrap();
        fs::write(model.join("configs/big.pbtxt"), "b").unwrap();
        let text = |name: Option<&str>| {
            ModelRoots::new(vec![root.path().to_owned()], name.map(str::to_owned)).read("m").unwrap().config_text
        };
        assert_eq!(text(None).as_deref(), Some("a"));
        assert_eq!(text(Some("big")).as_deref(), Some("b"));
        assert_eq!(text(Some("none")).as_deref(), Some("a"));
    }
}
