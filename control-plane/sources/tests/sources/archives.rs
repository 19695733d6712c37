//! Archives over HTTP, packed by GNU tar: good ones, and those that try something.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use hanok_sources::{FetchedFolder, Limits, SourceError, SourceErrorCode, SourceSettings, Sources};

use crate::web_server::{Reply, WebServer, model_bytes, ranged};
use crate::{assert_invisible, pull, settings};

/// Packs with `tar ARGUMENTS` in `folder`.
fn packed(folder: &Path, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new("tar").current_dir(folder).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

async fn pulled(
    archive: Vec<u8>,
    name: &str,
    destination: &Path,
    limits: Limits,
) -> Result<FetchedFolder, SourceError> {
    let server = WebServer::start("127.0.0.1", move |head, _| Reply::Bytes(ranged(head, &archive, "\"x\""))).await;
    let sources = Sources::new(SourceSettings { limits, ..settings(&["127.0.0.1"]) }).unwrap();
    pull(&sources, &server.url(name), destination).await
}

#[tokio::test]
async fn archives_are_unpacked() {
    let folder = tempfile::tempdir().unwrap();
    let long_name = "n".repeat(200);
    let tree = folder.path().join("tree");
    fs::create_dir_all(tree.join("1").join(&long_name)).unwrap();
    fs::write(tree.join("config.pbtxt"), "backend: \"onnxruntime\"\n").unwrap();
    fs::write(tree.join("1/model.onnx"), model_bytes(1 << 20)).unwrap();
    fs::write(tree.join("1").join(&long_name).join("ü"), "").unwrap();
    for (arguments, name) in [
        (["-cf", "-", "."], "/model.tar"),
        (["-czf", "-", "."], "/model.tar.gz"),
        (["-czf", "-", "--format=pax"], "/model.tgz"),
        (["-cf", "-", "--format=ustar"], "/model.tar"),
    ] {
        let mut arguments = arguments.to_vec();
        if arguments[2] != "." {
            arguments.push("1/model.onnx");
            arguments.push("config.pbtxt");
        }
        let destination = folder.path().join("model");
        let fetched = pulled(packed(&tree, &arguments), name, &destination, Limits::default()).await.unwrap();
        assert_eq!(fs::read(destination.join("1/model.onnx")).unwrap(), model_bytes(1 << 20));
        assert!(destination.join("config.pbtxt").is_file());
        assert_eq!(fetched.files.len(), if arguments[2] == "." { 3 } else { 2 });
        assert!(!destination.join(name.trim_start_matches('/')).exists(), "the archive itself was published");
        fs::remove_dir_all(&destination).unwrap();
    }
}

#[tokio::test]
async fn archives_that_try_something_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("tree");
    fs::create_dir(&tree).unwrap();
    fs::write(tree.join("file"), "x").unwrap();
    symlink("/etc/passwd", tree.join("link")).unwrap();
    fs::hard_link(tree.join("file"), tree.join("twin")).unwrap();
    let outside = packed(&tree, &["-cPf", "-", "../tree/file"]);
    let absolute = packed(&tree, &["-cPf", "-", tree.join("file").to_str().unwrap()]);
    let linked = packed(&tree, &["-cf", "-", "file", "link"]);
    let hard = packed(&tree, &["-cf", "-", "file", "twin"]);
    let twice = packed(&tree, &["-cf", "-", "file", "--hard-dereference", "file"]);
    let mut cut = packed(&tree, &["-czf", "-", "file"]);
    cut.truncate(cut.len() - 12);
    let empty = packed(&tree, &["-cf", "-", "-T", "/dev/null"]);
    fs::write(tree.join("holes"), "").unwrap();
    fs::OpenOptions::new().write(true).open(tree.join("holes")).unwrap().set_len(8 << 20).unwrap();
    let sparse = ["gnu", "pax"].map(|format| packed(&tree, &["-cSf", "-", &format!("--format={format}"), "holes"]));
    let [sparse_gnu, sparse_pax] = sparse;
    let mut noise = model_bytes(4096);
    noise[0] = b'x';
    for (archive, expected) in [
        (outside, SourceErrorCode::UnsafePath),
        (absolute, SourceErrorCode::UnsafePath),
        (linked, SourceErrorCode::UnsafeEntry),
        (hard, SourceErrorCode::UnsafeEntry),
        (sparse_gnu, SourceErrorCode::UnsafeEntry),
        (sparse_pax, SourceErrorCode::UnsafeEntry),
        (twice, SourceErrorCode::UnsafePath),
        (cut, SourceErrorCode::UnexpectedAnswer),
        (empty, SourceErrorCode::UnexpectedAnswer),
        (noise, SourceErrorCode::UnexpectedAnswer),
    ] {
        let destination = folder.path().join("model");
        let error = pulled(archive, "/model.tar.gz", &destination, Limits::default()).await.unwrap_err();
        assert_eq!(error.code(), expected, "{error}");
        assert_invisible(&destination);
    }
}

