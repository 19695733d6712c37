//! A Redis that is not there, dies, hangs, or refuses: lookups fall back by code and in time, and recover by themselves.

use std::path::Path;
use std::time::{Duration, Instant};

use hanok_features::{
    ErrorCode, FeatureSet, Lookup, LookupSettings, OpenStores, Origin, ResolveRequest, read_features, system_clock,
};

use crate::child::free_port;
use crate::declarations::ENTITIES;
use crate::redis_server::RedisServer;

fn declared(store: &str, fallback: &str) -> FeatureSet {
    read_features(&format!(
        "{ENTITIES}---\napiVersion: hanok.dev/v1\nkind: OnlineStore\nmetadata: {{name: main}}\nspec: {{{store}}}\n---\n\
         apiVersion: hanok.dev/v1\nkind: FeatureView\nmetadata: {{name: planes}}\n\
         spec: {{entities: [plane], store: main, owner: flights, features: [{{name: seats, type: int64, {fallback}}}]}}\n---\n\
         apiVersion: hanok.dev/v1\nkind: FeatureService\nmetadata: {{name: delay}}\n\
         spec: {{owner: flights, features: [planes:seats], deadline_milliseconds: 1000}}\n"
    ))
    .unwrap()
}

fn lookup(set: &FeatureSet) -> Lookup {
    let stores = OpenStores::open(set, Path::new(".")).unwrap();
    Lookup::start(set, "delay", &stores, LookupSettings::default(), system_clock).unwrap()
}

fn on(redis: &str) -> String {
    format!("redis_hash: {{url: \"{redis}\", key: \"{{view}}:{{tailnum}}\"}}")
}

async fn origin(lookup: &Lookup) -> Origin {
    lookup.resolve(&ResolveRequest::new(1).texts("tailnum", ["N1"])).await.unwrap().origin(0, 0)
}

#[tokio::test]
async fn a_store_that_is_not_there_is_unavailable() {
    let address = format!("redis://127.0.0.1:{}", free_port());
    let lookup = lookup(&declared(&on(&address), "fallback: fail"));
    let error = lookup.resolve(&ResolveRequest::new(1).texts("tailnum", ["N1"])).await.unwrap_err();
    assert!(matches!(error.code(), ErrorCode::Unavailable | ErrorCode::DeadlineExceeded), "{error}");
    assert!(!error.to_string().contains("127.0.0.1"), "{error}");
    lookup.close().await;
}

#[tokio::test]
async fn lookups_recover_when_the_store_does() {
    let Some(mut redis) = RedisServer::start(&[]) else { return };
    let write = |redis: &RedisServer| redis.command(&[b"HSET", b"planes:N1", b"seats", b"150"]);
    write(&redis);
    let lookup = lookup(&declared(&on(&redis.url()), "default: -1"));
    assert_eq!(origin(&lookup).await, Origin::Store);

    // It hangs: the deadline is kept.
    redis.process.signal("STOP");
    let begin = Instant::now();
    assert_eq!(origin(&lookup).await, Origin::Default);
    assert!(begin.elapsed() < Duration::from_millis(4000), "{:?}", begin.elapsed());
    redis.process.signal("CONT");
    until_from_store(&lookup).await;

    // It dies, and another one takes its place.
    redis.crash_and_boot();
    write(&redis);
    until_from_store(&lookup).await;
    assert!(lookup.statistics().store_failures > 0);
    lookup.close().await;
}

async fn until_from_store(lookup: &Lookup) {
    let give_up = Instant::now() + Duration::from_secs(20);
    while origin(lookup).await != Origin::Store {
        assert!(Instant::now() < give_up, "the connection was not made again");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn passwords_come_from_a_file() {
    let Some(redis) = RedisServer::start(&["--requirepass", "hunter2"]) else { return };
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("password"), "hunter2\n").unwrap();
    for (file, works) in [(", password_file: password", true), ("", false)] {
        let store = format!("redis_hash: {{url: \"{}\", key: \"{{tailnum}}\"{file}}}", redis.url());
        let set = declared(&store, "fallback: fail");
        let stores = OpenStores::open(&set, folder.path()).unwrap();
        let lookup = Lookup::start(&set, "delay", &stores, LookupSettings::default(), system_clock).unwrap();
        let error = lookup.resolve(&ResolveRequest::new(1).texts("tailnum", ["N1"])).await.unwrap_err();
        let expected = if works { ErrorCode::NotFound } else { ErrorCode::Unavailable };
        assert_eq!(error.code(), expected, "{error}: {:?}", error.operator_detail());
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }
    let set = declared(
        &format!("redis_hash: {{url: \"{}\", key: \"{{tailnum}}\", password_file: none}}", redis.url()),
        "fallback: fail",
    );
    let error = OpenStores::open(&set, folder.path()).unwrap_err();
    assert_eq!(error.code(), ErrorCode::Unavailable);
    assert_eq!(error.to_string(), "the feature store's password file cannot be read");
}
