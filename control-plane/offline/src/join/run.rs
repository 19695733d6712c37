//! The join of a table of entities: keys and times first, then each view's past, then part by part the answer.
//!
//! In memory are the entities' times and key numbers, and of each view the rows that can matter: keys that are asked for,
//! times between the oldest that is young enough and the youngest asked for. The rest passes through.

use std::thread;

use super::entities::{Entities, TypedCells};
use super::plan::{AskedFeature, JoinPlan, ViewPlan, age_nanos};
use crate::csv_file::cell_text;
use crate::error::OfflineError;
use crate::history::{History, KeyIndex};
use crate::parquet_file::{ParquetWriter, feature_field, gathered};
use crate::past::{Origin, Seen, Wanted, has_ending, key_type, read_past};
use crate::period::Period;
use crate::storage::{Storage, is_object};
use crate::table::{Column, NO_ROW, Physical};

/// What a join did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinReport {
    /// Rows, as many as the entities have.
    pub rows: u64,
    /// What was read for each view.
    pub views: Vec<JoinedView>,
    /// What became of each feature.
    pub features: Vec<FilledFeature>,
}

/// What was read of a view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinedView {
    /// Its name.
    pub view: String,
    /// Rows of its files.
    pub seen: Seen,
    /// Rows of entities that had a row at or before their time, however old.
    pub found: u64,
}

/// What became of a feature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilledFeature {
    /// What was asked for.
    pub feature: AskedFeature,
    /// Rows with a value.
    pub filled: u64,
    /// Rows whose value was older than the feature's maximum age, which are null.
    pub too_old: u64,
}

/// The answer of one view.
pub(crate) struct Answer {
    columns: Vec<Column>,
    /// For each feature, which of `rows` is its.
    of_feature: Vec<usize>,
    /// Places of rows, for each maximum age.
    rows: Vec<Vec<u32>>,
    report: JoinedView,
    too_old: Vec<u64>,
}

impl Answer {
    /// The column of a feature of the plan, and for each row that asked its place there, or [`NO_ROW`].
    pub(crate) fn feature(&self, at: usize) -> (&Column, &[u32]) {
        (&self.columns[at], &self.rows[self.of_feature[at]])
    }
}

/// Joins: reads `entities`, a `.csv` or `.parquet` with the join keys and the column `event_time`, and writes `out`, with
/// all its columns and rows in their order, and the features beside them. Blocks.
///
/// # Errors
/// What is wrong, with file, column and row. `out` is then as it was.
pub fn join(
    storage: &dyn Storage,
    plan: &JoinPlan,
    entities: &str,
    event_time: &str,
    out: &str,
) -> Result<JoinReport, OfflineError> {
    let form = |file: &str, option: &str| {
        let known = has_ending(file, "csv") || has_ending(file, "parquet");
        let wrong = || OfflineError::invalid(option, format!("expected a file `.csv` or `.parquet`, got `{file}`"));
        known.then(|| has_ending(file, "csv")).ok_or_else(wrong)
    };
    let (entities_csv, out_csv) = (form(entities, "entities")?, form(out, "out")?);
    check_out(storage, plan, entities, out)?;
    let table = Entities::open(storage, entities, entities_csv)?;
    if let Some(asked) = plan.asked.iter().find(|asked| table.columns().contains(&asked.column.as_str())) {
        let reason =
            format!("expected columns that differ, `{}` is a column of the entities; ask for full names", asked.column);
        return Err(OfflineError::invalid("features", reason));
    }
    let times = table.times(event_time)?;
    if times.len() >= NO_ROW as usize {
        return Err(OfflineError::LimitReached { what: "rows of entities", limit: u64::from(NO_ROW) });
    }
    // Views are read side by side; a panic of one is told as what it is.
    let answers: Vec<Answer> = thread::scope(|scope| {
        let running: Vec<_> =
            plan.views.iter().map(|view| scope.spawn(|| of_entities(storage, view, &table, &times))).collect();
        let join = |handle: thread::ScopedJoinHandle<'_, Result<Answer, OfflineError>>| {
            handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        running.into_iter().map(join).collect::<Result<_, _>>()
    })?;
    let mut columns: Vec<(&Column, &[u32])> = Vec::new();
    let mut features = Vec::new();
    for (place, asked) in plan.asked.iter().enumerate() {
        let found = plan.views.iter().zip(&answers).find_map(|(view, answer)| {
            let at = view.columns.iter().position(|column| *column == place)?;
            Some((answer, at))
        });
        let Some((answer, at)) = found else { continue };
        let (column, rows) = answer.feature(at);
        let filled = rows.iter().filter(|row| **row != NO_ROW && column.present[**row as usize]).count() as u64;
        features.push(FilledFeature { feature: asked.clone(), filled, too_old: answer.too_old[at] });
        columns.push((column, rows));
    }
    if out_csv {
        write_csv(storage, plan, &table, &columns, out)?;
    } else {
        write_parquet(storage, plan, &table, event_time, &times, &columns, out)?;
    }
    let views = answers.into_iter().map(|answer| answer.report).collect();
    Ok(JoinReport { rows: times.len() as u64, views, features })
}

