//! The rows of one view in memory: reading takes no lock and waits for nobody.
//!
//! A hash table in 4,096 parts, each replaced whole when rows of it change (read, copy, update). So a write costs the
//! copying of a part (one in 4,096 of the rows, by reference), and a reader sees each row before or after, never between.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use arc_swap::ArcSwap;
use hashbrown::HashTable;

use super::super::{MemoryTable, ViewRead};
use crate::columns::Columns;
use crate::declared::FeatureView;
use crate::error::FeatureError;
use crate::row::RowRef;

/// Parts of a table. At ten million rows a write of one row copies 2,400 references.
const PARTS: usize = 4096;
const PART_BITS: u32 = PARTS.trailing_zeros();

/// A serialised key and its row.
pub(super) type KeyedRow = (Box<[u8]>, Box<[u8]>);

/// A key and its row in one allocation: the length of the key (`u16`), the key, the row.
type Entry = Arc<[u8]>;

/// The rows of one view by key.
#[derive(Debug)]
pub(super) struct Table {
    view: Arc<FeatureView>,
    // Keys come from clients: the standard hasher is seeded, and 50 bytes cost it some 20 ns.
    hasher: RandomState,
    parts: Box<[ArcSwap<HashTable<Entry>>]>,
}

impl Table {
    pub(super) fn new(view: Arc<FeatureView>) -> Self {
        let empty = Arc::new(HashTable::new());
        let parts = (0..PARTS).map(|_| ArcSwap::new(Arc::clone(&empty))).collect();
        Self { view, hasher: RandomState::new(), parts }
    }

    pub(super) const fn view(&self) -> &Arc<FeatureView> {
        &self.view
    }

    pub(super) fn len(&self) -> usize {
        self.parts.iter().map(|part| part.load().len()).sum()
    }

    /// The part of a hash: its upper bits, because the parts' own tables use the lower ones and the topmost seven.
    #[allow(clippy::cast_possible_truncation, reason = "masked to a few bits")]
    const fn part(hash: u64) -> usize {
        (hash >> (64 - 7 - PART_BITS)) as usize & (PARTS - 1)
    }

    /// A table of the same view without rows, to be filled beside this one.
    pub(super) fn emptied(&self) -> Self {
        Self { hasher: self.hasher.clone(), ..Self::new(Arc::clone(&self.view)) }
    }

    /// Takes the rows of a table made by [`Table::emptied`] in the place of its own. A reader sees those of each part before
    /// or after.
    pub(super) fn replace_with(&self, other: &Self) {
        for (part, new) in self.parts.iter().zip(&other.parts) {
            part.store(new.load_full());
        }
    }

    /// Makes rows readable; of rows with one key the last counts. For one writer at a time.
    pub(super) fn apply(&self, rows: &[KeyedRow]) {
        let mut hashed: Vec<(usize, u64, &KeyedRow)> = rows
            .iter()
            .map(|row| {
                let hash = self.hasher.hash_one(&*row.0);
                (Self::part(hash), hash, row)
            })
            .collect();
        // Stable: rows of one key stay in order.
        hashed.sort_by_key(|(part, ..)| *part);
        for group in hashed.chunk_by(|left, right| left.0 == right.0) {
            let Some(part) = group.first().and_then(|(part, ..)| self.parts.get(*part)) else { continue };
            let mut table = HashTable::clone(&part.load());
            for (_, hash, (key, row)) in group {
                let rehash = |entry: &Entry| self.hasher.hash_one(key_and_row(entry).0);
                let place = table.entry(*hash, |entry| key_and_row(entry).0 == &**key, rehash);
                place.insert(entry(key, row));
            }
            part.store(Arc::new(table));
        }
    }

    /// Reads many rows.
    pub(super) fn read(&self, read: &ViewRead) -> Result<Columns, FeatureError> {
        let mut columns = read.empty_answer();
        let targets: Vec<usize> = (0..read.places.len()).collect();
        for (row, key) in read.keys.iter().enumerate() {
            self.copy_row(key, &read.places, &mut columns, &targets, row)?;
        }
        Ok(columns)
    }
}

impl MemoryTable for Table {
    fn copy_row(
        &self,
        key: &[u8],
        places: &[usize],
        columns: &mut Columns,
        targets: &[usize],
        row: usize,
    ) -> Result<(), FeatureError> {
        let hash = self.hasher.hash_one(key);
        let Some(part) = self.parts.get(Self::part(hash)) else { return Ok(()) };
        let part = part.load();
        let Some(entry) = part.find(hash, |entry| key_and_row(entry).0 == key) else { return Ok(()) };
        RowRef::read(key_and_row(entry).1, self.view.features.len())?.copy_row(places, columns, targets, row)
    }
}

fn entry(key: &[u8], row: &[u8]) -> Entry {
    // Keys are at most `KEY_BYTES` long.
    let length = u16::try_from(key.len()).unwrap_or(u16::MAX);
    let mut bytes = Vec::with_capacity(2 + key.len() + row.len());
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(key);
    bytes.extend_from_slice(row);
    bytes.into()
}

fn key_and_row(entry: &[u8]) -> (&[u8], &[u8]) {
    let taken = entry
        .split_first_chunk::<2>()
        .and_then(|(length, rest)| rest.split_at_checked(usize::from(u16::from_le_bytes(*length))));
    taken.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::{KeyedRow, Table, key_and_row};
    use crate::store::tests::weather_view;

    proptest! {
        #[test]
        fn a_table_is_a_map(writes in prop::collection::vec(prop::collection::vec((0_u16..300, any::<u8>()), 0..40), 0..8)) {
            let table = Table::new(weather_view("{name: sky, type: string}"));
            let mut model = BTreeMap::new();
            for write in writes {
                let rows: Vec<KeyedRow> =
                    write.iter().map(|(key, row)| (Box::from(key.to_le_bytes()), Box::from([*row]))).collect();
                table.apply(&rows);
                model.extend(write);
                prop_assert_eq!(table.len(), model.len());
            }
            let mut held = BTreeMap::new();
            for part in &table.parts {
                for entry in part.load().iter() {
                    let (key, row) = key_and_row(entry);
                    held.insert(u16::from_le_bytes(key.try_into().unwrap()), row[0]);
                }
            }
            prop_assert_eq!(held, model);
        }
    }
}
