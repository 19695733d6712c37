//! Reads the members of a declaration one by one and notes every fault, not only the first.

use serde_json::{Map, Value as Json};

use super::Problem;
use super::suggestion::nearest;

/// Where faults of one document go.
pub(super) struct Faults {
    pub(super) document: usize,
    pub(super) resource: Option<String>,
    pub(super) found: Vec<Problem>,
}

impl Faults {
    pub(super) fn add(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.found.push(Problem {
            document: Some(self.document),
            line: None,
            resource: self.resource.clone(),
            path: path.into(),
            message: message.into(),
        });
    }
}

/// A mapping of the declaration with the names that may stand in it.
pub(super) struct Fields<'a> {
    members: &'a Map<String, Json>,
    path: String,
}

impl<'a> Fields<'a> {
    /// The mapping at `path`; unknown members are faults, with the nearest known name.
    pub(super) fn open(json: &'a Json, path: &str, known: &[&'static str], faults: &mut Faults) -> Option<Self> {
        let Some(members) = json.as_object() else {
            faults.add(path, format!("expected a mapping of `{}`, got `{}`", known.join("`, `"), shown(json)));
            return None;
        };
        let fields = Self { members, path: path.to_owned() };
        for name in members.keys().filter(|name| !known.contains(&name.as_str())) {
            let clipped = clipped(name);
            let hint = nearest(name, known.iter().copied()).map_or_else(
                || format!("; known are `{}`", known.join("`, `")),
                |near| format!("; did you mean `{near}`?"),
            );
            faults.add(fields.at(&clipped), format!("unknown field `{clipped}`{hint}"));
        }
        Some(fields)
    }

    /// The path of a member.
    pub(super) fn at(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// The member as it is; null counts as absent.
    pub(super) fn any(&self, name: &str) -> Option<&'a Json> {
        self.members.get(name).filter(|json| !json.is_null())
    }

    /// A text that must be there.
    pub(super) fn text(&self, name: &str, faults: &mut Faults) -> Option<&'a str> {
        let text = self.optional_text(name, faults);
        if text.is_none() && self.any(name).is_none() {
            faults.add(self.path.clone(), format!("missing field `{name}`"));
        }
        text.filter(|text| {
            if text.is_empty() {
                faults.add(self.at(name), "expected a text, got an empty one");
            }
            !text.is_empty()
        })
    }

    /// A text that may be there.
    pub(super) fn optional_text(&self, name: &str, faults: &mut Faults) -> Option<&'a str> {
        let json = self.any(name)?;
        let text = json.as_str();
        if text.is_none() {
            faults.add(self.at(name), format!("expected a text, got `{}`{}", shown(json), quotes_hint(json)));
        }
        text
    }

    /// A whole number within bounds that may be there.
    pub(super) fn whole(&self, name: &str, least: u64, most: u64, faults: &mut Faults) -> Option<u64> {
        let json = self.any(name)?;
        let number = json.as_u64().filter(|number| (least..=most).contains(number));
        if number.is_none() {
            let message = format!("expected a whole number from `{least}` to `{most}`, got `{}`", shown(json));
            faults.add(self.at(name), message);
        }
        number
    }

    /// Elements of a list, with their paths; a list that must be there has at least one.
    pub(super) fn list(&self, name: &str, required: bool, faults: &mut Faults) -> Vec<(String, &'a Json)> {
        let elements = match self.any(name) {
            Some(Json::Array(elements)) => elements.as_slice(),
            Some(other) => {
                faults.add(self.at(name), format!("expected a list, got `{}`", shown(other)));
                return Vec::new();
            }
            None => &[],
        };
        if required && elements.is_empty() {
            faults.add(self.at(name), "expected at least one, got none");
        }
        elements.iter().enumerate().map(|(index, json)| (format!("{}[{index}]", self.at(name)), json)).collect()
    }

    /// A mapping of names to texts that may be there.
    pub(super) fn texts(&self, name: &str, faults: &mut Faults) -> Vec<(String, String)> {
        let members = match self.any(name) {
            None => return Vec::new(),
            Some(Json::Object(members)) => members,
            Some(other) => {
                faults.add(self.at(name), format!("expected a mapping of names to texts, got `{}`", shown(other)));
                return Vec::new();
            }
        };
        let mut texts = Vec::new();
        for (key, json) in members {
            match json.as_str() {
                Some(text) => texts.push((key.clone(), text.to_owned())),
                None => {
                    let path = format!("{}.{}", self.at(name), clipped(key));
                    faults.add(path, format!("expected a text, got `{}`{}", shown(json), quotes_hint(json)));
                }
            }
        }
        texts
    }
}

/// At most 64 characters of a text that somebody sent.
pub(super) fn clipped(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(64).collect()
}

/// What to do about a truth value in the place of a text; nothing for other values.
pub(super) const fn quotes_hint(json: &Json) -> &'static str {
    match json {
        Json::Bool(_) => {
            "; without quotes YAML takes `y`, `yes`, `on`, `n`, `no` and `off` as true and false: put the text in quotes"
        }
        _ => "",
    }
}

/// What to do about one of YAML's words for true and false that stands in quotes; nothing for other values.
pub(super) fn bare_hint(json: &Json) -> &'static str {
    const WORDS: [&str; 8] = ["y", "yes", "on", "true", "n", "no", "off", "false"];
    let is_word = |text: &str| WORDS.iter().any(|word| word.eq_ignore_ascii_case(text));
    if json.as_str().is_some_and(is_word) { "; write `true` or `false`, without quotes" } else { "" }
}

/// A value, clipped.
pub(super) fn shown(json: &Json) -> String {
    clipped(&json.to_string())
}

/// Faults in a name of a view, feature, entity, store or service: the separators of references and of stores' keys
/// (`:`, `/`, `.`, space, ...) are not allowed in it.
pub(super) fn name_fault(name: &str) -> Option<String> {
    let fits = (1..=127).contains(&name.len())
        && name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    let rule = "1 to 127 letters, digits, `_`, `-`, beginning with a letter or `_`";
    (!fits).then(|| format!("expected {rule}, got `{}`", clipped(name)))
}
