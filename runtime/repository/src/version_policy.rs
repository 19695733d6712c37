//! Which of the versions on disk are served. Pure.

use hanok_model_config::VersionPolicy;

/// Versions to serve out of `available` (any order), ascending, and those that the policy names but nobody has.
#[must_use]
pub fn versions_to_serve(policy: &VersionPolicy, available: &[u64]) -> (Vec<u64>, Vec<u64>) {
    let mut sorted = available.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    match policy {
        VersionPolicy::All => (sorted, Vec::new()),
        VersionPolicy::Latest { count } => {
            let first = sorted.len().saturating_sub(*count);
            (sorted.split_off(first), Vec::new())
        }
        VersionPolicy::Specific(wanted) => {
            let mut wanted = wanted.clone();
            wanted.sort_unstable();
            wanted.dedup();
            wanted.into_iter().partition(|version| sorted.binary_search(version).is_ok())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn policies_choose() {
        let available = [10, 2, 1, 2];
        assert_eq!(versions_to_serve(&VersionPolicy::All, &available), (vec![1, 2, 10], vec![]));
        assert_eq!(versions_to_serve(&VersionPolicy::Latest { count: 2 }, &available), (vec![2, 10], vec![]));
        assert_eq!(versions_to_serve(&VersionPolicy::Specific(vec![7, 2]), &available), (vec![2], vec![7]));
        assert_eq!(versions_to_serve(&VersionPolicy::Latest { count: 1 }, &[]), (vec![], vec![]));
    }

    proptest! {
        #[test]
        fn latest_is_a_suffix(mut available in prop::collection::vec(1u64..50, 0..20), count in 1usize..10) {
            let (chosen, missing) = versions_to_serve(&VersionPolicy::Latest { count }, &available);
            available.sort_unstable();
            available.dedup();
            prop_assert!(available.ends_with(&chosen));
            prop_assert_eq!(chosen.len(), count.min(available.len()));
            prop_assert!(missing.is_empty());
        }
    }
}
