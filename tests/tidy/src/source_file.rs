//! The repository's text files and their parts.
//!
//! Not a parser of Rust: lines are enough for rules about names, headers, lengths and marks. Build outputs, environments
//! and other folders that git ignores are left out by name.

use std::fs;
use std::path::{Path, PathBuf};

use crate::repository_root;

/// Folders that hold nothing of ours.
const IGNORED_FOLDERS: [&str; 7] =
    ["target", ".git", ".hanok", "__pycache__", "node_modules", ".pytest_cache", "scratch"];

/// Larger files are data, not text to read.
const LARGEST_TEXT_BYTES: u64 = 2 << 20;

/// One text file of the repository.
#[derive(Debug)]
pub struct SourceFile {
    /// Path from the repository's root, with `/` between its parts.
    pub path: String,
    /// Whole text.
    pub text: String,
}

impl SourceFile {
    /// Whether the file's name ends in `.rs`.
    #[must_use]
    pub fn is_rust(&self) -> bool {
        self.has_extension("rs")
    }

    /// Whether the file's extension is `extension`.
    #[must_use]
    pub fn has_extension(&self, extension: &str) -> bool {
        Path::new(&self.path).extension().is_some_and(|found| found == extension)
    }

    /// Whether the whole file is a test, a benchmark, a measurement (`examples/`) or part of one.
    #[must_use]
    pub fn is_test(&self) -> bool {
        let stem = Path::new(&self.path).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        self.path.starts_with("tests/")
            || self.path.starts_with("benches/")
            || self.path.contains("/tests/")
            || self.path.contains("/benches/")
            || self.path.contains("/examples/")
            || self.text.lines().any(|line| line.starts_with("#![allow(") && line.contains("tests fail by panicking"))
            || stem == "tests"
            || stem.ends_with("_tests")
    }

    /// Lines before the file's test module, with their numbers from 1; all of them where there is none.
    pub fn lines_before_tests(&self) -> impl Iterator<Item = (usize, &str)> {
        let end = self.test_module_line().unwrap_or(usize::MAX);
        self.text
            .lines()
            .enumerate()
            .map(|(index, line)| (index + 1, line))
            .take_while(move |&(number, _)| number < end)
    }

    /// Line of the attribute of the test module at the end of the file. An attribute on a single item is not one.
    fn test_module_line(&self) -> Option<usize> {
        let lines: Vec<&str> = self.text.lines().collect();
        (0..lines.len())
            .find(|&index| {
                lines[index] == "#[cfg(test)]"
                    && lines[index + 1..]
                        .iter()
                        .find(|line| !line.starts_with("#["))
                        .is_some_and(|line| line.starts_with("mod ") && line.ends_with('{'))
            })
            .map(|index| index + 1)
    }
}

/// Every text file of the repository, ordered by path.
#[must_use]
pub fn source_files() -> Vec<SourceFile> {
    let root = repository_root();
    let mut files = Vec::new();
    collect(&root, &root, &mut files);
    files.sort_by(|left, right| left.path.cmp(&right.path));
    files
}

fn collect(root: &Path, folder: &Path, files: &mut Vec<SourceFile>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let Ok(kind) = entry.file_type() else {
            continue;
        };
        if kind.is_dir() {
            if !IGNORED_FOLDERS.contains(&name.as_ref()) && !name.starts_with(".venv") {
                collect(root, &path, files);
            }
        } else if kind.is_file() && entry.metadata().is_ok_and(|data| data.len() <= LARGEST_TEXT_BYTES) {
            // A file that is not UTF-8 is data.
            if let Ok(text) = fs::read_to_string(&path) {
                files.push(SourceFile { path: relative(root, &path), text });
            }
        }
    }
}

fn relative(root: &Path, path: &Path) -> String {
    let relative: PathBuf = path.strip_prefix(root).unwrap_or(path).to_path_buf();
    relative.to_string_lossy().replace('\\', "/")
}
