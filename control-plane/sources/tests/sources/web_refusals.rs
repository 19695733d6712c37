//! Servers that lie, wander, stall or point inward: a typed error each, and nothing visible.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use hanok_sources::{Limits, MinimumRate, Sha256Digest, SourceError, SourceErrorCode, SourceSettings, Sources};

use crate::web_server::{Head, Reply, WebServer, answer, cut, model_bytes, ranged};
use crate::{assert_invisible, pull, settings, sources};

/// The error of pulling `/model.onnx` from a server that answers by `reply`.
async fn error_of(sources: &Sources, reply: impl Fn(&Head, usize) -> Reply + Send + Sync + 'static) -> SourceError {
    let server = WebServer::start("127.0.0.1", reply).await;
    let folder = tempfile::tempdir().unwrap();
    let destination = folder.path().join("model");
    let error = pull(sources, &server.url("/model.onnx"), &destination).await.unwrap_err();
    assert_invisible(&destination);
    assert!(!error.action().is_empty());
    assert!(!error.to_string().contains(folder.path().to_str().unwrap()), "{error}");
    error
}

async fn code_of(reply: impl Fn(&Head, usize) -> Reply + Send + Sync + 'static) -> SourceErrorCode {
    error_of(&sources(&["127.0.0.1"]), reply).await.code()
}

