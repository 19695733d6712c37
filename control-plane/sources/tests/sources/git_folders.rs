//! Folders of real Git repositories, from local files and over `git http-backend`.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use hanok_sources::{Contents, Credentials, Limits, SourceErrorCode, SourceSettings, Sources};

use crate::git_server::{GitServer, Repository};
use crate::web_server::model_bytes;
use crate::{assert_invisible, pull, reference, settings, sources};

fn allowing(repository: &Repository) -> Sources {
    sources(&[&format!("file://{}", repository.root().display()), "127.0.0.1"])
}

/// A repository with a model in `flight/`, and 8 MiB beside it that nobody asks for.
fn with_model() -> (Repository, String) {
    let repository = Repository::new();
    repository.write("flight/1/model.onnx", &model_bytes(2 << 20));
    repository.write("flight/config.pbtxt", b"backend: \"onnxruntime\"\n");
    repository.write("flight/labels/a b ü.txt", b"one\n");
    repository.write("flight2/x", b"another folder");
    repository.write("big.bin", &model_bytes(8 << 20));
    let commit = repository.commit("one");
    (repository, commit)
}

#[tokio::test]
async fn a_folder_at_a_commit_is_fetched() {
    let (repository, commit) = with_model();
    repository.write("flight/1/model.onnx", b"a later model");
    let later = repository.commit("two");
    repository.git(&["tag", "-a", "v2", "-m", "two"]);
    repository.commit("three");
    let sources = allowing(&repository);
    let folder = tempfile::tempdir().unwrap();
    let destination = folder.path().join("model");
    let resolved = sources.resolve(&reference(&repository.file_reference(&format!("{commit}:flight")))).await.unwrap();
    assert!(resolved.revision.immutable);
    let fetched = sources.fetch(&resolved, &destination, None).await.unwrap();
    let names: Vec<_> = fetched.files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(names, ["1/model.onnx", "config.pbtxt", "labels/a b ü.txt"]);
    assert_eq!(fs::read(destination.join("1/model.onnx")).unwrap(), model_bytes(2 << 20));
    assert!(!destination.join(".git").exists() && !folder.path().join("model.partial").exists());
    assert_eq!(sources.fetch(&resolved, &destination, Some(fetched.digest)).await.unwrap(), fetched);
    for name in ["v2", "main", "HEAD"] {
        let resolved =
            sources.resolve(&reference(&repository.file_reference(&format!("{name}:flight")))).await.unwrap();
        let Contents::Commit(found) = &resolved.contents else { panic!("{resolved:?}") };
        if name == "v2" {
            assert_eq!(found, &later, "an annotated tag means its commit");
            assert_eq!(resolved.pinned, reference(&repository.file_reference(&format!("{later}:flight"))));
        }
        let destination = folder.path().join(name);
        sources.fetch(&resolved, &destination, None).await.unwrap();
        assert_eq!(fs::read(destination.join("1/model.onnx")).unwrap(), b"a later model");
    }
}

#[tokio::test]
async fn only_what_is_asked_for_is_transferred() {
    let (repository, commit) = with_model();
    let server = GitServer::start(repository.root(), None).await;
    let folder = tempfile::tempdir().unwrap();
    let destination = folder.path().join("model");
    let text = format!("git+http://{}/models.git#{commit}:flight", server.address);
    pull(&allowing(&repository), &text, &destination).await.unwrap();
    assert_eq!(fs::read(destination.join("1/model.onnx")).unwrap(), model_bytes(2 << 20));
    let sent = *server.sent.lock().unwrap();
    assert!(
        (2 << 20..3 << 20).contains(&sent),
        "{sent} bytes were sent for a folder of 2 MiB in a repository of 10 MiB"
    );
    // A server that cannot leave blobs out sends everything, and the folder is the same.
    repository.git(&["-C", repository.bare().to_str().unwrap(), "config", "uploadpack.allowFilter", "false"]);
    let whole = pull(&allowing(&repository), &text, &folder.path().join("whole")).await.unwrap();
    assert_eq!(whole.files.len(), 3);
    assert!(*server.sent.lock().unwrap() > sent + (10 << 20));
}

