//! Free text that people write and others read at a terminal: what it may hold, and how it is shown.
//!
//! The invariant: nothing that somebody wrote looks like a line that the registry wrote, nor like what somebody else wrote.

use std::borrow::Cow;

use crate::error::RegistryError;

/// Longest free text (author, check, tag, source), in bytes.
pub const TEXT_BYTES: usize = 2_048;
/// Longest value of a tag, in bytes.
const VALUE_BYTES: usize = 16 << 10;

/// Checks a free text that is shown on one line: not empty, at most [`TEXT_BYTES`], nothing that changes the line around it.
pub(crate) fn check_text(field: &'static str, text: &str) -> Result<(), RegistryError> {
    if text.trim().is_empty() || text.len() > TEXT_BYTES {
        let reason = format!("expected 1 to {TEXT_BYTES} bytes, got {}", text.len());
        return Err(RegistryError::invalid(field, reason));
    }
    refuse(field, text, changes_the_line)
}

/// Checks the value of a tag. It may be empty and may have several lines.
pub(crate) fn check_value(field: &'static str, text: &str) -> Result<(), RegistryError> {
    if text.len() > VALUE_BYTES {
        return Err(RegistryError::invalid(field, format!("expected at most {VALUE_BYTES} bytes, got {}", text.len())));
    }
    refuse(field, text, |character| changes_the_line(character) && !matches!(character, '\t' | '\n' | '\r'))
}

/// Checks what tells where something is: a text that holds no password, since what is on record is shown to everybody.
pub(crate) fn check_address(field: &'static str, text: &str) -> Result<(), RegistryError> {
    check_text(field, text)?;
    let authority = text.split_once("://").and_then(|(_, rest)| rest.split(['/', '?', '#']).next());
    let user = authority.and_then(|authority| authority.rsplit_once('@')).map_or("", |(user, _)| user);
    if user.contains(':') {
        return Err(RegistryError::invalid(field, "must not hold a password"));
    }
    Ok(())
}

/// Whether a text may be the name of a tag, a metric or a tensor.
#[must_use]
pub fn is_text(text: &str) -> bool {
    check_text("text", text).is_ok()
}

/// Whether a text may be the value of a tag.
#[must_use]
pub fn is_value(text: &str) -> bool {
    check_value("value", text).is_ok()
}

/// Whether a text may be a remote, a reference to data, or an origin.
#[must_use]
pub fn is_address(text: &str) -> bool {
    check_address("address", text).is_ok()
}

/// The name of somebody who acts, as it is put on record: without white space around it. Refused where it could be taken for
/// another name: with characters that show nothing, or white space that is no plain space.
pub(crate) fn check_person(field: &'static str, name: &str) -> Result<String, RegistryError> {
    let name = name.trim();
    check_text(field, name)?;
    refuse(field, name, |character| is_invisible(character) || (character.is_whitespace() && character != ' '))?;
    Ok(name.to_owned())
}

/// What two names of the same person have in common: letter case and white space around them do not tell people apart, nor
/// does what cannot be seen (names on record may be older than [`check_person`]).
pub(crate) fn person(name: &str) -> String {
    let seen = name.chars().filter(|character| !is_invisible(*character) && !character.is_control());
    seen.flat_map(char::to_lowercase).collect::<String>().trim().to_owned()
}

/// The text on one line of a terminal: what would change the line is written as an escape.
#[must_use]
pub fn one_line(text: &str) -> Cow<'_, str> {
    if !text.contains(changes_the_line) {
        return Cow::Borrowed(text);
    }
    let shown = |character: char| match changes_the_line(character) {
        true => character.escape_debug().to_string(),
        false => character.to_string(),
    };
    Cow::Owned(text.chars().map(shown).collect())
}

fn refuse(field: &'static str, text: &str, bad: impl Fn(char) -> bool) -> Result<(), RegistryError> {
    match text.chars().find(|character| bad(*character)) {
        None => Ok(()),
        Some(found) => {
            let reason = format!(
                "must not contain control characters or others that do not show, got U+{:04X}",
                u32::from(found)
            );
            Err(RegistryError::invalid(field, reason))
        }
    }
}

/// Control characters, line separators, and the Bidi_Control characters of the Unicode Character Database.
fn changes_the_line(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{61c}' | '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Default_Ignorable_Code_Point of the Unicode Character Database 16.0, and the marks of annotations.
fn is_invisible(character: char) -> bool {
    matches!(
        character,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}'
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_that_looks_like_another_is_no_other() {
        assert_eq!(check_person("actor", " ann\t").unwrap(), "ann");
        assert_eq!(check_person("actor", "Ann de Vries").unwrap(), "Ann de Vries");
        for name in ["", " ", "a\u{200b}nn", "ann\u{ad}", "\u{feff}ann", "ann\u{e0061}", "a\u{a0}b", "a\nb", "\u{3164}"]
        {
            assert!(check_person("actor", name).is_err(), "{name:?}");
        }
        for name in ["ann ", "Ann", "ANN", "a\u{200b}nn", "\u{a0}ann"] {
            assert_eq!(person(name), "ann", "{name:?}");
        }
        assert_ne!(person("ann"), person("anna"));
    }

    #[test]
    fn what_would_change_a_line_is_refused_or_shown_as_an_escape() {
        for text in ["a\nb", "\u{1b}[31m", "a\u{9b}b", "\u{202e}a", "a\u{2028}b"] {
            assert!(check_text("note", text).is_err(), "{text:?}");
        }
        check_text("note", "looks good \u{2764}\u{fe0f}").unwrap();
        check_value("tag", "several\n\tlines\r\n").unwrap();
        check_value("tag", "").unwrap();
        assert_eq!(
            check_value("tag", "\u{1b}[31m").unwrap_err().to_string(),
            "tag: must not contain control characters or others that do not show, got U+001B"
        );
        assert_eq!(one_line("x\n  approved \u{1b}[1m"), "x\\n  approved \\u{1b}[1m");
        assert_eq!(one_line("é 'quoted'"), "é 'quoted'");
    }

    #[test]
    fn an_address_holds_no_password() {
        for address in [
            "s3://b/m",
            "git@example.org:m.git",
            "ssh://git@example.org:22/m",
            "https://ann@example.org/a:b@c",
            "mlflow://m@a",
        ] {
            assert!(is_address(address), "{address}");
        }
        for address in
            ["https://ann:secret@example.org/m", "git+https://:secret@example.org/m", "https://a:secret@b@c/m"]
        {
            let error = check_address("git remote", address).unwrap_err();
            assert_eq!(error.to_string(), "git remote: must not hold a password");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_one_line(text in any::<String>()) {
            prop_assert!(!one_line(&text).contains(changes_the_line));
        }
    }
}
