//! Where the tables of `hanok features` lie: files found from the folder of the declarations, and objects of buckets.

use std::path::{Path, PathBuf};

use hanok_offline::{LocalStorage, ObjectStorage, Places};
use tokio::runtime::Handle;

use crate::commands::error::CommandError;
use crate::pulling::PullError;
use crate::settings::ReachFlags;

/// Files and objects; what is relative is found from the folder of `declarations`.
pub(super) fn places(declarations: &Path, reach: &ReachFlags, runtime: Handle) -> Result<Places, CommandError> {
    let settings = reach.for_tables().map_err(PullError::from)?;
    Ok(Places::new(LocalStorage::new(folder_of(declarations)), ObjectStorage::new(settings, runtime)))
}

/// The folder of a file, from which paths in it are found.
pub(super) fn folder_of(file: &Path) -> PathBuf {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned()
}

/// A path of the command line, which means the same from everywhere.
pub(super) fn from_here(path: &Path) -> Result<String, CommandError> {
    if let Some(object) = path.to_str().filter(|path| Places::is_object(path)) {
        return Ok(object.to_owned());
    }
    let absolute = std::path::absolute(path)
        .map_err(|error| CommandError::input(format!("`{}` is no path: {error}", path.display())))?;
    let text = absolute.to_str().map(str::to_owned);
    text.ok_or_else(|| CommandError::input(format!("`{}`: expected a path in UTF-8", path.display())))
}

/// Does work that blocks beside the runtime, which asks the buckets meanwhile.
pub(super) async fn beside<T: Send + 'static>(
    work: impl FnOnce(Handle) -> Result<T, CommandError> + Send + 'static,
) -> Result<T, CommandError> {
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || work(runtime))
        .await
        .map_err(|error| CommandError::failed(format!("the work broke off: {error}; this is a fault of the program")))?
}
