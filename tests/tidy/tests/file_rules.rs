//! Rules about files: header, length, names, unfinished marks, places that only one machine knows.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use hanok_tidy::{SourceFile, report, source_files};

/// Longest file before its tests.
const LONGEST_FILE_LINES: usize = 500;

/// Names that say nothing about what is inside.
const BUCKET_NAMES: [&str; 13] = [
    "util", "utils", "common", "helper", "helpers", "misc", "shared", "base", "manager", "types", "handler",
    "handlers", "stuff",
];

/// Text that must not be found in the files below; split, so that this file does not find itself.
fn written(parts: &[&str]) -> String {
    parts.concat()
}

fn check(rule: &str, find: impl Fn(&SourceFile) -> Vec<String>) {
    let files = source_files();
    assert!(files.iter().filter(|file| file.is_rust()).count() > 20, "the repository's files were not found");
    let findings: Vec<String> = files.iter().flat_map(find).collect();
    assert!(findings.is_empty(), "{}", report(rule, &findings));
}

#[test]
fn every_rust_file_opens_with_a_header() {
    check("files without a `//!` header that says something", |file| {
        let header = file.text.lines().next().unwrap_or_default();
        let says_something = header.strip_prefix("//! ").is_some_and(|text| text.len() >= 12);
        if file.is_rust() && !says_something { vec![file.path.clone()] } else { vec![] }
    });
}

#[test]
fn files_are_short() {
    check("files over 500 lines before their tests", |file| {
        let lines = file.lines_before_tests().count();
        let counts = (file.is_rust() || file.has_extension("py")) && lines > LONGEST_FILE_LINES;
        if counts { vec![format!("{} ({lines} lines)", file.path)] } else { vec![] }
    });
}

#[test]
fn no_file_or_module_has_a_bucket_name() {
    check("names that say nothing", |file| {
        let mut findings = Vec::new();
        if !file.is_rust() && !file.has_extension("py") {
            return findings;
        }
        let in_path = file.path.split('/').map(|part| part.split('.').next().unwrap_or_default());
        findings
            .extend(in_path.filter(|name| BUCKET_NAMES.contains(name)).map(|name| format!("{}: `{name}`", file.path)));
        if file.is_rust() {
            for (number, line) in file.text.lines().enumerate() {
                let declared =
                    line.trim().trim_start_matches("pub ").trim_start_matches("pub(crate) ").strip_prefix("mod ");
                let name = declared.map(|rest| rest.trim_end_matches([';', '{', ' ']));
                if name.is_some_and(|name| BUCKET_NAMES.contains(&name)) {
                    findings.push(format!("{}:{}: {line}", file.path, number + 1));
                }
            }
        }
        findings
    });
}

#[test]
fn nothing_is_marked_unfinished() {
    let marks =
        [written(&["TO", "DO"]), written(&["FIX", "ME"]), written(&["to", "do!("]), written(&["unimple", "mented!("])];
    check("unfinished marks", |file| {
        let code = ["rs", "py", "sh", "toml", "md", "yaml", "yml", "proto"]
            .iter()
            .any(|extension| file.has_extension(extension));
        if !code {
            return vec![];
        }
        let lines = file.text.lines().enumerate();
        lines
            .filter(|(_, line)| marks.iter().any(|mark| contains_word(line, mark)))
            .map(|(number, line)| format!("{}:{}: {}", file.path, number + 1, line.trim()))
            .collect()
    });
}

/// Whether `line` has `mark` with no letter or digit right before or after it.
fn contains_word(line: &str, mark: &str) -> bool {
    line.match_indices(mark).any(|(start, found)| {
        let is_part = |character: char| character.is_alphanumeric() || character == '_';
        let before = line[..start].chars().next_back().is_some_and(is_part);
        let after = line[start + found.len()..].chars().next().is_some_and(is_part);
        !before && (!after || mark.ends_with('('))
    })
}

#[test]
fn no_file_names_a_registry_host_or_a_machine() {
    let refused = [
        written(&["pypi", ".org"]),
        written(&["files.python", "hosted.org"]),
        written(&["index.crates", ".io"]),
        written(&["static.crates", ".io"]),
        written(&["registry.npm", "js.org"]),
        written(&["repo.maven", ".apache.org"]),
        written(&["proxy.go", "lang.org"]),
        written(&["deb.deb", "ian.org"]),
        written(&["/wo", "rk/"]),
        written(&["/ro", "ot/"]),
        written(&["/ho", "me/"]),
    ];
    check("registry hosts and machine paths", |file| {
        if file.path.ends_with("Cargo.lock") {
            return vec![];
        }
        let lines = file.text.lines().enumerate();
        lines
            .filter_map(|(number, line)| {
                let found = refused.iter().find(|name| line.contains(name.as_str()))?;
                Some(format!("{}:{}: `{found}`", file.path, number + 1))
            })
            .collect()
    });
}
