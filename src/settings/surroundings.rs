//! What is around the process: environment variables and folders that matter, read once at start.

use std::env;
use std::path::PathBuf;

/// Facts of the process's surroundings.
#[derive(Clone, Debug)]
pub(crate) struct Surroundings {
    /// `ORT_DYLIB_PATH`.
    pub(crate) onnxruntime_library: Option<PathBuf>,
    /// Folder of this executable.
    pub(crate) executable_directory: Option<PathBuf>,
    /// What the setup command fills: `.hanok/lib` in the working directory, or above the executable's folder.
    pub(crate) project_library_directory: PathBuf,
    /// `VIRTUAL_ENV`.
    pub(crate) virtual_environment: Option<PathBuf>,
    /// The working directory.
    pub(crate) working_directory: Option<PathBuf>,
    /// The folders of `PATH`.
    pub(crate) path_directories: Vec<PathBuf>,
    /// `HOME`.
    pub(crate) home_directory: Option<PathBuf>,
    /// Where files that live as long as the process may go.
    pub(crate) scratch_directory: PathBuf,
    /// Processors that this process may use.
    pub(crate) processors: usize,
}

/// The first `.hanok/lib` of the working directory and of the folders above the executable (`target/release/hanok`).
fn project_library_directory() -> PathBuf {
    let library = |folder: &std::path::Path| folder.join(".hanok").join("lib");
    let here = library(std::path::Path::new(""));
    if here.is_dir() {
        return here;
    }
    let executable = env::current_exe().ok();
    let above = executable.iter().flat_map(|path| path.ancestors().skip(2).take(2)).map(library);
    above.into_iter().find(|folder| folder.is_dir()).unwrap_or(here)
}

impl Surroundings {
    /// Reads the environment.
    pub(crate) fn read() -> Self {
        let path = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        Self {
            onnxruntime_library: path("ORT_DYLIB_PATH"),
            executable_directory: env::current_exe().ok().and_then(|path| path.parent().map(PathBuf::from)),
            project_library_directory: project_library_directory(),
            virtual_environment: path("VIRTUAL_ENV"),
            working_directory: env::current_dir().ok(),
            home_directory: path("HOME"),
            path_directories: env::var_os("PATH").map(|paths| env::split_paths(&paths).collect()).unwrap_or_default(),
            scratch_directory: env::temp_dir().join(format!("hanok-{}", std::process::id())),
            processors: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        }
    }
}
