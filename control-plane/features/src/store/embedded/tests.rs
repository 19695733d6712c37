//! The embedded store from outside: durability, order of writes, changing features, files of others.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use std::sync::Arc;

use super::{EmbeddedStore, WriteRow};
use crate::columns::{CellStatus, Columns};
use crate::declared::FeatureView;
use crate::entity_key::KeyValue;
use crate::error::ErrorCode;
use crate::store::tests::weather_view as view;
use crate::store::{OnlineStore, StoreMark, StoreRead, ViewRead};
use crate::value::{Value, ValueRef};

fn row(view: &FeatureView, origin: &str, event_micros: i64, values: Vec<Option<Value>>) -> WriteRow {
    let mut key = Vec::new();
    view.keys.write(|_| KeyValue::String(origin), &mut key).unwrap();
    WriteRow { key, event_micros, values }
}

fn read(store: &EmbeddedStore, view: &Arc<FeatureView>, origin: &str) -> Vec<Option<Value>> {
    let places: Vec<usize> = (0..view.features.len()).collect();
    let mut key = Vec::new();
    view.keys.write(|_| KeyValue::String(origin), &mut key).unwrap();
    let mut columns = Columns::new(view.features.iter().map(|feature| feature.data_type).collect(), 1);
    store.memory(&view.name).unwrap().copy_row(&key, &places, &mut columns, &places, 0).unwrap();
    (0..columns.width())
        .map(|index| columns.column(index).unwrap().value(0).map(|value: ValueRef<'_>| value.to_owned()))
        .collect()
}

const TWO: &str = "{name: temperature, type: float32}, {name: sky, type: string}";

#[tokio::test]
async fn what_was_acknowledged_is_there_after_opening_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("features.redb");
    let view = view(TWO);
    let values = vec![Some(Value::Float32(54.5)), Some(Value::String("clear".to_owned()))];
    {
        let store = EmbeddedStore::open(&path, &[Arc::clone(&view)]).unwrap();
        assert_eq!(store.write("weather", &[row(&view, "JFK", 10, values.clone())]).await.unwrap(), 1);
    }
    let store = EmbeddedStore::open(&path, &[Arc::clone(&view)]).unwrap();
    assert_eq!(read(&store, &view, "JFK"), values);
    assert_eq!(read(&store, &view, "EWR"), [None, None]);
}

#[tokio::test]
async fn an_older_row_does_not_replace_a_newer_one() {
    let folder = tempfile::tempdir().unwrap();
    let view = view(TWO);
    let store = EmbeddedStore::open(&folder.path().join("f"), &[Arc::clone(&view)]).unwrap();
    let at = |event, value| row(&view, "JFK", event, vec![Some(Value::Float32(value)), None]);
    let rows = [at(10, 1.0), at(9, 2.0), at(10, 3.0)];
    assert_eq!(store.write("weather", &rows).await.unwrap(), 2);
    assert_eq!(store.write("weather", &[at(9, 4.0)]).await.unwrap(), 0);
    assert_eq!(read(&store, &view, "JFK")[0], Some(Value::Float32(3.0)));
}

#[tokio::test]
async fn features_come_and_go_but_keep_their_types() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f");
    let first = view(TWO);
    {
        let store = EmbeddedStore::open(&path, &[Arc::clone(&first)]).unwrap();
        let values = vec![Some(Value::Float32(1.0)), Some(Value::String("rain".to_owned()))];
        store.write("weather", &[row(&first, "JFK", 1, values)]).await.unwrap();
    }
    let second = view("{name: sky, type: string}, {name: wind, type: float64}");
    {
        let store = EmbeddedStore::open(&path, &[Arc::clone(&second)]).unwrap();
        assert_eq!(read(&store, &second, "JFK"), [Some(Value::String("rain".to_owned())), None]);
    }
    let third = view("{name: sky, type: int32}");
    let error = EmbeddedStore::open(&path, &[third]).unwrap_err();
    assert_eq!(error.code(), ErrorCode::Unsupported);
    assert!(
        error.to_string().starts_with("feature `weather:sky`: expected stored type `int32`, got `string`"),
        "{error}"
    );
}

