//! Rows of hot keys, remembered for a while.
//!
//! Bounded by bytes (`quick_cache`: S3-FIFO, sharded, no background thread). An entry is never dropped for its age:
//! within the maximum age it spares a read, after that it is still the last known row.

use std::sync::Arc;
use std::time::Duration;

use quick_cache::sync::Cache;
use quick_cache::{Equivalent, Weighter};

use crate::columns::{CellStatus, Columns};
use crate::declared::CacheSettings;
use crate::error::FeatureError;
use crate::row::{NO_TIME, RowRef, write_row_of};

/// Bytes that an entry costs beside its key and row.
const OVERHEAD: u64 = 96;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    view: usize,
    key: Box<[u8]>,
}

/// A borrowed [`Key`]; both hash alike because a boxed slice hashes as the slice.
#[derive(Hash)]
struct Borrowed<'a> {
    view: usize,
    key: &'a [u8],
}

impl Equivalent<Key> for Borrowed<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.view == key.view && *self.key == *key.key
    }
}

/// A remembered row: every feature that the service uses of its view.
#[derive(Clone, Debug)]
pub(super) struct Remembered {
    read_micros: i64,
    row: Arc<[u8]>,
    features: usize,
}

impl Remembered {
    /// Copies the feature at `place` of the service's part of the view.
    pub(super) fn copy_into(
        &self,
        place: usize,
        to: &mut Columns,
        cell: (usize, usize),
    ) -> Result<CellStatus, FeatureError> {
        let row = RowRef::read(&self.row, self.features)?;
        row.copy_into(place, to, cell.0, cell.1)?;
        Ok(row.status(place))
    }

    /// Whether there is a value at `place`.
    pub(super) fn has(&self, place: usize) -> bool {
        RowRef::read(&self.row, self.features).is_ok_and(|row| row.status(place) == CellStatus::Present)
    }
}

#[derive(Clone, Debug)]
struct ByBytes;

impl Weighter<Key, Remembered> for ByBytes {
    fn weight(&self, key: &Key, value: &Remembered) -> u64 {
        OVERHEAD + u64::try_from(key.key.len() + value.row.len()).unwrap_or(u64::MAX / 2)
    }
}

/// The hot keys of one service.
#[derive(Debug)]
pub(super) struct HotKeys {
    maximum_age: Duration,
    rows: Cache<Key, Remembered, ByBytes>,
}

impl HotKeys {
    pub(super) fn new(settings: CacheSettings) -> Self {
        let typical = usize::try_from(settings.maximum_bytes / 512).unwrap_or(usize::MAX).max(16);
        let rows = Cache::with_weighter(typical, settings.maximum_bytes, ByBytes);
        Self { maximum_age: settings.maximum_age, rows }
    }

    /// The row of a key, and whether it is within the maximum age.
    pub(super) fn get(&self, view: usize, key: &[u8], now_micros: i64) -> Option<(Remembered, bool)> {
        let found = self.rows.get(&Borrowed { view, key })?;
        let age = u64::try_from(now_micros.saturating_sub(found.read_micros)).unwrap_or(0);
        let fresh = Duration::from_micros(age) < self.maximum_age;
        Some((found, fresh))
    }

    /// Remembers a row of a read, unless some of it cannot be used.
    pub(super) fn put(&self, view: usize, key: &[u8], columns: &Columns, row: usize, now_micros: i64) {
        let cells = || (0..columns.width()).filter_map(|index| columns.column(index));
        if cells().any(|column| column.status(row) == CellStatus::Unusable) {
            return;
        }
        // The oldest: a remembered value must not look younger than it is.
        let event = cells().filter_map(|column| column.event_micros(row)).min().unwrap_or(NO_TIME);
        let mut encoded = Vec::with_capacity(columns.width() * 9 + 8);
        write_row_of(columns, row, event, &mut encoded);
        let remembered = Remembered { read_micros: now_micros, row: encoded.into(), features: columns.width() };
        self.rows.insert(Key { view, key: key.into() }, remembered);
    }
}
