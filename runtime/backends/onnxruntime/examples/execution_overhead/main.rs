//! What an execution costs beyond the library's own call, and what loaded models cost in memory.
//!
//! `cargo run --release -p hanok-backend-onnxruntime --example execution_overhead -- [FOLDER [MODEL]]`, by default over
//! `models/` of the repository. For every model: nanoseconds of thread time of an execution through the backend, of a
//! bare call that reuses its values, and their difference; then the resident memory of the process with all of them.

#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used, reason = "a tool for developers")]
#![allow(unsafe_code, reason = "variables and the clock of a thread")]

mod bare;

use std::path::{Path, PathBuf};

use hanok_backend::conformance::{Fixture, Outcome, Sample};
use hanok_backend::{Backend, Batch, BatchInput, InstancePlacement, Member, OutputSelection, Placement};
use hanok_backend_onnxruntime::{LibrarySearch, OnnxRuntimeBackend, TELEMETRY_SWITCH, locate};

fn main() {
    // SAFETY: no other thread runs yet.
    unsafe { std::env::set_var(TELEMETRY_SWITCH.0, TELEMETRY_SWITCH.1) };
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
    let report = locate(&LibrarySearch {
        environment: std::env::var_os("ORT_DYLIB_PATH").map(PathBuf::from),
        project_directory: Some(workspace.join(".hanok/lib")),
        ..Default::default()
    });
    let found = report.found.unwrap_or_else(|| {
        println!("skipped: ONNX Runtime not found");
        std::process::exit(0)
    });
    println!("before opening: {}", resident());
    let backend = OnnxRuntimeBackend::open(&found.path).expect("the library opens");
    println!("ONNX Runtime {} opened: {}", backend.version(), resident());

    let mut arguments = std::env::args_os().skip(1);
    let folder = arguments.next().map_or_else(|| workspace.join("models"), PathBuf::from);
    let only = arguments.next();
    let mut folders: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().filter_map(Result::ok).map(|entry| entry.path()).collect();
    folders.sort();
    let mut kept = Vec::new();
    for model in folders.iter().filter(|path| path.join("1/model.onnx").exists()) {
        if only.as_ref().is_some_and(|only| model.file_name() != Some(only)) {
            continue;
        }
        for version in (1..4).filter(|version| model.join(version.to_string()).join("model.onnx").exists()) {
            let mut fixture = Fixture::from_model_directory(model, version, Some(OnnxRuntimeBackend::NAME)).unwrap();
            fixture.samples.truncate(1);
            let loaded = backend.load(&fixture.source()).unwrap();
            let placement = InstancePlacement { name: "overhead_0_0".to_owned(), placement: Placement::Cpu };
            let instance = loaded.create_instance(&placement).unwrap();
            println!("loaded {} version {version}: {}", fixture.config.name, resident());
            kept.push((fixture, loaded, instance));
        }
    }
    println!("{} models loaded: {}", kept.len(), resident());
    backend.release_loading_memory();
    println!("loading memory released: {}", resident());
    if std::env::var_os("ONLY_MEMORY").is_some() {
        return;
    }
    for (fixture, _, instance) in &mut kept {
        let Some(sample) = fixture.samples.first() else { continue };
        let through = through_backend(&mut **instance, fixture, sample);
        let name = &fixture.config.name;
        match bare::Bare::new(fixture, sample) {
            Some(mut bare) => {
                let bare = measure(|| bare.run());
                let overhead = through.saturating_sub(bare);
                println!("{name:24} execute {through:>10} ns, bare {bare:>10} ns, overhead {overhead:>6} ns");
            }
            None => println!("{name:24} execute {through:>10} ns"),
        }
    }
    println!("after executions: {}", resident());
}

/// Lowest mean of several rounds, in nanoseconds of this thread.
fn measure(mut once: impl FnMut()) -> u64 {
    let start = thread_time();
    once();
    once();
    let single = ((thread_time() - start) / 2).max(1);
    let rounds = (20_000_000 / single).clamp(3, 20_000);
    (0..15)
        .map(|_| {
            let start = thread_time();
            (0..rounds).for_each(|_| once());
            (thread_time() - start) / rounds
        })
        .min()
        .unwrap_or(0)
}

fn through_backend(instance: &mut dyn hanok_backend::ModelInstance, fixture: &Fixture, sample: &Sample) -> u64 {
    let request = sample.request(OutputSelection::All);
    let mut outcome = Outcome::default();
    let mut members = [Member::new(&request, &mut outcome)];
    let inputs = request
        .inputs
        .iter()
        .map(|input| input.as_ref().map(|tensor| BatchInput { shape: tensor.shape.clone(), data: &tensor.data }));
    let inputs = inputs.collect();
    let mut batch = Batch::new(&fixture.config, inputs, &mut members);
    measure(|| instance.execute(&mut batch).unwrap())
}

fn thread_time() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes one structure.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    u64::try_from(time.tv_sec).unwrap() * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap()
}

fn resident() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
    };
    format!(
        "resident {:.1} MiB (own {:.1}, files {:.1}), {} threads",
        line("VmRSS"),
        line("RssAnon"),
        line("RssFile"),
        status
            .lines()
            .find(|line| line.starts_with("Threads"))
            .and_then(|line| line.split_whitespace().nth(1))
            .unwrap_or("?")
    )
}
