//! What `git ls-tree -r -z` says: the files of a folder, each a plain blob. Pure.

use super::remote_refs::is_object_id;
use crate::artifact_path::shown;
use crate::{ArtifactPath, SourceError, SourceErrorCode};

/// One file of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TreeFile {
    /// Its name within the folder.
    pub(super) path: ArtifactPath,
    /// Id of its blob.
    pub(super) blob: String,
}

/// Files of `listing`, named from `folder`.
pub(super) fn files(listing: &[u8], folder: Option<&ArtifactPath>) -> Result<Vec<TreeFile>, SourceError> {
    let prefix = folder.map(|folder| format!("{folder}/"));
    let mut files = Vec::new();
    for record in listing.split(|byte| *byte == 0).filter(|record| !record.is_empty()) {
        let record = std::str::from_utf8(record).map_err(|_| {
            SourceError::new(
                SourceErrorCode::UnsafePath,
                "the repository has a file name that is not UTF-8",
                "rename it in the repository",
            )
        })?;
        let parsed = record.split_once('\t').and_then(|(head, name)| {
            let mut words = head.split(' ');
            Some((words.next()?, words.next()?, words.next()?, name))
        });
        let Some((mode, kind, blob, name)) = parsed.filter(|(_, _, blob, _)| is_object_id(blob)) else {
            return Err(super::command::failed("its listing cannot be read"));
        };
        let name = match &prefix {
            None => name,
            Some(prefix) => name.strip_prefix(prefix.as_str()).unwrap_or(name),
        };
        match (mode, kind) {
            ("100644" | "100755" | "100664", "blob") => {}
            ("120000", _) => return Err(unsafe_entry(name, "a symbolic link")),
            (_, "commit") => return Err(unsafe_entry(name, "a submodule")),
            _ => return Err(unsafe_entry(name, "no plain file")),
        }
        files.push(TreeFile { path: ArtifactPath::parse(name)?, blob: blob.to_owned() });
    }
    Ok(files)
}

fn unsafe_entry(name: &str, what: &str) -> SourceError {
    SourceError::new(
        SourceErrorCode::UnsafeEntry,
        format!("`{}` is {what} in the repository", shown(name)),
        "commit a plain file in its place, or name a folder without it",
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn plain_files_only() {
        let id = "a".repeat(40);
        let folder = ArtifactPath::parse("m/x").unwrap();
        let listing = format!("100644 blob {id}\tm/x/1/model.onnx\0100755 blob {id}\tm/x/a b\0");
        let names: Vec<_> =
            files(listing.as_bytes(), Some(&folder)).unwrap().into_iter().map(|file| file.path.to_string()).collect();
        assert_eq!(names, ["1/model.onnx", "a b"]);
        for (record, code) in [
            (format!("120000 blob {id}\tm/x/link\0"), SourceErrorCode::UnsafeEntry),
            (format!("160000 commit {id}\tm/x/sub\0"), SourceErrorCode::UnsafeEntry),
            (format!("100644 blob {id}\t../x\0"), SourceErrorCode::UnsafePath),
            (format!("100644 blob -{id}\tx\0"), SourceErrorCode::GitFailed),
            ("x\0".to_owned(), SourceErrorCode::GitFailed),
        ] {
            assert_eq!(files(record.as_bytes(), Some(&folder)).unwrap_err().code(), code, "{record}");
        }
        assert_eq!(files(b"100644 blob \xff\tx\0", None).unwrap_err().code(), SourceErrorCode::UnsafePath);
        assert_eq!(files(b"", None).unwrap(), []);
    }
}
