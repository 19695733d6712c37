//! "Did you mean": the nearest known name to an unknown one.
//!
//! Only for the text of a refusal; nothing is ever corrected silently.

/// A clause such as `; did you mean `dims`` for the candidate nearest to `name`; empty when none is near.
pub(crate) fn did_you_mean<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    nearest(name, candidates).map_or_else(String::new, |found| format!("; did you mean `{found}`"))
}

/// The candidate with the smallest edit distance to `name`, if that is at most a third of the name's length (at least 1).
fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const LONGEST: usize = 64;
    if name.is_empty() || name.len() > LONGEST {
        return None;
    }
    let candidates: Vec<_> = candidates.into_iter().collect();
    if let Some((_, alias)) = ALIASES.iter().find(|(alias, _)| alias.eq_ignore_ascii_case(name)) {
        return candidates.into_iter().find(|candidate| candidate == alias);
    }
    let allowed = (name.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .filter(|candidate| candidate.len() <= LONGEST)
        .map(|candidate| (edit_distance(name, candidate), candidate))
        .filter(|&(distance, _)| distance <= allowed)
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

/// Names that other tools use for what has a different name here.
const ALIASES: [(&str, &str); 8] = [
    ("TYPE_FLOAT", "TYPE_FP32"),
    ("TYPE_FLOAT16", "TYPE_FP16"),
    ("TYPE_FLOAT32", "TYPE_FP32"),
    ("TYPE_FLOAT64", "TYPE_FP64"),
    ("TYPE_DOUBLE", "TYPE_FP64"),
    ("TYPE_BFLOAT16", "TYPE_BF16"),
    ("TYPE_BYTES", "TYPE_STRING"),
    ("TYPE_INT", "TYPE_INT32"),
];

/// Number of insertions, deletions, substitutions and swaps of neighbours, ignoring ASCII case: the optimal string
/// alignment distance.
fn edit_distance(left: &str, right: &str) -> usize {
    strsim::osa_distance(&left.to_ascii_lowercase(), &right.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_name_wins_and_far_ones_are_not_offered() {
        let fields = ["name", "data_type", "dims", "max_batch_size"];
        assert_eq!(nearest("dim", fields), Some("dims"));
        assert_eq!(nearest("max_batchsize", fields), Some("max_batch_size"));
        assert_eq!(nearest("datatype", fields), Some("data_type"));
        assert_eq!(nearest("Name", fields), Some("name"));
        assert_eq!(nearest("scheduler", fields), None);
        assert_eq!(edit_distance("kitten", "sitting"), 3);
        assert_eq!(edit_distance("", "abc"), 3);
        assert_eq!(edit_distance("inptu", "Input"), 1);
        assert_eq!(nearest("TYPE_FLOAT64", ["TYPE_INT64", "TYPE_FP64"]), Some("TYPE_FP64"));
        assert_eq!(nearest("TYPE_FLOAT64", ["name"]), None);
    }
}
