//! What a place held at one look: files with declarations, a digest over them, and for Git the commit.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Most files of one place.
pub(super) const MOST_FILES: usize = 1_000;
/// Most bytes of all files together.
pub(super) const MOST_BYTES: u64 = 16 << 20;
/// Deepest folder below the place.
pub(super) const DEEPEST: usize = 16;

/// A file with declarations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SourceFile {
    /// Below the place, `/` between parts.
    pub(crate) path: String,
    pub(crate) text: String,
}

/// The commit that files come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Commit {
    /// Its full id.
    pub(crate) id: String,
    /// `NAME <ADDRESS>` of its author.
    pub(crate) author: String,
    /// When it was committed, in ISO 8601.
    pub(crate) at: String,
    /// First line of its message.
    pub(crate) subject: String,
}

/// Why what a place holds can be no declaration, although it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unfit {
    /// The file below the place that is the reason, where it is one.
    pub(crate) file: Option<String>,
    /// What is wrong: lower case, expected before found.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) remedy: &'static str,
}

/// Files of a place, or why there are none to be had.
pub(crate) type Content = Result<Vec<SourceFile>, Unfit>;

/// What a place held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Snapshot {
    /// Files by path.
    pub(crate) content: Content,
    /// `None`: not from Git.
    pub(crate) commit: Option<Commit>,
    pub(crate) digest: String,
}

impl Snapshot {
    pub(crate) fn new(content: Content, commit: Option<Commit>) -> Self {
        let mut digest = Sha256::new();
        let content = content.map(|mut files| {
            files.sort_by(|one, other| one.path.cmp(&other.path));
            files
        });
        match &content {
            Ok(files) => {
                for file in files {
                    digest.update(format!("{} {}\n", file.text.len(), file.path));
                    digest.update(&file.text);
                }
            }
            // No file's size begins like this.
            Err(unfit) => digest.update(format!("unfit {:?} {}", unfit.file, unfit.message)),
        }
        let digest = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        Self { content, commit, digest: format!("sha256:{digest}") }
    }

    /// Its files; none where its content is unfit.
    pub(crate) fn files(&self) -> &[SourceFile] {
        self.content.as_deref().unwrap_or_default()
    }
}

impl Unfit {
    pub(super) fn too_much(what: &str, most: u64, actual: u64) -> Self {
        Self {
            file: None,
            message: format!("expected at most `{most}` {what}, got `{actual}`"),
            remedy: "keep nothing but declarations in the folder, or name a narrower one",
        }
    }

    pub(super) fn file(path: &str, message: impl Into<String>, remedy: &'static str) -> Self {
        Self { file: Some(path.to_owned()), message: message.into(), remedy }
    }

    pub(super) fn not_text(path: &str) -> Self {
        Self::file(path, "expected a text in UTF-8", "save the file as UTF-8")
    }
}

/// Whether a file's name says that it holds declarations.
pub(super) fn is_declaration(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let hidden = path.split('/').any(|part| part.starts_with('.'));
    !hidden && [".yaml", ".yml", ".json"].iter().any(|ending| name.ends_with(ending))
}

/// Why a place could not be read; nothing in force changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LookFailure {
    /// What failed: lower case, expected before found.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
}

impl LookFailure {
    pub(super) fn new(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { message: message.into(), remedy: remedy.into() }
    }
}
