//! Reads the file with declared features, and opens the stores that it names. Every fault is told with its line.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use hanok_features::{ErrorCode, FeatureSet, LARGEST_DECLARATION_BYTES, OpenStores, read_features};

use super::told::{mistake, told_to_operator};
use crate::commands::error::CommandError;

/// Reads the declarations of a file.
pub(crate) fn read_declarations(file: &Path) -> Result<FeatureSet, CommandError> {
    let text = read_bounded(file).map_err(|error| unreadable(file, &error))?;
    read_features(&text).map_err(|problems| {
        let lines: Vec<String> = problems
            .iter()
            .map(|problem| {
                let line = problem.line.map_or_else(String::new, |line| format!("{line}:"));
                let resource = problem.resource.as_deref().unwrap_or("declaration");
                let path = if problem.path.is_empty() { String::new() } else { format!("{}: ", problem.path) };
                format!("{}:{line} {resource}: {path}{}", file.display(), problem.message)
            })
            .collect();
        let faults = if lines.len() == 1 { "fault" } else { "faults" };
        let code = ErrorCode::InvalidArgument.as_str();
        let lines_told = lines.join("\n  ");
        CommandError::input(format!("the declarations have `{}` {faults} ({code})\n  {lines_told}", lines.len()))
    })
}

/// A file that cannot be read, with the code for why.
pub(crate) fn unreadable(file: &Path, error: &io::Error) -> CommandError {
    let code = match error.kind() {
        io::ErrorKind::NotFound => ErrorCode::NotFound,
        io::ErrorKind::InvalidInput
        | io::ErrorKind::InvalidData
        | io::ErrorKind::IsADirectory
        | io::ErrorKind::NotADirectory => ErrorCode::InvalidArgument,
        _ => ErrorCode::Unavailable,
    };
    mistake(code, &format!("`{}` cannot be read: {error}", file.display()))
}

/// The text of a file, or one byte more than is taken of it. A pipe would never end, a device may never.
fn read_bounded(file: &Path) -> io::Result<String> {
    let mut text = Vec::new();
    let most = LARGEST_DECLARATION_BYTES as u64 + 1;
    open_regular(file)?.take(most).read_to_end(&mut text)?;
    String::from_utf8(text).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is no text in UTF-8"))
}

/// Opens a regular file: to open a pipe would be to wait for somebody.
pub(crate) fn open_regular(file: &Path) -> io::Result<File> {
    if !std::fs::metadata(file)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    File::open(file)
}

/// Opens the declared stores; files are found from the folder of the declarations. Blocks while it reads files.
pub(crate) fn open_stores(set: &FeatureSet, file: &Path) -> Result<OpenStores, CommandError> {
    OpenStores::open(set, file.parent().unwrap_or(Path::new("."))).map_err(told_to_operator)
}

/// Opens those of these names.
pub(crate) fn open_some_stores(
    set: &FeatureSet,
    file: &Path,
    names: &BTreeSet<&str>,
) -> Result<OpenStores, CommandError> {
    OpenStores::open_some(set, file.parent().unwrap_or(Path::new(".")), names).map_err(told_to_operator)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use std::path::Path;

    use super::read_declarations;

    #[test]
    fn what_has_no_end_is_not_read() {
        let error = read_declarations(Path::new("/dev/zero")).unwrap_err();
        assert!(error.to_string().contains("it is no regular file"), "{error}");
        let folder = tempfile::tempdir().unwrap();
        let huge = folder.path().join("huge.yaml");
        std::fs::File::create(&huge).unwrap().set_len(1 << 33).unwrap();
        let error = read_declarations(&huge).unwrap_err();
        assert!(error.to_string().contains("expected at most `4194304` bytes"), "{error}");
    }
}
