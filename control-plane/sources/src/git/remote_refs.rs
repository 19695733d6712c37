//! What `git ls-remote` says, and which commit a name means. Pure.
//!
//! A tag wins over a branch of the same name, as in git; an annotated tag means the commit it is about.

/// Patterns to ask the server for.
pub(super) fn patterns(name: Option<&str>) -> Vec<String> {
    match name {
        None => vec!["HEAD".to_owned()],
        Some(name) => {
            vec![format!("refs/tags/{name}"), format!("refs/tags/{name}^{{}}"), format!("refs/heads/{name}")]
        }
    }
}

/// The commit that `name` means in `listing`, lines of `ID\tREF`.
pub(super) fn commit_of(listing: &str, name: Option<&str>) -> Option<String> {
    let find = |wanted: &str| {
        let mut lines = listing.lines().filter_map(|line| line.split_once('\t'));
        lines
            .find(|(_, reference)| *reference == wanted)
            .map(|(id, _)| id)
            .filter(|id| is_object_id(id))
            .map(str::to_owned)
    };
    match name {
        None => find("HEAD"),
        Some(name) => find(&format!("refs/tags/{name}^{{}}"))
            .or_else(|| find(&format!("refs/tags/{name}")))
            .or_else(|| find(&format!("refs/heads/{name}"))),
    }
}

/// Whether `text` is a full object id: SHA-1 or SHA-256.
pub(super) fn is_object_id(text: &str) -> bool {
    [40, 64].contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn tags_win_and_are_peeled() {
        let (one, two, three) = ("1".repeat(40), "2".repeat(40), "3".repeat(40));
        let listing =
            format!("{one}\trefs/heads/v1\n{two}\trefs/tags/v1\n{three}\trefs/tags/v1^{{}}\n{one}\trefs/heads/x/v1\n");
        assert_eq!(commit_of(&listing, Some("v1")), Some(three));
        assert_eq!(commit_of(&listing, Some("x/v1")), Some(one.clone()));
        assert_eq!(commit_of(&listing, Some("v")), None);
        assert_eq!(commit_of(&format!("{one}\tHEAD\n"), None), Some(one));
        assert_eq!(commit_of("error\tHEAD\n", None), None);
    }
}
