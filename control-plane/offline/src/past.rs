//! The past of a view: its rows out of the files that its declaration names, as far as they are asked for.

use hanok_features::{ElementType, FeatureType, FeatureView};

use crate::csv_file::CsvTable;
use crate::error::OfflineError;
use crate::history::{KeyIndex, NO_KEY, present_keys};
use crate::parquet_file::ParquetTable;
use crate::period::Period;
use crate::storage::Storage;
use crate::table::{Column, Kind, Leaf, NO_ROW, instants};

/// Column of the event time in files that this crate writes.
pub(crate) const EVENT_TIMESTAMP: &str = "event_timestamp";
/// Column of the time of creation in files that this crate writes.
pub(crate) const CREATED_TIMESTAMP: &str = "created_timestamp";

/// Where a view's rows are, and how their columns are called there.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) path: String,
    pub(crate) event_time: String,
    pub(crate) created_time: Option<String>,
    keys: Vec<String>,
    features: Vec<String>,
}

impl Origin {
    /// The source of a view.
    pub(crate) fn source(view: &FeatureView) -> Result<Self, OfflineError> {
        let place = || format!("feature view `{}`", view.name);
        let source = view.source.as_ref().and_then(|source| source.path.as_ref().map(|path| (source, path)));
        let (source, path) = source.ok_or_else(|| {
            OfflineError::invalid(place(), "expected `source.path` with the files of its rows, got none")
        })?;
        Ok(Self {
            path: path.clone(),
            event_time: source.event_time.clone(),
            created_time: source.created_time.clone(),
            keys: view.keys.names().iter().map(|(name, _)| source.column(name).to_owned()).collect(),
            features: view.features.iter().map(|feature| source.column(&feature.name).to_owned()).collect(),
        })
    }

    /// What joins read: the view's offline folder if it has one, otherwise its source.
    pub(crate) fn of(view: &FeatureView) -> Result<Self, OfflineError> {
        let Some(folder) = &view.offline else { return Self::source(view) };
        Ok(Self { path: folder.clone(), ..Self::written(view) })
    }

    /// Files that this crate writes of a view, wherever they are.
    pub(crate) fn written(view: &FeatureView) -> Self {
        let created = view.source.as_ref().and_then(|source| source.created_time.as_ref());
        Self {
            path: String::new(),
            event_time: EVENT_TIMESTAMP.to_owned(),
            created_time: created.map(|_| CREATED_TIMESTAMP.to_owned()),
            keys: view.keys.names().iter().map(|(name, _)| name.clone()).collect(),
            features: view.features.iter().map(|feature| feature.name.clone()).collect(),
        }
    }
}

/// Which rows are read.
pub(crate) enum Wanted<'i> {
    /// Those of known keys.
    Known(&'i KeyIndex),
    /// All; their keys become known, and are kept.
    All(&'i mut KeyIndex),
    /// Those of such times; their keys are kept, and not numbered.
    At(&'i dyn Fn(i64) -> bool),
}

/// Rows of a view, column by column.
#[derive(Debug)]
pub(crate) struct PastRows {
    /// Numbers of their keys.
    pub(crate) codes: Vec<u32>,
    /// Nanoseconds since the epoch.
    pub(crate) times: Vec<i64>,
    /// The same, of when they were created; none where the source does not tell.
    pub(crate) created: Option<Vec<i64>>,
    /// Their keys, where all rows are wanted.
    pub(crate) keys: Vec<Column>,
    /// The features that were asked for, in that order.
    pub(crate) features: Vec<Column>,
    /// What was seen on the way.
    pub(crate) seen: Seen,
    /// About how much memory they take.
    pub(crate) bytes: usize,
}

impl PastRows {
    /// Gives what was gathered, and goes on with nothing but what was seen.
    pub(crate) fn taken(&mut self) -> Self {
        let column = |column: &Column| Column::new(column.data_type);
        let empty = Self {
            codes: Vec::new(),
            times: Vec::new(),
            created: self.created.as_ref().map(|_| Vec::new()),
            keys: self.keys.iter().map(column).collect(),
            features: self.features.iter().map(column).collect(),
            seen: self.seen,
            bytes: 0,
        };
        std::mem::replace(self, empty)
    }

    /// Places of rows by event time, then by time of creation, then as they stood.
    pub(crate) fn in_order(&self) -> Vec<u32> {
        let mut order: Vec<u32> = (0..u32::try_from(self.times.len()).unwrap_or(u32::MAX)).collect();
        let created = |row: usize| self.created.as_ref().map_or(0, |created| created[row]);
        order.sort_by_key(|row| (self.times[*row as usize], created(*row as usize)));
        order
    }
}

/// Counts of rows by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Rows of the files that were looked at; row groups outside of the window are not.
    pub rows: u64,
    /// Left out because they have no event time.
    pub without_time: u64,
    /// Left out because a key is null.
    pub without_key: u64,
}

/// A part of a file, whose columns are read when they are asked for.
enum Part<'f> {
    Group(&'f ParquetTable, usize, &'f [usize]),
    Cells(&'f [Leaf], &'f str),
}

