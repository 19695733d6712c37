//! Files of web servers that end well: whole, continued, given back a second time.

use std::fs;
use std::sync::Arc;

use hanok_sources::{Credentials, Sha256Digest, SourceErrorCode, Sources};

use crate::web_server::{Reply, WebServer, answer, cut, model_bytes, ranged};
use crate::{pull, reference, settings, sources};

#[tokio::test]
async fn a_file_is_fetched_once() {
    let body = model_bytes(3 << 20);
    let served = body.clone();
    let server = WebServer::start("127.0.0.1", move |head, _| Reply::Bytes(ranged(head, &served, "\"one\""))).await;
    let folder = tempfile::tempdir().unwrap();
    let destination = folder.path().join("model");
    let sources = sources(&["127.0.0.1"]);
    let resolved = sources.resolve(&reference(&server.url("/a%20b/model.onnx"))).await.unwrap();
    assert!(!resolved.revision.immutable);
    assert!(resolved.revision.text.ends_with("etag:\"one\""), "{}", resolved.revision.text);
    let fetched = sources.fetch(&resolved, &destination, None).await.unwrap();
    assert_eq!(fs::read(destination.join("model.onnx")).unwrap(), body);
    assert_eq!(fetched.files.len(), 1);
    assert_eq!((fetched.files[0].bytes, fetched.files[0].sha256), (body.len() as u64, Sha256Digest::of(&body)));
    assert!(!folder.path().join("model.partial").exists());
    let requests = server.seen().len();
    let again = sources.fetch(&resolved, &destination, Some(fetched.digest)).await.unwrap();
    assert_eq!(again, fetched);
    assert_eq!(server.seen().len(), requests, "a fetched folder was fetched again");
    // A folder that somebody changed is not given back as if it were whole.
    fs::write(destination.join("model.onnx"), b"changed").unwrap();
    let error = sources.fetch(&resolved, &destination, None).await.unwrap_err();
    assert_eq!(error.code(), SourceErrorCode::AlreadyExists);
}

#[tokio::test]
async fn a_connection_that_breaks_is_continued_where_it_stopped() {
    let body = model_bytes(5 << 20);
    let served = body.clone();
    // Every answer breaks off after 1 MiB of its body; request 0 is that of `resolve`.
    let server =
        WebServer::start("127.0.0.1", move |head, _| Reply::Bytes(cut(&ranged(head, &served, "\"one\""), 1 << 20)))
            .await;
    let folder = tempfile::tempdir().unwrap();
    let destination = folder.path().join("model");
    pull(&sources(&["127.0.0.1"]), &server.url("/model.onnx"), &destination).await.unwrap();
    assert_eq!(fs::read(destination.join("model.onnx")).unwrap(), body);
    let starts: Vec<_> = server.seen().iter().skip(1).map(|head| head.range_start().unwrap_or(0)).collect();
    assert_eq!(starts, [0, 1 << 20, 2 << 20, 3 << 20, 4 << 20]);
    assert!(server.seen().iter().skip(2).all(|head| head.header("if-range") == Some("\"one\"")));
}