/// Refuses a place for the answer where none can be, or where what is joined lies.
fn check_out(storage: &dyn Storage, plan: &JoinPlan, entities: &str, out: &str) -> Result<(), OfflineError> {
    storage.check_place(out)?;
    let taken = |what: &str| {
        let reason = format!("expected another file than {what}, `{out}` would take its place; give another name");
        OfflineError::invalid("out", reason)
    };
    if storage.are_same(entities, out) {
        return Err(taken("that of the entities"));
    }
    for view in &plan.views {
        let path = Origin::of(&view.view)?.path;
        // Where it is not there reading it will say so. An object is not looked for in a bucket, it has one name.
        let files = if is_object(&path) { vec![path] } else { storage.list(&path).unwrap_or_default() };
        if files.iter().any(|file| storage.are_same(file, out)) {
            return Err(taken(&format!("those of view `{}`", view.view.name)));
        }
    }
    Ok(())
}

fn of_entities(
    storage: &dyn Storage,
    plan: &ViewPlan,
    table: &Entities,
    times: &[i64],
) -> Result<Answer, OfflineError> {
    let mut keys = Vec::new();
    for (at, (name, _)) in plan.view.keys.names().iter().enumerate() {
        keys.push(table.key(name, key_type(&plan.view, at))?);
    }
    answer(storage, plan, keys, times, &|row| format!("`{}`, row `{}`", table.name(), row + 1))
}

/// The features of a view for rows with these keys at these times; `place` tells a row in messages.
pub(crate) fn answer(
    storage: &dyn Storage,
    plan: &ViewPlan,
    keys: Vec<Column>,
    times: &[i64],
    place: &dyn Fn(usize) -> String,
) -> Result<Answer, OfflineError> {
    let view = &plan.view;
    let mut index = KeyIndex::new(keys.len());
    let codes = index
        .learn(&keys.iter().collect::<Vec<_>>())
        .map_err(|(row, reason)| OfflineError::invalid(format!("{}, key", place(row)), reason))?;
    drop(keys);
    let ages: Vec<Option<i64>> =
        plan.features.iter().map(|place| view.features[*place].maximum_age.and_then(age_nanos)).collect();
    // The oldest row that any feature may still have; none of them all has no bound.
    let oldest_age = ages.iter().copied().try_fold(0, |most: i64, age| age.map(|age| most.max(age)));
    let least = times.iter().min().copied().unwrap_or(i64::MIN);
    let from = oldest_age.and_then(|age| least.checked_sub(age)).unwrap_or(i64::MIN);
    // Where nobody asks nothing is read. The last instant of all is nobody's.
    let to = times.iter().max().map_or(from, |most| most.saturating_add(1));
    let period = Period::new(from, to)?;
    let origin = Origin::of(view)?;
    let past = read_past(storage, view, &origin, &plan.features, period, Wanted::Known(&index))?;
    let history = History::new(index.len(), &past.codes, &past.times, past.created.as_deref());
    let newest = history.newest(&codes, times);
    let found = newest.iter().filter(|row| **row != NO_ROW).count() as u64;
    let mut distinct: Vec<Option<i64>> = Vec::new();
    let mut rows: Vec<Vec<u32>> = Vec::new();
    let mut old = Vec::new();
    let mut of_feature = Vec::new();
    for age in &ages {
        let known = distinct.iter().position(|one| one == age);
        of_feature.push(known.unwrap_or(distinct.len()));
        if known.is_none() {
            distinct.push(*age);
            let (young, too_old) = younger(&newest, times, &past.times, *age);
            rows.push(young);
            old.push(too_old);
        }
    }
    let too_old = of_feature.iter().map(|place| old[*place]).collect();
    let report = JoinedView { view: view.name.clone(), seen: past.seen, found };
    Ok(Answer { columns: past.features, of_feature, rows, report, too_old })
}

