//! Models of a real MLflow server: resolved by alias, version and stage, fetched through its proxy, refused with reasons.

use std::fs;
use std::path::Path;

use hanok_sources::{Contents, Limits, SourceErrorCode, SourceSettings, Sources};
use serde_json::json;

use crate::mlflow_server::{MlflowServer, sources_of};
use crate::web_server::{Reply, WebServer, answer};
use crate::{assert_invisible, pull, reference, settings};

fn published(model: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models").join(model).join("1/model.onnx")).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alias_becomes_a_verified_folder_with_a_configuration() {
    let Some(mlflow) = MlflowServer::shared() else { return };
    let sources = mlflow.sources(&[]);
    let folder = tempfile::tempdir().unwrap();
    let destination = folder.path().join("model");
    let resolved = sources.resolve(&reference("mlflow://simple@champion")).await.unwrap();
    assert!(resolved.revision.immutable);
    assert_eq!(resolved.pinned, reference("mlflow://simple/1"));
    for (key, value) in [
        ("mlflow.model", "simple"),
        ("mlflow.version", "1"),
        ("mlflow.aliases", "champion"),
        ("mlflow.stage", "Production"),
        ("tag.validation_status", "approved"),
        ("metric.auc", "0.91"),
        ("param.trees", "100"),
        ("git.remote", "https://example.com/training.git"),
        ("git.commit", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
    ] {
        assert_eq!(resolved.metadata.get(key).map(String::as_str), Some(value), "{key}: {:?}", resolved.metadata);
    }
    let Contents::Files(files) = &resolved.contents else { panic!("{resolved:?}") };
    assert!(files.iter().all(|file| file.bytes.is_some()));
    let fetched = sources.fetch(&resolved, &destination, None).await.unwrap();
    let serving = resolved.serving.unwrap();
    assert_eq!(serving.file.as_str(), "model.onnx");
    // MLflow's client loads and saves the graph, which need not keep its bytes.
    let onnx = fetched.files.iter().find(|file| file.path == serving.file).unwrap();
    assert_eq!(fs::metadata(destination.join("model.onnx")).unwrap().len(), onnx.bytes);
    assert!(destination.join("MLmodel").is_file());
    for line in
        ["max_batch_size: 4", "name: \"INPUT0\"", "data_type: TYPE_INT32", "dims: [ 16 ]", "dynamic_batching { }"]
    {
        assert!(serving.config.contains(line), "{line} in {}", serving.config);
    }
    let again = sources
        .fetch(&sources.resolve(&reference("mlflow://simple/1")).await.unwrap(), &destination, Some(fetched.digest))
        .await;
    assert_eq!(again.unwrap(), fetched, "the alias and the version name the same revision");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_stages_and_folders_are_found() {
    let Some(mlflow) = MlflowServer::shared() else { return };
    let sources = mlflow.sources(&[]);
    let folder = tempfile::tempdir().unwrap();
    for (text, version) in
        [("mlflow://simple/Production", "1"), ("mlflow://simple/2", "2"), ("mlflow://simple/latest", "2")]
    {
        let resolved = sources.resolve(&reference(text)).await.unwrap();
        assert_eq!(resolved.metadata["mlflow.version"], version, "{text}");
    }
    let unsigned = sources.resolve(&reference("mlflow://simple/2")).await.unwrap();
    let config = unsigned.serving.unwrap().config;
    assert!(!config.contains("input"), "without a signature the graph is asked: {config}");
    let wide = sources.resolve(&reference("mlflow://wide/1")).await.unwrap();
    assert!(wide.serving.as_ref().unwrap().config.contains("default_model_filename: \"net/model.onnx\""));
    let destination = folder.path().join("wide");
    let fetched = sources.fetch(&wide, &destination, None).await.unwrap();
    assert_eq!(fs::read(destination.join("net/model.onnx")).unwrap(), published("simple"));
    assert_eq!(fs::read(destination.join("net/weights 1.bin")).unwrap().len(), 8 * 4096);
    assert_eq!(fetched.files.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_served_is_refused_with_a_way_out() {
    let Some(mlflow) = MlflowServer::shared() else { return };
    let sources = mlflow.sources(&[]);
    let folder = tempfile::tempdir().unwrap();
    for (text, expected, words) in [
        ("mlflow://simple@nobody", SourceErrorCode::AliasMissing, "nobody"),
        ("mlflow://absent@champion", SourceErrorCode::NotFound, "no model `absent`"),
        ("mlflow://simple/99", SourceErrorCode::NotFound, "99"),
        ("mlflow://absent/1", SourceErrorCode::NotFound, "absent"),
        ("mlflow://empty/latest", SourceErrorCode::NotFound, "empty"),
        ("mlflow://simple/Staging", SourceErrorCode::AliasMissing, "Staging"),
        ("mlflow://code/1", SourceErrorCode::Unsupported, "python_function"),
        ("mlflow://plain/1", SourceErrorCode::InvalidModel, "MLmodel"),
        ("mlflow://broken/1", SourceErrorCode::InvalidModel, "absent.onnx"),
    ] {
        let destination = folder.path().join("model");
        let error = pull(&sources, text, &destination).await.unwrap_err();
        assert_eq!(error.code(), expected, "{text}: {error:?}");
        assert!(error.to_string().contains(words), "{text}: {error}");
        assert_invisible(&destination);
    }
    let small = settings(&["127.0.0.1"]);
    let credentials =
        hanok_sources::Credentials::read(|name| (name == "MLFLOW_TRACKING_URI").then(|| mlflow.server.url()), None)
            .unwrap();
    for (limits, expected) in [
        (Limits { files: 2, ..small.limits }, SourceErrorCode::TooManyFiles),
        (Limits { bytes: 100, ..small.limits }, SourceErrorCode::TooLarge),
        (Limits { document_bytes: 100, ..small.limits }, SourceErrorCode::TooLarge),
    ] {
        let sources =
            Sources::new(SourceSettings { limits, credentials: credentials.clone(), ..small.clone() }).unwrap();
        assert_eq!(sources.resolve(&reference("mlflow://simple/1")).await.unwrap_err().code(), expected);
    }
}

/// A model that is deleted and made anew has a version 1 again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_that_was_given_anew_is_another_revision() {
    let Some(mlflow) = MlflowServer::shared() else { return };
    let sources = mlflow.sources(&[]);
    let anew = reference("mlflow://anew/1");
    let mut seen = Vec::new();
    // The same files the second time, others the third.
    for logged in ["mlflow://simple/1", "mlflow://simple/1", "mlflow://simple/2"] {
        let told = sources.resolve(&reference(logged)).await.unwrap().metadata;
        let (files, run, model) = (&told["mlflow.source"], &told["mlflow.run"], &told["mlflow.logged_model"]);
        let post = |method, path: &str, body| mlflow.server.post(method, &format!("/api/2.0/mlflow/{path}"), &body);
        post("POST", "registered-models/create", json!({"name": "anew"}));
        post(
            "POST",
            "model-versions/create",
            json!({"name": "anew", "source": files, "run_id": run, "model_id": model}),
        );
        let resolved = sources.resolve(&anew).await.unwrap();
        assert_eq!(resolved.pinned, anew);
        assert_eq!(sources.resolve(&anew).await.unwrap().revision, resolved.revision, "asked again, it is the same");
        let current = sources.current(&anew).await.unwrap();
        assert!(current.starts_with("anew/1 ") && current.contains(&mlflow.server.url()), "{current}");
        let another = |known: &(String, String)| known.0 != current && known.1 != resolved.revision.text;
        assert!(seen.iter().all(another), "{current}: {seen:?}");
        seen.push((current, resolved.revision.text));
        post("DELETE", "registered-models/delete", json!({"name": "anew"}));
    }
}

/// Servers that are not MLflow, or an MLflow that means harm. No package behaves like this, so these are our own.
#[tokio::test]
async fn answers_of_others_are_told_from_mlflows() {
    let json = |text: &'static str| move || answer("200 OK", &["content-type: application/json"], text.as_bytes());
    let version = json(
        r#"{"model_version": {"name": "m", "version": "1", "creation_timestamp": 1, "status": "READY", "source": "x"}}"#,
    );
    let uri = json(r#"{"artifact_uri": "mlflow-artifacts:/0/a"}"#);
    for (listing, expected) in [
        (r#"{"files": [{"path": "../../etc/passwd", "is_dir": false, "file_size": 1}]}"#, SourceErrorCode::UnsafePath),
        (r#"{"files": [{"path": "/etc/passwd", "is_dir": false}]}"#, SourceErrorCode::UnsafePath),
        (r#"{"files": [{"is_dir": false}]}"#, SourceErrorCode::UnsafePath),
        (r#"{"files": [{"path": "a", "is_dir": false}, {"path": "a", "is_dir": false}]}"#, SourceErrorCode::UnsafePath),
        (r#"{"files": [{"path": "again", "is_dir": true}]}"#, SourceErrorCode::UnsafePath),
        (r#"{"files": [{"path": "a", "is_dir": false, "file_size": 99999999999999}]}"#, SourceErrorCode::TooLarge),
        ("<html>log in</html>", SourceErrorCode::UnexpectedAnswer),
        ("{}", SourceErrorCode::InvalidModel),
    ] {
        let server = WebServer::start("127.0.0.1", move |head, _| {
            Reply::Bytes(match head.path.split('?').next().unwrap() {
                "/prefix/api/2.0/mlflow/model-versions/get" => version(),
                "/prefix/api/2.0/mlflow/model-versions/get-download-uri" => uri(),
                _ => json(listing)(),
            })
        })
        .await;
        let sources = sources_of(&server.url("/prefix/"), &[]);
        let error = sources.resolve(&reference("mlflow://m/1")).await.unwrap_err();
        assert_eq!(error.code(), expected, "{listing}: {error}");
    }
    let page = WebServer::start("127.0.0.1", |_, _| {
        Reply::Bytes(answer("200 OK", &["content-type: text/html"], b"<html>log in</html>"))
    })
    .await;
    let error = sources_of(&page.url(""), &[]).resolve(&reference("mlflow://m@a")).await.unwrap_err();
    assert_eq!(error.code(), SourceErrorCode::UnexpectedAnswer);
    assert!(error.to_string().contains("MLFLOW_TRACKING_URI"), "{error}");
}

#[tokio::test]
async fn credentials_are_sent_as_mlflow_wants_them_and_never_shown() {
    let server = WebServer::start("127.0.0.1", |_, _| {
        Reply::Bytes(answer("401 Unauthorized", &[], b"You are not authenticated."))
    })
    .await;
    for (more, header) in [
        (vec![("MLFLOW_TRACKING_TOKEN", "s3cret".to_owned())], Some("Bearer s3cret")),
        (
            vec![("MLFLOW_TRACKING_USERNAME", "me".to_owned()), ("MLFLOW_TRACKING_PASSWORD", "s3cret".to_owned())],
            Some("Basic bWU6czNjcmV0"),
        ),
        (vec![], None),
    ] {
        let before = server.seen().len();
        let error = sources_of(&server.url(""), &more).resolve(&reference("mlflow://m@a")).await.unwrap_err();
        let expected =
            if header.is_some() { SourceErrorCode::CredentialsRefused } else { SourceErrorCode::CredentialsMissing };
        assert_eq!(error.code(), expected);
        assert!(!format!("{error:?}").contains("s3cret"));
        assert_eq!(server.seen()[before].header("authorization"), header);
    }
    let within = sources_of("http://me:s3cret@127.0.0.1:1", &[]).resolve(&reference("mlflow://m@a")).await.unwrap_err();
    assert_eq!(within.code(), SourceErrorCode::InvalidSetting);
    assert!(!format!("{within:?}").contains("s3cret"));
    let unset =
        hanok_sources::Sources::new(settings(&[])).unwrap().resolve(&reference("mlflow://m@a")).await.unwrap_err();
    assert_eq!(unset.code(), SourceErrorCode::InvalidSetting);
}