#[tokio::test]
async fn wrong_rows_are_refused_whole() {
    let folder = tempfile::tempdir().unwrap();
    let view = view(TWO);
    let store = EmbeddedStore::open(&folder.path().join("f"), &[Arc::clone(&view)]).unwrap();
    let good = row(&view, "JFK", 1, vec![None, None]);
    let short = row(&view, "EWR", 1, vec![None]);
    let wrong = row(&view, "LGA", 1, vec![Some(Value::Int32(1)), None]);
    for bad in [short, wrong] {
        let error = store.write("weather", &[good.clone(), bad]).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::InvalidArgument);
    }
    let error = store.write("wether", &[good]).await.unwrap_err();
    assert_eq!(error.to_string(), "feature view `wether` does not exist; did you mean `weather`?");
    assert_eq!(store.rows("weather").unwrap(), 0);
}

#[tokio::test]
async fn nulls_and_nan_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let view = view(TWO);
    let store = EmbeddedStore::open(&folder.path().join("f"), &[Arc::clone(&view)]).unwrap();
    store.write("weather", &[row(&view, "JFK", 5, vec![Some(Value::Float32(f32::NAN)), None])]).await.unwrap();
    let mut one = ViewRead::new(Arc::clone(&view), Arc::from([1, 0]));
    one.keys.push_with(|key| view.keys.write(|_| KeyValue::String("JFK"), key).unwrap());
    let columns = store.read(&StoreRead { views: vec![one] }).await.unwrap().remove(0);
    assert_eq!(columns.column(0).unwrap().status(0), CellStatus::Null);
    assert_eq!(columns.column(0).unwrap().event_micros(0), Some(5));
    assert!(matches!(columns.column(1).unwrap().value(0), Some(ValueRef::Float32(value)) if value.is_nan()));
}

#[tokio::test]
async fn what_another_process_writes_becomes_readable() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f");
    let (first, second) = (view(TWO), view("{name: wind, type: float64}, {name: sky, type: string}"));
    let server = EmbeddedStore::open(&path, &[Arc::clone(&first)]).unwrap();
    let beside = EmbeddedStore::open(&path, &[Arc::clone(&second)]).unwrap();
    let sky = || Some(Value::String("fog".to_owned()));
    beside.write("weather", &[row(&second, "JFK", 10, vec![Some(Value::Float64(3.0)), sky()])]).await.unwrap();
    // A write reads first what others have written, so its answer tells that the row is there.
    assert_eq!(server.write("weather", &[row(&first, "JFK", 9, vec![None, None])]).await.unwrap(), 0);
    assert_eq!(read(&server, &first, "JFK"), [None, sky()]);
    assert_eq!(
        server.write("weather", &[row(&first, "EWR", 9, vec![Some(Value::Float32(1.0)), None])]).await.unwrap(),
        1
    );
    // Without a write the row comes by itself.
    until(|| beside.rows("weather").unwrap() == 2).await;
}

async fn until(mut holds: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(std::time::Duration::from_secs(20), async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    });
    waited.await.unwrap();
}

#[tokio::test]
async fn another_file_in_the_place_of_the_open_one_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f");
    let view = view(TWO);
    let at = |value| vec![Some(Value::Float32(value)), None];
    let put = async |origin: &str, value| {
        let store = EmbeddedStore::open(&path, &[Arc::clone(&view)]).unwrap();
        store.write("weather", &[row(&view, origin, 10, at(value))]).await.unwrap();
    };
    let server = EmbeddedStore::open(&path, &[Arc::clone(&view)]).unwrap();
    assert!(!server.has_file(), "who only reads makes no file");
    // The file comes, goes and comes again.
    put("JFK", 1.0).await;
    until(|| read(&server, &view, "JFK") == at(1.0)).await;
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    put("EWR", 2.0).await;
    // With the row that the other file had, gone.
    until(|| read(&server, &view, "EWR") == at(2.0) && read(&server, &view, "JFK") == [None, None]).await;
    // A write goes into the file that is there, not into the one that was.
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    assert_eq!(server.write("weather", &[row(&view, "LGA", 10, at(3.0))]).await.unwrap(), 1);
    let again = EmbeddedStore::open(&path, &[Arc::clone(&view)]).unwrap();
    assert_eq!((read(&again, &view, "LGA"), read(&again, &view, "EWR")), (at(3.0), vec![None, None]));
}

