//! Folders of buckets, from every object storage that is installed.

use std::fs;
use std::path::Path;

use hanok_sources::{Contents, SourceErrorCode, Sources};

use crate::cutting_proxy::CuttingProxy;
use crate::object_storage::{Program, moto, moto_with_signatures, objects, put, sources_with};
use crate::web_server::{Reply, WebServer, answer, model_bytes};
use crate::{assert_invisible, pull, reference};

const KEYS: [(&str, &str); 3] =
    [("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "s3cretkey"), ("AWS_REGION", "us-east-1")];

fn s3_sources(endpoint: &str) -> Sources {
    sources_with(&[KEYS.as_slice(), &[("AWS_ENDPOINT_URL_S3", endpoint)]].concat())
}

/// What every provider must do with the objects of [`objects`], whatever its references' scheme.
pub(crate) async fn a_folder_is_fetched(sources: &Sources, scheme: &str) {
    let folder = tempfile::tempdir().unwrap();
    let destination = folder.path().join("flight");
    let resolved = sources.resolve(&reference(&format!("{scheme}://models/flight"))).await.unwrap();
    let Contents::Files(files) = &resolved.contents else { panic!("{resolved:?}") };
    let names: Vec<_> = files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(names, ["1/model.onnx", "config.pbtxt", "empty", "labels/a b ü+%.txt"], "{scheme}");
    assert!(files.iter().all(|file| file.mark.is_some() && file.bytes.is_some()), "{files:?}");
    let fetched = sources.fetch(&resolved, &destination, None).await.unwrap();
    assert_eq!(fs::read(destination.join("1/model.onnx")).unwrap(), model_bytes(3 << 20));
    assert_eq!(fs::read(destination.join("labels/a b ü+%.txt")).unwrap(), b"one\n");
    assert_eq!(sources.fetch(&resolved, &destination, Some(fetched.digest)).await.unwrap(), fetched);
    let many = pull(sources, &format!("{scheme}://models/many/"), &folder.path().join("many")).await.unwrap();
    assert_eq!(many.files.len(), 1_100);
    assert_eq!(fs::read(many.path.join("1099")).unwrap(), b"1099");
    let alone = pull(sources, &format!("{scheme}://models/alone.onnx"), &folder.path().join("alone")).await.unwrap();
    assert_eq!(fs::read(alone.path.join("alone.onnx")).unwrap(), b"a model by itself");
    // fake-gcs-server answers 500 for a bucket that does not exist.
    let places = ["models/fligh", "models/none/at/all", "no-such-bucket/x"];
    for nothing in &places[..if scheme == "gs" { 2 } else { 3 }] {
        let error = pull(sources, &format!("{scheme}://{nothing}"), &folder.path().join("nothing")).await.unwrap_err();
        assert_eq!(error.code(), SourceErrorCode::NotFound, "{scheme}://{nothing}: {error:?}");
        assert_invisible(&folder.path().join("nothing"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn motos_s3_is_read_and_continued() {
    let Some(moto) = moto() else { return };
    a_folder_is_fetched(&s3_sources(&moto.url()), "s3").await;
    let folder = tempfile::tempdir().unwrap();
    let proxy = CuttingProxy::start(moto.address, 1 << 20, 2).await;
    let sources = s3_sources(&format!("http://{}", proxy.address));
    let pulled = pull(&sources, "s3://models/flight/1", &folder.path().join("cut")).await.unwrap();
    assert_eq!(fs::read(pulled.path.join("model.onnx")).unwrap(), model_bytes(3 << 20));
    assert_eq!(proxy.cuts(), 2);
    // Replaced between listing and fetching.
    let sources = s3_sources(&moto.url());
    let resolved = sources.resolve(&reference("s3://models/alone.onnx")).await.unwrap();
    put(moto.address, "/models/alone.onnx", b"another by itself");
    let error = sources.fetch(&resolved, &folder.path().join("changed"), None).await.unwrap_err();
    assert_eq!(error.code(), SourceErrorCode::SourceChanged, "{error:?}");
    assert_invisible(&folder.path().join("changed"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn motos_s3_is_read_with_signatures_that_it_checks() {
    let Some((moto, key, secret)) = moto_with_signatures() else { return };
    let (endpoint, region) = (moto.url(), ("AWS_REGION", "us-east-1"));
    let with = |key: &str, secret: &str| {
        let variables = [("AWS_ACCESS_KEY_ID", key), ("AWS_SECRET_ACCESS_KEY", secret), region];
        sources_with(&[variables.as_slice(), &[("AWS_ENDPOINT_URL_S3", endpoint.as_str())]].concat())
    };
    a_folder_is_fetched(&with(&key, &secret), "s3").await;
    for (key, secret) in [(key.as_str(), "wr0ng"), ("AKIANOBODY0000000000", secret.as_str())] {
        let error = with(key, secret).resolve(&reference("s3://models/flight")).await.unwrap_err();
        assert_eq!(error.code(), SourceErrorCode::CredentialsRefused, "{error:?}");
        assert!(!format!("{error:?}").contains(secret));
    }
}

/// Versity's gateway checks every signature, and serves a folder.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versitys_s3_is_read_with_signatures_that_it_checks() {
    let prepare = |folder: &Path| {
        for (name, bytes) in objects().into_iter().filter(|(name, _)| !name.ends_with('/')) {
            let path = folder.join("data/models").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
    };
    let environment = [("ROOT_ACCESS_KEY_ID", "test"), ("ROOT_SECRET_ACCESS_KEY", "s3cretkey")];
    let arguments = ["--port", "127.0.0.1:{port}", "posix", "{folder}/data"];
    let Some(versity) = Program::start("HANOK_VERSITYGW", prepare, &arguments, &environment) else { return };
    let endpoint = format!("http://{}", versity.address);
    a_folder_is_fetched(&s3_sources(&endpoint), "s3").await;
    let wrong = sources_with(&[
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "wr0ng"),
        ("AWS_ENDPOINT_URL", &endpoint),
    ]);
    let error = wrong.resolve(&reference("s3://models/flight")).await.unwrap_err();
    assert_eq!(error.code(), SourceErrorCode::CredentialsRefused, "{error:?}");
    assert!(!format!("{error:?}").contains("wr0ng"));
    let profile = versity.folder.path().join("credentials");
    fs::write(&profile, "[default]\naws_access_key_id=x\naws_secret_access_key=y\n[ci]\naws_access_key_id=test\naws_secret_access_key=s3cretkey\n").unwrap();
    let from_file = sources_with(&[
        ("AWS_SHARED_CREDENTIALS_FILE", profile.to_str().unwrap()),
        ("AWS_PROFILE", "ci"),
        ("AWS_ENDPOINT_URL", &endpoint),
    ]);
    from_file.resolve(&reference("s3://models/flight")).await.unwrap();
}

#[tokio::test]
async fn storage_that_lies_is_refused() {
    let listing = |key: &str| {
        format!(
            "<ListBucketResult><Name>models</Name><KeyCount>1</KeyCount><IsTruncated>false</IsTruncated><Contents><Key>{key}</Key>\
             <LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>&quot;x&quot;</ETag><Size>5</Size></Contents></ListBucketResult>"
        )
    };
    for (body, expected) in [
        (listing("m/../../x"), SourceErrorCode::UnsafePath),
        (listing("m/a//b"), SourceErrorCode::UnsafePath),
        (listing("m/a\\b"), SourceErrorCode::UnsafePath),
        ("<html>log in</html>".to_owned(), SourceErrorCode::UnexpectedAnswer),
        ("x".repeat(9 << 20), SourceErrorCode::TooLarge),
        // The same page for ever.
        (
            listing("m/a")
                .replace("<IsTruncated>false", "<NextContinuationToken>t</NextContinuationToken><IsTruncated>true"),
            SourceErrorCode::TooManyFiles,
        ),
    ] {
        let shown = body.chars().take(200).collect::<String>();
        let server = WebServer::start("127.0.0.1", move |_, _| {
            Reply::Bytes(answer("200 OK", &["content-type: application/xml"], body.as_bytes()))
        })
        .await;
        let error = s3_sources(&server.url("")).resolve(&reference("s3://models/m")).await.unwrap_err();
        assert_eq!(error.code(), expected, "{shown}: {error:?}");
    }
    let inward = WebServer::start("127.0.0.1", |_, _| {
        Reply::Bytes(answer("307 Temporary Redirect", &["location: http://169.254.169.254/"], b""))
    })
    .await;
    let error = s3_sources(&inward.url("")).resolve(&reference("s3://models/m")).await.unwrap_err();
    assert_eq!(error.code(), SourceErrorCode::UnexpectedAnswer, "a redirect is not followed: {error:?}");
}

#[tokio::test]
async fn missing_credentials_are_said_before_anybody_is_asked() {
    let none = sources_with(&[]);
    for text in ["s3://models/m", "gs://models/m", "az://models/m"] {
        let error = none.resolve(&reference(text)).await.unwrap_err();
        assert_eq!(error.code(), SourceErrorCode::CredentialsMissing, "{text}");
    }
    // The address of an endpoint is judged like every other; the metadata service gives no credentials either.
    for endpoint in ["http://169.254.169.254", "http://[::1]:9", "https://127.0.0.2:9"] {
        let sources = sources_with(&[KEYS.as_slice(), &[("AWS_ENDPOINT_URL", endpoint)]].concat());
        let error = sources.resolve(&reference("s3://models/m")).await.unwrap_err();
        assert_eq!(error.code(), SourceErrorCode::AddressRefused, "{endpoint}: {error:?}");
    }
}
