//! What a day was made of: the declaration of its view and the versions of the source's files.

use std::hash::BuildHasher as _;

use foldhash::quality::FixedState;
use hanok_features::FeatureView;

use crate::error::OfflineError;
use crate::past::Origin;
use crate::storage::Storage;

/// Form of the files that are written; another form makes every day anew.
const FORM: &str = "1";

/// A text that is the same for the same declaration and files, and otherwise another.
pub(super) fn fingerprint(storage: &dyn Storage, view: &FeatureView, origin: &Origin) -> Result<String, OfflineError> {
    let mut text = format!("{FORM}\n{origin:?}\n");
    for (name, key_type) in view.keys.names() {
        text.push_str(&format!("{name} {}\n", key_type.as_str()));
    }
    for feature in &view.features {
        text.push_str(&format!("{} {}\n", feature.name, feature.data_type));
    }
    for file in storage.list(&origin.path)? {
        text.push_str(&format!("{file} {}\n", storage.open(&file)?.version()));
    }
    // Two seeds make 128 bits: enough to tell versions apart; nobody gains by making two equal.
    let half = |seed: u64| FixedState::with_seed(seed).hash_one(text.as_bytes());
    Ok(format!("{:016x}{:016x}", half(1), half(2)))
}
