//! Look-ups against a store whose answers a test holds back: coalescing, deadlines, memory, fallbacks, bad requests.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::{Lookup, LookupSettings, Origin, ResolveRequest};
use crate::columns::Columns;
use crate::declared::read_features;
use crate::entity_key::{KeyParts, KeyValue};
use crate::error::{ErrorCode, FeatureError};
use crate::store::{OnlineStore, OpenStores, ReadFuture, StoreRead, WriteRow};
use crate::tensor_format::{InputForm, TensorFormat};
use crate::value::Value;

thread_local! {
    static NOW: Cell<i64> = const { Cell::new(1_000_000_000) };
}

fn now() -> i64 {
    NOW.get()
}

/// A store whose rows a test writes, and whose answers wait for the test's permits.
#[derive(Debug)]
struct GatedStore {
    permits: Semaphore,
    broken: AtomicBool,
    /// By key: event time and temperature, in one view.
    rows: Mutex<BTreeMap<String, (i64, Option<f32>)>>,
    reads: Mutex<Vec<Vec<String>>>,
    /// How many features each read asked for.
    widths: Mutex<Vec<usize>>,
}

impl GatedStore {
    fn open() -> Arc<Self> {
        let rows = [("JFK", (now() - 1_000_000, Some(54.5))), ("EWR", (now() - 100_000_000, Some(50.0)))];
        let rows = rows.into_iter().map(|(key, row)| (key.to_owned(), row)).collect();
        Arc::new(Self {
            permits: Semaphore::new(0),
            broken: AtomicBool::new(false),
            rows: Mutex::new(rows),
            reads: Mutex::default(),
            widths: Mutex::default(),
        })
    }

    fn reads(&self) -> Vec<Vec<String>> {
        self.reads.lock().clone()
    }
}

impl OnlineStore for GatedStore {
    fn read<'a>(&'a self, read: &'a StoreRead) -> ReadFuture<'a> {
        Box::pin(async move {
            let origin = |key: &[u8]| match KeyParts::read(key).unwrap().values[0].1 {
                KeyValue::String(text) => text.to_owned(),
                _ => panic!("keys are texts"),
            };
            let keys: Vec<String> = read.views[0].keys.iter().map(origin).collect();
            self.reads.lock().push(keys.clone());
            self.widths.lock().push(read.views[0].places.len());
            self.permits.acquire().await.unwrap().forget();
            if self.broken.load(Ordering::Relaxed) {
                return Err(FeatureError::unavailable("the feature store cannot be reached", "refused by 10.0.0.7"));
            }
            let mut columns: Columns = read.views[0].empty_answer();
            for (row, key) in keys.iter().enumerate() {
                for column in 0..columns.width() {
                    match self.rows.lock().get(key) {
                        Some((event, Some(value))) => {
                            columns.set_value(column, row, &Value::Float32(*value), Some(*event))?;
                        }
                        Some((event, None)) => columns.set_null(column, row, Some(*event)),
                        None if key == "BAD" => {
                            columns.set_unusable(column, row, || {
                                "expected stored type `float32`, got `string`".to_owned()
                            });
                        }
                        None => {}
                    }
                }
            }
            Ok(vec![columns])
        })
    }
}

fn start(store: &Arc<GatedStore>, feature: &str, cache: &str) -> Lookup {
    let text = format!(
        "apiVersion: hanok.dev/v1\nkind: Entity\nmetadata: {{name: origin}}\nspec: {{type: string}}\n---\n\
         apiVersion: hanok.dev/v1\nkind: OnlineStore\nmetadata: {{name: main}}\nspec: {{embedded: {{path: x}}}}\n---\n\
         apiVersion: hanok.dev/v1\nkind: FeatureView\nmetadata: {{name: weather}}\n\
         spec: {{entities: [origin], store: main, owner: me, maximum_age_seconds: 60, \
         features: [{{name: temperature, type: float32, {feature}}}]}}\n---\n\
         apiVersion: hanok.dev/v1\nkind: FeatureService\nmetadata: {{name: delay}}\n\
         spec: {{owner: me, features: [weather:temperature], deadline_milliseconds: 40 {cache}}}\n"
    );
    let set = read_features(&text).unwrap();
    let store: Arc<dyn OnlineStore> = Arc::clone(store) as Arc<dyn OnlineStore>;
    let stores = OpenStores::default().with("main", store);
    let settings = LookupSettings { reads_under_way: 1, ..LookupSettings::default() };
    Lookup::start(&set, "delay", &stores, settings, now).unwrap()
}

