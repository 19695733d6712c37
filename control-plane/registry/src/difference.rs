//! What differs between two versions: files and facts. A pure comparison.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Value, json};

use crate::manifest::{FileContent, Manifest};
use crate::version::Version;

/// A file that is not the same in both.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileChange {
    /// Its path.
    pub path: String,
    /// What it was; `None`: it was not there.
    pub before: Option<FileContent>,
    /// What it is; `None`: it is gone.
    pub after: Option<FileContent>,
}

/// A fact that is not the same in both.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FactChange {
    /// Which, such as `metrics.auc` or `signature.inputs`.
    pub fact: String,
    /// What it was.
    pub before: Option<Value>,
    /// What it is.
    pub after: Option<Value>,
}

/// What differs between two versions.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct VersionDifference {
    /// Files by path.
    pub files: Vec<FileChange>,
    /// Facts by name.
    pub facts: Vec<FactChange>,
}

/// Compares two versions; `before` and `after` may be of different models.
#[must_use]
pub fn difference(before: (&Version, &Manifest), after: (&Version, &Manifest)) -> VersionDifference {
    let files = changes(before.1.files(), after.1.files()).map(|(path, before, after)| FileChange {
        path: path.clone(),
        before: before.copied(),
        after: after.copied(),
    });
    let (old, new) = (facts(before.0), facts(after.0));
    let facts = changes(&old, &new).map(|(fact, before, after)| FactChange {
        fact: fact.clone(),
        before: before.cloned(),
        after: after.cloned(),
    });
    VersionDifference { files: files.collect(), facts: facts.collect() }
}

fn changes<'a, V: PartialEq>(
    before: &'a BTreeMap<String, V>,
    after: &'a BTreeMap<String, V>,
) -> impl Iterator<Item = (&'a String, Option<&'a V>, Option<&'a V>)> {
    let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    keys.into_iter().map(|key| (key, before.get(key), after.get(key))).filter(|(_, before, after)| before != after)
}

/// The facts of a version by name; those of metrics, tags and the like one by one.
fn facts(version: &Version) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::from([("stage".to_owned(), json!(version.stage))]);
    let Value::Object(facts) = json!(version.facts) else { return found };
    for (name, value) in facts {
        match value {
            Value::Object(entries) => {
                found.extend(entries.into_iter().map(|(key, value)| (format!("{name}.{key}"), value)));
            }
            Value::Array(entries) if entries.is_empty() => {}
            other => {
                found.insert(name, other);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use proptest::prelude::*;

    use super::*;
    use crate::digest::Digest;
    use crate::names::VersionName;
    use crate::stage::Stage;
    use crate::version::VersionFacts;

    fn any_version() -> impl Strategy<Value = (Version, Manifest)> {
        let files = prop::collection::btree_map("[a-d]", 0_u8..3, 1..4);
        let metrics = prop::collection::btree_map("[a-c]", -1.0..1.0, 0..3);
        let tags = prop::collection::btree_map("[a-c]", "[xy]", 0..3);
        (files, metrics, tags).prop_map(|(files, metrics, tags)| {
            let content = |seed: u8| FileContent { digest: Digest::of(&[seed]), bytes: u64::from(seed) };
            let manifest =
                Manifest::new(files.into_iter().map(|(path, seed)| (path, content(seed))).collect()).unwrap();
            let version = Version {
                name: VersionName { model: "m".to_owned(), number: 1 },
                digest: manifest.digest(),
                bytes: manifest.bytes(),
                stage: Stage::None,
                aliases: Vec::new(),
                present: true,
                registered_at: hanok_state::Timestamp::default(),
                registered_by: "ann".to_owned(),
                used_at: hanok_state::Timestamp::default(),
                facts: VersionFacts { metrics, tags, ..VersionFacts::default() },
            };
            (version, manifest)
        })
    }

    proptest! {
        #[test]
        fn a_difference_leads_from_one_to_the_other(one in any_version(), other in any_version()) {
            let found = difference((&one.0, &one.1), (&other.0, &other.1));
            let mut files = one.1.files().clone();
            for change in &found.files {
                prop_assert_eq!(files.get(&change.path).copied(), change.before);
                match change.after {
                    Some(content) => files.insert(change.path.clone(), content),
                    None => files.remove(&change.path),
                };
            }
            prop_assert_eq!(&files, other.1.files());
            let mut known = facts(&one.0);
            for change in &found.facts {
                prop_assert_eq!(known.get(&change.fact), change.before.as_ref());
                match &change.after {
                    Some(value) => known.insert(change.fact.clone(), value.clone()),
                    None => known.remove(&change.fact),
                };
            }
            prop_assert_eq!(known, facts(&other.0));
            prop_assert_eq!(difference((&one.0, &one.1), (&one.0, &one.1)), VersionDifference::default());
            let back = difference((&other.0, &other.1), (&one.0, &one.1));
            prop_assert_eq!(back.files.len() + back.facts.len(), found.files.len() + found.facts.len());
        }
    }
}
