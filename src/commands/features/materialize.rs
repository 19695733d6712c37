//! `hanok features materialize`: the newest row of each key, out of a view's past into its online store.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hanok_features::{ErrorCode, FeatureView, WritableStore, WriteRow, system_clock};
use hanok_offline::{Beginning, LocalStorage, Marks, NewestRows, instant_text, mark_after, newest_rows};
use tokio::runtime::Handle;

use super::period::{Progress, instant, period};
use super::places::{folder_of, places};
use super::writable;
use crate::commands::error::CommandError;
use crate::features::{mistake, open_some_stores, read_declarations, told_to_operator};
use crate::settings::ReachFlags;

/// Rows of one write.
const ROWS_AT_ONCE: usize = 16_384;

/// Arguments of `hanok features materialize`.
#[derive(Debug, clap::Args)]
pub(crate) struct MaterializeArguments {
    /// The file with the declarations, in YAML; sources and stores are found from its folder
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
    /// Feature views; without any, all that declare where their rows come from
    views: Vec<String>,
    /// First instant of the interval; without it, behind the newest row that was materialised
    #[arg(long, value_name = "INSTANT")]
    from: Option<String>,
    /// End of the interval, which is no part of it; without it, and at the latest, now
    #[arg(long, value_name = "INSTANT")]
    to: Option<String>,
    /// Begin with the first row, wherever the last materialisation ended
    #[arg(long, conflicts_with = "from")]
    again: bool,
    #[command(flatten)]
    reach: ReachFlags,
}

/// Runs it.
pub(super) async fn run(arguments: &MaterializeArguments) -> Result<(), CommandError> {
    let set = read_declarations(&arguments.file)?;
    let views: Vec<Arc<FeatureView>> = if arguments.views.is_empty() {
        let sourced = |view: &&Arc<FeatureView>| {
            view.offline.is_some() || view.source.as_ref().is_some_and(|source| source.path.is_some())
        };
        set.views().values().filter(sourced).cloned().collect()
    } else {
        let named = arguments.views.iter().map(|name| set.view(name).map(Arc::clone));
        named.collect::<Result<_, _>>().map_err(told_to_operator)?
    };
    if views.is_empty() {
        let told = "no view declares `source.path` or `offline.path`: nothing is there to materialise";
        return Err(mistake(ErrorCode::InvalidArgument, told));
    }
    let from = match &arguments.from {
        Some(text) => Some(instant("--from", text)?),
        None => arguments.again.then_some(i64::MIN),
    };
    let now = system_clock().saturating_mul(1000);
    let to = end(arguments.to.as_deref(), now)?;
    if let Some(from) = from {
        period(from, to)?;
    }
    let stores = {
        let (set, file, views) = (set.clone(), arguments.file.clone(), views.clone());
        let open = move || {
            let names: BTreeSet<&str> = views.iter().map(|view| view.store.as_str()).collect();
            open_some_stores(&set, &file, &names)
        };
        tokio::task::spawn_blocking(open).await.map_err(broken)??
    };
    let storage = Arc::new(places(&arguments.file, &arguments.reach, Handle::current())?);
    let marks = Marks::new(Arc::new(LocalStorage::new(folder_of(&arguments.file))));
    for view in &views {
        let target = writable(&stores, view)?;
        let held = target.mark(view).await.map_err(told_to_operator)?.and_then(|mark| mark.until);
        let noted = noted(&marks, view)?;
        let beginning = Beginning::of(held, noted, now);
        if let Some(told) = told(view, beginning, from, now) {
            writeln!(std::io::stderr(), "{told}")?;
        }
        let begin = from.or_else(|| beginning.reached()).unwrap_or(i64::MIN);
        if begin > to {
            writeln!(std::io::stdout(), "{}: materialised until {} already", view.name, instant_text(begin))?;
            continue;
        }
        let interval = period(begin, to)?;
        let rows: NewestRows = {
            let (storage, view) = (Arc::clone(&storage), Arc::clone(view));
            let read = move || newest_rows(&*storage, &view, interval);
            tokio::task::spawn_blocking(read).await.map_err(broken)??
        };
        let (mut taken, mut reached) = (0, beginning.reached());
        if !rows.is_empty() {
            let store = name_of(&target, view, held).await?;
            taken = write(&target, view, &rows).await?;
            if let Some(until) = mark_after(reached, begin, to, rows.newest()) {
                target.set_mark(view, &store, until).await.map_err(told_to_operator)?;
                reached = Some(until);
            }
        }
        if let Some(until) = reached.filter(|_| reached != noted) {
            note(&marks, view, until)?;
        }
        let (all, seen) = (rows.len() as u64, rows.seen());
        let mut out = std::io::stdout().lock();
        writeln!(
            out,
            "{}: {taken} rows written, {} left out because a newer one is there; {} rows read until {}",
            view.name,
            all - taken,
            seen.rows,
            instant_text(to)
        )?;
        if seen.without_time + seen.without_key > 0 {
            let (time, key) = (seen.without_time, seen.without_key);
            writeln!(out, "{}: {time} rows left out without a time, {key} without a key", view.name)?;
        }
    }
    Ok(())
}

