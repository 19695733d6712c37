//! Measures the engine alone: how long models take to load, what they weigh, what a row costs by batch size.
//!
//!     cargo run --release -p hanok-backend-tract --example measure -- models/digits models/flight_delay
//!
//! Inputs are those of the model's golden samples. The figures are the floor under the server's own.

#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used, reason = "a measuring tool for people")]
#![allow(clippy::cast_precision_loss, reason = "figures are rounded for people anyway")]

use std::path::Path;
use std::time::{Duration, Instant};

use hanok_backend::conformance::{Fixture, execute};
use hanok_backend::{Backend as _, InstancePlacement, OutputSelection, Placement};
use hanok_backend_tract::TractBackend;

fn resident_kilobytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn main() {
    println!("resident at start: {} kB", resident_kilobytes());
    let mut kept = Vec::new();
    for argument in std::env::args().skip(1) {
        let folder = Path::new(&argument);
        for version in 1..10 {
            if !folder.join(version.to_string()).join("model.onnx").exists() {
                continue;
            }
            let fixture = Fixture::from_model_directory(folder, version, Some("tract")).unwrap();
            let begin = Instant::now();
            let model = TractBackend::new().load(&fixture.source()).unwrap();
            let load = begin.elapsed();
            let placement = InstancePlacement { name: "measured".to_owned(), placement: Placement::Cpu };
            let mut instance = model.create_instance(&placement).unwrap();
            println!(
                "{argument} version {version}: loaded in {load:.1?}, weights {} kB, resident {} kB",
                model.memory_bytes() / 1024,
                resident_kilobytes()
            );
            let one = fixture.samples.iter().find(|sample| sample.rows == 1).unwrap_or(&fixture.samples[0]);
            let largest = (fixture.config.max_batch_size as usize / one.rows as usize).max(1);
            let mut size = 1;
            while size <= largest.min(64) {
                let requests = vec![one.request(OutputSelection::All); size];
                let mut lowest = Duration::MAX;
                let started = Instant::now();
                while started.elapsed() < Duration::from_millis(500) {
                    let begin = Instant::now();
                    execute(&mut *instance, &fixture.config, &requests, &[]).result.unwrap();
                    lowest = lowest.min(begin.elapsed());
                }
                let rows = size as f64 * f64::from(one.rows);
                println!("  {rows:>4} rows: {lowest:>9.1?}, {:>8.2} us per row", lowest.as_secs_f64() * 1e6 / rows);
                size *= 2;
            }
            kept.push((model, instance));
        }
    }
    println!("resident at end: {} kB", resident_kilobytes());
}
