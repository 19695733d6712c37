//! A backfill: which days are wanted, which are there, the rows of the rest, and day by day a file.

use std::collections::HashSet;
use std::ops::Range;
use std::path::PathBuf;
use std::thread;

use hanok_features::FeatureView;

use super::fingerprint::fingerprint;
use super::nulls::Nulls;
use super::partition::{DAY, Form, RowsWriter, file_of, kept};
use super::runs::Runs;
use crate::error::OfflineError;
use crate::past::{CREATED_TIMESTAMP, EVENT_TIMESTAMP, Origin, PastRows, Seen, Wanted, read_past_in_parts};
use crate::period::{Period, instant_text};
use crate::storage::Storage;

/// Most days of one backfill: ten years and some.
const MOST_DAYS: i64 = 4_000;

/// What a backfill keeps within.
#[derive(Clone, Debug, PartialEq)]
pub struct BackfillBounds {
    /// How often a feature may be null in the rows of the period, from 0 to 1; days that are there already count too.
    pub maximum_null_rate: Option<f64>,
    /// About how many bytes rows may take in memory; beside them is the largest row group of a source.
    pub memory: usize,
    /// A folder on a disk where rows are kept for a while that do not fit.
    pub scratch: PathBuf,
}

/// What a backfill did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackfillReport {
    /// Days that were written.
    pub written: u64,
    /// Days that were there already, from the same files by the same declaration.
    pub unchanged: u64,
    /// Days that were there and have no rows any more.
    pub removed: u64,
    /// Rows that were written.
    pub rows: u64,
    /// What was read for them.
    pub seen: Seen,
    /// For each feature of the view, how many of the rows that were read are null.
    pub nulls: Vec<u64>,
}

/// A day that is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DayDone {
    /// How many are done, this included.
    pub done: u64,
    /// How many there are.
    pub of: u64,
}

/// Writes the days of a period into the view's offline folder. Blocks; calls `progress` after each day.
///
/// # Errors
/// `InvalidArgument` for a period that is not whole days, a view without offline folder or source, values that do not fit
/// their declaration, and a feature that is null more often than the bound; no day is touched then. What the
/// disk says, where it fails; days that were done stay.
pub fn backfill(
    storage: &dyn Storage,
    view: &FeatureView,
    period: Period,
    bounds: &BackfillBounds,
    progress: &mut dyn FnMut(DayDone),
) -> Result<BackfillReport, OfflineError> {
    let place = || format!("feature view `{}`", view.name);
    let folder = view.offline.as_ref().ok_or_else(|| {
        OfflineError::invalid(place(), "expected `offline.path` with the folder that keeps its past, got none")
    })?;
    let reserved = |name: &str| [EVENT_TIMESTAMP, CREATED_TIMESTAMP].contains(&name);
    let features = view.features.iter().map(|feature| feature.name.as_str());
    let mut names = view.keys.names().iter().map(|(name, _)| name.as_str()).chain(features);
    if let Some(name) = names.find(|name| reserved(name)) {
        return Err(OfflineError::invalid(
            place(),
            format!("expected no key or feature called `{name}`: days have one"),
        ));
    }
    let days = days(period)?;
    let origin = Origin::source(view)?;
    let own = crate::past::own_files(storage, &origin, folder)?;
    if let Some(file) = own {
        let reason = format!("expected a source outside of the offline folder, `{file}` is in both");
        return Err(OfflineError::invalid(place(), reason));
    }
    let print = fingerprint(storage, view, &origin)?;
    let of = u64::try_from(days.end - days.start).unwrap_or_default();
    let maximum = bounds.maximum_null_rate;
    let Days { wanted, mut nulls } = look_at(storage, view, folder, days, &print, maximum.is_some());
    let mut report = BackfillReport {
        written: 0,
        unchanged: of - wanted.len() as u64,
        removed: 0,
        rows: 0,
        seen: Seen::default(),
        nulls: vec![0; view.features.len()],
    };
    let (Some(first), Some(last)) = (wanted.first(), wanted.last()) else {
        maximum.map_or(Ok(()), |maximum| nulls.check(view, maximum))?;
        progress(DayDone { done: of, of });
        return Ok(report);
    };
    let period = Period::new(first * DAY, (last + 1) * DAY)?;
    let features: Vec<usize> = (0..view.features.len()).collect();
    // Rows of days that are there already are passed over.
    let among: HashSet<i64> = wanted.iter().copied().collect();
    let is_wanted = |time: i64| among.contains(&time.div_euclid(DAY));
    let mut runs = Runs::new(view, bounds.memory, &bounds.scratch);
    let mut take = |rows: &mut PastRows| runs.take(rows);
    let rest = read_past_in_parts(storage, view, &origin, &features, period, Wanted::At(&is_wanted), &mut take)?;
    report.seen = rest.seen;
    let gathered = runs.finish(rest)?;
    report.nulls.clone_from(&gathered.runs.nulls);
    nulls.add(gathered.runs.rows, &report.nulls);
    maximum.map_or(Ok(()), |maximum| nulls.check(view, maximum))?;
    let form = Form {
        fingerprint: Some(&print),
        has_created: origin.created_time.is_some(),
        nanos: gathered.runs.nanos,
        group_rows: gathered.group_rows(),
    };
    for (done, day) in (report.unchanged + 1..).zip(wanted) {
        let file = file_of(folder, day);
        let rows = gathered.runs.hours.rows(day);
        if rows == 0 {
            report.removed += u64::from(storage.remove(&file)?);
        } else {
            let mut writer = RowsWriter::create(storage, view, &file, form)?;
            gathered.day(day, |past, rows| writer.write(past, rows))?;
            writer.finish()?;
            report.written += 1;
            report.rows += rows;
        }
        progress(DayDone { done, of });
    }
    Ok(report)
}

