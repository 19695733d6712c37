//! Objects one by one: written in parts, seen when whole, read in ranges, removed.

use bytes::Bytes;
use hanok_sources::{BucketReference, OpenBucket, SourceErrorCode, SourceReference, Upload};

use crate::object_storage::{moto, put, sources_with};
use crate::reference;
use crate::web_server::model_bytes;

fn bucket(endpoint: &str, name: &str) -> OpenBucket {
    let variables =
        [("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "s3cretkey"), ("AWS_ENDPOINT_URL_S3", endpoint)];
    let place: BucketReference = match reference(&format!("s3://{name}")) {
        SourceReference::Bucket(place) => place,
        other => panic!("{other}"),
    };
    sources_with(&variables).bucket(&place).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_is_seen_when_it_is_whole_and_read_in_ranges() {
    let Some(moto) = moto() else { return };
    let bucket = bucket(&moto.url(), "models");
    let whole = Bytes::from(model_bytes(2 * Upload::PART_BYTES + 12_345));
    let mut upload = bucket.upload("new/deep/file").unwrap();
    for part in 0..2 {
        let part = whole.slice(part * Upload::PART_BYTES..(part + 1) * Upload::PART_BYTES);
        upload.part(part).await.unwrap();
    }
    assert_eq!(bucket.look("new/deep/file").await.unwrap(), None);
    upload.finish(whole.slice(2 * Upload::PART_BYTES..)).await.unwrap();
    let object = bucket.look("new/deep/file").await.unwrap().unwrap();
    assert_eq!(object.bytes, whole.len() as u64);
    for range in [0..1, 5..Upload::PART_BYTES * 2 + 7, whole.len() - 1..whole.len(), 9..9] {
        let read = bucket.read(&object, range.start as u64..range.end as u64).await.unwrap();
        assert!(read == whole.slice(range.clone()), "{range:?}");
    }
    let listed = bucket.list("new", &|key| key.ends_with("file")).await.unwrap();
    assert_eq!(listed, std::slice::from_ref(&object));
    assert!(bucket.list("ne", &|_| true).await.unwrap().is_empty(), "a prefix is a folder");

    // Given up: as it was.
    let mut upload = bucket.upload("new/deep/file").unwrap();
    upload.part(whole.slice(..Upload::PART_BYTES)).await.unwrap();
    upload.give_up().await;
    assert_eq!(bucket.look("new/deep/file").await.unwrap(), Some(object.clone()));
    // Written anew: what was looked at is not what is there.
    put(moto.address, "/models/new/deep/file", b"short");
    let error = bucket.read(&object, 0..3).await.unwrap_err();
    assert_eq!(error.code(), SourceErrorCode::SourceChanged, "{error}");
    bucket.upload("new/empty").unwrap().finish(Bytes::new()).await.unwrap();
    assert_eq!(bucket.look("new/empty").await.unwrap().map(|object| object.bytes), Some(0));
    assert!(bucket.remove("new/empty").await.unwrap());
    assert!(!bucket.remove("new/empty").await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_that_is_not_there_takes_nothing() {
    let Some(moto) = moto() else { return };
    let bucket = bucket(&moto.url(), "no-such-bucket");
    assert_eq!(bucket.look("x").await.unwrap(), None);
    let refused = [
        bucket.list("", &|_| true).await.map(drop).unwrap_err(),
        bucket.upload("x").unwrap().finish(Bytes::from_static(b"x")).await.unwrap_err(),
        bucket.upload("x").unwrap().part(Bytes::from(vec![0; Upload::PART_BYTES])).await.unwrap_err(),
    ];
    for error in refused {
        assert_eq!(error.code(), SourceErrorCode::NotFound, "{error}");
    }
}