#[tokio::test]
async fn reading_waits_for_no_writer_and_needs_no_right_to_write() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f%3f?#");
    let view = view(TWO);
    let values = vec![Some(Value::Float32(1.0)), None];
    {
        let store = EmbeddedStore::open(&path, &[Arc::clone(&view)]).unwrap();
        store.write("weather", &[row(&view, "JFK", 1, values.clone())]).await.unwrap();
    }
    {
        let writer = rusqlite::Connection::open(&path).unwrap();
        writer.execute_batch("BEGIN IMMEDIATE").unwrap();
        let begin = std::time::Instant::now();
        let store = EmbeddedStore::open(&path, &[Arc::clone(&view)]).unwrap();
        assert!(begin.elapsed() < std::time::Duration::from_secs(2), "{:?}", begin.elapsed());
        assert_eq!(read(&store, &view, "JFK"), values);
    }
    // What SQLite does where nothing can be made beside the file (tests may run as root, who may write everything).
    let unchanging = super::database::connect_unchanging(&path).unwrap();
    let rows: i64 = unchanging.query_row("SELECT count(*) FROM rows", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 1);
}

/// A disk that can be filled; its folder goes with the test.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    fn mount(folder: &std::path::Path) -> Option<Self> {
        let mount =
            std::process::Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(folder).output();
        mount.is_ok_and(|answer| answer.status.success()).then(|| Self(folder.to_owned()))
    }

    fn filler(&self) -> std::path::PathBuf {
        self.0.join("filler")
    }

    fn fill(&self) {
        let mut filler = std::fs::File::create(self.filler()).unwrap();
        while std::io::Write::write(&mut filler, &[7; 512]).is_ok_and(|written| written > 0) {}
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        std::process::Command::new("umount").arg("-l").arg(&self.0).status().ok();
    }
}

#[tokio::test]
async fn a_full_disk_is_read_and_written_again_when_there_is_room() {
    let (origin, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let Some(disk) = SmallDisk::mount(folder.path()) else {
        eprintln!("skipped: this account may not mount a small disk");
        return;
    };
    let view = view(TWO);
    let values = |number: f32| vec![Some(Value::Float32(number)), None];
    let written = origin.path().join("f");
    let first = EmbeddedStore::open(&written, &[Arc::clone(&view)]).unwrap();
    first.write("weather", &[row(&view, "JFK", 1, values(1.0))]).await.unwrap();
    let path = folder.path().join("f");
    let log = folder.path().join("f-wal");
    // As after a `kill -9`: its row is in the log. And as after an orderly end: there is none.
    for with_log in [true, false] {
        if with_log {
            std::fs::copy(&written, &path).unwrap();
            std::fs::copy(origin.path().join("f-wal"), &log).unwrap();
        }
        assert_eq!(log.exists(), with_log);
        disk.fill();
        let store = EmbeddedStore::open(&path, &[Arc::clone(&view)]).unwrap();
        assert_eq!(read(&store, &view, "JFK"), values(1.0), "log: {with_log}");
        let refused = store.write("weather", &[row(&view, "EWR", 1, values(2.0))]).await.unwrap_err();
        assert_eq!(refused.code(), ErrorCode::ResourceExhausted, "{refused:?}");
        assert!(refused.to_string().contains("no space is left; free some"), "{refused}");
        std::fs::remove_file(disk.filler()).unwrap();
        store.write("weather", &[row(&view, "EWR", 1, values(2.0))]).await.unwrap();
        assert_eq!(read(&store, &view, "EWR"), values(2.0));
        assert_eq!(read(&store, &view, "JFK"), values(1.0));
    }
}

#[tokio::test]
async fn rows_by_other_keys_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f");
    let first = view(TWO);
    {
        let store = EmbeddedStore::open(&path, &[Arc::clone(&first)]).unwrap();
        store.write("weather", &[row(&first, "JFK", 1, vec![None, None])]).await.unwrap();
    }
    let keys = crate::entity_key::KeyLayout::new(vec![("origin".to_owned(), crate::entity_key::KeyType::Int64)]);
    let second = Arc::new(FeatureView { keys, ..FeatureView::clone(&first) });
    let error = EmbeddedStore::open(&path, &[second]).unwrap_err();
    assert_eq!(error.code(), ErrorCode::Unsupported);
    let expected = "view `weather`: expected stored keys `origin int64`, got `origin string`";
    assert!(error.to_string().starts_with(expected), "{error}");
}

