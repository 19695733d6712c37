//! Azure Blob Storage and Google Cloud Storage, from Azurite (Microsoft's emulator) and fake-gcs-server.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use hanok_sources::SourceErrorCode;

use crate::buckets::a_folder_is_fetched;
use crate::object_storage::{Program, encoded, objects, sources_with};
use crate::python_server::{python, request};
use crate::reference;

/// The account of every Azurite, published by Microsoft.
const ACCOUNT: &str = "devstoreaccount1";
const KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn azurite_is_read_with_a_key_that_it_checks() {
    let Some(python) = python() else { return };
    let arguments = [
        "--blobHost",
        "127.0.0.1",
        "--blobPort",
        "{port}",
        "--location",
        "{folder}",
        "--silent",
        "--skipApiVersionCheck",
    ];
    let Some(azurite) = Program::start("HANOK_AZURITE", |_| {}, &arguments, &[]) else { return };
    let endpoint = format!("http://{}/{ACCOUNT}", azurite.address);
    let connection =
        format!("DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY};BlobEndpoint={endpoint};");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sources/fill_azure.py");
    let mut filling =
        Command::new(python).arg(script).arg(connection).arg("models").stdin(Stdio::piped()).spawn().unwrap();
    let mut lines = filling.stdin.take().unwrap();
    for (name, bytes) in objects().into_iter().filter(|(name, _)| !name.ends_with('/')) {
        let mut content = String::with_capacity(bytes.len() * 2);
        bytes.iter().for_each(|byte| write!(content, "{byte:02x}").unwrap());
        writeln!(lines, "{}", serde_json::json!([name, content])).unwrap();
    }
    drop(lines);
    assert!(filling.wait().unwrap().success());
    let sources = |key: &str| {
        sources_with(&[
            ("AZURE_STORAGE_ACCOUNT_NAME", ACCOUNT),
            ("AZURE_STORAGE_ACCOUNT_KEY", key),
            ("AZURE_STORAGE_ENDPOINT", &endpoint),
        ])
    };
    a_folder_is_fetched(&sources(KEY), "az").await;
    let wrong = KEY.replace('E', "F");
    let error = sources(&wrong).resolve(&reference("az://models/flight")).await.unwrap_err();
    assert_eq!(error.code(), SourceErrorCode::CredentialsRefused, "{error:?}");
    assert!(!format!("{error:?}").contains(&wrong));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fake_gcs_is_read() {
    let arguments = [
        "-scheme",
        "http",
        "-host",
        "127.0.0.1",
        "-port",
        "{port}",
        "-public-host",
        "127.0.0.1:{port}",
        "-backend",
        "memory",
        "-log-level",
        "error",
    ];
    let Some(gcs) = Program::start("HANOK_FAKE_GCS", |_| {}, &arguments, &[]) else { return };
    let post = |path: &str, body: &[u8]| {
        let (status, answer) = request(gcs.address, "POST", path, &["content-type: application/json"], body).unwrap();
        assert_eq!(status, 200, "{path}: {}", String::from_utf8_lossy(&answer));
    };
    post("/storage/v1/b?project=p", br#"{"name": "models"}"#);
    for (name, bytes) in objects() {
        post(
            &format!("/upload/storage/v1/b/models/o?uploadType=media&name={}", encoded(&name).replace('/', "%2F")),
            &bytes,
        );
    }
    let sources = sources_with(&[
        ("STORAGE_EMULATOR_HOST", &format!("http://{}", gcs.address)),
        ("GOOGLE_SKIP_SIGNATURE", "true"),
    ]);
    a_folder_is_fetched(&sources, "gs").await;
}
