//! Where files wait between the network and the registry: one folder per model and reference, in the registry's own.
//!
//! What waits is for the next attempt, of which nobody knows whether it comes: after a day without a change it goes.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, Metadata, TryLockError};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use hanok_registry::{Digest, FileContent, Manifest};
use hanok_sources::SourceReference;
use serde::{Deserialize, Serialize};

use super::whole_file;

/// How long what was fetched waits for the attempt that goes on from it.
pub(crate) const WAITS: Duration = Duration::from_secs(24 * 60 * 60);

/// The folder for what `reference` gives for `model`. The same for every attempt, so that the next goes on where the last
/// one stopped; named by a digest, because a reference is no file name.
pub(super) fn place(registry: &Path, model: &str, reference: &SourceReference) -> PathBuf {
    let name = Digest::of(format!("{model}\n{reference}").as_bytes()).hex();
    registry.join("fetched").join(&name[..32])
}

/// Makes the folder above, for this user only.
pub(super) fn prepare(place: &Path) -> io::Result<()> {
    place.parent().map_or(Ok(()), |above| DirBuilder::new().recursive(true).mode(0o700).create(above))
}

/// Removes what was fetched, with its receipt; the registry has it now, or another version has taken its place.
pub(super) fn remove(place: &Path) -> io::Result<()> {
    gone(fs::remove_file(place.with_extension("receipt.json")))?;
    gone(fs::remove_file(place.with_extension(REFUSED)))?;
    gone(fs::remove_dir_all(place))
}

/// Removes what was fetched, and what of it is still under way, unless somebody is at it: no attempt will go on from there.
pub(super) fn discard(place: &Path) -> io::Result<()> {
    let partial = place.with_extension("partial");
    let lock = File::open(partial.join("lock"));
    if lock.as_ref().is_ok_and(|lock| matches!(lock.try_lock(), Err(TryLockError::WouldBlock))) {
        return Ok(());
    }
    gone(fs::remove_dir_all(&partial))?;
    gone(fs::remove_file(place.with_extension("receipt.json")))?;
    gone(fs::remove_dir_all(place))
}

/// What there was no room for, when its content was known.
#[derive(Debug, Serialize, Deserialize)]
struct Refused {
    /// Digest of the text by which the source told this revision.
    revision: Digest,
    files: BTreeMap<String, FileContent>,
}

/// Notes that there was no room for `content`, so that it is not fetched again to be refused again.
pub(super) fn remember_refused(place: &Path, revision: &Digest, content: &Manifest) -> io::Result<()> {
    let text = serde_json::to_string(&Refused { revision: *revision, files: content.files().clone() })?;
    whole_file::write(&place.with_extension(REFUSED), &text)
}

/// What there was no room for when the source told `revision`.
pub(super) fn refused(place: &Path, revision: &Digest) -> Option<Manifest> {
    let bytes = fs::read(place.with_extension(REFUSED)).ok()?;
    let refused: Refused = serde_json::from_slice(&bytes).ok()?;
    if refused.revision == *revision { Manifest::new(refused.files).ok() } else { None }
}

/// What waits for another attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Waiting {
    /// Attempts that are removed.
    pub(crate) attempts: u64,
    /// Bytes of them.
    pub(crate) bytes: u64,
    /// Bytes that go on waiting.
    pub(crate) kept_bytes: u64,
}

/// Removes what has waited in `registry` for longer than `longest` at `now`, unless it is `spared` or somebody is at it;
/// with `dry_run` it only tells.
pub(crate) fn collect(
    registry: &Path,
    now: SystemTime,
    longest: Duration,
    spared: Option<&Path>,
    dry_run: bool,
) -> io::Result<Waiting> {
    let mut attempts: BTreeMap<PathBuf, Vec<PathBuf>> = BTreeMap::new();
    let entries = match fs::read_dir(registry.join("fetched")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Waiting::default()),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        // Of one attempt: `D`, `D.partial`, `D.receipt.json`, `D.refused.json`.
        let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.split('.').next());
        let place = path.with_file_name(name.unwrap_or_default());
        attempts.entry(place).or_default().push(path);
    }
    let mut waiting = Waiting::default();
    for (place, paths) in attempts {
        if spared == Some(&place) {
            continue;
        }
        let mut found = Found::default();
        for path in &paths {
            found.add(path)?;
        }
        // A clock that was set back makes nothing old.
        let age = found.newest.map(|newest| now.duration_since(newest).unwrap_or_default());
        let idle = age.is_some_and(|age| age >= longest);
        let lock = File::open(place.with_extension("partial").join("lock"));
        let busy = lock.as_ref().is_ok_and(|lock| matches!(lock.try_lock(), Err(TryLockError::WouldBlock)));
        if !idle || busy {
            waiting.kept_bytes += found.bytes;
            continue;
        }
        waiting.attempts += 1;
        waiting.bytes += found.bytes;
        if !dry_run {
            for path in &paths {
                gone(if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) })?;
            }
        }
    }
    Ok(waiting)
}

