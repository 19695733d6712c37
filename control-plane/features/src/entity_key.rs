//! Entity keys: join keys with their values, in Feast's own serialisation, which is the form everywhere in this crate.
//!
//! Version 3 (Feast's `key_encoding_utils.serialize_entity_key`): `u32` count of join keys; for each join key, sorted by
//! name, `u32` 2 (the id of a string), `u32` length and the name; then for each value in that order `u32` type id, `u32`
//! length and the value. Version 2 lacks the count and the lengths of the names. All integers are little-endian.
//! A stored key tells its own names, types and values, so any store can be addressed from it.

use crate::data_type::ElementType;
use crate::error::FeatureError;

/// Longest serialised key, in bytes. Real keys have tens; the bound keeps hostile ones out of stores and caches.
pub const KEY_BYTES: usize = 4096;

/// Type of a join key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyType {
    /// UTF-8 text.
    String,
    /// Bytes.
    Bytes,
    /// 32-bit signed.
    Int32,
    /// 64-bit signed.
    Int64,
    /// Seconds since the Unix epoch.
    Timestamp,
}

impl KeyType {
    /// Every type.
    pub const ALL: [Self; 5] = [Self::String, Self::Bytes, Self::Int32, Self::Int64, Self::Timestamp];

    /// As it is declared.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.element().as_str()
    }

    /// The same as a type of features.
    #[must_use]
    pub const fn element(self) -> ElementType {
        match self {
            Self::String => ElementType::String,
            Self::Bytes => ElementType::Bytes,
            Self::Int32 => ElementType::Int32,
            Self::Int64 => ElementType::Int64,
            Self::Timestamp => ElementType::Timestamp,
        }
    }

    /// Feast's `ValueType.Enum`.
    const fn id(self) -> u32 {
        match self {
            Self::Bytes => 1,
            Self::String => 2,
            Self::Int32 => 3,
            Self::Int64 => 4,
            Self::Timestamp => 8,
        }
    }

    fn from_id(id: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.id() == id)
    }
}

/// Value of a join key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyValue<'a> {
    /// UTF-8 text.
    String(&'a str),
    /// Bytes.
    Bytes(&'a [u8]),
    /// A whole number; seconds since the epoch for timestamps.
    Int(i64),
}

/// Join keys of a feature view with their types, ready to serialise keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyLayout {
    /// In the order of the declaration.
    names: Vec<(String, KeyType)>,
    /// Places in `names`, sorted by name.
    sorted: Vec<usize>,
    /// What is the same for every key of version 3.
    prefix: Vec<u8>,
}

impl KeyLayout {
    /// A layout of these join keys; their names differ.
    #[must_use]
    pub fn new(names: Vec<(String, KeyType)>) -> Self {
        let mut sorted: Vec<usize> = (0..names.len()).collect();
        sorted.sort_by(|left, right| names[*left].0.cmp(&names[*right].0));
        let mut prefix = size(names.len()).to_vec();
        for place in &sorted {
            let name = names[*place].0.as_bytes();
            prefix.extend_from_slice(&KeyType::String.id().to_le_bytes());
            prefix.extend_from_slice(&size(name.len()));
            prefix.extend_from_slice(name);
        }
        Self { names, sorted, prefix }
    }

    /// Join keys and types in the order of the declaration.
    #[must_use]
    pub fn names(&self) -> &[(String, KeyType)] {
        &self.names
    }

    /// Join keys with their types, as a person reads them: `hour int64, origin string`.
    pub(crate) fn form(&self) -> String {
        form(self.sorted.iter().map(|place| (self.names[*place].0.as_str(), self.names[*place].1)))
    }

    /// Whether a serialised key has these join keys with these types.
    pub(crate) fn describes(&self, key: &[u8]) -> bool {
        let Some(mut rest) = key.strip_prefix(self.prefix.as_slice()) else { return false };
        let has =
            |place: &usize| take_u32(&mut rest) == Some(self.names[*place].1.id()) && take_sized(&mut rest).is_some();
        self.sorted.iter().all(has) && rest.is_empty()
    }