fn request(origins: &[&str]) -> ResolveRequest {
    ResolveRequest::new(origins.len()).texts("origin", origins)
}

/// Values with origins, or the error's text.
async fn served(lookup: &Lookup, origins: &[&str]) -> Result<Vec<(Option<Value>, Origin)>, String> {
    let resolved = lookup.resolve(&request(origins)).await.map_err(|error| error.to_string())?;
    let column = resolved.input("temperature").unwrap();
    let value = |row| column.value(row).map(|value| value.to_owned());
    Ok((0..resolved.rows()).map(|row| (value(row), resolved.origin(0, row))).collect())
}

fn float(value: f32) -> Option<Value> {
    Some(Value::Float32(value))
}

#[tokio::test(start_paused = true)]
async fn requests_that_wait_together_are_read_together() {
    let store = GatedStore::open();
    let lookup = start(&store, "fallback: missing", "");
    let (first, second, third) = (request(&["JFK"]), request(&["JFK", "EWR", "JFK"]), request(&["EWR", "LGA"]));
    let later = async {
        while store.reads().is_empty() {
            tokio::task::yield_now().await;
        }
        let release = async { store.permits.add_permits(2) };
        let (second, third, ()) = tokio::join!(lookup.resolve(&second), lookup.resolve(&third), release);
        (second, third)
    };
    let (first, (second, third)) = tokio::join!(lookup.resolve(&first), later);
    assert_eq!(store.reads(), [vec!["JFK"], vec!["JFK", "EWR", "LGA"]]);
    let origins = |resolved: super::Resolved| resolved.report()[0].origins;
    assert_eq!(origins(first.unwrap()), [1, 0, 0, 0, 0, 0]);
    // EWR is older than declared, LGA is not there.
    assert_eq!(origins(second.unwrap()), [2, 0, 0, 0, 0, 1]);
    assert_eq!(origins(third.unwrap()), [0, 0, 0, 0, 0, 2]);
    let statistics = lookup.statistics();
    assert_eq!((statistics.store_reads, statistics.store_keys, statistics.answered), (2, 4, 3));
    lookup.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_costs_the_deadline_and_not_more() {
    let store = GatedStore::open();
    for (feature, expected) in [
        ("default: 7", Ok(vec![(float(7.0), Origin::Default)])),
        ("fallback: missing", Ok(vec![(None, Origin::Missing)])),
        ("fallback: last_known", Err("the feature store did not answer in time")),
        ("fallback: fail", Err("the feature store did not answer in time")),
    ] {
        let lookup = start(&store, feature, "");
        let begin = Instant::now();
        let answer = served(&lookup, &["JFK"]).await;
        let waited = begin.elapsed().as_millis();
        assert!((40..=41).contains(&waited), "timers have a grain of one millisecond: {waited}");
        let expected = expected.map_err(|why| format!("feature `weather:temperature` of row `0`: {why}"));
        assert_eq!(answer, expected);
        let begin = Instant::now();
        let mut sooner = request(&["JFK"]);
        sooner.deadline = Some(begin + Duration::from_millis(5));
        if let Err(error) = lookup.resolve(&sooner).await {
            assert_eq!(error.code(), ErrorCode::DeadlineExceeded);
        }
        assert!(begin.elapsed() <= Duration::from_millis(6));
    }
}

#[tokio::test(start_paused = true)]
async fn hot_keys_are_served_from_memory_and_outlive_the_store() {
    let store = GatedStore::open();
    store.permits.add_permits(1000);
    let lookup = start(&store, "fallback: last_known", ", cache: {maximum_age_milliseconds: 500}");
    assert_eq!(served(&lookup, &["JFK"]).await.unwrap(), [(float(54.5), Origin::Store)]);
    NOW.set(now() + 499_000);
    assert_eq!(served(&lookup, &["JFK"]).await.unwrap(), [(float(54.5), Origin::Cache)]);
    assert_eq!(store.reads().len(), 1);
    NOW.set(now() + 1_000);
    store.rows.lock().insert("JFK".to_owned(), (now(), Some(60.0)));
    assert_eq!(
        served(&lookup, &["JFK", "EWR"]).await.unwrap(),
        [(float(60.0), Origin::Store), (float(50.0), Origin::LastKnown)]
    );
    NOW.set(now() + 10_000_000);
    store.broken.store(true, Ordering::Relaxed);
    assert_eq!(served(&lookup, &["JFK"]).await.unwrap(), [(float(60.0), Origin::LastKnown)]);
    let error = lookup.resolve(&request(&["LGA"])).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::Unavailable);
    assert_eq!(error.to_string(), "feature `weather:temperature` of row `0`: the feature store is unavailable");
    assert!(error.operator_detail().unwrap().contains("10.0.0.7"));
    // A store that says that there is nothing is believed.
    store.broken.store(false, Ordering::Relaxed);
    store.rows.lock().insert("JFK".to_owned(), (now(), None));
    assert!(served(&lookup, &["JFK"]).await.unwrap_err().ends_with("the stored value is null"));
}

