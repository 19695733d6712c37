//! Reads a folder of declarations. Symbolic links are followed, as configuration that is mounted into a container needs.

use std::fs;
use std::io;
use std::path::Path;

use super::snapshot::{DEEPEST, LookFailure, MOST_BYTES, MOST_FILES, Snapshot, SourceFile, is_declaration};

/// Reads every declaration below `root`. Blocks on the disk.
pub(crate) fn read_folder(root: &Path) -> Result<Snapshot, LookFailure> {
    let mut files = Vec::new();
    let mut bytes = 0_u64;
    let mut open = vec![(root.to_owned(), String::new(), 0_usize)];
    while let Some((folder, prefix, depth)) = open.pop() {
        if depth > DEEPEST {
            return Err(LookFailure::too_much("levels of folders", DEEPEST as u64, depth as u64));
        }
        let entries = fs::read_dir(&folder).map_err(|error| unreadable(&prefix, &error))?;
        for entry in entries {
            let path = entry.map_err(|error| unreadable(&prefix, &error))?.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            if name.starts_with('.') {
                continue;
            }
            let below = format!("{prefix}{name}");
            if path.is_dir() {
                open.push((path, format!("{below}/"), depth + 1));
            } else if is_declaration(&below) {
                let size = fs::metadata(&path).map_err(|error| unreadable(&below, &error))?.len();
                bytes = bytes.saturating_add(size);
                if bytes > MOST_BYTES {
                    return Err(LookFailure::too_much("bytes of declarations", MOST_BYTES, bytes));
                }
                let text = fs::read(&path).map_err(|error| unreadable(&below, &error))?;
                let text = String::from_utf8(text).map_err(|_| LookFailure::not_text(&below))?;
                files.push(SourceFile { path: below, text });
                if files.len() > MOST_FILES {
                    return Err(LookFailure::too_much("files", MOST_FILES as u64, files.len() as u64));
                }
            }
        }
    }
    Ok(Snapshot::new(files, None))
}

fn unreadable(path: &str, error: &io::Error) -> LookFailure {
    let shown = if path.is_empty() { "the folder".to_owned() } else { format!("`{}`", path.trim_end_matches('/')) };
    LookFailure::new(format!("{shown} cannot be read: {error}"), "see that it exists and that this process may read it")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn declarations_are_found_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str, bytes: &[u8]| {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        };
        write("b.yaml", b"b");
        write("a/x.yml", b"x");
        write("a/y.json", b"y");
        for ignored in ["README.md", ".git/config.yaml", "a/.hidden.yaml", "yaml"] {
            write(ignored, b"\xff");
        }
        std::os::unix::fs::symlink("../b.yaml", folder.path().join("a/z.yaml")).unwrap();
        let found = read_folder(folder.path()).unwrap();
        let paths: Vec<&str> = found.files.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(paths, ["a/x.yml", "a/y.json", "a/z.yaml", "b.yaml"]);
        assert_eq!(found, read_folder(folder.path()).unwrap());
        write("a/z2.yaml", b"b");
        let more = read_folder(folder.path()).unwrap();
        assert_ne!(found.digest, more.digest);
        write("bad.yaml", b"\xff");
        assert!(read_folder(folder.path()).unwrap_err().message.contains("bad.yaml"));
        assert!(read_folder(&folder.path().join("none")).is_err());
        std::os::unix::fs::symlink(".", folder.path().join("loop")).unwrap();
        fs::remove_file(folder.path().join("bad.yaml")).unwrap();
        assert!(read_folder(folder.path()).unwrap_err().message.contains("levels"));
    }
}