/// The ending of a note of what there was no room for.
const REFUSED: &str = "refused.json";

/// What lies below some paths: bytes, and when something was changed last.
#[derive(Default)]
struct Found {
    bytes: u64,
    newest: Option<SystemTime>,
}

impl Found {
    fn add(&mut self, path: &Path) -> io::Result<()> {
        let metadata: Metadata = match fs::symlink_metadata(path) {
            // Somebody is at it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.newest = Some(SystemTime::now());
                return Ok(());
            }
            metadata => metadata?,
        };
        self.newest = self.newest.max(Some(metadata.modified()?));
        if !metadata.is_dir() {
            self.bytes = self.bytes.saturating_add(metadata.len());
            return Ok(());
        }
        fs::read_dir(path)?.try_for_each(|entry| self.add(&entry?.path()))
    }
}

fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn what_nobody_went_on_with_goes_after_a_day() {
        let registry = tempfile::tempdir().unwrap();
        let fetched = registry.path().join("fetched");
        assert_eq!(collect(registry.path(), SystemTime::now(), WAITS, None, false).unwrap(), Waiting::default());
        for name in ["dead.partial/incoming", "whole", "mine.partial", "busy.partial"] {
            fs::create_dir_all(fetched.join(name)).unwrap();
        }
        for (name, bytes) in [
            ("dead.partial/incoming/x.part", 7),
            ("dead.partial/lock", 0),
            ("whole/m", 5),
            ("whole.receipt.json", 2),
            ("busy.partial/lock", 0),
        ] {
            fs::write(fetched.join(name), vec![0; bytes]).unwrap();
        }
        let lock = File::open(fetched.join("busy.partial/lock")).unwrap();
        lock.lock().unwrap();
        let mine = fetched.join("mine");
        let collect = |later: Duration, longest, dry_run| {
            collect(registry.path(), SystemTime::now() + later, longest, Some(&mine), dry_run).unwrap()
        };
        let all_wait = Waiting { kept_bytes: 14, ..Waiting::default() };
        assert_eq!(collect(WAITS - Duration::from_secs(60), WAITS, false), all_wait);
        let waiting = Waiting { attempts: 2, bytes: 14, kept_bytes: 0 };
        let later = WAITS + Duration::from_secs(60);
        assert_eq!(collect(later, WAITS, true), waiting);
        assert_eq!(collect(Duration::ZERO, Duration::ZERO, true), waiting, "whoever needs the room need not wait");
        assert_eq!(collect(later, WAITS, false), waiting);
        assert_eq!(collect(later, WAITS, false), Waiting::default());
        let mut left: Vec<_> = fs::read_dir(&fetched).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["busy.partial", "mine.partial"]);
        for (name, gone) in [("busy", false), ("mine", true)] {
            discard(&fetched.join(name)).unwrap();
            assert_eq!(!fetched.join(name).with_extension("partial").exists(), gone, "{name}");
        }
    }

    #[test]
    fn what_was_refused_is_known_as_long_as_the_source_tells_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("0123");
        let content = FileContent { digest: Digest::of(b"network"), bytes: 7 };
        let manifest = Manifest::new([("model.onnx".to_owned(), content)].into()).unwrap();
        let (one, other) = (Digest::of(b"one"), Digest::of(b"other"));
        assert_eq!(refused(&place, &one), None);
        remember_refused(&place, &one, &manifest).unwrap();
        discard(&place).unwrap();
        assert_eq!((refused(&place, &one), refused(&place, &other)), (Some(manifest), None));
        fs::write(place.with_extension(REFUSED), "half").unwrap();
        assert_eq!(refused(&place, &one), None);
        remove(&place).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
