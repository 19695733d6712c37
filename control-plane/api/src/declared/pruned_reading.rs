//! Reads a value into a type and finds every fault on the way, not only the first.
//!
//! serde stops at the first fault. So each fault is noted, what is at fault is taken out of the value, and the rest is
//! read again; what is missing only because it was taken out is no fault of its own, and takes its parent out. Each round
//! takes something out, so it ends; faults inside of what was taken out are not found.

use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::{Path, Segment};

use super::ProblemKind;

/// Most faults that are looked for in one document.
const MOST_FAULTS: usize = 64;

/// A fault: where, what, and of what sort.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) path: String,
    pub(super) message: String,
    pub(super) kind: ProblemKind,
}

/// One step into a value.
#[derive(Clone, Debug, PartialEq)]
enum Key {
    Member(String),
    Element(usize),
}

/// Reads `value`, or gives all faults that can be told apart, each with its path below `prefix`.
pub(super) fn read<T: DeserializeOwned>(mut value: Value, prefix: &str) -> Result<T, Vec<Fault>> {
    let mut faults: Vec<Fault> = Vec::new();
    // Places that lost something: a member that is missing there now was at fault itself.
    let mut pruned: Vec<Vec<Key>> = Vec::new();
    for _ in 0..MOST_FAULTS * 4 {
        let error = match serde_path_to_error::deserialize::<_, T>(&value) {
            Ok(read) if faults.is_empty() => return Ok(read),
            Ok(_) => return Err(faults),
            Err(error) => error,
        };
        let message = error.inner().to_string();
        let mut place = keys(error.path());
        let kind = kind(&message);
        let missing = kind == ProblemKind::MissingField;
        if let Some(name) = quoted(&message).filter(|_| kind == ProblemKind::UnknownField) {
            // The path of an unknown member ends at its parent or at itself, by how it was read.
            if place.last() != Some(&Key::Member(name.clone())) {
                place.push(Key::Member(name));
            }
        }
        if !(missing && pruned.contains(&place)) && faults.len() < MOST_FAULTS {
            let message = with_hint(message);
            faults.push(Fault { path: path_text(prefix, &place), message, kind });
        }
        let Some(last) = place.pop() else { return Err(faults) };
        if !remove(&mut value, &place, &last) {
            return Err(faults);
        }
        // Elements behind the removed one have moved up; their places are shown as they are then.
        pruned.push(place);
    }
    Err(faults)
}

fn keys(path: &Path) -> Vec<Key> {
    path.iter()
        .filter_map(|segment| match segment {
            Segment::Seq { index } => Some(Key::Element(*index)),
            Segment::Map { key } => Some(Key::Member(key.clone())),
            // The name of an enum's variant is the member that holds it.
            Segment::Enum { variant } => Some(Key::Member(variant.clone())),
            Segment::Unknown => None,
        })
        .collect()
}

/// What sort of fault serde tells of: it tells in words alone, which begin so.
fn kind(message: &str) -> ProblemKind {
    if message.starts_with("missing field") {
        ProblemKind::MissingField
    } else if message.starts_with("unknown field") {
        ProblemKind::UnknownField
    } else {
        ProblemKind::Value
    }
}

/// The message, with what to do where one of YAML's words for true and false was meant otherwise.
fn with_hint(message: String) -> String {
    const WORDS: [&str; 8] = ["y", "yes", "on", "true", "n", "no", "off", "false"];
    let hint = if message.starts_with("invalid type: boolean") && message.ends_with("expected a string") {
        "without quotes YAML takes `y`, `yes`, `on`, `n`, `no` and `off` as true and false: put the text in quotes"
    } else if message.ends_with("expected a boolean")
        && message.split('"').nth(1).is_some_and(|text| WORDS.iter().any(|word| word.eq_ignore_ascii_case(text)))
    {
        "write `true` or `false`, without quotes"
    } else {
        return message;
    };
    format!("{message}; {hint}")
}

/// What stands in the first backticks.
fn quoted(message: &str) -> Option<String> {
    message.split('`').nth(1).map(str::to_owned)
}

fn path_text(prefix: &str, place: &[Key]) -> String {
    let mut text = prefix.to_owned();
    for key in place {
        match key {
            Key::Element(index) => text += &format!("[{index}]"),
            Key::Member(name) if text.is_empty() => text.push_str(name),
            Key::Member(name) => text += &format!(".{name}"),
        }
    }
    text
}

/// Removes `last` at `place`, or whatever is nearest above it.
fn remove(root: &mut Value, place: &[Key], last: &Key) -> bool {
    let mut parent = &mut *root;
    for key in place {
        let next = match (key, &mut *parent) {
            (Key::Member(name), Value::Object(members)) => members.get_mut(name),
            (Key::Element(index), Value::Array(elements)) => elements.get_mut(*index),
            _ => None,
        };
        match next {
            Some(found) => parent = found,
            None => return false,
        }
    }
    match (last, parent) {
        (Key::Member(name), Value::Object(members)) => members.shift_remove(name).is_some(),
        (Key::Element(index), Value::Array(elements)) if *index < elements.len() => {
            elements.remove(*index);
            true
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use serde::Deserialize;
    use serde_json::json;

    use super::read;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        #[allow(dead_code, reason = "read only")]
        count: u8,
        #[allow(dead_code, reason = "read only")]
        inner: Vec<Inner>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        #[allow(dead_code, reason = "read only")]
        name: String,
    }

    #[test]
    fn every_fault_is_told_once() {
        let value = json!({ "count": 300, "extra": 1, "inner": [{ "name": "a", "other": 2 }, {}, { "name": 5 }] });
        let faults = read::<Outer>(value, "spec").unwrap_err();
        let places: Vec<&str> = faults.iter().map(|fault| fault.path.as_str()).collect();
        assert!(places.contains(&"spec.count"), "{faults:?}");
        assert!(places.contains(&"spec.extra"), "{faults:?}");
        assert!(places.contains(&"spec.inner[0].other"), "{faults:?}");
        assert!(faults.iter().any(|fault| fault.message.contains("missing field `name`")), "{faults:?}");
        assert_eq!(faults.len(), 5, "{faults:?}");
    }

    #[test]
    fn words_that_yaml_takes_for_true_and_false_are_explained() {
        #[derive(Debug, Deserialize)]
        struct Told {
            #[allow(dead_code, reason = "read only")]
            tell: bool,
        }
        let text = read::<Inner>(json!({ "name": false }), "").unwrap_err();
        assert!(text[0].message.ends_with("expected a string; without quotes YAML takes `y`, `yes`, `on`, `n`, `no` and `off` as true and false: put the text in quotes"), "{text:?}");
        let number = read::<Inner>(json!({ "name": 5 }), "").unwrap_err();
        assert!(number[0].message.ends_with("expected a string"), "{number:?}");
        for (given, hinted) in [("yes", true), ("Off", true), ("TRUE", true), ("maybe", false)] {
            let faults = read::<Told>(json!({ "tell": given }), "").unwrap_err();
            assert_eq!(faults[0].message.ends_with("write `true` or `false`, without quotes"), hinted, "{faults:?}");
        }
    }

    #[test]
    fn what_is_right_is_read() {
        assert!(read::<Outer>(json!({ "count": 3, "inner": [] }), "").is_ok());
        assert_eq!(read::<Outer>(json!(5), "").unwrap_err().len(), 1);
    }
}