    /// Appends the key whose values `value` gives by place in [`KeyLayout::names`].
    ///
    /// # Errors
    /// `InvalidArgument` for a value of another type or out of range, and for a key above [`KEY_BYTES`]. Nothing is
    /// appended then.
    pub fn write<'v>(
        &self,
        mut value: impl FnMut(usize) -> KeyValue<'v>,
        out: &mut Vec<u8>,
    ) -> Result<(), FeatureError> {
        let start = out.len();
        out.extend_from_slice(&self.prefix);
        for place in &self.sorted {
            let (name, key_type) = &self.names[*place];
            if let Err(error) = write_value(name, *key_type, value(*place), out) {
                out.truncate(start);
                return Err(error);
            }
        }
        let length = out.len() - start;
        if length > KEY_BYTES {
            out.truncate(start);
            let names: Vec<&str> = self.names.iter().map(|(name, _)| name.as_str()).collect();
            let reason = format!(
                "expected at most `{KEY_BYTES}` bytes with the names and 8 bytes for each name and value, got more"
            );
            return Err(FeatureError::invalid(format!("key `{}`", names.join("`, `")), reason));
        }
        Ok(())
    }
}

fn size(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes()
}

fn write_value(name: &str, key_type: KeyType, value: KeyValue<'_>, out: &mut Vec<u8>) -> Result<(), FeatureError> {
    let wrong = |actual: &str| {
        FeatureError::invalid(format!("key `{name}`"), format!("expected `{}`, got `{actual}`", key_type.as_str()))
    };
    let mut put = |bytes: &[u8]| {
        out.extend_from_slice(&key_type.id().to_le_bytes());
        out.extend_from_slice(&size(bytes.len()));
        // What is too long is refused by the caller; copying megabytes first would be the attacker's wish.
        out.extend_from_slice(bytes.get(..KEY_BYTES + 1).unwrap_or(bytes));
    };
    match (key_type, value) {
        (KeyType::String, KeyValue::String(text)) => put(text.as_bytes()),
        (KeyType::String, KeyValue::Bytes(bytes)) => {
            put(std::str::from_utf8(bytes).map_err(|_| wrong("bytes that are no UTF-8"))?.as_bytes());
        }
        (KeyType::Bytes, KeyValue::Bytes(bytes)) => put(bytes),
        (KeyType::Bytes, KeyValue::String(text)) => put(text.as_bytes()),
        (KeyType::Int64 | KeyType::Timestamp, KeyValue::Int(number)) => put(&number.to_le_bytes()),
        (KeyType::Int32, KeyValue::Int(number)) => {
            put(&i32::try_from(number).map_err(|_| wrong(&number.to_string()))?.to_le_bytes());
        }
        (_, KeyValue::String(_)) => return Err(wrong("string")),
        (_, KeyValue::Bytes(_)) => return Err(wrong("bytes")),
        (_, KeyValue::Int(_)) => return Err(wrong("int64")),
    }
    Ok(())
}

/// The same key in version 2: without the count and the lengths of the names.
///
/// # Errors
/// `Internal` for bytes that are no key of version 3.
pub(crate) fn write_version_2(key: &[u8], out: &mut Vec<u8>) -> Result<(), FeatureError> {
    let parts = KeyParts::read(key)?;
    for name in &parts.names {
        out.extend_from_slice(&KeyType::String.id().to_le_bytes());
        out.extend_from_slice(name.as_bytes());
    }
    out.extend_from_slice(parts.values_raw);
    Ok(())
}

/// A serialised key, taken apart.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyParts<'a> {
    /// Join keys, sorted.
    pub names: Vec<&'a str>,
    /// Their values with types, in the same order.
    pub values: Vec<(KeyType, KeyValue<'a>)>,
    values_raw: &'a [u8],
}

impl<'a> KeyParts<'a> {
    /// Takes a key of version 3 apart.
    ///
    /// # Errors
    /// `Internal` for bytes that are no such key.
    pub fn read(key: &'a [u8]) -> Result<Self, FeatureError> {
        Self::parse(key).ok_or_else(|| FeatureError::internal("a serialised entity key is malformed", key.len()))
    }

