//! Adapters of products that cannot be run here, against what their documentation says (each fixture names the pages that it
//! was checked with): requests must be equal to the fixture's, and its answers be read as expected. This is a check of the
//! contract, not of the product.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;

use hanok_features::{CellStatus, ErrorCode, KeyValue, OpenStores, StoreRead, ViewRead};
use serde_json::{Value as Json, json};

use crate::child::root;
use crate::declarations::{declare, push_key, read_of};

/// Answers what the fixture says to what it says, and 599 with the difference to anything else.
fn serve(exchanges: Json) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let exchanges = Arc::new(exchanges);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let exchanges = Arc::clone(&exchanges);
            std::thread::spawn(move || while answer(&stream, &exchanges).is_some() {});
        }
    });
    port
}

/// Answers one request; none at the end of the connection.
fn answer(mut stream: &TcpStream, exchanges: &Json) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line == "\r\n" {
            break;
        }
        lines.push(line.trim_end().to_owned());
    }
    let header = |name: &str| {
        let split = |line: &String| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned()));
        lines.iter().filter_map(split).find(|(one, _)| one == name).map(|(_, value)| value)
    };
    let mut body = vec![0; header("content-length").map_or(0, |length| length.parse().unwrap())];
    reader.read_exact(&mut body).ok()?;
    let body: Json = serde_json::from_slice(&body).unwrap_or_default();
    let fits = |one: &&Json| {
        let headers = one["headers"].as_object().unwrap();
        lines[0] == format!("POST {} HTTP/1.1", one["path"].as_str().unwrap())
            && headers.iter().all(|(name, value)| matches(value.as_str().unwrap(), &header(name).unwrap_or_default()))
            && one["body"] == body
    };
    let found = exchanges.as_array().unwrap().iter().find(fits);
    let unexpected = json!({ "status": 599, "reply": { "unexpected": lines, "body": body } });
    let found = found.unwrap_or(&unexpected);
    let reply = found["reply"].as_str().map_or_else(|| found["reply"].to_string(), str::to_owned);
    write!(stream, "HTTP/1.1 {} x\r\ncontent-length: {}\r\n\r\n{reply}", found["status"], reply.len()).ok()
}

/// Whether a text has the form of a pattern, in which `*` stands for anything.
fn matches(pattern: &str, text: &str) -> bool {
    let mut rest = text;
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(behind) = rest.strip_prefix(first) else { return false };
    rest = behind;
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = if part.is_empty() { "" } else { &rest[at + part.len()..] };
    }
    rest.is_empty()
}

fn key_value(json: &Json) -> KeyValue<'_> {
    json.as_str().map_or_else(|| KeyValue::Int(json.as_i64().unwrap()), KeyValue::String)
}

async fn check(name: &str) {
    let file = root().join("control-plane/features/tests/stores/contracts").join(name);
    let fixture: Json = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("token"), fixture["token"].as_str().unwrap()).unwrap();
    let port = serve(fixture["exchanges"].clone());
    let store = fixture["declared"].as_str().unwrap().replace("URL", &format!("\"http://127.0.0.1:{port}\""));
    let entities = fixture["entities"].as_str().unwrap_or("plane");
    let set = declare(&store, &[("planes", entities, fixture["features"].as_str().unwrap())]);
    let stores = OpenStores::open(&set, folder.path()).unwrap();
    let mut view: ViewRead = read_of(&set, "planes");
    for key in fixture["keys"].as_array().unwrap() {
        let parts = key.as_array().map_or_else(|| std::slice::from_ref(key), Vec::as_slice);
        push_key(&mut view, &parts.iter().map(key_value).collect::<Vec<_>>());
    }
    let rows = view.keys.len();
    let answered = stores.get("main").unwrap().read(&StoreRead { views: vec![view] }).await;
    if let Some(refused) = fixture["refused"].as_array() {
        let error = answered.unwrap_err();
        assert_eq!(error.code(), ErrorCode::Unavailable, "{name}");
        assert_eq!(error.to_string(), refused[0].as_str().unwrap(), "{name}");
        assert!(error.operator_detail().unwrap().contains(refused[1].as_str().unwrap()), "{name}: {error:?}");
        return;
    }
    let columns = answered.unwrap_or_else(|error| panic!("{name}: {error:?}")).remove(0);
    let cell = |row: usize, column: usize| {
        let column = columns.column(column).unwrap();
        let status = match column.status(row) {
            CellStatus::NotFound => "not_found",
            CellStatus::Null => "null",
            CellStatus::Present => "present",
            CellStatus::Unusable => "unusable",
        };
        json!([status, column.value(row).map(|value| value.to_owned().to_json()), column.event_micros(row)])
    };
    let found: Json =
        (0..rows).map(|row| (0..columns.width()).map(|column| cell(row, column)).collect::<Json>()).collect();
    assert_eq!(found, fixture["expected"], "{name}");
}

#[tokio::test]
async fn adapters_keep_the_contracts_of_their_products() {
    for name in [
        "hopsworks.json",
        "tecton.json",
        "sagemaker.json",
        "vertex.json",
        "vertex_composite.json",
        "feast_refuses.json",
    ] {
        check(name).await;
    }
}

#[tokio::test]
async fn a_request_that_is_not_expected_is_refused_with_its_reason() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("token"), "secret-token").unwrap();
    let port = serve(json!([]));
    let store = format!("feast_http: {{url: \"http://127.0.0.1:{port}\", token_file: token}}");
    let set = declare(&store, &[("planes", "plane", "{name: seats, type: int64}")]);
    let mut view = read_of(&set, "planes");
    push_key(&mut view, &[KeyValue::String("N1")]);
    let stores = OpenStores::open(&set, folder.path()).unwrap();
    let error = stores.get("main").unwrap().read(&StoreRead { views: vec![view] }).await.unwrap_err();
    assert_eq!(error.to_string(), "the feature store refuses to answer");
    assert!(error.operator_detail().unwrap().starts_with("status 599: "));
    assert!(!format!("{:?}", stores.get("main").unwrap()).contains("secret-token"));
    assert!(OpenStores::open(&set, Path::new("/nowhere")).is_err());
}
