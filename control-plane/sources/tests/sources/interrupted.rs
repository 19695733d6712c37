//! Pulls that are killed with SIGKILL at any moment: nothing half is ever visible, and the next pull goes on.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use hanok_sources::Sha256Digest;
use tokio::process::Command;

use crate::web_server::{Reply, WebServer, model_bytes, ranged};
use crate::{pull, sources};

const URL: &str = "HANOK_TEST_PULL_URL";
const DESTINATION: &str = "HANOK_TEST_PULL_DESTINATION";

/// Not a test by itself: what the test below starts and kills.
#[tokio::test]
#[ignore = "started by the test that kills it"]
async fn pulled_by_a_process_of_its_own() {
    let (Ok(url), Ok(destination)) = (std::env::var(URL), std::env::var(DESTINATION)) else { return };
    pull(&sources(&["127.0.0.1"]), &url, destination.as_ref()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_kills_leave_nothing_half() {
    let body = model_bytes(20 << 20);
    let served = body.clone();
    let server = WebServer::start("127.0.0.1", move |head, _| Reply::Bytes(ranged(head, &served, "\"one\""))).await;
    let text = format!("{}#sha256={}", server.url("/model.onnx"), Sha256Digest::of(&body));
    let folder = tempfile::tempdir().unwrap();
    let destination = folder.path().join("model");
    let (mut finished, mut kills) = (0, 0);
    while kills < 200 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "interrupted::pulled_by_a_process_of_its_own"])
            .env(URL, &text)
            .env(DESTINATION, &destination)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut sent = server.sent.clone();
        let begin = *sent.borrow();
        // Half of the kills come while bytes are on their way, spread over all of them, half around the end.
        let after = if kills % 2 == 0 { kills * (20 << 20) / 200 } else { 20 << 20 };
        tokio::select! {
            _ = child.wait() => {}
            // Dropped at once: the value holds a lock that the server needs.
            _ = async { sent.wait_for(|sent| *sent >= begin + after).await.map(drop) } => {
                // What follows the last byte tells nobody how far it is: any moment of it will do.
                tokio::time::timeout(Duration::from_micros(kills * 997 % 60_000), child.wait()).await.ok();
                child.kill().await.unwrap();
                kills += 1;
            }
        }
        if destination.symlink_metadata().is_ok() {
            assert_eq!(fs::read(destination.join("model.onnx")).unwrap(), body, "kill {kills}");
            assert_eq!(fs::read_dir(&destination).unwrap().count(), 1);
            finished += 1;
            fs::remove_dir_all(&destination).unwrap();
        }
    }
    let continued = server.seen().iter().filter(|head| head.range_start().is_some()).count();
    eprintln!("200 kills: {finished} pulls had finished, {continued} requests continued an earlier one");
    pull(&sources(&["127.0.0.1"]), &text, &destination).await.unwrap();
    assert_eq!(fs::read(destination.join("model.onnx")).unwrap(), body);
    let names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
    assert!(finished > 0 && continued > 0, "the kills were not spread: {finished} finished, {continued} continued");
}
