//! Rules about Rust code that no lint covers: safety notes, the environment, how often code may give up.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use hanok_tidy::{SourceFile, report, source_files};

/// Most `unwrap` and `expect` per 1,000 lines outside tests, over the whole repository.
const MOST_GIVING_UP_PER_1000_LINES: f64 = 1.0;

/// Files outside `src/settings` that may touch the environment, each with its reason.
const ENVIRONMENT_USERS: [(&str, &str); 3] = [
    ("src/main.rs", "turns ONNX Runtime's telemetry off before any thread starts"),
    ("src/app.rs", "the same, called by main"),
    ("runtime/backends/onnxruntime/src/library/open.rs", "refuses to load the library while its telemetry is on"),
];

/// Files that may start a tokio runtime, each with its reason.
const RUNTIME_STARTERS: [(&str, &str); 3] = [
    ("src/main.rs", "the binary"),
    ("src/commands/serve.rs", "the server's one runtime"),
    ("src/commands/bench/load.rs", "load generators, one thread each, in a process that serves nothing"),
];

fn product_files() -> Vec<SourceFile> {
    let files: Vec<SourceFile> = source_files().into_iter().filter(|file| file.is_rust() && !file.is_test()).collect();
    assert!(files.len() > 15, "the product's files were not found");
    files
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with("//")
}

#[test]
fn every_unsafe_block_says_why_it_is_sound() {
    let mut findings = Vec::new();
    for file in source_files().iter().filter(|file| file.is_rust() && !file.path.starts_with("tests/tidy/")) {
        let lines: Vec<&str> = file.text.lines().collect();
        for (index, line) in lines.iter().enumerate() {
            let opens = !is_comment(line) && (line.contains("unsafe {") || line.contains("unsafe impl "));
            // The note stands on the same line or above the statement that holds the block.
            let noted = lines[index.saturating_sub(8)..=index].iter().any(|near| near.contains("SAFETY:"));
            if opens && !noted {
                findings.push(format!("{}:{}", file.path, index + 1));
            }
        }
    }
    assert!(findings.is_empty(), "{}", report("unsafe blocks without a SAFETY note", &findings));
}

#[test]
fn only_the_settings_touch_the_environment() {
    let calls = ["env::var(", "env::var_os(", "env::vars(", "env::vars_os(", "env::set_var(", "env::remove_var("];
    find_calls("places that touch the environment", &calls, |path| {
        path.starts_with("src/settings")
            || path.ends_with("build.rs")
            || ENVIRONMENT_USERS.iter().any(|(file, _)| *file == path)
    });
}

#[test]
fn only_the_binary_starts_tokio_runtimes() {
    let calls = [
        "runtime::Builder::",
        "Builder::new_multi_thread(",
        "Builder::new_current_thread(",
        "Runtime::new(",
        "#[tokio::main",
    ];
    find_calls("places that start a tokio runtime", &calls, |path| {
        RUNTIME_STARTERS.iter().any(|(file, _)| *file == path)
    });
}

fn find_calls(rule: &str, calls: &[&str], allowed: impl Fn(&str) -> bool) {
    let mut findings = Vec::new();
    for file in product_files().iter().filter(|file| !allowed(&file.path)) {
        for (number, line) in file.lines_before_tests().filter(|(_, line)| !is_comment(line)) {
            if calls.iter().any(|call| has_call(line, call)) {
                findings.push(format!("{}:{number}: {}", file.path, line.trim()));
            }
        }
    }
    assert!(findings.is_empty(), "{}", report(rule, &findings));
}

/// Whether `call` stands in `line` as a name of its own: `RemoteRuntime::new(` is no `Runtime::new(`.
fn has_call(line: &str, call: &str) -> bool {
    line.match_indices(call)
        .any(|(at, _)| !line[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_'))
}

#[test]
fn giving_up_is_rare_outside_tests() {
    let mut lines = 0_u32;
    let mut places = Vec::new();
    for file in &product_files() {
        // The conformance kit asserts for a living.
        if file.path.contains("conformance") {
            continue;
        }
        for (number, line) in file.lines_before_tests() {
            lines += 1;
            if !is_comment(line) && (line.contains(".unwrap()") || line.contains(".expect(")) {
                places.push(format!("{}:{number}", file.path));
            }
        }
    }
    let density = f64::from(u32::try_from(places.len()).unwrap()) * 1000.0 / f64::from(lines.max(1));
    assert!(
        density <= MOST_GIVING_UP_PER_1000_LINES,
        "{}",
        report(
            &format!(
                "{density:.2} unwrap and expect per 1,000 lines, expected at most {MOST_GIVING_UP_PER_1000_LINES}"
            ),
            &places
        )
    );
}
