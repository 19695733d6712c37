//! Kills processes with SIGKILL while they register, export, evict and collect, and counts what was lost or left.
//!
//! `kill_imports parent KILLS SEED` starts itself as `kill_imports child FOLDER NUMBER SEED` again and again. A child
//! registers versions of several files one after the other, as a pull does, below a quota, lays some out in a model
//! repository, and prints each that was acknowledged. Each is killed after a random time. Then the registry is opened:
//! every acknowledged version must be on record with its digest, every file must have its content, every version in the
//! model repository must be whole, and nothing else may lie there. Prints one line of JSON; the exit status says whether
//! all of that holds. SIGKILL is not a power cut: what was written and not yet on the disk survives it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs,
    reason = "a measuring program that fails by panicking, prints its figures and exports nothing"
)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use hanok_registry::{
    Actor, CollectRequest, Origin, Registry, RegistrySettings, VersionFacts, VersionReference, find_models,
};
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
    let registry = Registry::open(&folder.join("registry"), settings).unwrap();
    let mut random = Random(seed | 1);
    println!("ready");
    for round in 0.. {
        let mut import = registry.import().unwrap();
        let mut configuration = import.file("config.pbtxt").unwrap();
        configuration.write(b"max_batch_size: 8").unwrap();
        import.finish(configuration).unwrap();
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
        if random.next().is_multiple_of(2) {
            let meant = VersionReference::from(registered.version.name);
            let exported = registry.export(&meant, &folder.join("models"), None, actor(round).now).unwrap();
            println!("exported {}", exported.version.name.number);
        }
        if random.next().is_multiple_of(4) {
            let request = CollectRequest { quota_bytes: Some(QUOTA / 2), ..CollectRequest::default() };
            registry.collect(&request, &actor(round)).unwrap();
        }
    }
}

/// What the parent counts over all kills.
#[derive(Debug, Default)]
struct Counts {
    acknowledged: BTreeMap<u64, String>,
    exports: u64,
    exports_lost: u64,
    half: u64,
    killed_at_work: u64,
}

fn parent(kills: u64, seed: u64) {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("registry");
    let mut random = Random(seed | 1);
    let (mut counts, mut pace) = (Counts::default(), Duration::from_millis(10));
    for number in 0..kills {
        // One in four is killed while it opens the registry, where it sweeps what the one before left.
        let told = run_and_kill(folder.path(), number, !number.is_multiple_of(4), &mut random, &mut pace);
        let at_work = fs::read_dir(root.join("staging")).map_or(0, Iterator::count);
        counts.killed_at_work += u64::from(at_work > 0);
        let registry = Registry::open(&root, RegistrySettings::default()).unwrap();
        let report = registry.verify().unwrap();
        let unfinished = fs::read_dir(root.join("staging")).unwrap().count() as u64;
        let half = report.problems.len() as u64 + report.orphans + unfinished;
        if half > 0 {
            eprintln!("after kill {number}: {unfinished} in the staging folder, {report:?}");
        }
        counts.half += half;
        check_repository(&registry, &folder.path().join("models"), &told.exported, &mut counts);
        counts.acknowledged.extend(told.registered);
    }
    let registry = Registry::open(&root, RegistrySettings::default()).unwrap();
    let versions = registry.versions(None).unwrap();
    let on_record: BTreeMap<u64, String> =
        versions.iter().map(|version| (version.name.number, version.digest.to_string())).collect();
    let lost = counts.acknowledged.iter().filter(|(number, digest)| on_record.get(number) != Some(digest)).count();
    let log = registry.log(None, 0, usize::MAX).unwrap();
    // As many records of registration as versions, and no gap.
    let registered = log.iter().filter(|record| record.action == hanok_registry::Action::VersionRegistered).count();
    assert_eq!(registered, versions.len());
    assert!(log.iter().zip(1..).all(|(record, place)| record.sequence == place));
    let figures = json!({
        "kills": kills, "killed_at_work": counts.killed_at_work, "acknowledged": counts.acknowledged.len(),
        "registered": versions.len(), "evicted": versions.iter().filter(|version| !version.present).count(),
        "exported": counts.exports, "lost": lost as u64 + counts.exports_lost, "half": counts.half,
    });
    println!("{figures}");
    std::process::exit(i32::from(lost > 0 || counts.exports_lost > 0 || counts.half > 0));
}

/// What a child told before it was killed.
#[derive(Debug, Default)]
struct Told {
    registered: BTreeMap<u64, String>,
    exported: Vec<u64>,
}

impl Told {
    fn take(&mut self, line: &str) {
        match line.split_once(' ') {
            Some(("exported", version)) => self.exported.extend(version.parse::<u64>()),
            // The last line may be cut; then it was not told.
            Some((version, digest)) if digest.len() == 71 => {
                self.registered.insert(version.parse().unwrap(), digest.to_owned());
            }
            _ => {}
        }
    }
}

/// `pace` is how long a child takes from one line to the next on this machine: that much later, at most, it is killed.
fn run_and_kill(folder: &Path, number: u64, after_opening: bool, random: &mut Random, pace: &mut Duration) -> Told {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg("child").arg(folder).args([number.to_string(), random.next().to_string()]).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut told = Told::default();
    if after_opening {
        assert_eq!(lines.next().unwrap().unwrap(), "ready");
        for _ in 0..random.next() % 4 {
            let begun = Instant::now();
            told.take(&lines.next().unwrap().unwrap());
            *pace = begun.elapsed().clamp(Duration::from_millis(1), Duration::from_secs(1));
        }
    }
    let latest = u64::try_from(pace.as_micros()).unwrap() + 1;
    std::thread::sleep(Duration::from_micros(random.next() % latest));
    child.kill().unwrap();
    child.wait().unwrap();
    lines.map_while(Result::ok).for_each(|line| told.take(&line));
    told
}

/// Every version there must be whole, those that were told must be there, and the next export removes what was left.
fn check_repository(registry: &Registry, repository: &Path, exported: &[u64], counts: &mut Counts) {
    fs::create_dir_all(repository).unwrap();
    let sources = registry.sources().unwrap();
    let found = find_models([repository]).unwrap();
    let versions = found.get("m").map(|model| model.versions.clone()).unwrap_or_default();
    for (number, digest) in &versions {
        let pinned = sources.find("m", *number, digest);
        let own = registry.version(&format!("m/{number}").parse().unwrap()).unwrap().facts.origin.unwrap().pinned;
        if pinned.as_ref() != Some(&own) {
            eprintln!("laid out version {number} is not what it says: expected {own}, found {pinned:?}");
            counts.half += 1;
        }
    }
    counts.exports += versions.len() as u64;
    counts.exports_lost += exported.iter().filter(|number| !versions.contains_key(number)).count() as u64;
    if let Some(present) = registry.versions(None).unwrap().into_iter().rfind(|version| version.present) {
        registry.export(&present.name.into(), repository, None, actor(0).now).unwrap();
        let names = fs::read_dir(repository).unwrap().map(|entry| entry.unwrap().file_name());
        let left: Vec<_> = names.filter(|name| name != "m").collect();
        if !left.is_empty() {
            eprintln!("left in the model repository: {left:?}");
        }
        counts.half += left.len() as u64;
    }
    fs::remove_dir_all(repository).unwrap();
}
