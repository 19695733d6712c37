//! A row that a person writes as a JSON object: a name that comes twice is a mistake, and neither of the two is taken.
//!
//! Only of the row itself: no feature's value is an object.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::{Map, Value as Json};

/// Reads one object from the whole text.
///
/// # Errors
/// JSON's own, for another value than an object, and for a name that comes twice.
pub fn read_object(text: &[u8]) -> serde_json::Result<Map<String, Json>> {
    serde_json::from_slice(text).map(|Unique(object)| object)
}

struct Unique(Map<String, Json>);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(UniqueNames).map(Self)
    }
}

struct UniqueNames;

impl<'de> Visitor<'de> for UniqueNames {
    type Value = Map<String, Json>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut found = Map::new();
        while let Some((name, value)) = members.next_entry::<String, Json>()? {
            if found.contains_key(&name) {
                let name: String = name.chars().take(128).collect();
                return Err(A::Error::custom(format!("`{name}` comes twice")));
            }
            found.insert(name, value);
        }
        Ok(found)
    }
}
