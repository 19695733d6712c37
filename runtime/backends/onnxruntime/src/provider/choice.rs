//! Values of settings, checked and brought into the library's form.

use hanok_backend::ServingError;

/// What a setting takes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Form {
    /// 0 or 1, false or true.
    Switch,
    /// A whole number.
    Number,
    /// One of these: as Triton numbers them, and as the library spells them.
    OneOf(&'static [(&'static str, &'static str)]),
    /// A name without a folder.
    FileName,
    /// A folder below the operator's folder for caches.
    Folder,
    /// Free text without control characters, such as shapes.
    Text,
}

impl Form {
    /// The value that `text` means. `folder` makes a path of a relative one.
    pub(super) fn read(
        self,
        name: &str,
        text: &str,
        folder: &dyn Fn(&str) -> Result<String, ServingError>,
    ) -> Result<String, ServingError> {
        let wrong = |expected: &str| {
            Err(ServingError::invalid(format!("parameter `{name}` must be {expected}, got `{}`", text.escape_debug())))
        };
        match self {
            Self::Switch => match text {
                "0" | "false" | "False" => Ok("0".to_owned()),
                "1" | "true" | "True" => Ok("1".to_owned()),
                _ => wrong("0 or 1"),
            },
            Self::Number => match text.parse::<u64>() {
                Ok(number) => Ok(number.to_string()),
                Err(_) => wrong("a whole number"),
            },
            Self::OneOf(choices) => {
                let found = choices.iter().find(|(number, word)| text == *number || text.eq_ignore_ascii_case(word));
                match found {
                    Some((_, word)) => Ok((*word).to_owned()),
                    None => {
                        let words: Vec<String> = choices.iter().map(|(_, word)| format!("`{word}`")).collect();
                        wrong(&format!("one of {}", words.join(", ")))
                    }
                }
            }
            Self::FileName if text.is_empty() || text.contains(['/', '\\', '\0']) || text.starts_with('.') => {
                wrong("a file's name without a folder")
            }
            Self::Folder => folder(text),
            Self::FileName | Self::Text if text.chars().any(char::is_control) => {
                wrong("text without control characters")
            }
            Self::FileName | Self::Text => Ok(text.to_owned()),
        }
    }
}

/// The refusal of a name that is not among `known`.
pub(super) fn unknown<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a str>) -> ServingError {
    let known: Vec<&str> = known.collect();
    ServingError::invalid(format!(
        "{what} has no parameter `{}`; it takes `{}`",
        name.escape_debug(),
        known.join("`, `")
    ))
}
