//! What Feast materialised, read without Feast, is what Feast itself answers: value, type, null and time.

use std::path::Path;
use std::process::{Command, Stdio};

use hanok_features::{Column, FeatureSet, KeyValue, OpenStores, StoreRead, Value, ValueRef, ViewRead};
use serde_json::Value as Json;

use crate::child::{Process, free_port, root, wait_for};
use crate::declarations::{declare, push_key, read_of};
use crate::redis_server::RedisServer;

const VIEWS: [(&str, &str, &str); 3] = [
    (
        "weather",
        "origin, hour",
        "{name: temperature, type: float64}, {name: humidity, type: float32}, {name: visits, type: int64}, \
         {name: code, type: int32}, {name: rainy, type: bool}, {name: sky, type: string}, {name: raw, type: bytes}, \
         {name: seen, type: timestamp}, {name: temperatures, type: list<float64>}, {name: weights, type: list<float32>}, \
         {name: counts, type: list<int64>}, {name: codes, type: list<int32>}, {name: flags, type: list<bool>}, \
         {name: words, type: list<string>}, {name: blobs, type: list<bytes>}, {name: times, type: list<timestamp>}",
    ),
    ("planes", "plane", "{name: seats, type: int64}, {name: model, type: string}"),
    ("repairs", "plane", "{name: days, type: int32}"),
];

/// Feast's answers, from a project that is materialised into this Redis; none where Feast is not installed.
fn materialise(folder: &Path, redis: &RedisServer) -> Option<Json> {
    let python = root().join(".venv-feast/bin/python");
    if !python.exists() {
        eprintln!("skipped: Feast is not installed (`tests/run` puts it into .venv-feast)");
        return None;
    }
    let script = root().join("control-plane/features/tests/stores/feast_project.py");
    let run = Command::new(python).arg(script).arg(folder).arg(redis.port.to_string()).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    Some(serde_json::from_str(&std::fs::read_to_string(folder.join("answers.json")).unwrap()).unwrap())
}

fn reads(set: &FeatureSet, answers: &Json) -> StoreRead {
    let mut views: Vec<ViewRead> = VIEWS.iter().map(|(name, ..)| read_of(set, name)).collect();
    for key in answers["weather"].as_array().unwrap() {
        let origin = KeyValue::String(key["origin"].as_str().unwrap());
        push_key(&mut views[0], &[origin, KeyValue::Int(key["hour"].as_i64().unwrap())]);
    }
    for key in answers["planes"].as_array().unwrap() {
        let plane = KeyValue::String(key["tailnum"].as_str().unwrap());
        push_key(&mut views[1], &[plane]);
        push_key(&mut views[2], &[plane]);
    }
    StoreRead { views }
}

