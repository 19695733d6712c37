//! Rows of hot keys, remembered for a while.
//!
//! Bounded by bytes (`quick_cache`: S3-FIFO, sharded, no background thread). An entry is never dropped for its age:
//! within the maximum age it spares a read, after that it still has what was known last.

use std::sync::Arc;
use std::time::Duration;

use quick_cache::sync::Cache;
use quick_cache::{DefaultHashBuilder, Equivalent, Lifecycle, Weighter};

use super::policy::not_before;
use super::statistics::Counters;
use crate::columns::{CellStatus, Columns};
use crate::data_type::FeatureType;
use crate::declared::CacheSettings;
use crate::error::FeatureError;
use crate::row::{NO_TIME, RowRef, write_row_of};
use crate::tensor_format::InputForm;

/// Bytes that an entry costs beside its key, row and times.
const OVERHEAD: u64 = 128;

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
    /// Whether the row is as the store had it. Where it could not be used in part, that part is from an earlier read.
    whole: bool,
    row: Arc<[u8]>,
    /// From when each of its features is.
    times: Arc<[i64]>,
}

impl Remembered {
    /// Copies the feature at `place` of the service's part of the view.
    pub(super) fn copy_into(
        &self,
        place: usize,
        to: &mut Columns,
        cell: (usize, usize),
    ) -> Result<CellStatus, FeatureError> {
        let row = RowRef::read(&self.row, self.times.len())?;
        let time = self.times.get(place).copied().unwrap_or(NO_TIME);
        row.copy_timed(place, time, to, cell.0, cell.1)?;
        Ok(row.status(place))
    }

    /// Whether there is a value at `place`, which is of this type, that its input takes.
    pub(super) fn has(&self, place: usize, data_type: FeatureType, form: Option<InputForm>) -> bool {
        let Ok(row) = RowRef::read(&self.row, self.times.len()) else { return false };
        let is_present = row.status(place) == CellStatus::Present;
        // An input may have another form than when the value was read: another model, or a store that has changed since.
        let fits = |form: InputForm| {
            let mut cell = Columns::new(Arc::from([data_type]), 1);
            let copied = row.copy_into(place, &mut cell, 0, 0).is_ok();
            let value = cell.column(0).and_then(|column| column.value(0)).filter(|_| copied);
            value.is_some_and(|value| form.refusal(value).is_none())
        };
        is_present && form.is_none_or(fits)
    }

    /// Whether no value of it is older than its feature may be: else the store is asked, which may have a newer one.
    fn is_young(&self, ages: &[Option<Duration>], now_micros: i64) -> bool {
        let Ok(row) = RowRef::read(&self.row, self.times.len()) else { return false };
        let is_young = |(place, (time, age)): (usize, (&i64, &Option<Duration>))| {
            row.status(place) != CellStatus::Present || *time >= not_before(now_micros, *age)
        };
        self.times.iter().zip(ages).enumerate().all(is_young)
    }
}

#[derive(Clone, Debug)]
struct ByBytes;

impl Weighter<Key, Remembered> for ByBytes {
    fn weight(&self, key: &Key, value: &Remembered) -> u64 {
        let bytes = key.key.len() + value.row.len() + size_of_val(&*value.times);
        OVERHEAD + u64::try_from(bytes).unwrap_or(u64::MAX / 2)
    }
}

/// Counts rows that had to go.
#[derive(Clone, Debug)]
struct Forgetting(Arc<Counters>);

impl Lifecycle<Key, Remembered> for Forgetting {
    type RequestState = ();

    fn on_evict(&self, (): &mut (), _: Key, _: Remembered) {
        self.0.forgotten();
    }
}

/// The hot keys of one service.
#[derive(Debug)]
pub(super) struct HotKeys {
    maximum_age: Duration,
    rows: Cache<Key, Remembered, ByBytes, DefaultHashBuilder, Forgetting>,
}

impl HotKeys {
    pub(super) fn new(settings: CacheSettings, counters: Arc<Counters>) -> Self {
        let typical = usize::try_from(settings.maximum_bytes / 512).unwrap_or(usize::MAX).max(16);
        let (hasher, forgetting) = (DefaultHashBuilder::default(), Forgetting(counters));
        let rows = Cache::with(typical, settings.maximum_bytes, ByBytes, hasher, forgetting);
        Self { maximum_age: settings.maximum_age, rows }
    }

    /// The row of a key, and whether it spares a read: it is within the maximum age of the cache, and its values within
    /// those of their features.
    pub(super) fn get(
        &self,
        view: usize,
        key: &[u8],
        ages: &[Option<Duration>],
        now_micros: i64,
    ) -> Option<(Remembered, bool)> {
        let found = self.rows.get(&Borrowed { view, key })?;
        let age = u64::try_from(now_micros.saturating_sub(found.read_micros)).unwrap_or(0);
        let fresh = found.whole && Duration::from_micros(age) < self.maximum_age && found.is_young(ages, now_micros);
        Some((found, fresh))
    }

