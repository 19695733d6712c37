//! Where the tables of `hanok features` lie: files found from the folder of the declarations, and objects of buckets.

use std::path::{Path, PathBuf};

use hanok_features::ErrorCode::InvalidArgument;
use hanok_offline::{LocalStorage, ObjectStorage, Places};
use tokio::runtime::Handle;

use crate::commands::error::CommandError;
use crate::features::mistake;
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
    let refused = |reason: String| mistake(InvalidArgument, &format!("`{}`: {reason}", path.display()));
    let text = path.to_str().ok_or_else(|| refused("expected a path in UTF-8".to_owned()))?;
    if Places::is_object(text) {
        return Ok(text.to_owned());
    }
    if text.split_once("://").is_some_and(|(scheme, _)| is_scheme(scheme)) {
        let known = "`s3://BUCKET/PATH`, `gs://BUCKET/PATH` or `az://CONTAINER/PATH`";
        return Err(refused(format!("expected a path on this machine, {known}")));
    }
    let absolute = std::path::absolute(path).map_err(|error| refused(format!("expected a path: {error}")))?;
    let absolute = absolute.to_str().map(str::to_owned);
    absolute.ok_or_else(|| refused("expected a path in UTF-8, also of the folder that it is found from".to_owned()))
}

/// Whether a text may stand before `://` (RFC 3986, section 3.1).
fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.chars().all(|one| one.is_ascii_alphanumeric() || "+-.".contains(one))
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
