//! Reads the file with declared features, and opens the stores that it names. Every fault is told with its line.

use std::path::Path;

use hanok_features::{FeatureError, FeatureSet, OpenStores, read_features};

use crate::commands::error::CommandError;

/// Reads the declarations of a file.
pub(crate) fn read_declarations(file: &Path) -> Result<FeatureSet, CommandError> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| CommandError::input(format!("`{}` cannot be read: {error}", file.display())))?;
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
        CommandError::input(format!("the declarations have `{}` faults\n  {}", lines.len(), lines.join("\n  ")))
    })
}

/// Opens the declared stores; files are found from the folder of the declarations. Blocks while it reads files.
pub(crate) fn open_stores(set: &FeatureSet, file: &Path) -> Result<OpenStores, CommandError> {
    OpenStores::open(set, file.parent().unwrap_or(Path::new("."))).map_err(told_to_operator)
}

/// A fault as the operator of a command reads it.
#[allow(clippy::needless_pass_by_value, reason = "it is what `map_err` gives")]
pub(crate) fn told_to_operator(error: FeatureError) -> CommandError {
    match error.operator_detail() {
        Some(detail) => CommandError::failed(format!("{error} ({detail})")),
        None => CommandError::input(error.to_string()),
    }
}
