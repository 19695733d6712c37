//! Names of Redis keys from entity keys: `weather:{origin}`.
//!
//! Two entities must never share a key: where several values are put together, one that runs into what stands behind its
//! place is refused, or `a:b` + `c` and `a` + `b:c` would be the same. Neither may two views: those whose names do not tell
//! their keys apart are refused together when they are declared.

use crate::entity_key::{KeyParts, KeyValue};

/// A part of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    /// The value of a join key.
    Key(String),
}

/// A template of keys, ready to be filled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyTemplate {
    parts: Vec<Part>,
}

impl KeyTemplate {
    /// Reads a template in which `{view}` stands for the view's name and `{NAME}` for the value of a join key.
    pub(crate) fn new(template: &str, view: &str) -> Self {
        let mut parts = Vec::new();
        let mut text = String::new();
        let mut rest = template;
        while let Some((before, behind)) = rest.split_once('{') {
            text.push_str(before);
            let Some((name, after)) = behind.split_once('}') else {
                text.push('{');
                rest = behind;
                continue;
            };
            if name == "view" {
                text.push_str(view);
            } else {
                parts.extend((!text.is_empty()).then(|| Part::Text(std::mem::take(&mut text))));
                parts.push(Part::Key(name.to_owned()));
            }
            rest = after;
        }
        text.push_str(rest);
        parts.extend((!text.is_empty()).then_some(Part::Text(text)));
        Self { parts }
    }

    /// Join keys that stand in it.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Key(name) => Some(name.as_str()),
            Part::Text(_) => None,
        })
    }

    /// A key for what is noted of a view, beside those of its rows: the template as it stands, and what is noted behind it.
    pub(crate) fn beside_rows(&self, noted: &str) -> String {
        let mut name = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => name.push_str(text),
                Part::Key(key) => {
                    name.push('{');
                    name.push_str(key);
                    name.push('}');
                }
            }
        }
        name + noted
    }

    /// Whether more than one join key stands in it, so that something must tell them apart.
    pub(crate) fn has_several_keys(&self) -> bool {
        self.keys().nth(1).is_some()
    }

    /// Whether two join keys stand side by side, so that nothing tells where one ends.
    pub(crate) fn runs_together(&self) -> bool {
        self.parts.windows(2).any(|pair| matches!(pair, [Part::Key(_), Part::Key(_)]))
    }

    /// Whether two views of one template may have rows of one key: nothing before their first join key nor behind their
    /// last tells them apart. Views whose templates are the same mean the same rows.
    pub(crate) fn may_meet(&self, other: &Self) -> bool {
        let (head, other_head) = (fixed(self.parts.first()), fixed(other.parts.first()));
        let (tail, other_tail) = (fixed(self.parts.last()), fixed(other.parts.last()));
        self != other
            && (head.starts_with(other_head) || other_head.starts_with(head))
            && (tail.ends_with(other_tail) || other_tail.ends_with(tail))
    }

    /// The key of an entity.
    ///
    /// # Errors
    /// The name of the join key whose value contains what separates it from the next, or that the entity lacks.
    pub(crate) fn fill<'t>(&'t self, entity: &KeyParts<'_>) -> Result<Vec<u8>, &'t str> {
        let several = self.has_several_keys();
        let mut key = Vec::new();
        for (index, part) in self.parts.iter().enumerate() {
            let name = match part {
                Part::Text(text) => {
                    key.extend_from_slice(text.as_bytes());
                    continue;
                }
                Part::Key(name) => name.as_str(),
            };
            let place = entity.names.iter().position(|one| *one == name).ok_or(name)?;
            let (_, value) = entity.values.get(place).ok_or(name)?;
            let start = key.len();
            match value {
                KeyValue::String(text) => key.extend_from_slice(text.as_bytes()),
                KeyValue::Bytes(bytes) => key.extend_from_slice(bytes),
                KeyValue::Int(number) => key.extend_from_slice(number.to_string().as_bytes()),
            }
            if let (true, Some(Part::Text(separator))) = (several, self.parts.get(index + 1))
                && !ends_where_separated(&key[start..], separator.as_bytes())
            {
                return Err(name);
            }
        }
        Ok(key)
    }
}

