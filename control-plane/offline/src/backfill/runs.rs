//! The rows of a backfill on their way from a source to days, within a bound of memory.
//!
//! As long as they fit they stay in memory. Otherwise they go to runs beside the declarations: each is sorted by time, as a
//! day is, and holds what was read one after another, so that reading a stretch of time from all runs in their order gives
//! the rows as a stable sort of everything would (external merge sort; Knuth, The Art of Computer Programming, 5.4).

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use hanok_features::FeatureView;

use super::partition::{DAY, Form, RowsWriter};
use super::windows::Hours;
use crate::error::OfflineError;
use crate::parquet_file::ParquetTable;
use crate::past::{Origin, PastRows, read_tables};
use crate::period::Period;
use crate::storage::LocalStorage;

/// Rows of a row group of a run: a stretch of time reads little beside what it wants.
const RUN_GROUP_ROWS: usize = 1 << 16;

/// Rows that are gathered.
pub(super) struct Runs<'v> {
    view: &'v FeatureView,
    memory: usize,
    scratch: &'v Path,
    folder: Option<Scratch>,
    tables: Vec<ParquetTable>,
    pub(super) hours: Hours,
    pub(super) nulls: Vec<u64>,
    pub(super) rows: u64,
    /// Whether a time is no whole microsecond.
    pub(super) nanos: bool,
    bytes: u64,
}

impl<'v> Runs<'v> {
    pub(super) fn new(view: &'v FeatureView, memory: usize, scratch: &'v Path) -> Self {
        /// Less would make of every row a file's part.
        const LEAST: usize = 1 << 20;
        Self {
            view,
            memory: memory.max(LEAST),
            scratch,
            folder: None,
            tables: Vec::new(),
            hours: Hours::default(),
            nulls: vec![0; view.features.len()],
            rows: 0,
            nanos: false,
            bytes: 0,
        }
    }

    /// Takes rows, where there are too many to wait for more.
    pub(super) fn take(&mut self, rows: &mut PastRows) -> Result<(), OfflineError> {
        if rows.bytes > self.memory / 2 {
            let rows = rows.taken();
            self.note(&rows);
            self.spill(&rows)?;
        }
        Ok(())
    }

    /// Takes the rest.
    pub(super) fn finish(mut self, rest: PastRows) -> Result<Gathered<'v>, OfflineError> {
        self.note(&rest);
        if self.tables.is_empty() {
            let order = rest.in_order();
            return Ok(Gathered { runs: self, in_memory: Some((rest, order)) });
        }
        if !rest.times.is_empty() {
            self.spill(&rest)?;
        }
        Ok(Gathered { runs: self, in_memory: None })
    }

    fn note(&mut self, rows: &PastRows) {
        self.hours.count(&rows.times);
        for (nulls, column) in self.nulls.iter_mut().zip(&rows.features) {
            *nulls += column.present.iter().filter(|present| !**present).count() as u64;
        }
        self.rows += rows.times.len() as u64;
        self.bytes += rows.bytes as u64;
        let mut times = rows.times.iter().chain(rows.created.iter().flatten());
        self.nanos = self.nanos || times.any(|time| *time != i64::MIN && time % 1000 != 0);
    }

    fn spill(&mut self, rows: &PastRows) -> Result<(), OfflineError> {
        let folder = match self.folder.take() {
            Some(folder) => folder,
            None => Scratch::open(self.scratch, &self.view.name)?,
        };
        let storage = LocalStorage::new(&self.folder.insert(folder).path);
        let name = format!("run-{:06}.parquet", self.tables.len());
        let group_rows = self.group_rows(self.memory / 16).min(RUN_GROUP_ROWS);
        let form = Form { fingerprint: None, has_created: rows.created.is_some(), nanos: true, group_rows };
        let mut writer = RowsWriter::create(&storage, self.view, &name, form)?;
        writer.write(rows, &rows.in_order())?;
        writer.finish()?;
        self.tables.push(ParquetTable::open(&storage, &name)?);
        Ok(())
    }

    /// How many rows take about so many bytes.
    fn group_rows(&self, bytes: usize) -> usize {
        let row = usize::try_from(self.bytes / self.rows.max(1)).unwrap_or(usize::MAX).max(1);
        (bytes / row).max(1)
    }
}

/// All rows of a backfill.
pub(super) struct Gathered<'v> {
    pub(super) runs: Runs<'v>,
    /// With the order in which they stand in days.
    in_memory: Option<(PastRows, Vec<u32>)>,
}

impl Gathered<'_> {
    /// Rows of a row group that is written from what is here.
    pub(super) fn group_rows(&self) -> usize {
        self.runs.group_rows(self.runs.memory / 4)
    }

    /// Calls with a day's rows, in the order in which they are to stand, as many at once as memory has room for.
    pub(super) fn day(
        &self,
        day: i64,
        mut visit: impl FnMut(&PastRows, &[u32]) -> Result<(), OfflineError>,
    ) -> Result<(), OfflineError> {
        if let Some((past, order)) = &self.in_memory {
            let of_day = |row: &u32| past.times[*row as usize].div_euclid(DAY);
            let start = order.partition_point(|row| of_day(row) < day);
            let end = order.partition_point(|row| of_day(row) <= day);
            return visit(past, &order[start..end]);
        }
        let view = self.runs.view;
        let origin = Origin::written(view);
        let features: Vec<usize> = (0..view.features.len()).collect();
        let most = self.runs.group_rows(self.runs.memory / 2);
        for (start, end) in self.runs.hours.windows(day, most as u64) {
            let past = read_tables(&self.runs.tables, view, &origin, &features, Period::new(start, end)?)?;
            visit(&past, &past.in_order())?;
        }
        Ok(())
    }
}

/// A folder for runs, of this process alone; what a killed one left in it is removed.
#[derive(Debug)]
struct Scratch {
    path: PathBuf,
    _lock: File,
}

impl Scratch {
    /// Backfills of one view that run at the same time.
    const MOST: usize = 64;

    fn open(place: &Path, view: &str) -> Result<Self, OfflineError> {
        for number in 0..Self::MOST {
            let path = place.join(format!("{view}-{number}"));
            let opened =
                Self::lock(&path).map_err(|error| OfflineError::from_storage(&path.display().to_string(), &error))?;
            if let Some(lock) = opened {
                return Ok(Self { path, _lock: lock });
            }
        }
        Err(OfflineError::LimitReached { what: "backfills of one view at once", limit: Self::MOST as u64 })
    }

    /// None where another process has it.
    fn lock(path: &Path) -> io::Result<Option<File>> {
        loop {
            fs::create_dir_all(path)?;
            let name = path.join("lock");
            let file = File::options().create(true).truncate(false).write(true).open(&name)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(error),
            }
            // Between opening and locking, its owner may have removed it.
            if fs::metadata(&name).map(|known| known.ino()).ok() != Some(file.metadata()?.ino()) {
                continue;
            }
            for entry in fs::read_dir(path)? {
                let entry = entry?.path();
                if entry != name {
                    fs::remove_file(entry)?;
                }
            }
            return Ok(Some(file));
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What stays is removed by the next backfill of the view that needs runs.
        drop(fs::remove_dir_all(&self.path));
    }
}
