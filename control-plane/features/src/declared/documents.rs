//! From the text of a file to resources, or to everything that is wrong with it.

use serde_json::Value as Json;

use super::located::read_documents;
use super::read_resources::{Draft, read_draft};
use super::reading::{Faults, Fields, clipped, name_fault};
use super::resolving::resolve;
use super::suggestion::nearest;
use super::{FeatureSet, Problem};

/// The `apiVersion` of every resource.
pub const API_VERSION: &str = "hanok.dev/v1";
/// Largest text of one declaration, in bytes.
pub const LARGEST_DECLARATION_BYTES: usize = 4 << 20;
/// Most documents of one declaration.
pub const MOST_DOCUMENTS: usize = 1024;
/// Most problems that are told.
const MOST_PROBLEMS: usize = 256;

/// The kinds.
pub(super) const KINDS: [&str; 4] = ["Entity", "OnlineStore", "FeatureView", "FeatureService"];

/// Reads declared features: YAML (or JSON, which is YAML) with any number of documents.
///
/// # Errors
/// Every problem that can be told: of a text that is no YAML only the first fault of its form.
pub fn read_features(text: &str) -> Result<FeatureSet, Vec<Problem>> {
    let whole =
        |message: String| vec![Problem { document: None, line: None, resource: None, path: String::new(), message }];
    if text.len() > LARGEST_DECLARATION_BYTES {
        return Err(whole(format!("expected at most `{LARGEST_DECLARATION_BYTES}` bytes, got `{}`", text.len())));
    }
    let documents = read_documents(text).map_err(|(line, fault)| {
        let mut problems = whole(format!("expected YAML: {fault}"));
        problems.iter_mut().for_each(|problem| problem.line = line);
        problems
    })?;
    if documents.len() > MOST_DOCUMENTS {
        return Err(whole(format!("expected at most `{MOST_DOCUMENTS}` documents, got `{}`", documents.len())));
    }
    let mut drafts = Vec::new();
    let mut problems = Vec::new();
    for (index, document) in documents.iter().enumerate().filter(|(_, document)| !document.json.is_null()) {
        let mut faults = Faults { document: index, resource: None, found: Vec::new() };
        drafts.extend(read_document(&document.json, &mut faults));
        problems.append(&mut faults.found);
    }
    // Also with problems: what is named wrongly elsewhere is worth telling in the same breath.
    let set = resolve(drafts, &mut problems);
    problems.truncate(MOST_PROBLEMS);
    for problem in &mut problems {
        problem.line = problem.document.and_then(|index| documents.get(index)?.line(&problem.path));
    }
    problems.sort_by_key(|problem| problem.line);
    if problems.is_empty() { Ok(set) } else { Err(problems) }
}

fn read_document(document: &Json, faults: &mut Faults) -> Option<Draft> {
    let label = |pointer: &str| document.pointer(pointer).and_then(Json::as_str).map(clipped);
    faults.resource = label("/kind").zip(label("/metadata/name")).map(|(kind, name)| format!("{kind}/{name}"));
    let fields = Fields::open(document, "", &["apiVersion", "kind", "metadata", "spec"], faults)?;
    if let Some(version) = fields.text("apiVersion", faults)
        && version != API_VERSION
    {
        faults.add("apiVersion", format!("expected `{API_VERSION}`, got `{}`", clipped(version)));
    }
    let kind = fields.text("kind", faults);
    let name = match fields.any("metadata") {
        Some(metadata) => {
            Fields::open(metadata, "metadata", &["name"], faults).and_then(|fields| fields.text("name", faults))
        }
        None => {
            faults.add("", "missing field `metadata`");
            None
        }
    };
    if let Some(fault) = name.and_then(name_fault) {
        faults.add("metadata.name", fault);
    }
    let kind = kind?;
    if !KINDS.contains(&kind) {
        let hint = nearest(kind, KINDS).map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
        let message = format!("expected one of `{}`, got `{}`{hint}", KINDS.join("`, `"), clipped(kind));
        faults.add("kind", message);
        return None;
    }
    let Some(spec) = fields.any("spec") else {
        faults.add("", "missing field `spec`");
        return None;
    };
    read_draft(kind, name?, spec, faults)
}
