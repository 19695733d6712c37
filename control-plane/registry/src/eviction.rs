//! Which versions' files make room: a pure choice.
//!
//! Least recently used first. Files by content may belong to several versions; they go with the last of them.

use std::collections::{BTreeMap, BTreeSet};

use hanok_state::Timestamp;

use crate::digest::Digest;
use crate::manifest::FileContent;
use crate::names::VersionName;

/// A version whose files are here, as the choice sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredVersion {
    /// Which.
    pub name: VersionName,
    /// Its files' content.
    pub files: Vec<FileContent>,
    /// When it was last used.
    pub used_at: Timestamp,
    /// Whether it may go: it can be had again from its source, and nobody uses it.
    pub evictable: bool,
}

/// Bytes on the disk of all these versions: each content once.
#[must_use]
pub fn stored_bytes<'a>(versions: impl IntoIterator<Item = &'a StoredVersion>) -> u64 {
    let contents: BTreeMap<Digest, u64> =
        versions.into_iter().flat_map(|version| &version.files).map(|file| (file.digest, file.bytes)).collect();
    contents.values().fold(0, |sum, bytes| sum.saturating_add(*bytes))
}

/// Fewest bytes that can be on the disk beside a version of which only its files' sizes are known: everything that may go is
/// gone, and a file whose size one of the others has is that one.
#[must_use]
pub(crate) fn least_bytes_with(versions: &[StoredVersion], sizes: &BTreeSet<u64>) -> u64 {
    let here: BTreeSet<u64> = versions.iter().flat_map(|version| &version.files).map(|file| file.bytes).collect();
    let staying = stored_bytes(versions.iter().filter(|version| !version.evictable));
    sizes.difference(&here).fold(staying, |sum, bytes| sum.saturating_add(*bytes))
}

/// The versions to evict, in order, so that at most `quota` bytes stay beside `incoming` (content that is about to come in,
/// counted where it is not here already). Too few when everything evictable is not enough: the caller compares.
#[must_use]
pub fn choose_evictions(versions: &[StoredVersion], incoming: &[FileContent], quota: u64) -> Vec<VersionName> {
    let mut uses: BTreeMap<Digest, (u64, usize)> = BTreeMap::new();
    let distinct = |files: &[FileContent]| files.iter().copied().collect::<BTreeSet<_>>();
    let mut used = |files: &[FileContent]| {
        for file in distinct(files) {
            uses.entry(file.digest).or_insert((file.bytes, 0)).1 += 1;
        }
    };
    versions.iter().for_each(|version| used(&version.files));
    used(incoming);
    let mut total = uses.values().fold(0_u64, |sum, (bytes, _)| sum.saturating_add(*bytes));
    let mut candidates: Vec<&StoredVersion> = versions.iter().filter(|version| version.evictable).collect();
    candidates.sort_by(|one, other| (one.used_at, &one.name).cmp(&(other.used_at, &other.name)));
    let mut chosen = Vec::new();
    for version in candidates {
        if total <= quota {
            break;
        }
        for file in distinct(&version.files) {
            if let Some((bytes, left)) = uses.get_mut(&file.digest) {
                *left -= 1;
                if *left == 0 {
                    total -= *bytes;
                }
            }
        }
        chosen.push(version.name.clone());
    }
    chosen
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use proptest::prelude::*;

    use super::*;

    fn content(seed: u8) -> FileContent {
        FileContent { digest: Digest::of(&[seed]), bytes: u64::from(seed) + 1 }
    }

    fn stored() -> impl Strategy<Value = Vec<StoredVersion>> {
        let one = (prop::collection::vec(0_u8..12, 1..4), 0_i64..20, any::<bool>());
        prop::collection::vec(one, 0..10).prop_map(|all| {
            let version = |(index, (files, used, evictable)): (usize, (Vec<u8>, i64, bool))| StoredVersion {
                name: VersionName { model: "m".to_owned(), number: index as u64 + 1 },
                files: files.into_iter().map(content).collect(),
                used_at: Timestamp::from_unix_millis(used).unwrap(),
                evictable,
            };
            all.into_iter().enumerate().map(version).collect()
        })
    }

    proptest! {
        /// What is refused by sizes is refused by content, whatever it is.
        #[test]
        fn room_is_refused_by_sizes_only_where_no_content_would_fit(
            versions in stored(), incoming in prop::collection::vec(0_u8..24, 0..4), quota in 0_u64..80,
        ) {
            let incoming: Vec<FileContent> = incoming.into_iter().map(content).collect();
            let sizes = incoming.iter().map(|file| file.bytes).collect();
            let arriving = StoredVersion {
                name: VersionName { model: "new".to_owned(), number: 1 }, files: incoming.clone(),
                used_at: Timestamp::default(), evictable: false,
            };
            let gone = choose_evictions(&versions, &incoming, quota);
            let left = versions.iter().filter(|version| !gone.contains(&version.name));
            prop_assert!(least_bytes_with(&versions, &sizes) <= stored_bytes(left.chain([&arriving])));
        }

        #[test]
        fn room_is_made_by_the_least_recently_used(
            versions in stored(), incoming in prop::collection::vec(0_u8..12, 0..3), quota in 0_u64..80,
        ) {
            let incoming: Vec<FileContent> = incoming.into_iter().map(content).collect();
            let chosen = choose_evictions(&versions, &incoming, quota);
            let arriving = StoredVersion {
                name: VersionName { model: "new".to_owned(), number: 1 }, files: incoming.clone(),
                used_at: Timestamp::default(), evictable: false,
            };
            let after = |gone: &[VersionName]| {
                let left = versions.iter().filter(|version| !gone.contains(&version.name));
                stored_bytes(left.chain([&arriving]))
            };
            let evictable: Vec<&StoredVersion> = versions.iter().filter(|version| version.evictable).collect();
            // Enough, or everything that may go.
            prop_assert!(after(&chosen) <= quota || chosen.len() == evictable.len());
            // No more than needed: without the last one it would be too much.
            if let Some((_, before)) = chosen.split_last() {
                prop_assert!(after(before) > quota);
            }
            // Only what may go, and nothing that was used later than something that stays and may go.
            let used = |name: &VersionName| versions.iter().find(|version| version.name == *name).unwrap().used_at;
            for name in &chosen {
                prop_assert!(evictable.iter().any(|version| version.name == *name));
                let staying = evictable.iter().filter(|version| !chosen.contains(&version.name));
                prop_assert!(staying.into_iter().all(|version| used(name) <= version.used_at));
            }
        }
    }
}
