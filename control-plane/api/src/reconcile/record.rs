//! What is on record of the place of declarations: what was last taken from it, and which resources are its own.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::snapshot::Commit;
use crate::declared::{DeclaredSet, ResourceKey};

/// Where resources come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DeclaredOrigin {
    /// The place, as it was named.
    pub(crate) place: String,
    /// Of everything that was read there.
    pub(crate) digest: String,
    /// The commit, where there is one.
    pub(crate) commit: Option<Commit>,
}

impl DeclaredOrigin {
    /// Who changes resources, for their revision.
    pub(crate) fn author(&self) -> String {
        match &self.commit {
            Some(commit) => format!("git:{}", commit.id),
            None => format!("declared:{}", self.digest),
        }
    }
}

/// What was last taken from the place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DeclaredRecord {
    /// From where.
    pub(crate) origin: DeclaredOrigin,
    /// The resources that it declared: what it declares no longer is removed, what it never did is left alone.
    pub(crate) owned: BTreeSet<ResourceKey>,
    /// The revision that it made, or found as it should be.
    pub(crate) revision: u64,
}

impl DeclaredSet {
    /// This set as it is to be: what is given, without what the place declared before and does not now. What the place never
    /// declared stays.
    pub(crate) fn reconciled(&self, given: &Self, owned: &BTreeSet<ResourceKey>) -> Self {
        let mut next = self.clone();
        next.resources.retain(|key, _| !owned.contains(key) || given.resources.contains_key(key));
        next.resources.extend(given.resources.clone());
        next
    }

    /// Resources that the place neither declares nor did before.
    pub(crate) fn foreign(&self, given: &Self, owned: &BTreeSet<ResourceKey>) -> Vec<String> {
        let foreign = self.resources.keys().filter(|key| !owned.contains(*key) && !given.resources.contains_key(*key));
        foreign.map(|(kind, name)| format!("{kind}/{name}")).collect()
    }

    pub(crate) fn keys(&self) -> BTreeSet<ResourceKey> {
        self.resources.keys().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use proptest::prelude::*;

    use super::*;
    use crate::declared::read_declarations;
    use crate::plan::resource_changes;

    /// Sets of a few resources, each in one of two forms.
    fn set() -> impl Strategy<Value = DeclaredSet> {
        prop::collection::btree_map("[a-d]", 0_u8..2, 0..4).prop_map(|resources| {
            let texts = resources.iter().map(|(name, form)| {
                format!(
                    "apiVersion: hanok.dev/v1\nkind: Traffic\nmetadata: {{name: {name}}}\nspec: {{arms: [{{name: x{form}, weight: 100}}]}}\n"
                )
            });
            DeclaredSet::new(read_declarations(&texts.collect::<Vec<_>>().join("---\n"), false).unwrap())
        })
    }

    proptest! {
        #[test]
        fn what_is_declared_is_in_force_and_what_was_never_declared_stays(
            current in set(), given in set(), before in set(),
        ) {
            let owned = before.keys();
            let next = current.reconciled(&given, &owned);
            for (kind, name, spec) in given.iter() {
                prop_assert_eq!(next.get(kind, name), Some(spec));
            }
            for (kind, name, spec) in current.iter().filter(|(kind, name, _)| given.get(*kind, name).is_none()) {
                let theirs = owned.contains(&(kind, name.to_owned()));
                prop_assert_eq!(next.get(kind, name), (!theirs).then_some(spec));
                prop_assert_eq!(current.foreign(&given, &owned).contains(&format!("{kind}/{name}")), !theirs);
            }
            // Nothing comes from nowhere.
            for (kind, name, _) in next.iter() {
                prop_assert!(given.get(kind, name).is_some() || current.get(kind, name).is_some());
            }
            // Once is enough, also when only the record of what it owns has moved on.
            prop_assert_eq!(&next.reconciled(&given, &owned), &next);
            prop_assert_eq!(&next.reconciled(&given, &given.keys()), &next);
            prop_assert!(resource_changes(&next, &next.reconciled(&given, &given.keys())).is_empty());
            // Drift is none exactly when nothing would be done.
            prop_assert_eq!(resource_changes(&current, &next).is_empty(), current == next);
        }
    }
}
