//! The nearest right name to a wrong one.
//!
//! Damerau-Levenshtein distance with adjacent transpositions ("optimal string alignment"); nothing is suggested that
//! differs in more than a third of its letters.

/// Longest name that is compared: the cost grows with its square.
const LONGEST: usize = 128;

/// The candidate nearest to `name`, if one is near enough.
pub(crate) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let name: Vec<char> = name.chars().take(LONGEST).flat_map(char::to_lowercase).collect();
    let scored = candidates.into_iter().filter_map(|candidate| {
        let letters: Vec<char> = candidate.chars().take(LONGEST).flat_map(char::to_lowercase).collect();
        let far = distance(&name, &letters);
        (far * 3 <= name.len().max(letters.len())).then_some((far, candidate))
    });
    scored.min().map(|(_, candidate)| candidate.to_owned())
}

fn distance(left: &[char], right: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut previous: Vec<usize> = (0..=right.len()).collect();
    for (i, letter) in left.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, other) in right.iter().enumerate() {
            let mut best = (previous[j + 1] + 1).min(row[j] + 1).min(previous[j] + usize::from(letter != other));
            if i > 0 && j > 0 && left[i - 1] == *other && *letter == right[j - 1] {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut previous, row);
    }
    previous[right.len()]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn only_what_is_near_is_suggested() {
        let names = ["temperature_fahrenheit", "wind_speed_mph", "origin"];
        assert_eq!(nearest("temperature_farenheit", names), Some("temperature_fahrenheit".to_owned()));
        assert_eq!(nearest("orgiin", names), Some("origin".to_owned()));
        assert_eq!(nearest("ORIGIN", names), Some("origin".to_owned()));
        assert_eq!(nearest("carrier", names), None);
        assert_eq!(nearest("", names), None);
    }
}