#[tokio::test]
async fn a_pinned_file_is_continued_without_entity_tags() {
    let body = model_bytes(3 << 20);
    let served = body.clone();
    let server = WebServer::start("127.0.0.1", move |head, count| {
        let whole = match head.range_start() {
            None => answer("200 OK", &[], &served),
            Some(start) => {
                let range = format!("content-range: bytes {start}-{}/{}", served.len() - 1, served.len());
                answer("206 Partial Content", &[&range], &served[start..])
            }
        };
        Reply::Bytes(if count == 1 { cut(&whole, 2 << 20) } else { whole })
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let destination = folder.path().join("model");
    let text = format!("{}#sha256={}", server.url("/model.onnx"), Sha256Digest::of(&body));
    pull(&sources(&["127.0.0.1"]), &text, &destination).await.unwrap();
    assert_eq!(fs::read(destination.join("model.onnx")).unwrap(), body);
    assert_eq!(server.seen()[2].range_start(), Some(2 << 20));
    assert_eq!(server.seen()[2].header("if-range"), None);
}

#[tokio::test]
async fn damaged_bytes_of_an_earlier_try_are_fetched_anew() {
    let body = model_bytes(2 << 20);
    let served = body.clone();
    // The first download gives wrong bytes and breaks; the rest is right. Only the digest can tell.
    let server = WebServer::start("127.0.0.1", move |head, count| {
        let wrong = vec![7; served.len()];
        Reply::Bytes(if count == 1 {
            cut(&ranged(head, &wrong, "\"x\""), 1 << 20)
        } else {
            ranged(head, &served, "\"x\"")
        })
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let destination = folder.path().join("model");
    let text = format!("{}#sha256={}", server.url("/model.onnx"), Sha256Digest::of(&body));
    pull(&sources(&["127.0.0.1"]), &text, &destination).await.unwrap();
    assert_eq!(fs::read(destination.join("model.onnx")).unwrap(), body);
    let starts: Vec<_> = server.seen().iter().skip(1).map(|head| head.range_start()).collect();
    assert_eq!(starts, [None, Some(1 << 20), None]);
}

#[tokio::test]
async fn credentials_go_to_their_host_and_stay_behind_on_a_redirect() {
    let elsewhere = WebServer::start("127.0.0.2", |head, _| Reply::Bytes(ranged(head, b"model", "\"x\""))).await;
    let target = elsewhere.url("/model.onnx");
    let server = WebServer::start("127.0.0.1", move |head, _| {
        let known = head.header("authorization") == Some("Basic bWU6czNjcmV0");
        let location = format!("location: {target}");
        Reply::Bytes(if known {
            answer("307 Temporary Redirect", &[&location], b"")
        } else {
            answer("401 Unauthorized", &[], b"")
        })
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let without = sources(&["127.0.0.0/8"]).resolve(&reference(&server.url("/model.onnx"))).await.unwrap_err();
    assert_eq!(without.code(), SourceErrorCode::CredentialsMissing);
    let netrc = folder.path().join("netrc");
    fs::write(&netrc, "machine 127.0.0.1 login me password s3cret\n").unwrap();
    let credentials = Credentials::read(|_| None, Some(&netrc)).unwrap();
    let with = Sources::new(hanok_sources::SourceSettings { credentials, ..settings(&["127.0.0.0/8"]) }).unwrap();
    assert!(!format!("{with:?}").contains("s3cret"));
    pull(&with, &server.url("/model.onnx"), &folder.path().join("model")).await.unwrap();
    assert!(elsewhere.seen().iter().all(|head| head.header("authorization").is_none()));
    assert!(!elsewhere.seen().is_empty());
    fs::write(&netrc, "machine 127.0.0.1 login me password wr0ng\n").unwrap();
    let credentials = Credentials::read(|_| None, Some(&netrc)).unwrap();
    let wrong = Sources::new(hanok_sources::SourceSettings { credentials, ..settings(&["127.0.0.0/8"]) }).unwrap();
    let error = wrong.resolve(&reference(&server.url("/model.onnx"))).await.unwrap_err();
    assert_eq!(error.code(), SourceErrorCode::CredentialsRefused);
    assert!(!format!("{error:?}{error}").contains("wr0ng"));
}

#[tokio::test]
async fn one_fetch_at_a_time_goes_to_a_destination() {
    let gate = Arc::new(tokio::sync::Notify::new());
    let server = WebServer::start("127.0.0.1", |head, count| {
        let whole = ranged(head, b"a model that takes its time", "\"x\"");
        if count == 1 { Reply::Stall(cut(&whole, 4)) } else { Reply::Bytes(whole) }
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let destination = folder.path().join("model");
    let sources = sources(&["127.0.0.1"]);
    let resolved = sources.resolve(&reference(&server.url("/model.onnx"))).await.unwrap();
    let (first_sources, first_resolved, first_destination) = (sources.clone(), resolved.clone(), destination.clone());
    let told = Arc::clone(&gate);
    let first = tokio::spawn(async move {
        let fetching = first_sources.fetch(&first_resolved, &first_destination, None);
        tokio::select! { _ = fetching => panic!("the stalled fetch ended"), () = told.notified() => {} }
    });
    // The first fetch holds the lock from before it sends its request until it is dropped.
    while server.seen().len() < 2 {
        tokio::task::yield_now().await;
    }
    let busy = sources.fetch(&resolved, &destination, None).await.unwrap_err();
    assert_eq!(busy.code(), SourceErrorCode::Busy);
    gate.notify_one();
    first.await.unwrap();
    // The lock goes when the last thread of the dropped fetch has ended, which nobody tells.
    let fetched = loop {
        match sources.fetch(&resolved, &destination, None).await {
            Err(error) if error.code() == SourceErrorCode::Busy => tokio::task::yield_now().await,
            other => break other.unwrap(),
        }
    };
    assert_eq!(fetched.files[0].bytes, 27);
}

/// A server that answers ranges wrongly once: nobody has to remove anything for the next attempt.
#[tokio::test]
async fn after_a_range_that_was_not_asked_for_the_file_is_begun_anew() {
    let body = model_bytes(3 << 20);
    let served = body.clone();
    let server = WebServer::start("127.0.0.1", move |head, count| {
        let whole = ranged(head, &served, "\"one\"");
        Reply::Bytes(match count {
            // The head for `resolve`, then a download that breaks off.
            0 | 1 => cut(&whole, 1 << 20),
            2 => answer("206 Partial Content", &["etag: \"one\"", "content-range: bytes 7-9/3145728"], b"xyz"),
            _ => whole,
        })
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let destination = folder.path().join("model");
    let url = server.url("/model.onnx");
    let error = pull(&sources(&["127.0.0.1"]), &url, &destination).await.unwrap_err();
    assert_eq!(error.code(), SourceErrorCode::UnexpectedAnswer, "{error}");
    let before = server.seen().len();
    pull(&sources(&["127.0.0.1"]), &url, &destination).await.unwrap();
    assert_eq!(fs::read(destination.join("model.onnx")).unwrap(), body);
    assert!(server.seen()[before..].iter().all(|head| head.range_start().is_none()), "it began anew");
}

/// What would be watched in vain is refused, with the reason.
#[tokio::test]
async fn a_file_without_a_mark_is_pulled_and_not_followed() {
    let server = WebServer::start("127.0.0.1", |head, _| {
        let mark = match head.path.as_str() {
            "/tagged" => "etag: \"one\"",
            "/dated" => "last-modified: Sun, 22 Nov 2026 10:00:00 GMT",
            "/weak" => "etag: W/\"one\"",
            _ => "server: x",
        };
        Reply::Bytes(answer("200 OK", &[mark], b"network"))
    })
    .await;
    let sources = sources(&["127.0.0.1"]);
    let folder = tempfile::tempdir().unwrap();
    for (path, followed) in [("/tagged", true), ("/dated", true), ("/weak", false), ("/unmarked", false)] {
        let url = server.url(path);
        pull(&sources, &url, &folder.path().join(&path[1..])).await.unwrap();
        match sources.current(&reference(&url)).await {
            Ok(_) => assert!(followed, "{path}"),
            Err(error) => {
                assert!(!followed, "{path}: {error}");
                assert_eq!(error.code(), SourceErrorCode::Unsupported);
                assert!(error.message().contains(&url) && error.action().contains("ETag"), "{error}");
            }
        }
    }
}