/// The end of the interval: what is asked for, but never in the future. A row from there would stay in the store, because
/// every row of today is older.
fn end(asked: Option<&str>, now: i64) -> Result<i64, CommandError> {
    let Some(text) = asked else { return Ok(now) };
    let to = instant("--to", text)?;
    if to > now {
        let told = "is in the future; rows until now are written, later ones when their time has come";
        writeln!(std::io::stderr(), "`--to {text}` {told}")?;
    }
    Ok(to.min(now))
}

/// What whoever runs it should know of where it begins.
fn told(view: &FeatureView, beginning: Beginning, from: Option<i64>, now: i64) -> Option<String> {
    let (name, store) = (&view.name, &view.store);
    let (why, until) = match beginning {
        Beginning::First | Beginning::Where(_) => return None,
        Beginning::Forgotten(until) => {
            let until = instant_text(until);
            let why = format!(
                "was materialised until {until}, but store `{store}` does not know of it: it was emptied or replaced since"
            );
            (why, until)
        }
        Beginning::Ahead(until) => {
            let until = instant_text(until);
            let now = instant_text(now);
            let why = format!(
                "store `{store}` says that it was materialised until {until}, which is in the future (it is {now} here): that is not believed; see that the clock is right"
            );
            (why, until)
        }
    };
    let what = match from {
        None => format!("it begins with the first row; `--from {until}` would begin where it ended"),
        Some(i64::MIN) => "it begins with the first row".to_owned(),
        Some(_) => "rows before `--from` are not looked at; `--again` begins with the first row".to_owned(),
    };
    Some(format!("{name}: {why}; {what}"))
}

/// What the store is called from the first write on; the end of the work is noted in that store and in no other.
async fn name_of(target: &WritableStore, view: &Arc<FeatureView>, held: Option<i64>) -> Result<String, CommandError> {
    use std::hash::{BuildHasher as _, RandomState};
    let random = || RandomState::new().hash_one(std::process::id());
    let fresh = format!("{:016x}{:016x}", random(), random());
    let mark = target.named_mark(view, &fresh).await.map_err(told_to_operator)?;
    if mark.until != held && mark.until.is_none() {
        let told = "the store was emptied or replaced while its rows were read";
        return Err(mistake(ErrorCode::Unavailable, &format!("view `{}`: {told}; run it again", view.name)));
    }
    Ok(mark.store)
}

/// What is noted beside the declarations; where that cannot be read, the store alone is gone by.
fn noted(marks: &Marks, view: &FeatureView) -> Result<Option<i64>, CommandError> {
    marks.until(view).or_else(|error| {
        let told =
            "whether its store was emptied since the last run is not known, because what was noted cannot be read";
        writeln!(std::io::stderr(), "{}: {told}: {error}", view.name)?;
        Ok(None)
    })
}

/// Notes beside the declarations what the store knows already; so a folder that cannot be written to is no failure.
fn note(marks: &Marks, view: &FeatureView, until: i64) -> Result<(), CommandError> {
    if let Err(error) = marks.set(view, until) {
        let told = "its rows are written; but if the store is emptied, the next run will not tell so";
        writeln!(std::io::stderr(), "{}: {told}, because it could not be noted: {error}", view.name)?;
    }
    Ok(())
}

async fn write(target: &WritableStore, view: &Arc<FeatureView>, rows: &NewestRows) -> Result<u64, CommandError> {
    let mut progress = Progress::new(view.name.clone());
    let (mut taken, mut done) = (0, 0);
    for portion in rows.portions(view, ROWS_AT_ONCE) {
        let portion = portion?;
        taken += write_portion(target, view, &portion).await? as u64;
        done += portion.len() as u64;
        progress.tell(done, rows.len() as u64, "rows");
    }
    Ok(taken)
}

/// Writes a portion; a store that is busy with what another process writes is asked again for a while.
async fn write_portion(
    target: &WritableStore,
    view: &Arc<FeatureView>,
    rows: &[WriteRow],
) -> Result<usize, CommandError> {
    const TRIES: u32 = 5;
    let mut tried = 0;
    loop {
        match target.write(view, rows).await {
            Err(error) if error.code() == ErrorCode::Unavailable && tried < TRIES => {
                tried += 1;
                tokio::time::sleep(Duration::from_millis(200) * tried).await;
            }
            other => return other.map_err(told_to_operator),
        }
    }
}

#[allow(clippy::needless_pass_by_value, reason = "it is what `map_err` gives")]
fn broken(error: tokio::task::JoinError) -> CommandError {
    CommandError::failed(format!("the work broke off: {error}; this is a fault of the program"))
}
