//! Field-level differences of two JSON values. Pure.
//!
//! Elements of lists are compared by place: order means something in every list that is declared.

use serde::Serialize;
use serde_json::Value;

/// One field that differs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// Where, such as `spec.arms[1].weight`; empty for the whole.
    pub path: String,
    /// What was there, if anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// What is there then, if anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
}

/// Every field in which the two differ, in the order of the values. `null` at the top means that there is nothing.
#[must_use]
pub fn differences(before: &Value, after: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    let whole = |value| if matches!(value, &Value::Null) { None } else { Some(value) };
    compare(String::new(), whole(before), whole(after), &mut found);
    found
}

fn compare(path: String, before: Option<&Value>, after: Option<&Value>, found: &mut Vec<Difference>) {
    match (before, after) {
        (Some(Value::Object(old)), Some(Value::Object(new))) => {
            let added = new.keys().filter(|name| !old.contains_key(*name));
            for name in old.keys().chain(added) {
                let place = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                compare(place, old.get(name), new.get(name), found);
            }
        }
        (Some(Value::Array(old)), Some(Value::Array(new))) => {
            for index in 0..old.len().max(new.len()) {
                compare(format!("{path}[{index}]"), old.get(index), new.get(index), found);
            }
        }
        (before, after) if before != after => {
            found.push(Difference { path, before: before.cloned(), after: after.cloned() });
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::differences;

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![any::<bool>().prop_map(Value::from), (0_i64..5).prop_map(Value::from)];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-c]", inner, 0..4).prop_map(|members| json!(members)),
            ]
        })
    }

    proptest! {
        #[test]
        fn none_exactly_for_equal_values(before in value(), after in value()) {
            prop_assert_eq!(differences(&before, &after).is_empty(), before == after);
            prop_assert!(differences(&after, &after).is_empty());
            // Told the other way round, before and after change places.
            let there = differences(&before, &after);
            let mut back = differences(&after, &before);
            prop_assert_eq!(there.len(), back.len());
            for one in there {
                let found = back.iter().position(|other| other.path == one.path).unwrap();
                let other = back.swap_remove(found);
                prop_assert_eq!((one.before, one.after), (other.after, other.before));
            }
        }
    }

    #[test]
    fn paths_name_the_field() {
        let before = json!({ "arms": [{ "weight": 1 }, { "weight": 2 }], "tell": true });
        let after = json!({ "arms": [{ "weight": 1 }, { "weight": 5 }, { "weight": 0 }] });
        let paths: Vec<_> = differences(&before, &after).into_iter().map(|one| one.path).collect();
        assert_eq!(paths, ["arms[1].weight", "arms[2]", "tell"]);
    }
}