#[tokio::test]
async fn credentials_come_from_netrc_and_are_not_seen_by_others() {
    let (repository, commit) = with_model();
    let server = GitServer::start(repository.root(), Some("Basic bWU6czNjcmV0")).await;
    let folder = tempfile::tempdir().unwrap();
    let text = format!("git+http://{}/models.git#{commit}:flight", server.address);
    let error = pull(&allowing(&repository), &text, &folder.path().join("m")).await.unwrap_err();
    assert_eq!(error.code(), SourceErrorCode::CredentialsMissing, "{error:?}");
    for (password, expected) in [("s3cret", None), ("wr0ng", Some(SourceErrorCode::CredentialsRefused))] {
        let netrc = folder.path().join("netrc");
        fs::write(&netrc, format!("machine 127.0.0.1 login me password {password}\n")).unwrap();
        let credentials = Credentials::read(|name| std::env::var(name).ok(), Some(&netrc)).unwrap();
        let sources = Sources::new(SourceSettings { credentials, ..settings(&["127.0.0.1"]) }).unwrap();
        let pulled = pull(&sources, &text, &folder.path().join(password)).await;
        assert_eq!(pulled.as_ref().err().map(|error| error.code()), expected, "{pulled:?}");
        assert!(!format!("{pulled:?}").contains("wr0ng"));
    }
}

#[tokio::test]
async fn what_is_not_a_plain_file_is_refused() {
    let (repository, _) = with_model();
    let sources = allowing(&repository);
    let folder = tempfile::tempdir().unwrap();
    let destination = folder.path().join("model");
    symlink("/etc/passwd", repository.work().join("flight/link")).unwrap();
    let linked = repository.commit("link");
    fs::remove_file(repository.work().join("flight/link")).unwrap();
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 99\n";
    repository.write("flight/1/model.onnx", pointer.as_bytes());
    let pointed = repository.commit("pointer");
    repository.write("flight/1/model.onnx", b"x");
    repository.git(&["submodule", "--quiet", "add", repository.bare().to_str().unwrap(), "flight/sub"]);
    let nested = repository.commit("submodule");
    for (commit, expected) in [
        (linked, SourceErrorCode::UnsafeEntry),
        (pointed, SourceErrorCode::LfsPointer),
        (nested, SourceErrorCode::UnsafeEntry),
    ] {
        let error =
            pull(&sources, &repository.file_reference(&format!("{commit}:flight")), &destination).await.unwrap_err();
        assert_eq!(error.code(), expected, "{error}");
        assert_invisible(&destination);
    }
}

#[tokio::test]
async fn what_does_not_exist_is_said_so() {
    let (repository, commit) = with_model();
    let sources = allowing(&repository);
    let server = GitServer::start(repository.root(), None).await;
    let folder = tempfile::tempdir().unwrap();
    let destination = folder.path().join("model");
    let missing = "1".repeat(40);
    let http = format!("git+http://{}/models.git", server.address);
    for (text, expected) in [
        (repository.file_reference("no-such-branch"), SourceErrorCode::NotFound),
        (repository.file_reference(&format!("{commit}:no/such/folder")), SourceErrorCode::NotFound),
        (repository.file_reference(&format!("{commit}:big.bin")), SourceErrorCode::NotFound),
        (repository.file_reference(&missing), SourceErrorCode::NotFound),
        (format!("{http}#{missing}"), SourceErrorCode::NotFound),
        (format!("{http}x#main"), SourceErrorCode::NotFound),
        (format!("git+file://{}/none.git#main", repository.root().display()), SourceErrorCode::AddressRefused),
        (format!("git+file:///etc#{commit}"), SourceErrorCode::AddressRefused),
        (format!("git+http://127.0.0.3:1/models.git#{commit}"), SourceErrorCode::AddressRefused),
        (format!("git+https://[::1]:1/models.git#{commit}"), SourceErrorCode::AddressRefused),
        (format!("git+ssh://git@169.254.169.254/models.git#{commit}"), SourceErrorCode::AddressRefused),
        (format!("git+http://127.0.0.1:1/models.git#{commit}"), SourceErrorCode::Unreachable),
    ] {
        let error = pull(&sources, &text, &destination).await.unwrap_err();
        assert_eq!(error.code(), expected, "{text}: {error:?}");
        assert_invisible(&destination);
    }
}

