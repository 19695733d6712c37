//! `hanok features materialize`: the newest row of each key, out of a view's past into its online store.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hanok_features::{ErrorCode, FeatureView, WritableStore, WriteRow, system_clock};
use hanok_offline::{LocalStorage, Marks, NewestRows, instant_text, newest_rows};
use tokio::runtime::Handle;

use super::period::{Progress, instant, period};
use super::places::{folder_of, places};
use super::writable;
use crate::commands::error::CommandError;
use crate::features::{open_some_stores, read_declarations, told_to_operator};
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
    /// First instant of the interval; without it, where the last materialisation of the view ended
    #[arg(long, value_name = "INSTANT")]
    from: Option<String>,
    /// End of the interval, which is no part of it; without it, now
    #[arg(long, value_name = "INSTANT")]
    to: Option<String>,
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
        return Err(CommandError::input(
            "no view declares `source.path` or `offline.path`: nothing is there to materialise",
        ));
    }
    let from = arguments.from.as_ref().map(|text| instant("--from", text)).transpose()?;
    let to = match &arguments.to {
        Some(text) => instant("--to", text)?,
        None => system_clock().saturating_mul(1000),
    };
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
        let marked = marks.until(view);
        let begin = match from {
            Some(from) => from,
            None => marked.as_ref().map_err(Clone::clone)?.unwrap_or(i64::MIN),
        };
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
        let taken = write(&target, view, &rows).await?;
        // A mark says that everything before it is there, so a gap between it and this interval leaves it where it is.
        let reached = marked.ok().flatten();
        let follows = from.is_none() || reached.is_none_or(|reached| begin <= reached);
        if follows && reached.is_none_or(|reached| to > reached) {
            marks.set(view, to)?;
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