    /// Remembers a row of a read; of a feature that cannot be used, what was known of it before.
    pub(super) fn put(&self, view: usize, key: &[u8], columns: &Columns, row: usize, now_micros: i64) {
        let is_unusable = |place: usize| columns.status(place, row) == CellStatus::Unusable;
        if !(0..columns.width()).any(is_unusable) {
            return self.keep(view, key, columns, row, now_micros, true);
        }
        let before = self.rows.get(&Borrowed { view, key });
        let mut known = Columns::new(Arc::clone(columns.types()), 1);
        for place in 0..columns.width() {
            let copied = match &before {
                Some(before) if is_unusable(place) => before.copy_into(place, &mut known, (place, 0)).map(drop),
                None if is_unusable(place) => Ok(()),
                _ => known.copy_cell((place, 0), columns, (place, row)).map(drop),
            };
            if copied.is_err() {
                return;
            }
        }
        self.keep(view, key, &known, 0, now_micros, false);
    }

    fn keep(&self, view: usize, key: &[u8], columns: &Columns, row: usize, now_micros: i64, whole: bool) {
        let time = |place| columns.column(place).and_then(|column| column.event_micros(row)).unwrap_or(NO_TIME);
        let times = (0..columns.width()).map(time).collect();
        let mut encoded = Vec::with_capacity(columns.width() * 9 + 8);
        write_row_of(columns, row, NO_TIME, &mut encoded);
        let remembered = Remembered { read_micros: now_micros, whole, row: encoded.into(), times };
        self.rows.insert(Key { view, key: key.into() }, remembered);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use std::sync::Arc;
    use std::time::Duration;

    use super::{HotKeys, Remembered};
    use crate::columns::Columns;
    use crate::data_type::{ElementType, FeatureType};
    use crate::declared::CacheSettings;
    use crate::value::Value;

    fn hot(maximum_bytes: u64) -> (HotKeys, Arc<super::Counters>) {
        let counters = Arc::default();
        let settings = CacheSettings { maximum_age: Duration::from_secs(10), maximum_bytes };
        (HotKeys::new(settings, Arc::clone(&counters)), counters)
    }

    /// One row of two numbers with their event times; none is unusable.
    fn row(cells: [Option<(i64, Option<i64>)>; 2]) -> Columns {
        let mut columns = Columns::new(Arc::from([FeatureType::scalar(ElementType::Int64); 2]), 1);
        for (place, cell) in cells.into_iter().enumerate() {
            match cell {
                Some((value, event)) => columns.set_value(place, 0, &Value::Int64(value), event).unwrap(),
                None => columns.set_unusable(place, 0, || "wrong".to_owned()),
            }
        }
        columns
    }

    fn read(remembered: &Remembered) -> Vec<(Option<Value>, Option<i64>)> {
        let mut columns = row([Some((0, None)), Some((0, None))]);
        for place in 0..2 {
            columns.clear(place, 0);
            remembered.copy_into(place, &mut columns, (place, 0)).unwrap();
        }
        let column = |place| columns.column(place).unwrap();
        (0..2)
            .map(|place| (column(place).value(0).map(|value| value.to_owned()), column(place).event_micros(0)))
            .collect()
    }

    #[test]
    fn every_feature_keeps_its_own_time() {
        let (hot, _) = hot(1 << 20);
        hot.put(0, b"k", &row([Some((1, Some(5_000_000))), Some((2, None))]), 0, 7_000_000);
        let (remembered, fresh) = hot.get(0, b"k", &[None, None], 8_000_000).unwrap();
        assert!(fresh);
        assert_eq!(read(&remembered), [(Some(Value::Int64(1)), Some(5_000_000)), (Some(Value::Int64(2)), None)]);
    }

    #[test]
    fn a_row_past_the_age_of_a_feature_is_read_again() {
        let (hot, _) = hot(1 << 20);
        hot.put(0, b"k", &row([Some((1, Some(5_000_000))), Some((2, Some(1)))]), 0, 7_000_000);
        let fresh = |seconds, now| hot.get(0, b"k", &[Some(Duration::from_secs(seconds)), None], now).unwrap().1;
        assert!(fresh(3, 8_000_000));
        assert!(!fresh(3, 8_000_001));
        assert!(!hot.get(0, b"k", &[None, None], 17_000_000).unwrap().1, "the cache has an age of its own");
    }

    #[test]
    fn what_cannot_be_used_leaves_what_was_known_of_it() {
        let (hot, _) = hot(1 << 20);
        hot.put(0, b"k", &row([Some((1, Some(10))), Some((2, Some(10)))]), 0, 10);
        hot.put(0, b"k", &row([Some((5, Some(20))), None]), 0, 20);
        let (remembered, fresh) = hot.get(0, b"k", &[None, None], 20).unwrap();
        assert!(!fresh, "the store's answer was another");
        assert_eq!(read(&remembered), [(Some(Value::Int64(5)), Some(20)), (Some(Value::Int64(2)), Some(10))]);
        hot.put(0, b"new", &row([None, Some((3, Some(30)))]), 0, 30);
        let (remembered, _) = hot.get(0, b"new", &[None, None], 30).unwrap();
        assert_eq!(read(&remembered), [(None, None), (Some(Value::Int64(3)), Some(30))]);
    }

    #[test]
    fn rows_that_had_to_go_are_counted() {
        let (hot, counters) = hot(1 << 16);
        let rows: u32 = 4096;
        for key in 0..rows {
            hot.put(0, &key.to_le_bytes(), &row([Some((1, None)), Some((2, None))]), 0, 0);
        }
        let kept = (0..rows).filter(|key| hot.get(0, &key.to_le_bytes(), &[None, None], 0).is_some()).count();
        assert_eq!(usize::try_from(counters.snapshot().forgotten).unwrap() + kept, 4096);
        assert!(kept > 0 && kept < 1000, "{kept}");
    }
}