impl Part<'_> {
    fn leaf(&self, column: usize) -> Result<std::borrow::Cow<'_, Leaf>, OfflineError> {
        use std::borrow::Cow;
        Ok(match self {
            Self::Group(table, group, leaves) => Cow::Owned(table.read(*group, leaves[column])?),
            Self::Cells(cells, _) => Cow::Borrowed(&cells[column]),
        })
    }

    fn file(&self) -> &str {
        match self {
            Self::Group(table, ..) => table.name(),
            Self::Cells(_, name) => name,
        }
    }
}

/// Reads the rows of a view within a period, with these features of it.
pub(crate) fn read_past(
    storage: &dyn Storage,
    view: &FeatureView,
    origin: &Origin,
    features: &[usize],
    period: Period,
    wanted: Wanted<'_>,
) -> Result<PastRows, OfflineError> {
    read_past_in_parts(storage, view, origin, features, period, wanted, &mut |_| Ok(()))
}

/// The same, calling with what was gathered so far after each part of a file, from which rows may be taken.
pub(crate) fn read_past_in_parts(
    storage: &dyn Storage,
    view: &FeatureView,
    origin: &Origin,
    features: &[usize],
    period: Period,
    wanted: Wanted<'_>,
    after: &mut dyn FnMut(&mut PastRows) -> Result<(), OfflineError>,
) -> Result<PastRows, OfflineError> {
    let mut reading = Reading::new(view, origin, features, period, wanted, after);
    for file in storage.list(&origin.path)? {
        if has_ending(&file, "csv") {
            reading.csv(storage, &file)?;
        } else {
            reading.parquet(&ParquetTable::open(storage, &file)?)?;
        }
    }
    Ok(reading.rows)
}

/// Reads the rows of tables that are open, whose columns are called as `origin` says.
pub(crate) fn read_tables(
    tables: &[ParquetTable],
    view: &FeatureView,
    origin: &Origin,
    features: &[usize],
    period: Period,
) -> Result<PastRows, OfflineError> {
    let mut after = |_: &mut PastRows| Ok(());
    let mut reading = Reading::new(view, origin, features, period, Wanted::At(&|_| true), &mut after);
    for table in tables {
        reading.parquet(table)?;
    }
    Ok(reading.rows)
}