/// The library that reads archives quotes their headers.
#[tokio::test]
async fn what_an_archive_says_does_not_act_on_a_terminal() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "x").unwrap();
    let mut archive = packed(folder.path(), &["-cf", "-", "file"]);
    // The header's checksum.
    archive[148..156].copy_from_slice(b"\x1b]0;ab\x07\n");
    let error = pulled(archive, "/model.tar", &folder.path().join("model"), Limits::default()).await.unwrap_err();
    let detail = error.operator_detail().unwrap();
    assert!(detail.contains("?]0;ab?"), "{detail:?}");
    assert!(!format!("{error}{detail}").contains(char::is_control), "{detail:?}");
}

#[tokio::test]
async fn archives_that_swell_are_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("tree");
    fs::create_dir(&tree).unwrap();
    fs::write(tree.join("zeros"), vec![0; 64 << 20]).unwrap();
    let bomb = packed(&tree, &["-czf", "-", "zeros"]);
    assert!(bomb.len() < 1 << 20);
    let limits = Limits { bytes: 32 << 20, ..Limits::default() };
    let destination = folder.path().join("model");
    let error = pulled(bomb, "/model.tar.gz", &destination, limits).await.unwrap_err();
    assert_eq!(error.code(), SourceErrorCode::TooLarge);
    for number in 0..50 {
        fs::write(tree.join(format!("file-{number}")), "").unwrap();
    }
    fs::remove_file(tree.join("zeros")).unwrap();
    let many = packed(&tree, &["-czf", "-", "."]);
    let error =
        pulled(many, "/model.tar.gz", &destination, Limits { files: 49, ..Limits::default() }).await.unwrap_err();
    assert_eq!(error.code(), SourceErrorCode::TooManyFiles);
    assert_invisible(&destination);
}

/// Long names and extended headers are read into memory whole, and pack to next to nothing.
#[tokio::test]
async fn headers_that_swell_are_stopped_before_the_memory_is_full() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "x").unwrap();
    let file = packed(folder.path(), &["-cf", "-", "file"]);
    for kind in [tar::EntryType::GNULongName, tar::EntryType::GNULongLink, tar::EntryType::XHeader] {
        let usual = if kind == tar::EntryType::GNULongName { 5 } else { 64 << 10 };
        for (bytes, fits) in [(usual, true), (256 << 20, false)] {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(kind);
            header.set_size(bytes);
            header.set_cksum();
            let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            packer.write_all(header.as_bytes()).unwrap();
            // What a pax header may well hold: a comment.
            let record = format!("{bytes} comment=");
            let held = if kind == tar::EntryType::XHeader { record.as_str() } else { "file" };
            let filler = if held == "file" { 0 } else { b'x' };
            packer.write_all(held.as_bytes()).unwrap();
            let rest = bytes - held.len() as u64 - 1;
            std::io::copy(&mut std::io::repeat(filler).take(rest), &mut packer).unwrap();
            packer.write_all(if filler == 0 { b"\0" } else { b"\n" }).unwrap();
            let padding = bytes.next_multiple_of(512) - bytes;
            std::io::copy(&mut std::io::repeat(0).take(padding), &mut packer).unwrap();
            packer.write_all(&file).unwrap();
            let bomb = packer.finish().unwrap();
            assert!(bomb.len() < 4 << 20, "{}", bomb.len());
            let destination = folder.path().join("model");
            let before = peak_memory();
            match pulled(bomb, "/model.tar.gz", &destination, Limits::default()).await {
                Ok(fetched) if fits => assert_eq!(fetched.files[0].path.as_str(), "file"),
                Err(error) if !fits => {
                    assert_eq!(error.code(), SourceErrorCode::UnexpectedAnswer, "{error}");
                    assert!(error.operator_detail().unwrap().contains("more than 1048576 bytes"), "{error:?}");
                    assert_invisible(&destination);
                }
                other => panic!("{kind:?} of {bytes} bytes: {other:?}"),
            }
            // The kernel counts by processor, and may tell a little less than before.
            assert!(peak_memory().saturating_sub(before) < 200 << 20, "{kind:?}: it went through memory");
            fs::remove_dir_all(&destination).ok();
        }
    }
}

/// Most memory that this process has had, in bytes.
fn peak_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}
