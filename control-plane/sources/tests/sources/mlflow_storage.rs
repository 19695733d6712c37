//! MLflow with its artifacts in S3: through the tracking server, and read from the bucket directly.

use hanok_sources::Contents;

use crate::mlflow_server::{MlflowServer, log_models};
use crate::object_storage::put;
use crate::python_server::{PythonServer, python};
use crate::reference;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn artifacts_in_s3_are_the_same_through_the_server_and_from_the_bucket() {
    let Some(python) = python() else { return };
    let moto = PythonServer::start(&python, &["-m", "moto.server", "-H", "127.0.0.1", "-p", "{port}"], &[], "/");
    put(moto.address, "/mlflow", b"");
    let environment = [
        ("AWS_ACCESS_KEY_ID", "test".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "s3cretkey".to_owned()),
        ("AWS_DEFAULT_REGION", "us-east-1".to_owned()),
        ("MLFLOW_S3_ENDPOINT_URL", moto.url()),
    ];
    for arguments in [
        ["--artifacts-destination", "s3://mlflow/proxied"].as_slice(),
        ["--no-serve-artifacts", "--default-artifact-root", "s3://mlflow/direct"].as_slice(),
    ] {
        let mlflow = MlflowServer::start(&python, arguments, &environment);
        log_models(&python, &mlflow.server.url(), &environment);
        let sources = mlflow.sources(&environment);
        let folder = tempfile::tempdir().unwrap();
        for text in ["mlflow://simple@champion", "mlflow://wide/1"] {
            let resolved = sources.resolve(&reference(text)).await.unwrap();
            let Contents::Files(files) = &resolved.contents else { panic!("{resolved:?}") };
            let direct = arguments.len() == 3;
            assert_eq!(resolved.metadata["mlflow.artifacts"].starts_with("s3://"), direct, "{:?}", resolved.metadata);
            assert_eq!(files.iter().all(|file| file.mark.is_some()), direct, "only the bucket marks its files");
            let serving = resolved.serving.clone().unwrap();
            let fetched =
                sources.fetch(&resolved, &folder.path().join(text.rsplit('/').next().unwrap()), None).await.unwrap();
            assert!(fetched.files.iter().any(|file| file.path == serving.file && file.bytes > 100), "{fetched:?}");
        }
    }
}
