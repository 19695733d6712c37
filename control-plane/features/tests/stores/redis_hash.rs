//! Plain Redis hashes: what a person writes with `HSET` is what is read.

use std::path::Path;

use hanok_features::{
    CellStatus, ErrorCode, KeyValue, Lookup, LookupSettings, OpenStores, Origin, ResolveRequest, StoreMark, StoreRead,
    Value, read_features, system_clock,
};

use crate::declarations::{ENTITIES, declare, push_key, read_of};
use crate::redis_server::RedisServer;

#[tokio::test]
async fn hashes_are_rows() {
    let Some(redis) = RedisServer::start(&[]) else { return };
    redis.command(&[
        b"HSET",
        b"f:planes/N1",
        b"seats",
        b"150",
        b"model",
        "에어버스".as_bytes(),
        b"at",
        b"1357016400.5",
    ]);
    redis.command(&[b"HSET", b"f:planes/N2", b"seats", b"many", b"weight", b"NaN"]);
    redis.command(&[b"SET", b"f:planes/N3", b"no hash"]);
    redis.command(&[b"HSET", b"f:planes/a/b", b"seats", b"1", b"tags", br#"["x", "y"]"#]);
    let store = format!("redis_hash: {{url: \"{}\", key: \"f:{{view}}/{{tailnum}}\", event_time: at}}", redis.url());
    let features = "{name: seats, type: int32}, {name: model, type: string}, {name: weight, type: float32}, \
                    {name: tags, type: list<string>}";
    let set = declare(&store, &[("planes", "plane", features)]);
    let opened = OpenStores::open(&set, Path::new(".")).unwrap();
    let mut view = read_of(&set, "planes");
    ["N1", "N2", "N3", "a/b", "N4"].iter().for_each(|key| push_key(&mut view, &[KeyValue::String(key)]));
    let columns = opened.get("main").unwrap().read(&StoreRead { views: vec![view] }).await.unwrap().remove(0);
    let value = |column: usize, row: usize| columns.column(column).unwrap().value(row).map(|value| value.to_owned());
    let status = |column: usize, row: usize| columns.column(column).unwrap().status(row);
    assert_eq!((value(0, 0), value(1, 0)), (Some(Value::Int32(150)), Some(Value::String("에어버스".to_owned()))));
    assert_eq!(columns.column(0).unwrap().event_micros(0), Some(1_357_016_400_500_000));
    assert_eq!((status(0, 1), status(1, 1)), (CellStatus::Unusable, CellStatus::NotFound));
    assert_eq!(columns.fault(0, 1), Some("expected a value of type `int32`, got `many`"));
    assert!(matches!(value(2, 1), Some(Value::Float32(value)) if value.is_nan()));
    assert_eq!(columns.fault(1, 2), Some("expected a hash, got a key of another kind"));
    assert_eq!(value(0, 3), Some(Value::Int32(1)), "one join key may hold what it likes");
    assert!(matches!(value(3, 3), Some(Value::List(_, values)) if values.len() == 2));
    assert_eq!(status(0, 4), CellStatus::NotFound);
}

#[tokio::test]
async fn keys_that_would_run_into_each_other_are_refused_alone() {
    let Some(redis) = RedisServer::start(&[]) else { return };
    redis.command(&[b"HSET", b"a:b:7", b"wind", b"1"]);
    let store = format!("redis_hash: {{url: \"{}\", key: \"{{origin}}:{{hour}}\"}}", redis.url());
    let set = declare(&store, &[("weather", "origin, hour", "{name: wind, type: float64}")]);
    let opened = OpenStores::open(&set, Path::new(".")).unwrap();
    let mut view = read_of(&set, "weather");
    push_key(&mut view, &[KeyValue::String("a:b"), KeyValue::Int(7)]);
    push_key(&mut view, &[KeyValue::String("JFK"), KeyValue::Int(7)]);
    let columns = opened.get("main").unwrap().read(&StoreRead { views: vec![view] }).await.unwrap().remove(0);
    assert!(columns.fault(0, 0).unwrap().starts_with("key `origin`: expected a value without"));
    assert_eq!(columns.column(0).unwrap().status(1), CellStatus::NotFound);
}

/// A client's mistake, whatever is declared for stored values that cannot be used: defaults would hide it.
#[tokio::test]
async fn keys_that_would_run_into_each_other_are_the_clients_mistake() {
    // Nobody listens: the keys are looked at before the store.
    let store = "redis_hash: {url: \"redis://127.0.0.1:1\", key: \"t:{origin}:{hour}\"}";
    for feature in ["{name: wind, type: float64, default: 1.5}", "{name: wind, type: float64}"] {
        let text = format!(
            "{ENTITIES}---\napiVersion: hanok.dev/v1\nkind: OnlineStore\nmetadata: {{name: main}}\nspec: {{{store}}}\n---\n\
             apiVersion: hanok.dev/v1\nkind: FeatureView\nmetadata: {{name: weather}}\n\
             spec: {{entities: [origin, hour], store: main, owner: me, features: [{feature}]}}\n---\n\
             apiVersion: hanok.dev/v1\nkind: FeatureService\nmetadata: {{name: delay}}\n\
             spec: {{owner: me, features: [weather:wind]}}\n"
        );
        let set = read_features(&text).unwrap();
        let stores = OpenStores::open(&set, Path::new(".")).unwrap();
        let lookup = Lookup::start(&set, "delay", &stores, LookupSettings::default(), system_clock).unwrap();
        let request = ResolveRequest::new(2).texts("origin", ["JFK", "x:y"]).numbers("hour", [7, 7]);
        let error = lookup.resolve(&request).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::InvalidArgument, "{error:?}");
        assert!(error.to_string().starts_with("key `origin`, row `1`: expected a value without"), "{error}");
        lookup.close().await;
    }
}

#[tokio::test]
async fn times_that_are_none_are_not_known_and_no_value_is_young_by_them() {
    let Some(redis) = RedisServer::start(&[]) else { return };
    let store = format!("redis_hash: {{url: \"{}\", key: \"{{tailnum}}\", event_time: at}}", redis.url());
    let feature = "{name: seats, type: float32, fallback: missing}";
    let text = format!(
        "{ENTITIES}---\napiVersion: hanok.dev/v1\nkind: OnlineStore\nmetadata: {{name: main}}\nspec: {{{store}}}\n---\n\
         apiVersion: hanok.dev/v1\nkind: FeatureView\nmetadata: {{name: planes}}\n\
         spec: {{entities: [plane], store: main, owner: me, maximum_age_seconds: 60, features: [{feature}]}}\n---\n\
         apiVersion: hanok.dev/v1\nkind: FeatureService\nmetadata: {{name: delay}}\n\
         spec: {{owner: me, features: [planes:seats], deadline_milliseconds: 5000}}\n"
    );
    let set = read_features(&text).unwrap();
    let stores = OpenStores::open(&set, Path::new(".")).unwrap();
    let lookup = Lookup::start(&set, "delay", &stores, LookupSettings::default(), system_clock).unwrap();
    let now = system_clock() / 1_000_000;
    for (written, expected) in [
        (Some(now.to_string()), Origin::Store),
        (Some(format!(" {now}\t")), Origin::Store),
        (Some((now - 61).to_string()), Origin::Missing),
        (Some("yesterday".to_owned()), Origin::Missing),
        (Some("2013-01-01T05:00:00".to_owned()), Origin::Missing),
        // Milliseconds, in the place of seconds.
        (Some(((now - 86_400) * 1000).to_string()), Origin::Missing),
        (None, Origin::Missing),
    ] {
        redis.command(&[b"DEL", b"N1"]);
        redis.command(&[b"HSET", b"N1", b"seats", b"150"]);
        if let Some(text) = &written {
            redis.command(&[b"HSET", b"N1", b"at", text.as_bytes()]);
        }
        let resolved = lookup.resolve(&ResolveRequest::new(1).texts("tailnum", ["N1"])).await.unwrap();
        assert_eq!(resolved.origin(0, 0), expected, "{written:?}");
    }
    lookup.close().await;
}

#[tokio::test]
async fn how_far_it_is_stands_beside_the_rows_and_goes_with_them() {
    let Some(redis) = RedisServer::start(&[]) else { return };
    let store = format!("redis_hash: {{url: \"{}\", key: \"f:{{view}}/{{tailnum}}\", event_time: at}}", redis.url());
    let set = declare(&store, &[("planes", "plane", "{name: seats, type: int32}")]);
    let opened = OpenStores::open(&set, Path::new(".")).unwrap();
    let (target, view) = (opened.writable("main").unwrap(), set.view("planes").unwrap());
    let until = |mark: Option<StoreMark>| mark.and_then(|mark| mark.until);
    assert_eq!(target.mark(view).await.unwrap(), None);
    assert_eq!(redis.command(&[b"DBSIZE"]), redis::Value::Int(0), "to look makes nothing");
    assert_eq!(target.named_mark(view, "one").await.unwrap().store, "one");
    assert_eq!(target.named_mark(view, "two").await.unwrap().store, "one");
    target.set_mark(view, "one", 1_357_016_400_000_000_001).await.unwrap();
    assert_eq!(until(target.mark(view).await.unwrap()), Some(1_357_016_400_000_000_001));
    assert_eq!(redis.command(&[b"EXISTS", b"f:planes/{tailnum}:materialised:planes"]), redis::Value::Int(1));
    redis.command(&[b"FLUSHALL"]);
    let error = target.set_mark(view, "one", 5).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::Unavailable, "{error}");
    assert_eq!(target.mark(view).await.unwrap(), None);
    redis.command(&[b"SET", b"f:planes/{tailnum}:materialised:planes", b"no hash"]);
    assert_eq!(target.mark(view).await.unwrap_err().code(), ErrorCode::Unsupported);
    assert_eq!(target.named_mark(view, "one").await.unwrap_err().code(), ErrorCode::Unsupported);
    assert_eq!(target.set_mark(view, "one", 5).await.unwrap_err().code(), ErrorCode::Unsupported);
}