#[tokio::test]
async fn places_that_are_not_allowed_are_not_connected_to() {
    let server = WebServer::start("127.0.0.1", |head, _| Reply::Bytes(ranged(head, b"x", "\"x\""))).await;
    let folder = tempfile::tempdir().unwrap();
    let port = server.address.port();
    for host in ["127.0.0.1", "localhost", "127.1", "0x7f000001", "2130706433", "[::ffff:127.0.0.1]", "0.0.0.0"] {
        for scheme in ["http", "https"] {
            let text = format!("{scheme}://{host}:{port}/model.onnx");
            let error = pull(&sources(&["127.0.0.2"]), &text, &folder.path().join("m")).await.unwrap_err();
            assert_eq!(error.code(), SourceErrorCode::AddressRefused, "{text}: {error}");
        }
    }
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn redirects_inward_are_refused_at_every_hop() {
    let inner = WebServer::start("127.0.0.1", |head, _| Reply::Bytes(ranged(head, b"secret", "\"x\""))).await;
    let folder = tempfile::tempdir().unwrap();
    for (location, expected) in [
        (inner.url("/latest/meta-data"), SourceErrorCode::AddressRefused),
        ("http://169.254.169.254/latest/meta-data".to_owned(), SourceErrorCode::AddressRefused),
        (format!("http://localhost:{}/", inner.address.port()), SourceErrorCode::AddressRefused),
        ("file:///etc/passwd".to_owned(), SourceErrorCode::RedirectRefused),
        ("http://user:pass@127.0.0.2/".to_owned(), SourceErrorCode::RedirectRefused),
        ("/again".to_owned(), SourceErrorCode::RedirectRefused),
    ] {
        let line = format!("location: {location}");
        // Two hops: the first stays, the second leads inward.
        let server = WebServer::start("127.0.0.2", move |head, _| {
            let line = if head.path == "/model.onnx" { "location: /second" } else { line.as_str() };
            Reply::Bytes(answer("302 Found", &[line], b""))
        })
        .await;
        let destination = folder.path().join("model");
        let error = pull(&sources(&["127.0.0.2"]), &server.url("/model.onnx"), &destination).await.unwrap_err();
        assert_eq!(error.code(), expected, "{location}: {error}");
        assert!(server.seen().len() >= 2);
        assert_invisible(&destination);
    }
    assert!(inner.seen().is_empty());
}

#[tokio::test]
async fn lengths_that_are_lies_are_found_out() {
    // Announces 1,000 bytes and always ends after 10, without ranges.
    let short = |_: &Head, _: usize| Reply::Bytes(cut(&answer("200 OK", &[], &[7; 1000]), 10));
    assert_eq!(code_of(short).await, SourceErrorCode::LengthMismatch);
    // The same with ranges that never get further.
    let stuck = |head: &Head, _: usize| {
        Reply::Bytes(cut(&ranged(head, &[7; 1000], "\"x\""), usize::from(head.range_start().is_none()) * 10))
    };
    assert_eq!(code_of(stuck).await, SourceErrorCode::LengthMismatch);
    // No length at all: the end of the connection would be the end of the file.
    let endless = |_: &Head, _: usize| Reply::Bytes(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nhalf a mod".to_vec());
    assert_eq!(code_of(endless).await, SourceErrorCode::UnexpectedAnswer);
    // Another length in the second answer.
    let changed = |_: &Head, count: usize| Reply::Bytes(answer("200 OK", &[], &vec![7; 1000 + count]));
    assert_eq!(code_of(changed).await, SourceErrorCode::SourceChanged);
    // Another entity tag in the second answer.
    let retagged =
        |head: &Head, count: usize| Reply::Bytes(ranged(head, &[7; 1000], if count == 0 { "\"a\"" } else { "\"b\"" }));
    assert_eq!(code_of(retagged).await, SourceErrorCode::SourceChanged);
    // A range that was not asked for.
    let shifted = |_: &Head, count: usize| {
        let headers = ["content-range: bytes 5-9/10"];
        Reply::Bytes(if count == 0 {
            answer("200 OK", &[], &[7; 10])
        } else {
            answer("206 Partial Content", &headers, &[7; 5])
        })
    };
    assert_eq!(code_of(shifted).await, SourceErrorCode::UnexpectedAnswer);
    // Two lengths that contradict one another, as smugglers send them.
    let two = |_: &Head, _: usize| {
        Reply::Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!".to_vec())
    };
    assert_eq!(code_of(two).await, SourceErrorCode::Unreachable);
}

#[tokio::test]
async fn answers_that_are_something_else_are_refused() {
    let page = |_: &Head, _: usize| {
        Reply::Bytes(answer("200 OK", &["content-type: text/html; charset=utf-8"], b"<html>log in</html>"))
    };
    assert_eq!(code_of(page).await, SourceErrorCode::UnexpectedAnswer);
    let packed = |_: &Head, _: usize| Reply::Bytes(answer("200 OK", &["content-encoding: gzip"], b"\x1f\x8b"));
    assert_eq!(code_of(packed).await, SourceErrorCode::UnexpectedAnswer);
    let noise = |_: &Head, _: usize| Reply::Bytes(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec());
    assert_eq!(code_of(noise).await, SourceErrorCode::Unreachable);
    for (status, expected) in [
        ("404 Not Found", SourceErrorCode::NotFound),
        ("403 Forbidden", SourceErrorCode::CredentialsMissing),
        ("503 Service Unavailable", SourceErrorCode::ServerError),
        ("429 Too Many Requests", SourceErrorCode::ServerError),
        ("204 No Content", SourceErrorCode::UnexpectedAnswer),
        ("418 Teapot", SourceErrorCode::UnexpectedAnswer),
    ] {
        assert_eq!(code_of(move |_, _| Reply::Bytes(answer(status, &[], b""))).await, expected, "{status}");
    }
}

#[tokio::test]
async fn silence_ends() {
    let patient = settings(&["127.0.0.1"]);
    let limits = Limits { silence: Duration::from_millis(200), retries: 0, ..patient.limits };
    let sources = Sources::new(SourceSettings { limits, ..patient }).unwrap();
    let silent = error_of(&sources, |_, _| Reply::Stall(Vec::new())).await;
    assert_eq!(silent.code(), SourceErrorCode::TimedOut);
    let midway = error_of(&sources, |head, count| {
        let whole = ranged(head, &[7; 1000], "\"x\"");
        match count {
            0 => Reply::Bytes(whole),
            1 => Reply::Stall(cut(&whole, 500)),
            _ => Reply::Stall(cut(&whole, 0)),
        }
    })
    .await;
    assert_eq!(midway.code(), SourceErrorCode::TimedOut);
    assert!(midway.is_transient());
}

#[tokio::test]
async fn what_comes_byte_by_byte_ends_and_is_gone_on_with() {
    let patient = settings(&["127.0.0.1"]);
    let rate = MinimumRate { bytes_per_second: 1000, over: Duration::from_millis(500) };
    let limits = Limits { rate, retries: 1, ..patient.limits };
    let sources = Sources::new(SourceSettings { limits, ..patient }).unwrap();
    let body = model_bytes(100_000);
    let (served, slow) = (body.clone(), Arc::new(AtomicBool::new(true)));
    let is_slow = Arc::clone(&slow);
    let server = WebServer::start("127.0.0.1", move |head, _| {
        let whole = ranged(head, &served, "\"x\"");
        if is_slow.load(Relaxed) { Reply::DripBody(whole) } else { Reply::Bytes(whole) }
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let destination = folder.path().join("model");
    let error = pull(&sources, &server.url("/model.onnx"), &destination).await.unwrap_err();
    assert_eq!(error.code(), SourceErrorCode::TooSlow, "{error}");
    assert!(error.to_string().contains("bytes a second over 0.5 seconds, expected 1000 at least"), "{error}");
    assert!(destination.symlink_metadata().is_err());
    let asked = server.seen().len();
    assert!(asked >= 2, "a server that is slow once is asked again");
    slow.store(false, Relaxed);
    pull(&sources, &server.url("/model.onnx"), &destination).await.unwrap();
    assert_eq!(std::fs::read(destination.join("model.onnx")).unwrap(), body);
    let starts: Vec<_> = server.seen()[asked..].iter().filter_map(Head::range_start).collect();
    assert!(starts.iter().any(|start| *start > 0), "it goes on where it ended: {starts:?}");
}

#[tokio::test]
async fn more_bytes_than_allowed_are_refused() {
    let large = settings(&["127.0.0.1"]);
    let sources = Sources::new(SourceSettings { limits: Limits { bytes: 999, ..large.limits }, ..large }).unwrap();
    let announced = error_of(&sources, |head, _| Reply::Bytes(ranged(head, &[7; 1000], "\"x\""))).await;
    assert_eq!(announced.code(), SourceErrorCode::TooLarge);
    let chunked = error_of(&sources, |_, _| {
        let mut bytes = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
        for _ in 0..100 {
            bytes.extend_from_slice(b"10\r\n0123456789abcdef\r\n");
        }
        bytes.extend_from_slice(b"0\r\n\r\n");
        Reply::Bytes(bytes)
    })
    .await;
    assert_eq!(chunked.code(), SourceErrorCode::TooLarge);
}

#[tokio::test]
async fn wrong_digests_are_never_seen() {
    let server = WebServer::start("127.0.0.1", |head, _| Reply::Bytes(ranged(head, b"other bytes", "\"x\""))).await;
    let folder = tempfile::tempdir().unwrap();
    let destination = folder.path().join("model");
    let sources = sources(&["127.0.0.1"]);
    let text = format!("{}#sha256={}", server.url("/model.onnx"), Sha256Digest::of(b"the right bytes"));
    let error = pull(&sources, &text, &destination).await.unwrap_err();
    assert_eq!(error.code(), SourceErrorCode::DigestMismatch);
    assert_invisible(&destination);
    let resolved = sources.resolve(&crate::reference(&server.url("/model.onnx"))).await.unwrap();
    let error = sources.fetch(&resolved, &destination, Some(Sha256Digest::of(b"no such folder"))).await.unwrap_err();
    assert_eq!(error.code(), SourceErrorCode::DigestMismatch);
    assert_invisible(&destination);
}
