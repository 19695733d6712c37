//! Kills processes with SIGKILL while they register, evict and collect, and counts what was lost or left.
//!
//! `kill_imports parent KILLS SEED` starts itself as `kill_imports child FOLDER NUMBER SEED` again and again. A child
//! registers versions of several files one after the other, as a pull does, below a quota, and prints each that was
//! acknowledged. Each is killed after a random time. Then the registry is opened: every acknowledged version must be on
//! record with its digest, every file must have its content, and nothing else may lie there. Prints one line of JSON.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    missing_docs,
    reason = "a measuring program that fails by panicking, prints its figures and exports nothing"
)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use hanok_registry::{Actor, CollectRequest, Origin, Registry, RegistrySettings, VersionFacts};
use hanok_state::Timestamp;
use serde_json::json;

const QUOTA: u64 = 24 << 20;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["child", folder, number, seed] => child(Path::new(folder), number.parse().unwrap(), seed.parse().unwrap()),
        ["parent", kills, seed] => parent(kills.parse().unwrap(), seed.parse().unwrap()),
        _ => panic!("expected `parent KILLS SEED`"),
    }
}

/// Xorshift: which moments are hit and what the files hold, from the seed alone.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

fn actor(now: u64) -> Actor {
    Actor::new("child", Timestamp::from_unix_millis(i64::try_from(now).unwrap()).unwrap()).unwrap()
}

fn child(folder: &Path, child: u64, seed: u64) {
    let settings = RegistrySettings { quota_bytes: Some(QUOTA), ..RegistrySettings::default() };
    let registry = Registry::open(folder, settings).unwrap();
    let mut random = Random(seed | 1);
    println!("ready");
    for round in 0.. {
        let mut import = registry.import().unwrap();
        for part in 0..1 + random.next() % 4 {
            let mut file = import.file(&format!("part-{part}")).unwrap();
            // Some contents come again and again, so that eviction meets contents that others need.
            let content = if part == 0 { random.next() % 8 } else { random.next() };
            let mut bytes = Random(content | 1);
            for _ in 0..=random.next() % 16 {
                file.write(&bytes.next().to_le_bytes().repeat(8_192)).unwrap();
            }
            import.finish(file).unwrap();
        }
        let pinned = format!("test://{child}/{round}");
        let origin = Some(Origin { asked: pinned.clone(), pinned });
        let facts = VersionFacts { origin, ..VersionFacts::default() };
        let registered = import.register("m", &facts, &actor(round)).unwrap();
        println!("{} {}", registered.version.name.number, registered.version.digest);
        std::io::stdout().flush().unwrap();
        if random.next().is_multiple_of(4) {
            let request = CollectRequest { quota_bytes: Some(QUOTA / 2), ..CollectRequest::default() };
            registry.collect(&request, &actor(round)).unwrap();
        }
    }
}

fn parent(kills: u64, seed: u64) {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("registry");
    let mut random = Random(seed | 1);
    let mut acknowledged: BTreeMap<u64, String> = BTreeMap::new();
    let (mut half, mut killed_at_work, mut evicted) = (0, 0, 0);
    for number in 0..kills {
        let child = Command::new(std::env::current_exe().unwrap())
            .arg("child")
            .arg(&root)
            .args([number.to_string(), random.next().to_string()])
            .stdout(Stdio::piped())
            .spawn();
        let mut child = child.unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // One in four is killed while it opens the registry, where it sweeps what the one before left.
        let opened = !number.is_multiple_of(4);
        if opened {
            assert_eq!(lines.next().unwrap().unwrap(), "ready");
        }
        std::thread::sleep(Duration::from_micros(random.next() % if opened { 60_000 } else { 6_000 }));
        child.kill().unwrap();
        child.wait().unwrap();
        for line in lines.map_while(Result::ok) {
            // The last line may be cut; then it was not told.
            if let Some((version, digest)) = line.split_once(' ').filter(|(_, digest)| digest.len() == 71) {
                acknowledged.insert(version.parse().unwrap(), digest.to_owned());
            }
        }
        let at_work = std::fs::read_dir(root.join("staging")).map_or(0, Iterator::count);
        killed_at_work += u64::from(at_work > 0);
        let registry = Registry::open(&root, RegistrySettings::default()).unwrap();
        let report = registry.verify().unwrap();
        half += report.problems.len() as u64 + report.orphans;
        half += std::fs::read_dir(root.join("staging")).unwrap().count() as u64;
    }
    let registry = Registry::open(&root, RegistrySettings::default()).unwrap();
    let versions = registry.versions(None).unwrap();
    let lost = acknowledged.iter().filter(|(number, digest)| {
        !versions.iter().any(|version| version.name.number == **number && version.digest.to_string() == **digest)
    });
    let lost = lost.count();
    evicted += versions.iter().filter(|version| !version.present).count();
    let log = registry.log(None, 0, usize::MAX).unwrap();
    // As many records of registration as versions, and no gap.
    let registered = log.iter().filter(|record| record.action == hanok_registry::Action::VersionRegistered).count();
    assert_eq!(registered, versions.len());
    assert!(log.iter().zip(1..).all(|(record, place)| record.sequence == place));
    let figures = json!({
        "kills": kills, "killed_at_work": killed_at_work, "acknowledged": acknowledged.len(),
        "registered": versions.len(), "evicted": evicted, "lost": lost, "half": half,
    });
    println!("{figures}");
    std::process::exit(i32::from(lost > 0 || half > 0));
}
