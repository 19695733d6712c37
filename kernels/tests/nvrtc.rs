//! Every kernel compiles, without a GPU: to PTX and to machine code, without spills, within its registers, cached safely.
//!
//! Needs NVRTC in `.hanok/nvrtc` (`kernels/scripts/install_nvrtc`) or where a toolkit puts it; without it each test says
//! that it skipped, and why.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]
#![allow(clippy::print_stderr, reason = "a skipped test says so")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::{env, fs, process};

use hanok_kernels::{
    Architecture, Compiler, CubinCache, Family, KernelError, Nvrtc, Origin, Target, kernel_resources, nvrtc_candidates,
};

/// Ampere, Hopper and Blackwell of the data centre, and Blackwell of workstations.
const ARCHITECTURES: [&str; 4] = ["sm_80", "sm_90", "sm_100", "sm_120"];

/// Five blocks of 256 threads to a multiprocessor's 65,536 registers; the hungriest kernel took 40 when this was written.
const MOST_REGISTERS: u32 = 48;

fn candidates() -> Vec<PathBuf> {
    nvrtc_candidates(&[PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../.hanok/nvrtc")])
}

fn library(test: &str) -> Option<Nvrtc> {
    match Nvrtc::open(&candidates()) {
        Ok(library) => Some(library),
        Err(error) => {
            eprintln!("SKIPPED {test}: {error}; `kernels/scripts/install_nvrtc` installs it");
            None
        }
    }
}

fn scratch(name: &str) -> PathBuf {
    let folder = env::temp_dir().join(format!("hanok-kernels-{name}-{}", process::id()));
    drop(fs::remove_dir_all(&folder));
    folder
}

/// Machine code of every family for one architecture, with everything that must hold of it.
fn check_machine_code(name: &str) {
    let Some(library) = library("machine code") else { return };
    let mut findings = Vec::new();
    let mut kernels = 0;
    for family in Family::ALL {
        let compiled = library
            .compile(family.name(), &family.source(), Target::Cubin(name))
            .unwrap_or_else(|error| panic!("`{}` for `{name}`: {error}", family.name()));
        assert_eq!(compiled.image[..4], *b"\x7fELF", "`{}`: machine code is an ELF file", family.name());
        let resources: BTreeMap<String, _> =
            kernel_resources(&compiled.log).into_iter().map(|kernel| (kernel.symbol.clone(), kernel)).collect();
        let symbols = family.symbols();
        assert_eq!(symbols.len(), resources.len(), "`{}`: kernels compiled and kernels listed", family.name());
        for symbol in symbols {
            let found = resources.get(symbol.as_str()).unwrap_or_else(|| panic!("`{symbol:?}` was not compiled"));
            kernels += 1;
            if found.stack_bytes != 0 || found.spilled_bytes != 0 {
                findings
                    .push(format!("{symbol:?}: {} bytes of stack, {} spilled", found.stack_bytes, found.spilled_bytes));
            }
            if found.registers == 0 || found.registers > MOST_REGISTERS {
                findings.push(format!("{symbol:?}: {} registers, expected at most {MOST_REGISTERS}", found.registers));
            }
        }
    }
    assert!(findings.is_empty(), "{name}:\n  {}", findings.join("\n  "));
    eprintln!("{name}: {kernels} kernels, no spill, at most {MOST_REGISTERS} registers");
}

#[test]
fn machine_code_for_ampere() {
    check_machine_code(ARCHITECTURES[0]);
}

#[test]
fn machine_code_for_hopper() {
    check_machine_code(ARCHITECTURES[1]);
}

#[test]
fn machine_code_for_blackwell() {
    check_machine_code(ARCHITECTURES[2]);
}

#[test]
fn machine_code_for_blackwell_of_workstations() {
    check_machine_code(ARCHITECTURES[3]);
}

#[test]
fn ptx_has_every_kernel_and_wide_accesses() {
    let Some(library) = library("PTX") else { return };
    for family in Family::ALL {
        let compiled = library.compile(family.name(), &family.source(), Target::Ptx("compute_80")).unwrap();
        let text = String::from_utf8(compiled.image).unwrap();
        for symbol in family.symbols() {
            let entry = format!(".entry {}(", symbol.as_str());
            let start = text.find(&entry).unwrap_or_else(|| panic!("`{symbol:?}` is not in the PTX"));
            let body = &text[start..];
            let body = &body[..body.find("\n}").unwrap()];
            // 16 bytes at once, which PTX writes as four or two parts: what the names promise.
            let wide = |access: &str| {
                body.lines().any(|line| {
                    line.contains(access)
                        && (line.contains(".v4.") || line.contains(".v2.b64") || line.contains(".v2.u64"))
                })
            };
            let name = symbol.as_str();
            let promises = name.ends_with("_w16")
                || name.contains("_w16_")
                || name == "copy_segments"
                || (name.starts_with("softmax") || name.starts_with("layer_norm") || name.starts_with("mean_pooling"))
                    && !name.contains("_v1");
            if promises {
                assert!(wide("ld."), "`{name}` reads 16 bytes at once");
                assert!(wide("st."), "`{name}` writes 16 bytes at once");
            }
        }
    }
}

#[test]
fn a_refused_source_brings_the_compilers_words() {
    let Some(library) = library("refusal") else { return };
    let error = library.compile("broken", "__global__ void f() { undefined_thing(); }", Target::Ptx("compute_80"));
    assert!(error.unwrap_err().to_string().contains("undefined_thing"));
    let error = library.compile("broken", "", Target::Cubin("sm_1"));
    assert!(error.is_err());
}

#[test]
fn a_program_is_compiled_once_and_a_damaged_file_again() {
    if library("cache").is_none() {
        return;
    }
    let folder = scratch("cache");
    let hopper: Architecture = "sm_90".parse().unwrap();
    let cubin = || {
        let compiler = Compiler::new(candidates(), Some(CubinCache::new(&folder)));
        compiler.cubin(Family::Segments, hopper).unwrap()
    };
    let (first, origin) = cubin();
    assert_eq!(origin, Origin::Compiled);
    let (second, origin) = cubin();
    assert_eq!((second, origin), (first.clone(), Origin::Cached));
    let files: Vec<PathBuf> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "nothing partial is left: {files:?}");
    // One bit in the middle, then a file cut short.
    let mut bytes = fs::read(&files[0]).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&files[0], &bytes).unwrap();
    assert_eq!(cubin(), (first.clone(), Origin::Repaired));
    fs::write(&files[0], &bytes[..40]).unwrap();
    assert_eq!(cubin(), (first.clone(), Origin::Repaired));
    assert_eq!(cubin().1, Origin::Cached);
    // A folder that cannot be made costs time, no more.
    let blocked = CubinCache::new(&files[0].join("below-a-file"));
    let (image, origin) = Compiler::new(candidates(), Some(blocked)).cubin(Family::Segments, hopper).unwrap();
    assert_eq!(image, first);
    assert!(matches!(origin, Origin::NotStored(_)));
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn without_the_library_the_error_says_what_was_tried() {
    let nowhere = Compiler::new(vec![PathBuf::from("/nonexistent/libnvrtc.so.13")], None);
    match nowhere.cubin(Family::Cast, "sm_90".parse().unwrap()) {
        Err(KernelError::Unavailable { what, reason }) => {
            assert_eq!(what, "the CUDA run-time compiler");
            assert!(reason.contains("/nonexistent/libnvrtc.so.13"), "{reason}");
        }
        other => panic!("expected Unavailable, got {other:?}"),
    }
    // A library that is none of ours.
    let wrong = Compiler::new(vec![PathBuf::from("libm.so.6")], None);
    assert!(matches!(wrong.library(), Err(KernelError::Unavailable { .. })));
}