/// What is known of the days of a period before anything is read.
#[derive(Default)]
struct Days {
    /// Those that are not there with this fingerprint, in order.
    wanted: Vec<i64>,
    /// Nulls of the others, where they are asked for.
    nulls: Nulls,
}

impl Days {
    fn look(&mut self, storage: &dyn Storage, view: &FeatureView, folder: &str, day: i64, print: &str, count: bool) {
        let kept = kept(storage, &file_of(folder, day), print);
        // A day whose file cannot be counted is made anew.
        let nulls = kept.and_then(|table| if count { Nulls::kept(&table, view).ok() } else { Some(Nulls::default()) });
        match nulls {
            Some(found) => self.nulls.add(found.rows, &found.nulls),
            None => self.wanted.push(day),
        }
    }
}

/// Looks at the days that are there. Some are looked at side by side: a bucket takes its time for each.
fn look_at(
    storage: &dyn Storage,
    view: &FeatureView,
    folder: &str,
    days: Range<i64>,
    print: &str,
    count: bool,
) -> Days {
    const SIDE_BY_SIDE: i64 = 8;
    let every = |first: i64| {
        let step = usize::try_from(SIDE_BY_SIDE).unwrap_or(1);
        let days = (days.start + first..days.end).step_by(step);
        move || {
            let mut found = Days::default();
            days.for_each(|day| found.look(storage, view, folder, day, print, count));
            found
        }
    };
    let mut found = Days::default();
    thread::scope(|scope| {
        let running: Vec<_> = (0..SIDE_BY_SIDE).map(|first| scope.spawn(every(first))).collect();
        for handle in running {
            let part = handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            found.wanted.extend(part.wanted);
            found.nulls.add(part.nulls.rows, &part.nulls.nulls);
        }
    });
    found.wanted.sort_unstable();
    found
}

/// Days since the epoch.
fn days(period: Period) -> Result<Range<i64>, OfflineError> {
    for instant in [period.from(), period.to()] {
        if instant.rem_euclid(DAY) != 0 {
            let reason = format!("expected whole days in UTC, got `{}`", instant_text(instant));
            return Err(OfflineError::invalid("period", reason));
        }
    }
    let days = period.from() / DAY..period.to() / DAY;
    if days.end - days.start > MOST_DAYS {
        return Err(OfflineError::LimitReached { what: "days", limit: MOST_DAYS.cast_unsigned() });
    }
    Ok(days)
}
