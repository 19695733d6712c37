//! Plain Redis hashes: what a person writes with `HSET` is what is read.

use std::path::Path;

use hanok_features::{CellStatus, KeyValue, OpenStores, StoreRead, Value};

use crate::declarations::{declare, push_key, read_of};
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
    assert!(columns.fault(0, 0).unwrap().starts_with("expected a value of key `origin` without"));
    assert_eq!(columns.column(0).unwrap().status(1), CellStatus::NotFound);
}