#[test]
fn files_of_others_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f");
    std::fs::write(&path, b"no database, but long enough to be read as the head of one, which it is not......")
        .unwrap();
    assert_eq!(EmbeddedStore::open(&path, &[view(TWO)]).unwrap_err().code(), ErrorCode::Unsupported);
    let path = folder.path().join("g");
    rusqlite::Connection::open(&path).unwrap().execute_batch("CREATE TABLE t (a)").unwrap();
    assert_eq!(EmbeddedStore::open(&path, &[view(TWO)]).unwrap_err().code(), ErrorCode::Unsupported);
    let missing = folder.path().join("no/such/folder");
    assert_eq!(EmbeddedStore::open(&missing, &[view(TWO)]).unwrap_err().code(), ErrorCode::Unavailable);
}

#[tokio::test]
async fn how_far_it_is_is_known_to_the_file_and_goes_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f");
    let view = view(TWO);
    let store = EmbeddedStore::open(&path, &[Arc::clone(&view)]).unwrap();
    let mark = |store: &str, until| Some(StoreMark { store: store.to_owned(), until });
    assert_eq!(store.mark("weather").await.unwrap(), None);
    assert!(!path.exists(), "to look makes nothing");
    assert_eq!(Some(store.named_mark("weather", "one").await.unwrap()), mark("one", None));
    assert_eq!(Some(store.named_mark("weather", "two").await.unwrap()), mark("one", None));
    store.set_mark("weather", "one", 5).await.unwrap();
    assert_eq!(store.mark("weather").await.unwrap(), mark("one", Some(5)), "a view may have no rows yet");
    store.write("weather", &[row(&view, "JFK", 10, vec![Some(Value::Float32(1.0)), None])]).await.unwrap();
    store.set_mark("weather", "one", 7).await.unwrap();
    let again = EmbeddedStore::open(&path, &[Arc::clone(&view)]).unwrap();
    assert_eq!(again.mark("weather").await.unwrap(), mark("one", Some(7)));
    drop(again);
    assert_eq!(store.mark("wether").await.unwrap_err().code(), ErrorCode::NotFound);
    // Emptied by other tools.
    rusqlite::Connection::open(&path).unwrap().execute("DELETE FROM rows", []).unwrap();
    assert_eq!(store.mark("weather").await.unwrap(), mark("one", None));
    // Another file in its place does not take what was meant for this one.
    for left in std::fs::read_dir(folder.path()).unwrap() {
        std::fs::remove_file(left.unwrap().path()).unwrap();
    }
    assert_eq!(store.mark("weather").await.unwrap(), None);
    let error = store.set_mark("weather", "one", 9).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::Unavailable, "{error}");
    assert_eq!(store.mark("weather").await.unwrap(), None);
}

#[tokio::test]
async fn a_file_without_marks_gets_them_with_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f");
    let view = view(TWO);
    let store = EmbeddedStore::open(&path, &[Arc::clone(&view)]).unwrap();
    store.write("weather", &[row(&view, "JFK", 10, vec![Some(Value::Float32(1.0)), None])]).await.unwrap();
    assert_eq!(store.mark("weather").await.unwrap(), None);
    let error = store.set_mark("weather", "one", 9).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::Unavailable, "it has no name yet: {error}");
    store.named_mark("weather", "one").await.unwrap();
    store.set_mark("weather", "one", 9).await.unwrap();
    assert_eq!(store.mark("weather").await.unwrap().and_then(|mark| mark.until), Some(9));
}

#[test]
fn what_is_no_file_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for path in [pipe.as_path(), folder.path()] {
        let error = EmbeddedStore::open(path, &[view(TWO)]).unwrap_err();
        assert_eq!(error.code(), ErrorCode::Unavailable, "{error}");
        assert!(error.operator_detail().unwrap().ends_with("it is no regular file"), "{error:?}");
    }
}