#[tokio::test(start_paused = true)]
async fn a_feature_that_fills_two_inputs_is_asked_for_once() {
    let store = GatedStore::open();
    store.permits.add_permits(1000);
    let text = "apiVersion: hanok.dev/v1\nkind: Entity\nmetadata: {name: origin}\nspec: {type: string}\n---\n\
         apiVersion: hanok.dev/v1\nkind: OnlineStore\nmetadata: {name: main}\nspec: {embedded: {path: x}}\n---\n\
         apiVersion: hanok.dev/v1\nkind: FeatureView\nmetadata: {name: weather}\n\
         spec: {entities: [origin], store: main, owner: me, features: [{name: temperature, type: float32}]}\n---\n\
         apiVersion: hanok.dev/v1\nkind: FeatureService\nmetadata: {name: delay}\n\
         spec: {owner: me, features: [weather:temperature, {feature: weather:temperature, as: again}]}\n";
    let set = read_features(text).unwrap();
    let stores = OpenStores::default().with("main", Arc::clone(&store) as Arc<dyn OnlineStore>);
    let lookup = Lookup::start(&set, "delay", &stores, LookupSettings::default(), now).unwrap();
    let resolved = lookup.resolve(&request(&["JFK"])).await.unwrap();
    for input in ["temperature", "again"] {
        assert_eq!(resolved.input(input).unwrap().value(0).map(|value| value.to_owned()), float(54.5), "{input}");
    }
    assert_eq!(*store.widths.lock(), [1]);
}