fn hex(bytes: &[u8]) -> Json {
    Json::from(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

/// A value as the script writes it: floats and bytes in base 16, the rest as text.
fn packed(value: &Value) -> Json {
    match value {
        Value::Bool(value) => Json::from(value.to_string()),
        Value::Int32(value) => Json::from(value.to_string()),
        Value::Int64(value) => Json::from(value.to_string()),
        Value::Float32(value) => hex(&value.to_le_bytes()),
        Value::Float64(value) => hex(&value.to_le_bytes()),
        Value::String(text) => Json::from(text.as_str()),
        Value::Bytes(bytes) => hex(bytes),
        Value::Timestamp(micros) => {
            assert_eq!(micros % 1_000_000, 0, "Feast keeps seconds");
            Json::from((micros / 1_000_000).to_string())
        }
        Value::List(_, values) => values.iter().map(packed).collect(),
    }
}

/// `[value, time]`, both null where there is no row.
fn told(column: &Column<'_>, row: usize) -> (Json, Json) {
    let value = column.value(row).map(|value: ValueRef<'_>| packed(&value.to_owned()));
    (value.unwrap_or_default(), column.event_micros(row).map_or(Json::Null, Json::from))
}

/// Compares every cell of a read with Feast's answers; returns how many had values.
async fn compare(set: &FeatureSet, folder: &Path, answers: &Json, store: &str) -> usize {
    let stores = open(set, folder).await;
    let read = reads(set, answers);
    let columns = stores.get("main").unwrap().read(&read).await.unwrap();
    let mut values = 0;
    for (view, columns) in read.views.iter().zip(&columns) {
        let group = if view.view.name == "weather" { "weather" } else { "planes" };
        for (index, feature) in view.features().enumerate() {
            let name = format!("{}:{}", view.view.name, feature.name);
            let expected = answers["answers"][store][group][&name].as_array().unwrap();
            let column = columns.column(index).unwrap();
            assert_eq!(expected.len(), column.len());
            for (row, expected) in expected.iter().enumerate() {
                // Feast answers with the time 1970 where there is no row.
                let time = if expected[2] == 0 { Json::Null } else { expected[2].clone() };
                // Python's "not a time" stands for a null timestamp.
                let not_a_time = feature.name == "seen" && expected[0] == "-9223372036854775808";
                let value = if not_a_time { Json::Null } else { expected[0].clone() };
                let found = told(&column, row);
                assert_eq!(found, (value, time), "{name} of row {row}: {:?}", columns.fault(index, row));
                values += usize::from(!found.0.is_null());
            }
        }
    }
    values
}

async fn open(set: &FeatureSet, folder: &Path) -> OpenStores {
    let (set, folder) = (set.clone(), folder.to_owned());
    tokio::task::spawn_blocking(move || OpenStores::open(&set, &folder)).await.unwrap().unwrap()
}

#[tokio::test]
async fn every_value_is_that_of_feast() {
    let Some(redis) = RedisServer::start(&[]) else { return };
    let folder = tempfile::tempdir().unwrap();
    let Some(answers) = materialise(folder.path(), &redis) else { return };

    let on_redis = format!("feast_redis: {{url: \"{}\", project: flights}}", redis.url());
    let set = declare(&on_redis, &VIEWS);
    let values = compare(&set, folder.path(), &answers, "redis").await;
    assert!(values > 3500, "only {values} values were compared");

    let set = declare("feast_sqlite: {path: sqlite/online.db, project: flights}", &VIEWS);
    assert_eq!(compare(&set, folder.path(), &answers, "sqlite").await, values);

    let port = free_port();
    let mut server = Command::new(root().join(".venv-feast/bin/feast"));
    server.arg("-c").arg(folder.path().join("redis")).args(["serve", "--no-access-log", "-h", "127.0.0.1", "-p"]);
    let server = Process::spawn(server.arg(port.to_string()).stdout(Stdio::null()).stderr(Stdio::null()));
    wait_for(port);
    let set = declare(&format!("feast_http: {{url: \"http://127.0.0.1:{port}\"}}"), &VIEWS);
    assert_eq!(compare(&set, folder.path(), &answers, "redis").await, values);
    drop(server);

    declared_types_decide(&redis).await;
}

/// What is stored in another type than declared is unusable by itself; what is wider is taken.
async fn declared_types_decide(redis: &RedisServer) {
    let on_redis = format!("feast_redis: {{url: \"{}\", project: flights}}", redis.url());
    let planes = "{name: seats, type: float64}, {name: model, type: string}";
    let repairs = "{name: days, type: int64}";
    let set = declare(&on_redis, &[("planes", "plane", planes), ("repairs", "plane", repairs)]);
    let stores = open(&set, Path::new(".")).await;
    let mut views = vec![read_of(&set, "planes"), read_of(&set, "repairs")];
    views.iter_mut().for_each(|view| push_key(view, &[KeyValue::String("N5")]));
    let columns = stores.get("main").unwrap().read(&StoreRead { views }).await.unwrap();
    let fault = columns[0].fault(0, 0).unwrap();
    assert_eq!(fault, "expected stored type `float64`, got `int64`");
    assert_eq!(columns[0].column(1).unwrap().value(0), Some(ValueRef::String("A5")));
    assert_eq!(columns[1].column(0).unwrap().value(0), Some(ValueRef::Int64(5)));
}