/// The rows that are young enough, and how many are not.
fn younger(newest: &[u32], times: &[i64], past: &[i64], age: Option<i64>) -> (Vec<u32>, u64) {
    let Some(age) = age else { return (newest.to_vec(), 0) };
    let mut too_old = 0;
    let keep = |(row, time): (&u32, &i64)| {
        // Times reach over less than 64 bits from one end to the other: what overflows is older than any age.
        let is_old = *row != NO_ROW && time.checked_sub(past[*row as usize]).is_none_or(|apart| apart > age);
        too_old += u64::from(is_old);
        if is_old { NO_ROW } else { *row }
    };
    (newest.iter().zip(times).map(keep).collect(), too_old)
}

fn write_parquet(
    storage: &dyn Storage,
    plan: &JoinPlan,
    table: &Entities,
    event_time: &str,
    times: &[i64],
    columns: &[(&Column, &[u32])],
    out: &str,
) -> Result<(), OfflineError> {
    let mut typed = None;
    let mut fields = match table {
        Entities::Parquet(table) => table.fields().to_vec(),
        Entities::Csv { header, parts, .. } => {
            let cells = TypedCells::decide(header, parts, event_time, times);
            let fields = cells.fields()?;
            typed = Some(cells);
            fields
        }
    };
    for (asked, (column, _)) in plan.asked.iter().zip(columns) {
        let field = feature_field(&asked.column, column.data_type);
        fields.push(
            field.map_err(|error| OfflineError::invalid(format!("column `{}`", asked.column), error.to_string()))?,
        );
    }
    let mut writer = ParquetWriter::create(storage, out, fields, Vec::new())?;
    let mut first = 0;
    for part in 0..table.parts() {
        let rows = first..first + table.rows(part);
        first = rows.end;
        let mut encoded = match (table, &typed) {
            (Entities::Csv { parts, .. }, Some(cells)) => cells.encode(&parts[part], &times[rows.clone()])?,
            _ => Vec::new(),
        };
        encoded.extend(columns.iter().map(|(column, places)| gathered(column, &places[rows.clone()])));
        let taken = match table {
            Entities::Parquet(table) => Some((table, part)),
            Entities::Csv { .. } => None,
        };
        writer.group(taken, &encoded)?;
    }
    writer.finish()
}

fn write_csv(
    storage: &dyn Storage,
    plan: &JoinPlan,
    table: &Entities,
    columns: &[(&Column, &[u32])],
    out: &str,
) -> Result<(), OfflineError> {
    let unavailable = |error: &(dyn std::error::Error + 'static)| OfflineError::from_storage(out, error);
    let mut writer = csv::Writer::from_writer(storage.create(out)?);
    let names = table.columns();
    let names = names.into_iter().chain(plan.asked.iter().map(|asked| asked.column.as_str()));
    writer.write_record(names).map_err(|error| unavailable(&error))?;
    let mut first = 0;
    let mut cell = Vec::new();
    for part in 0..table.parts() {
        let texts = table.texts(part)?;
        for row in 0..table.rows(part) {
            for leaf in &texts {
                let text = match &leaf.values {
                    Physical::Bytes(cells) => cells[row].data(),
                    _ => &[],
                };
                writer.write_field(text).map_err(|error| unavailable(&error))?;
            }
            for (column, places) in columns {
                cell.clear();
                cell_text(column, places[first + row], &mut cell);
                writer.write_field(&cell).map_err(|error| unavailable(&error))?;
            }
            writer.write_record(None::<&[u8]>).map_err(|error| unavailable(&error))?;
        }
        first += table.rows(part);
    }
    let file = writer.into_inner().map_err(|error| unavailable(error.error()))?;
    file.finish().map_err(|error| unavailable(&error))
}
