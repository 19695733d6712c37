//! Reads a folder of declarations. Symbolic links are followed, as configuration that is mounted into a container needs.

use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

use super::snapshot::{
    Content, DEEPEST, LookFailure, MOST_BYTES, MOST_FILES, Snapshot, SourceFile, Unfit, is_declaration,
};

const NO_FILE: &str = "expected a regular file, got a pipe or a device";

/// Reads every declaration below `root`. Blocks on the disk.
pub(crate) fn read_folder(root: &Path) -> Result<Snapshot, LookFailure> {
    Ok(Snapshot::new(content(root)?, None))
}

fn content(root: &Path) -> Result<Content, LookFailure> {
    let mut files = Vec::new();
    let mut bytes = 0_u64;
    let mut open = vec![(root.to_owned(), String::new(), 0_usize)];
    while let Some((folder, prefix, depth)) = open.pop() {
        if depth > DEEPEST {
            return Ok(Err(Unfit::too_much("levels of folders", DEEPEST as u64, depth as u64)));
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
                let text = read_file(&path, MOST_BYTES - bytes).map_err(|error| unreadable(&below, &error))?;
                let Some(text) = text else {
                    return Ok(Err(Unfit::file(&below, NO_FILE, "put the file itself there")));
                };
                bytes += text.len() as u64;
                if bytes > MOST_BYTES {
                    return Ok(Err(Unfit::too_much("bytes of declarations", MOST_BYTES, bytes)));
                }
                let Ok(text) = String::from_utf8(text) else { return Ok(Err(Unfit::not_text(&below))) };
                files.push(SourceFile { path: below, text });
                if files.len() > MOST_FILES {
                    return Ok(Err(Unfit::too_much("files", MOST_FILES as u64, files.len() as u64)));
                }
            }
        }
    }
    Ok(Ok(files))
}

/// The content of a file, or one byte more than `most` of it; none where it is no regular file: a pipe would never end, a device
/// may never.
fn read_file(path: &Path, most: u64) -> io::Result<Option<Vec<u8>>> {
    if !fs::metadata(path)?.is_file() {
        return Ok(None);
    }
    let mut text = Vec::new();
    fs::File::open(path)?.take(most + 1).read_to_end(&mut text)?;
    Ok(Some(text))
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
        let paths: Vec<&str> = found.files().iter().map(|file| file.path.as_str()).collect();
        assert_eq!(paths, ["a/x.yml", "a/y.json", "a/z.yaml", "b.yaml"]);
        assert_eq!(found, read_folder(folder.path()).unwrap());
        write("a/z2.yaml", b"b");
        let more = read_folder(folder.path()).unwrap();
        assert_ne!(found.digest, more.digest);
        write("bad.yaml", b"\xff");
        let unfit = || read_folder(folder.path()).unwrap().content.unwrap_err();
        assert_eq!(unfit(), Unfit::not_text("bad.yaml"));
        assert!(read_folder(&folder.path().join("none")).is_err());
        fs::remove_file(folder.path().join("bad.yaml")).unwrap();
        let device = folder.path().join("device.yaml");
        std::os::unix::fs::symlink("/dev/zero", &device).unwrap();
        assert_eq!((unfit().file.as_deref(), unfit().message.as_str()), (Some("device.yaml"), NO_FILE));
        fs::remove_file(device).unwrap();
        std::os::unix::fs::symlink(".", folder.path().join("loop")).unwrap();
        assert!(unfit().message.contains("levels"), "{:?}", unfit());
    }
}