/// A file of a source that lies in a folder, if there is one.
pub(crate) fn own_files(storage: &dyn Storage, origin: &Origin, folder: &str) -> Result<Option<String>, OfflineError> {
    let own = match storage.list(folder) {
        Ok(own) => own,
        Err(OfflineError::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    Ok(storage.list(&origin.path)?.into_iter().find(|file| own.contains(file)))
}

/// Whether a file's name ends so.
pub(crate) fn has_ending(file: &str, ending: &str) -> bool {
    file.rsplit_once('.').is_some_and(|(_, found)| found.eq_ignore_ascii_case(ending))
}

struct Reading<'i, 'a> {
    /// Columns: keys, event time, created time if there is one, features.
    names: Vec<String>,
    key_types: Vec<FeatureType>,
    has_created: bool,
    window: (i64, i64),
    wanted: Wanted<'i>,
    rows: PastRows,
    after: &'a mut dyn FnMut(&mut PastRows) -> Result<(), OfflineError>,
}

impl<'i, 'a> Reading<'i, 'a> {
    fn new(
        view: &FeatureView,
        origin: &Origin,
        features: &[usize],
        period: Period,
        wanted: Wanted<'i>,
        after: &'a mut dyn FnMut(&mut PastRows) -> Result<(), OfflineError>,
    ) -> Self {
        let of_keys = view.keys.names().iter().map(|(_, key_type)| FeatureType::scalar(key_type.element()));
        let key_types: Vec<FeatureType> = of_keys.collect();
        let mut names: Vec<String> =
            origin.keys.iter().chain(Some(&origin.event_time)).chain(&origin.created_time).cloned().collect();
        names.extend(features.iter().map(|place| origin.features[*place].clone()));
        let keeps_keys = !matches!(wanted, Wanted::Known(_));
        let keys = key_types.iter().filter(|_| keeps_keys).map(|data_type| Column::new(*data_type)).collect();
        let rows = PastRows {
            codes: Vec::new(),
            times: Vec::new(),
            created: origin.created_time.as_ref().map(|_| Vec::new()),
            keys,
            features: features.iter().map(|place| Column::new(view.features[*place].data_type)).collect(),
            seen: Seen::default(),
            bytes: 0,
        };
        let (has_created, window) = (origin.created_time.is_some(), period.window());
        Self { names, key_types, has_created, window, wanted, rows, after }
    }

    fn parquet(&mut self, table: &ParquetTable) -> Result<(), OfflineError> {
        let leaves: Vec<usize> = self.names.iter().map(|name| table.leaf(name)).collect::<Result<_, _>>()?;
        let time = leaves[self.key_types.len()];
        let unit = match table.kind(time) {
            Kind::Instant(unit) => Some(unit),
            _ => None,
        };
        let mut first = 0;
        for group in 0..table.groups() {
            let bounds = unit.and_then(|unit| {
                let (least, most) = table.bounds(group, time)?;
                Some((least.checked_mul(unit)?, most.checked_mul(unit)?))
            });
            let outside = bounds.is_some_and(|(least, most)| most < self.window.0 || least > self.window.1);
            if !outside {
                self.part(&Part::Group(table, group, &leaves), first)?;
            }
            first += table.rows(group);
        }
        Ok(())
    }

    fn csv(&mut self, storage: &dyn Storage, file: &str) -> Result<(), OfflineError> {
        let mut table = CsvTable::open(storage, file)?;
        let columns: Vec<usize> = self.names.iter().map(|name| table.column(name)).collect::<Result<_, _>>()?;
        let mut first = 0;
        while let Some(cells) = table.next(&columns)? {
            self.part(&Part::Cells(&cells, file), first)?;
            first += cells.first().map_or(0, |leaf| leaf.rows);
        }
        Ok(())
    }

    fn part(&mut self, part: &Part<'_>, first: usize) -> Result<(), OfflineError> {
        let place = |column: usize, row: usize| {
            format!("`{}`, column `{}`, row `{}`", part.file(), self.names[column], first + row + 1)
        };
        let parts = self.key_types.len();
        let found =
            |column: usize| move |(row, reason): (usize, String)| OfflineError::invalid(place(column, row), reason);
        let times = instants(&*part.leaf(parts)?).map_err(found(parts))?;
        let mut keys = Vec::with_capacity(parts);
        for (at, data_type) in self.key_types.iter().enumerate() {
            let mut column = Column::new(*data_type);
            column.append(&*part.leaf(at)?, None, &|row| place(at, row))?;
            if matches!(part, Part::Cells(..)) {
                column.empty_is_null();
            }
            keys.push(column);
        }
        let views: Vec<&Column> = keys.iter().collect();
        let codes = match &mut self.wanted {
            Wanted::Known(index) => index.find(&views),
            Wanted::All(index) => index.learn(&views),
            Wanted::At(_) => present_keys(&views),
        };
        let codes = codes.map_err(found(0))?;
        let is_wanted = |time: i64| match &self.wanted {
            Wanted::At(is_wanted) => is_wanted(time),
            Wanted::Known(_) | Wanted::All(_) => true,
        };
        let mut seen = self.rows.seen;
        let mut kept = Vec::with_capacity(times.len());
        for (row, time) in times.iter().enumerate() {
            let keyless = || keys.iter().any(|column| !column.present[row]);
            seen.rows += 1;
            kept.push(match time {
                None => {
                    seen.without_time += 1;
                    false
                }
                Some(_) if codes[row] == NO_KEY => {
                    seen.without_key += u64::from(keyless());
                    false
                }
                Some(time) => (self.window.0..=self.window.1).contains(time) && is_wanted(*time),
            });
        }
        let count = kept.iter().filter(|kept| **kept).count();
        if self.rows.codes.len() + count >= NO_ROW as usize {
            return Err(OfflineError::LimitReached { what: "rows of a view", limit: u64::from(NO_ROW) });
        }
        let mut appended = Vec::new();
        if count > 0 {
            let behind = parts + 1 + usize::from(self.has_created);
            let features = self.rows.features.iter_mut().enumerate().map(|(at, column)| (behind + at, column));
            for (at, column) in features.chain(self.rows.keys.iter_mut().enumerate()) {
                let from = column.values.len();
                column.append(&*part.leaf(at)?, Some(&kept), &|row| place(at, row))?;
                if count < kept.len() / 2 {
                    column.let_go_of_pages(from);
                }
                self.rows.bytes += column.bytes(from) + count;
            }
            self.rows.bytes += count * (size_of::<u32>() + 2 * size_of::<i64>());
            if self.has_created {
                appended = instants(&*part.leaf(parts + 1)?).map_err(found(parts + 1))?;
            }
        }
        let chosen = || kept.iter().enumerate().filter(|(_, kept)| **kept).map(|(row, _)| row);
        self.rows.codes.extend(chosen().map(|row| codes[row]));
        self.rows.times.extend(chosen().filter_map(|row| times[row]));
        if let Some(created) = &mut self.rows.created {
            created.extend(chosen().map(|row| appended[row].unwrap_or(i64::MIN)));
        }
        self.rows.seen = seen;
        (self.after)(&mut self.rows)
    }
}

/// The type under which a key's values stand in tables.
pub(crate) fn key_type(view: &FeatureView, at: usize) -> FeatureType {
    FeatureType::scalar(view.keys.names().get(at).map_or(ElementType::Bytes, |(_, key_type)| key_type.element()))
}
