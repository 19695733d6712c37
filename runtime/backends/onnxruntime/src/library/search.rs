//! Finds the shared library on the file system. Loads nothing, runs nothing, reads no variable of the environment.
//!
//! The order: what the command line says, what the environment says, beside the executable, the project's folder
//! (`.hanok/lib`, which must hold `libonnxruntime.so` or `libonnxruntime.so.VERSION`), installed Python packages,
//! the system's library folders. A path on the command line is taken or refused, never passed over.

use std::fmt;
use std::path::{Path, PathBuf};

use super::python;

/// Where to look; everything is given by the caller.
#[derive(Clone, Debug, Default)]
pub struct LibrarySearch {
    /// File or folder named on the command line.
    pub flag: Option<PathBuf>,
    /// File or folder named by `ORT_DYLIB_PATH`.
    pub environment: Option<PathBuf>,
    /// Folder of the executable.
    pub executable_directory: Option<PathBuf>,
    /// Folder that the project's set-up fills: `.hanok/lib`.
    pub project_directory: Option<PathBuf>,
    /// The active virtual environment: value of `VIRTUAL_ENV`.
    pub virtual_environment: Option<PathBuf>,
    /// The working directory, whose `.venv` is looked into.
    pub working_directory: Option<PathBuf>,
    /// Folders of `PATH`, in order: where `python3` is, its packages are.
    pub path_directories: Vec<PathBuf>,
    /// The home folder, whose `.local` holds packages of the user.
    pub home_directory: Option<PathBuf>,
}

/// A class of places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Named on the command line.
    Flag,
    /// Named by `ORT_DYLIB_PATH`.
    Environment,
    /// Beside the executable.
    BesideExecutable,
    /// The project's folder.
    Project,
    /// A Python package called `onnxruntime`.
    PythonPackage,
    /// A library folder of the system.
    System,
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Flag => "the command line",
            Self::Environment => "ORT_DYLIB_PATH",
            Self::BesideExecutable => "beside the executable",
            Self::Project => "the project folder",
            Self::PythonPackage => "a Python package",
            Self::System => "the system's libraries",
        })
    }
}

/// The library that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Absolute path of the file.
    pub path: PathBuf,
    /// Where it was.
    pub how: Place,
}

/// One place that held nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    /// The class of the place.
    pub place: Place,
    /// The file or folder.
    pub path: PathBuf,
}

/// What a search found, and where it looked before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SearchReport {
    /// The library, if there is one.
    pub found: Option<Found>,
    /// Places without one, in order.
    pub tried: Vec<Tried>,
}

impl fmt::Display for SearchReport {
    /// One line for the log.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.found {
            Some(found) => write!(formatter, "ONNX Runtime found in {}: {}", found.how, found.path.display())?,
            None => formatter.write_str("ONNX Runtime not found")?,
        }
        for (index, tried) in self.tried.iter().enumerate() {
            formatter.write_str(if index == 0 { "; not in " } else { ", " })?;
            write!(formatter, "{} ({})", tried.place, tried.path.display())?;
        }
        Ok(())
    }
}

/// Looks for the library.
#[must_use]
pub fn locate(search: &LibrarySearch) -> SearchReport {
    let mut report = SearchReport::default();
    for (place, path) in places(search) {
        match library_at(&path) {
            Some(file) => {
                let path = std::path::absolute(&file).unwrap_or(file);
                report.found = Some(Found { path, how: place });
                return report;
            }
            None => report.tried.push(Tried { place, path }),
        }
        if place == Place::Flag {
            return report;
        }
    }
    report
}

/// The places in order; those of Python and of the system are found out only when the ones before hold nothing.
fn places(search: &LibrarySearch) -> impl Iterator<Item = (Place, PathBuf)> {
    let named = [
        (Place::Flag, &search.flag),
        (Place::Environment, &search.environment),
        (Place::BesideExecutable, &search.executable_directory),
        (Place::Project, &search.project_directory),
    ];
    let named = named.into_iter().filter_map(|(place, path)| Some((place, path.clone()?)));
    let packages = std::iter::once_with(|| python::package_folders(search)).flatten();
    let system = SYSTEM_FOLDERS.iter().map(PathBuf::from).filter(|folder| folder.is_dir());
    named
        .chain(packages.map(|folder| (Place::PythonPackage, folder)))
        .chain(system.map(|folder| (Place::System, folder)))
}