/// A part's text; empty for a join key, or where there is no part.
fn fixed(part: Option<&Part>) -> &str {
    match part {
        Some(Part::Text(text)) => text,
        Some(Part::Key(_)) | None => "",
    }
}

/// Whether the first separator in a value with the separator behind it is the one behind it. A value may end with the
/// beginning of a separator that overlaps itself, as `a:` before `::`.
fn ends_where_separated(value: &[u8], separator: &[u8]) -> bool {
    let whole = [value, separator].concat();
    whole.windows(separator.len()).position(|window| window == separator) == Some(value.len())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::KeyTemplate;
    use crate::entity_key::{KeyLayout, KeyParts, KeyType, KeyValue};

    fn fill(template: &str, origin: &str, hour: i64) -> Result<String, String> {
        let names = [("origin", KeyType::String), ("hour", KeyType::Int64)];
        let layout = KeyLayout::new(names.map(|(name, key_type)| (name.to_owned(), key_type)).to_vec());
        let mut key = Vec::new();
        layout.write(|place| [KeyValue::String(origin), KeyValue::Int(hour)][place], &mut key).unwrap();
        let template = KeyTemplate::new(template, "weather");
        let filled = template.fill(&KeyParts::read(&key).unwrap());
        filled.map(|key| String::from_utf8(key).unwrap()).map_err(str::to_owned)
    }

    #[test]
    fn templates_are_filled() {
        assert_eq!(fill("{view}:{origin}:{hour}", "JFK", -7).unwrap(), "weather:JFK:-7");
        assert_eq!(fill("a{b", "JFK", 7).unwrap(), "a{b");
        assert_eq!(fill("{origin}", "a:b", 7).unwrap(), "a:b");
        assert_eq!(fill("{origin}:{hour}", "a:b", 7).unwrap_err(), "origin");
        assert_eq!(fill("{carrier}", "JFK", 7).unwrap_err(), "carrier");
        assert!(KeyTemplate::new("{origin}{hour}", "v").runs_together());
        assert!(!KeyTemplate::new("{view}{hour}", "v").runs_together());
        assert_eq!(fill("t::{origin}::{hour}", "k:", 7).unwrap_err(), "origin");
    }

    #[test]
    fn views_are_told_apart_by_their_names_or_refused() {
        let may_meet = |template: &str, one: &str, other: &str| {
            KeyTemplate::new(template, one).may_meet(&KeyTemplate::new(template, other))
        };
        assert!(may_meet("{view}_{origin}", "plane", "plane_old"));
        assert!(may_meet("{origin}_{view}", "old", "plane_old"));
        assert!(may_meet("{view}{hour}", "plane", "plane1"));
        assert!(may_meet("{origin}:{view}:{hour}", "a", "b"));
        assert!(!may_meet("{view}:{origin}", "plane", "plane_old"));
        assert!(!may_meet("{view}_{origin}", "plane", "place_old"));
        assert!(!may_meet("{origin}", "plane", "plane_old"), "one row for both is meant");
    }

    proptest! {
        #[test]
        fn two_entities_never_share_a_key(
            entities in prop::collection::vec(("[a:|-]{0,5}", "[a:|-]{0,5}"), 2..40), separator in "[a:|-]{1,4}",
        ) {
            let layout = KeyLayout::new(["one", "two"].map(|name| (name.to_owned(), KeyType::String)).to_vec());
            for template in [format!("{{one}}{separator}{{two}}"), format!("x{{two}}{separator}{{one}}{separator}")] {
                let template = KeyTemplate::new(&template, "weather");
                let mut seen = BTreeMap::new();
                for entity in &entities {
                    let mut key = Vec::new();
                    let values = [KeyValue::String(&entity.0), KeyValue::String(&entity.1)];
                    layout.write(|place| values[place], &mut key).unwrap();
                    if let Ok(key) = template.fill(&KeyParts::read(&key).unwrap()) {
                        let other = seen.insert(key.clone(), entity);
                        prop_assert!(other.is_none_or(|other| other == entity), "{:?} {:?} {:?}", key, other, entity);
                    }
                }
            }
        }
    }
}
