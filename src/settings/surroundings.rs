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
    /// `.hanok/lib` in the working directory: what the setup command fills.
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

impl Surroundings {
    /// Reads the environment.
    pub(crate) fn read() -> Self {
        let path = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        Self {
            onnxruntime_library: path("ORT_DYLIB_PATH"),
            executable_directory: env::current_exe().ok().and_then(|path| path.parent().map(PathBuf::from)),
            project_library_directory: PathBuf::from(".hanok").join("lib"),
            virtual_environment: path("VIRTUAL_ENV"),
            working_directory: env::current_dir().ok(),
            home_directory: path("HOME"),
            path_directories: env::var_os("PATH").map(|paths| env::split_paths(&paths).collect()).unwrap_or_default(),
            scratch_directory: env::temp_dir().join(format!("hanok-{}", std::process::id())),
            processors: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        }
    }
}
