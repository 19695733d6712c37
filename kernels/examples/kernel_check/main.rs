//! Checks every kernel on this machine's GPU against its CPU reference, and times it against the least that it must move.
//!
//! One program, to be carried to a machine that has a driver and NVRTC and nothing else:
//! `kernel_check [--nvrtc LIBRARY] [--cache FOLDER] [--commit TEXT] [--output REPORT.json] [--rounds N]`.
//! Ends with 0 when every kernel is right, 1 when one is not, 2 for wrong arguments, 3 where there is no device (said in one
//! line). NVRTC is looked for at `--nvrtc`, in `.hanok/nvrtc`, beside the program, in the Python packages of `python3`
//! (`nvidia/*/lib`), in `/usr/local/cuda`, and with the system's loader, in this order.
//!
//! Times are device time between events around many launches, the median of several rounds after a warm-up; the floor is a
//! kernel's least bytes over the copy bandwidth measured in the same run. With `--rounds 0` every kernel is launched once and
//! compared, and nothing is timed: for `compute-sanitizer`.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command that prints its report")]

mod bench;
mod elementwise;
mod reductions;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::{env, fs};

use bench::{Bench, Row};
use hanok_kernels::{Compiler, CubinCache, Family, KernelError, Kernels, context, nvrtc_candidates};
use serde_json::{Value, json};

const NO_DEVICE: u8 = 3;

#[derive(Default)]
struct Arguments {
    nvrtc: Option<PathBuf>,
    cache: Option<PathBuf>,
    output: Option<PathBuf>,
    commit: String,
    rounds: Option<usize>,
}

/// Rounds whose median is reported, unless told otherwise.
const ROUNDS: usize = 9;

fn main() -> ExitCode {
    let arguments = match arguments(env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(message) => {
            eprintln!("kernel_check: {message}");
            return ExitCode::from(2);
        }
    };
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            if let Some(KernelError::Unavailable { what: "the CUDA driver", reason }) = error.downcast_ref() {
                eprintln!("kernel_check: no device: {reason}");
                return ExitCode::from(NO_DEVICE);
            }
            eprintln!("kernel_check: {error}");
            ExitCode::FAILURE
        }
    }
}

fn arguments(mut given: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut arguments = Arguments::default();
    while let Some(name) = given.next() {
        let value = given.next().ok_or_else(|| format!("`{name}` wants a value"))?;
        match name.as_str() {
            "--nvrtc" => arguments.nvrtc = Some(value.into()),
            "--cache" => arguments.cache = Some(value.into()),
            "--output" => arguments.output = Some(value.into()),
            "--commit" => arguments.commit = value,
            "--rounds" => {
                let rounds = value.parse().map_err(|_| format!("`--rounds` wants a number, got `{value}`"))?;
                arguments.rounds = Some(rounds);
            }
            _ => return Err(format!("expected --nvrtc, --cache, --output, --commit or --rounds, got `{name}`")),
        }
    }
    Ok(arguments)
}

fn run(arguments: &Arguments) -> Result<bool, Box<dyn Error>> {
    let context = context(0)?;
    let cache = arguments.cache.as_deref().map(CubinCache::new);
    let compiler = Arc::new(Compiler::new(candidates(arguments.nvrtc.as_deref()), cache));
    let kernels = Kernels::new(Arc::clone(&context), Arc::clone(&compiler))?;
    let library = compiler.library()?;
    println!("device {}, {}, {}", context.name()?, kernels.architecture(), driver_version());
    println!("compiler {} ({}.{})", library.path().display(), library.version().0, library.version().1);
    for family in Family::ALL {
        println!("  {}: {:?}", family.name(), kernels.load(family)?);
    }
    let mut bench = Bench::new(&context, &kernels, arguments.rounds.unwrap_or(ROUNDS))?;
    println!("copy bandwidth {:.0} GB/s, bytes read and written\n", bench.bandwidth / 1e9);
    elementwise::check(&mut bench)?;
    reductions::check(&mut bench)?;
    println!("{:<44} {:>7} {:>10} {:>10} {:>10} {:>7}", "kernel", "right", "error", "time us", "floor us", "ratio");
    for row in &bench.rows {
        print_row(row);
    }
    let right = bench.rows.iter().all(|row| row.right);
    if let Some(path) = &arguments.output {
        let report = json!({
            "device": context.name()?,
            "architecture": kernels.architecture().to_string(),
            "driver": driver_version(),
            "nvrtc": format!("{}.{}", library.version().0, library.version().1),
            "commit": arguments.commit,
            "copy_bytes_per_second": bench.bandwidth,
            "all_right": right,
            "kernels": bench.rows.iter().map(row_value).collect::<Vec<Value>>(),
        });
        fs::write(path, format!("{report:#}\n"))?;
    }
    Ok(right)
}

fn print_row(row: &Row) {
    println!(
        "{:<44} {:>7} {:>10.1e} {:>10.1} {:>10.1} {:>7.2}",
        row.name,
        if row.right { "yes" } else { "NO" },
        row.error,
        row.seconds * 1e6,
        row.floor_seconds * 1e6,
        row.seconds / row.floor_seconds
    );
}

fn row_value(row: &Row) -> Value {
    json!({
        "kernel": row.name,
        "right": row.right,
        "relative_error": if row.error.is_finite() { json!(row.error) } else { json!("not finite") },
        "tolerance": row.tolerance,
        "bytes": row.bytes,
        "operations": row.operations,
        "seconds": row.seconds,
        "floor_seconds": row.floor_seconds,
        "time_over_floor": row.seconds / row.floor_seconds,
    })
}

/// Where NVRTC may be, best first.
fn candidates(given: Option<&Path>) -> Vec<PathBuf> {
    let mut folders = vec![PathBuf::from(".hanok/nvrtc")];
    folders.extend(env::current_exe().ok().and_then(|path| path.parent().map(Path::to_path_buf)));
    folders.extend(python_folders());
    given.map(Path::to_path_buf).into_iter().chain(nvrtc_candidates(&folders)).collect()
}

/// `nvidia/*/lib` of every folder that `python3` imports from.
fn python_folders() -> Vec<PathBuf> {
    let Ok(output) = Command::new("python3").args(["-c", "import sys; print('\\n'.join(sys.path))"]).output() else {
        return Vec::new();
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let packages = text.lines().map(|line| Path::new(line).join("nvidia")).filter_map(|folder| folder.read_dir().ok());
    packages.flat_map(|entries| entries.flatten().map(|entry| entry.path().join("lib"))).collect()
}

/// The kernel module's version line where there is one.
fn driver_version() -> String {
    let text = fs::read_to_string("/proc/driver/nvidia/version").unwrap_or_default();
    text.lines().next().map_or_else(|| "driver version unknown".to_owned(), |line| line.trim().to_owned())
}