    fn parse(key: &'a [u8]) -> Option<Self> {
        let mut rest = key;
        let count = take_u32(&mut rest)?;
        let mut names = Vec::new();
        for _ in 0..count {
            if take_u32(&mut rest)? != KeyType::String.id() {
                return None;
            }
            names.push(std::str::from_utf8(take_sized(&mut rest)?).ok()?);
        }
        let values_raw = rest;
        let mut values = Vec::new();
        for _ in 0..count {
            let key_type = KeyType::from_id(take_u32(&mut rest)?)?;
            let bytes = take_sized(&mut rest)?;
            let value = match key_type {
                KeyType::String => KeyValue::String(std::str::from_utf8(bytes).ok()?),
                KeyType::Bytes => KeyValue::Bytes(bytes),
                KeyType::Int32 => KeyValue::Int(i64::from(i32::from_le_bytes(bytes.try_into().ok()?))),
                KeyType::Int64 | KeyType::Timestamp => KeyValue::Int(i64::from_le_bytes(bytes.try_into().ok()?)),
            };
            values.push((key_type, value));
        }
        rest.is_empty().then_some(Self { names, values, values_raw })
    }

    /// Join keys with their types, as a person reads them: `hour int64, origin string`.
    pub(crate) fn form(&self) -> String {
        form(self.names.iter().zip(&self.values).map(|(name, (key_type, _))| (*name, *key_type)))
    }
}

fn form<'n>(keys: impl Iterator<Item = (&'n str, KeyType)>) -> String {
    keys.map(|(name, key_type)| format!("{name} {}", key_type.as_str())).collect::<Vec<_>>().join(", ")
}

fn take_u32(rest: &mut &[u8]) -> Option<u32> {
    let (head, tail) = rest.split_first_chunk::<4>()?;
    *rest = tail;
    Some(u32::from_le_bytes(*head))
}

fn take_sized<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(take_u32(rest)?).ok()?;
    let (head, tail) = rest.split_at_checked(length)?;
    *rest = tail;
    Some(head)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use proptest::prelude::*;

    use super::{KeyLayout, KeyParts, KeyType, KeyValue, write_version_2};

    fn layout() -> KeyLayout {
        KeyLayout::new(vec![("origin".to_owned(), KeyType::String), ("hour".to_owned(), KeyType::Int64)])
    }

    #[test]
    fn keys_are_those_of_feast() {
        // feast 0.67.0 and 0.40.1: serialize_entity_key of origin="JFK", hour=7, versions 3 and 2.
        let mut key = Vec::new();
        layout().write(|place| [KeyValue::String("JFK"), KeyValue::Int(7)][place], &mut key).unwrap();
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let three = "020000000200000004000000686f757202000000060000006f726967696e\
                     0400000008000000070000000000000002000000030000004a464b";
        assert_eq!(hex(&key), three);
        let mut two = Vec::new();
        write_version_2(&key, &mut two).unwrap();
        let expected = "02000000686f7572020000006f726967696e0400000008000000070000000000000002000000030000004a464b";
        assert_eq!(hex(&two), expected);
    }

    #[test]
    fn wrong_values_are_refused_and_leave_nothing() {
        let mut out = b"before".to_vec();
        let huge = "x".repeat(1 << 20);
        for values in [
            [KeyValue::Int(1), KeyValue::Int(7)],
            [KeyValue::String("JFK"), KeyValue::String("7")],
            [KeyValue::Bytes(b"\xff"), KeyValue::Int(7)],
            [KeyValue::String(&huge), KeyValue::Int(7)],
        ] {
            assert!(layout().write(|place| values[place], &mut out).is_err());
            assert_eq!(out, b"before");
        }
    }

    proptest! {
        #[test]
        fn keys_are_taken_apart_as_they_were(origin in ".{0,20}", hour in any::<i64>()) {
            let mut key = Vec::new();
            layout().write(|place| [KeyValue::String(&origin), KeyValue::Int(hour)][place], &mut key).unwrap();
            let parts = KeyParts::read(&key).unwrap();
            prop_assert_eq!(&parts.names, &["hour", "origin"]);
            let values: Vec<_> = parts.values.iter().map(|(_, value)| *value).collect();
            prop_assert_eq!(values, [KeyValue::Int(hour), KeyValue::String(&origin)]);
            prop_assert!(layout().describes(&key));
            prop_assert_eq!(layout().form(), parts.form());
            for other in [vec![("origin", KeyType::Bytes), ("hour", KeyType::Int64)], vec![("origin", KeyType::String)]] {
                let other = KeyLayout::new(other.into_iter().map(|(name, one)| (name.to_owned(), one)).collect());
                prop_assert!(!other.describes(&key));
            }
        }

        #[test]
        fn no_bytes_break_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            drop(KeyParts::read(&bytes).map(|parts| parts.values.len()));
        }
    }
}