#[cfg(target_arch = "aarch64")]
const SYSTEM_FOLDERS: [&str; 4] = ["/usr/local/lib", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib"];
#[cfg(not(target_arch = "aarch64"))]
const SYSTEM_FOLDERS: [&str; 4] = ["/usr/local/lib", "/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib"];

/// `path` itself when it is a file, else the newest library in that folder.
fn library_at(path: &Path) -> Option<PathBuf> {
    if path.is_file() {
        return Some(path.to_owned());
    }
    let names = std::fs::read_dir(path).ok()?.filter_map(Result::ok).map(|entry| entry.file_name());
    let names: Vec<String> = names.filter_map(|name| name.into_string().ok()).collect();
    let newest = names.iter().filter_map(|name| Some((version_of(name)?, name))).max()?.1;
    let file = path.join(newest);
    file.is_file().then_some(file)
}

/// How new the file called `name` is; `None` when it is not the library. A name without a version comes last, but for
/// its name alone there is nothing to compare with: it is usually a link to the versioned file.
fn version_of(name: &str) -> Option<Vec<u32>> {
    let (stem, suffix) = if cfg!(target_os = "macos") {
        ("libonnxruntime", name.strip_prefix("libonnxruntime")?.strip_suffix(".dylib")?)
    } else {
        ("libonnxruntime.so", name.strip_prefix("libonnxruntime.so")?)
    };
    debug_assert!(name.starts_with(stem));
    if suffix.is_empty() {
        return Some(Vec::new());
    }
    suffix.strip_prefix('.')?.split('.').map(|part| part.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("hanok-locate-{}-{name}", std::process::id()));
            drop(std::fs::remove_dir_all(&path));
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn file(&self, path: &str) -> PathBuf {
            let file = self.0.join(path);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(&file, "").unwrap();
            file
        }

        fn folder(&self, path: &str) -> Option<PathBuf> {
            Some(self.0.join(path))
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            drop(std::fs::remove_dir_all(&self.0));
        }
    }

    fn found(search: &LibrarySearch) -> Option<(Place, PathBuf)> {
        locate(search).found.map(|found| (found.how, found.path)).filter(|(place, _)| *place != Place::System)
    }

    #[test]
    fn versions_are_numbers_not_texts() {
        assert!(version_of("libonnxruntime.so.1.31.1") > version_of("libonnxruntime.so.1.9.0"));
        assert!(version_of("libonnxruntime.so.1") > version_of("libonnxruntime.so"));
        assert_eq!(version_of("libonnxruntime_providers_shared.so"), None);
        assert_eq!(version_of("libonnxruntime.so.old"), None);
    }

    #[test]
    fn the_order_is_kept() {
        let folder = Folder::new("order");
        let python = folder.file("venv/lib/python3.11/site-packages/onnxruntime/capi/libonnxruntime.so.1.31.1");
        let mut search = LibrarySearch { virtual_environment: folder.folder("venv"), ..Default::default() };
        assert_eq!(found(&search), Some((Place::PythonPackage, python)));
        folder.file("project/libonnxruntime.so.1.9.0");
        let newest = folder.file("project/libonnxruntime.so.1.31.1");
        search.project_directory = folder.folder("project");
        assert_eq!(found(&search), Some((Place::Project, newest)));
        let beside = folder.file("bin/libonnxruntime.so");
        search.executable_directory = folder.folder("bin");
        assert_eq!(found(&search), Some((Place::BesideExecutable, beside)));
        let environment = folder.file("elsewhere/my.so");
        search.environment = Some(environment.clone());
        assert_eq!(found(&search), Some((Place::Environment, environment)));
        search.environment = folder.folder("elsewhere/gone.so");
        assert_eq!(found(&search).unwrap().0, Place::BesideExecutable);
        search.flag = folder.folder("gone.so");
        let report = locate(&search);
        assert_eq!(report.found, None, "a wrong flag is not passed over");
        assert_eq!(report.tried.len(), 1);
        assert!(report.to_string().starts_with("ONNX Runtime not found; not in the command line ("));
    }

    #[test]
    fn python_is_found_through_path_and_shims() {
        let folder = Folder::new("python");
        folder.file("base/bin/python3");
        let base = folder.file("base/lib/python3.12/site-packages/onnxruntime/capi/libonnxruntime.so.1.30.0");
        let mut search =
            LibrarySearch { path_directories: folder.folder("base/bin").into_iter().collect(), ..Default::default() };
        assert_eq!(found(&search), Some((Place::PythonPackage, base)));
        folder.file("pyenv/shims/python3");
        std::fs::write(folder.file("pyenv/version"), "3.11.7\n").unwrap();
        let shim =
            folder.file("pyenv/versions/3.11.7/lib/python3.11/site-packages/onnxruntime/capi/libonnxruntime.so.1.31.1");
        search.path_directories.insert(0, folder.0.join("pyenv/shims"));
        assert_eq!(found(&search), Some((Place::PythonPackage, shim)));
    }
}