#[tokio::test(start_paused = true)]
async fn a_cache_of_no_age_remembers_only_for_last_known() {
    let store = GatedStore::open();
    store.permits.add_permits(1000);
    for (fallback, expected) in [("last_known", Ok(Origin::LastKnown)), ("fail", Err(()))] {
        let feature = format!("fallback: {fallback}");
        let lookup = start(&store, &feature, ", cache: {maximum_age_milliseconds: 0, maximum_megabytes: 1}");
        store.broken.store(false, Ordering::Relaxed);
        for _ in 0..2 {
            assert_eq!(served(&lookup, &["JFK"]).await.unwrap(), [(float(54.5), Origin::Store)]);
        }
        store.broken.store(true, Ordering::Relaxed);
        let answer = served(&lookup, &["JFK"]).await.map(|rows| rows[0].1).map_err(drop);
        assert_eq!(answer, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_value_that_does_not_fit_its_input_falls_back_alone() {
    let folder = tempfile::tempdir().unwrap();
    let list = |values: &[f32]| {
        let values = values.iter().copied().map(Value::Float32).collect();
        Value::List(crate::data_type::ElementType::Float32, values)
    };
    let text = "apiVersion: hanok.dev/v1\nkind: Entity\nmetadata: {name: origin}\nspec: {type: string}\n---\n\
         apiVersion: hanok.dev/v1\nkind: OnlineStore\nmetadata: {name: main}\nspec: {embedded: {path: f}}\n---\n\
         apiVersion: hanok.dev/v1\nkind: FeatureView\nmetadata: {name: weather}\nspec: {entities: [origin], store: main, \
         owner: me, features: [{name: wind, type: list<float32>, default: [1, 2]}, {name: rain, type: float64, default: 3}]}\n\
         ---\napiVersion: hanok.dev/v1\nkind: FeatureService\nmetadata: {name: delay}\n\
         spec: {owner: me, features: [weather:wind, weather:rain]}\n";
    let set = read_features(text).unwrap();
    let stores = OpenStores::open(&set, folder.path()).unwrap();
    let view = set.view("weather").unwrap();
    let row = |origin: &str, wind: &[f32], rain| {
        let mut key = Vec::new();
        view.keys.write(|_| KeyValue::String(origin), &mut key).unwrap();
        WriteRow { key, event_micros: 1, values: vec![Some(list(wind)), Some(Value::Float64(rain))] }
    };
    let rows = [row("JFK", &[5.0, 6.0], 7.0), row("EWR", &[5.0], 8.0), row("LGA", &[5.0, 6.0], 1e300)];
    stores.writable("main").unwrap().write(view, &rows).await.unwrap();
    let lookup = Lookup::start(&set, "delay", &stores, LookupSettings::default(), now).unwrap();
    let mut request = request(&["JFK", "EWR", "LGA"]);
    let form = |dims: &[i64]| InputForm::new(TensorFormat::Fp32, dims);
    request.forms = Arc::from([form(&[2]), form(&[1])]);
    let resolved = lookup.resolve(&request).await.unwrap();
    let value = |column, row| resolved.column(column).unwrap().value(row).unwrap().to_owned();
    assert_eq!([value(0, 0), value(0, 1), value(0, 2)], [list(&[5.0, 6.0]), list(&[1.0, 2.0]), list(&[5.0, 6.0])]);
    assert_eq!([value(1, 0), value(1, 1), value(1, 2)], [7.0, 8.0, 3.0].map(Value::Float64));
    assert_eq!(resolved.report()[0].origins, [2, 0, 0, 1, 0, 0]);
    assert_eq!(resolved.report()[1].origins, [2, 0, 0, 1, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn ages_are_told_and_stale_values_fail_when_declared() {
    let store = GatedStore::open();
    store.permits.add_permits(1000);
    let lookup = start(&store, "fallback: fail", "");
    let resolved = lookup.resolve(&request(&["JFK"])).await.unwrap();
    assert_eq!(resolved.age(0, 0), Some(Duration::from_secs(1)));
    assert_eq!(resolved.report()[0].oldest, Some(Duration::from_secs(1)));
    assert!(!resolved.fell_back());
    let error = lookup.resolve(&request(&["JFK", "EWR"])).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::Unavailable);
    assert_eq!(
        error.to_string(),
        "feature `weather:temperature` of row `1`: the value is stale: expected at most `60` s, got `100` s"
    );
    let error = lookup.resolve(&request(&["LGA"])).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::NotFound);
    let error = lookup.resolve(&request(&["BAD"])).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::Unsupported);
    assert!(error.to_string().ends_with("the stored value cannot be used as declared"), "{error}");
    assert_eq!(error.operator_detail(), Some("expected stored type `float32`, got `string`"));
    // One bad row does not fail those that are read with it.
    let (good, bad) = (request(&["JFK"]), request(&["BAD"]));
    let (_, good, bad) = tokio::join!(lookup.resolve(&good), lookup.resolve(&good), lookup.resolve(&bad));
    assert!(good.is_ok() && bad.is_err());
}

#[tokio::test(start_paused = true)]
async fn what_the_client_gives_is_not_read() {
    let store = GatedStore::open();
    let lookup = start(&store, "fallback: fail", "");
    let given = ResolveRequest::new(2).overriding("temperature", [float(1.0), float(2.0)]);
    let resolved = lookup.resolve(&given).await.unwrap();
    assert_eq!(resolved.report()[0].origins, [0, 0, 2, 0, 0, 0]);
    assert!(store.reads().is_empty());
    store.permits.add_permits(1);
    let given = request(&["EWR", "JFK"]).overriding("temperature", [float(1.0), None]);
    let resolved = lookup.resolve(&given).await.unwrap();
    assert_eq!(resolved.report()[0].origins, [1, 0, 1, 0, 0, 0]);
    assert_eq!(store.reads(), [["JFK"]]);
    // What the caller fills in itself is not read either, needs no key, and has no value.
    let own = ResolveRequest { filled_in: vec![0], ..ResolveRequest::new(2) };
    let resolved = lookup.resolve(&own).await.unwrap();
    assert_eq!(resolved.report()[0].origins, [0, 0, 2, 0, 0, 0]);
    assert_eq!(resolved.column(0).unwrap().value(0), None);
    assert_eq!(store.reads(), [["JFK"]]);
}

#[tokio::test(start_paused = true)]
async fn bad_requests_are_refused_by_code_and_read_nothing() {
    let store = GatedStore::open();
    let lookup = start(&store, "fallback: fail", "");
    let huge = "x".repeat(1 << 20);
    let cases = [
        (
            ResolveRequest::new(1),
            ErrorCode::InvalidArgument,
            "key `origin`: expected values of type `string` for view `weather`, got none",
        ),
        (ResolveRequest::new(0), ErrorCode::InvalidArgument, "rows: expected `1` to `65536`, got `0`"),
        (
            request(&["JFK"]).numbers("origin", [1]),
            ErrorCode::InvalidArgument,
            "key `origin`, row `0`: expected `string`, got `int64`",
        ),
        (
            request(&["JFK"]).texts("orgin", ["x"]),
            ErrorCode::NotFound,
            "key `orgin` does not exist; did you mean `origin`?",
        ),
        (
            request(&["JFK", "EWR"]).texts("origin", ["x"]),
            ErrorCode::InvalidArgument,
            "key `origin`: expected `2` values, got `1`",
        ),
        (
            request(&["JFK", &huge]),
            ErrorCode::InvalidArgument,
            "key `origin`, row `1`: expected at most `4096` bytes with the names and 8 bytes for each name and value, got more",
        ),
        (
            ResolveRequest::new(1).texts("origin", [b"\xff"]),
            ErrorCode::InvalidArgument,
            "key `origin`, row `0`: expected `string`, got `bytes that are no UTF-8`",
        ),
        (
            request(&["JFK"]).overriding("temperatur", [None]),
            ErrorCode::NotFound,
            "input `temperatur` does not exist; did you mean `temperature`?",
        ),
        (
            request(&["JFK"]).overriding("temperature", [Some(Value::Int32(1))]),
            ErrorCode::InvalidArgument,
            "input `temperature`: expected values of type `float32`, got `int32`",
        ),
        (
            request(&["JFK"]).overriding("temperature", []),
            ErrorCode::InvalidArgument,
            "input `temperature`: expected `1` values, got `0`",
        ),
    ];
    for (request, code, text) in cases {
        let error = lookup.resolve(&request).await.unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert!(error.to_string().starts_with(text), "{error}");
    }
    assert!(store.reads().is_empty());
    assert_eq!(lookup.statistics().failed, 10);
}
