//! The nearest right name to a wrong one.
//!
//! Damerau-Levenshtein distance with adjacent transpositions ("optimal string alignment"); nothing is suggested that
//! differs in more than a third of its letters.

/// Longest name that is compared: the cost grows with its square.
const LONGEST: usize = 128;

/// The candidate nearest to `name`, if one is near enough.
pub(crate) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let letters = |text: &str| text.chars().take(LONGEST).flat_map(char::to_lowercase).collect::<String>();
    let name = letters(name);
    let scored = candidates.into_iter().filter_map(|candidate| {
        let other = letters(candidate);
        let far = strsim::osa_distance(&name, &other);
        (far * 3 <= name.chars().count().max(other.chars().count())).then_some((far, candidate))
    });
    scored.min().map(|(_, candidate)| candidate.to_owned())
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