#[tokio::test]
async fn repositories_are_bounded_and_links_do_not_lead_out_of_the_allowed_folder() {
    let (repository, commit) = with_model();
    let folder = tempfile::tempdir().unwrap();
    let destination = folder.path().join("model");
    let wide = settings(&[&format!("file://{}", repository.root().display())]);
    for (limits, expected) in [
        (Limits { bytes: 1 << 20, ..wide.limits }, SourceErrorCode::TooLarge),
        (Limits { files: 2, ..wide.limits }, SourceErrorCode::TooManyFiles),
    ] {
        let sources = Sources::new(SourceSettings { limits, ..wide.clone() }).unwrap();
        let error =
            pull(&sources, &repository.file_reference(&format!("{commit}:flight")), &destination).await.unwrap_err();
        assert_eq!(error.code(), expected, "{error}");
        assert_invisible(&destination);
    }
    let allowed = folder.path().join("allowed");
    fs::create_dir(&allowed).unwrap();
    symlink(repository.bare(), allowed.join("models.git")).unwrap();
    let sources = sources(&[&format!("file://{}", allowed.display())]);
    let text = format!("git+file://{}/models.git#{commit}", allowed.display());
    assert_eq!(pull(&sources, &text, &destination).await.unwrap_err().code(), SourceErrorCode::AddressRefused);
}

#[tokio::test]
async fn a_machine_without_git_is_told_so() {
    let (repository, _) = with_model();
    let empty = tempfile::tempdir().unwrap();
    let path = empty.path().to_str().unwrap().to_owned();
    let credentials = Credentials::read(|name| (name == "PATH").then(|| path.clone()), None).unwrap();
    let settings = settings(&[&format!("file://{}", repository.root().display())]);
    let sources = Sources::new(SourceSettings { credentials, ..settings }).unwrap();
    let error = sources.resolve(&reference(&repository.file_reference("main"))).await.unwrap_err();
    assert_eq!(error.code(), SourceErrorCode::GitMissing);
    // A git that a reference could have planted is not started either: its hooks, its configuration.
    let hook = repository.bare().join("hooks/post-upload-pack");
    fs::create_dir_all(hook.parent().unwrap()).unwrap();
    fs::write(&hook, "#!/bin/sh\ntouch hooked\n").unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Git itself waits for five minutes.
#[tokio::test]
async fn a_server_that_takes_the_connection_and_is_silent_is_given_up() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let text = format!("git+https://{}/m.git#main", listener.local_addr().unwrap());
    let impatient = settings(&["127.0.0.1"]);
    let limits = Limits { silence: std::time::Duration::from_millis(500), ..impatient.limits };
    let sources = Sources::new(SourceSettings { limits, ..impatient }).unwrap();
    let error = sources.resolve(&reference(&text)).await.unwrap_err();
    assert_eq!(error.code(), SourceErrorCode::TimedOut, "{error}");
    assert!(error.message().ends_with("within 1 seconds"), "{error}");
    // A full commit names itself, so that nobody is asked before it is fetched.
    let pinned = text.replace("#main", &format!("#{}", "a".repeat(40)));
    let resolved = sources.resolve(&reference(&pinned)).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let error = sources.fetch(&resolved, &folder.path().join("m"), None).await.unwrap_err();
    assert_eq!(error.code(), SourceErrorCode::TimedOut, "{error}");
}
