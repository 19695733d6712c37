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
    let allowed = (name.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .filter(|candidate| candidate.len() <= LONGEST)
        .map(|candidate| (edit_distance(name, candidate), candidate))
        .filter(|&(distance, _)| distance <= allowed)
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein distance, ignoring ASCII case, by the two-row form of Wagner and Fischer (1974).
fn edit_distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().map(|letter| letter.to_ascii_lowercase()).collect();
    let mut previous: Vec<usize> = (0..=right.len()).collect();
    let mut current = vec![0; right.len() + 1];
    for (row, letter) in left.chars().map(|letter| letter.to_ascii_lowercase()).enumerate() {
        current[0] = row + 1;
        for (column, &other) in right.iter().enumerate() {
            let substituted = previous[column] + usize::from(letter != other);
            current[column + 1] = substituted.min(previous[column + 1] + 1).min(current[column] + 1);
        }
        std::mem::swap(&mut previous, &mut current);
    }
    previous[right.len()]
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
    }
}
