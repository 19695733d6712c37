//! From the text of a file to resources, or to everything that is wrong with it.
//!
//! YAML by `serde-saphyr`: kept up, pure Rust, refuses duplicate keys, and bounds nesting, nodes and aliases, which the
//! archived `serde_yaml` and its forks do not. JSON is read as JSON. Anything else than text in these forms is refused.

use serde::Deserialize;
use serde_json::Value;

use super::judges::{BanditSpec, ExperimentSpec, RolloutSpec};
use super::pruned_reading::{Fault, read};
use super::unique_json::UniqueJson;
use super::{Declared, Problem, ProblemKind, ResourceKind, Spec, TrafficSpec};

/// The `apiVersion` of every resource.
pub const API_VERSION: &str = "hanok.dev/v1";
/// Largest text of one declaration, in bytes.
pub const LARGEST_DECLARATION_BYTES: usize = 1 << 20;
/// Most documents of one declaration.
pub const MOST_DOCUMENTS: usize = 256;
/// Deepest nesting of a JSON declaration; the same as the YAML reader's budget allows to be stored.
const DEEPEST: usize = 48;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope {
    #[serde(rename = "apiVersion")]
    api_version: String,
    kind: String,
    metadata: Metadata,
    spec: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Metadata {
    name: String,
}

/// Reads declared resources: YAML with any number of documents, or JSON (one object, or an array of them).
///
/// Checks each document by itself; whether they hold together is checked when they are planned.
///
/// # Errors
/// Every problem that can be told: of a text that is no YAML only the first fault of its form.
pub fn read_declarations(text: &str, is_json: bool) -> Result<Vec<Declared>, Vec<Problem>> {
    Ok(read_documents(text, is_json)?.into_iter().map(|(_, declared)| declared).collect())
}

/// The same, with the index of each resource's document.
pub(crate) fn read_documents(text: &str, is_json: bool) -> Result<Vec<(usize, Declared)>, Vec<Problem>> {
    if text.len() > LARGEST_DECLARATION_BYTES {
        let message = format!("expected at most `{LARGEST_DECLARATION_BYTES}` bytes, got `{}`", text.len());
        return Err(vec![whole(None, message, ProblemKind::TooLarge)]);
    }
    let documents =
        if is_json { json_documents(text) } else { yaml_documents(text) }.map_err(|problem| vec![problem])?;
    if documents.len() > MOST_DOCUMENTS {
        let message = format!("expected at most `{MOST_DOCUMENTS}` documents, got `{}`", documents.len());
        return Err(vec![whole(None, message, ProblemKind::TooLarge)]);
    }
    let mut declared: Vec<(usize, Declared)> = Vec::new();
    let mut problems = Vec::new();
    for (index, value) in documents.into_iter().enumerate() {
        if value.is_null() {
            continue;
        }
        match parse_resource(value, Some(index)) {
            Ok(resource) => {
                let same = |(_, other): &&(usize, Declared)| {
                    other.name == resource.name && other.spec.kind() == resource.spec.kind()
                };
                if let Some((first, _)) = declared.iter().find(same) {
                    problems.push(Problem {
                        document: Some(index),
                        resource: Some(format!("{}/{}", resource.spec.kind(), resource.name)),
                        path: "metadata.name".to_owned(),
                        message: format!("expected a name of its own, document {first} has `{}` too", resource.name),
                        kind: ProblemKind::NameTaken,
                    });
                }
                declared.push((index, resource));
            }
            Err(found) => problems.extend(found),
        }
    }
    if problems.is_empty() { Ok(declared) } else { Err(problems) }
}

fn whole(document: Option<usize>, message: String, kind: ProblemKind) -> Problem {
    Problem { document, resource: None, path: String::new(), message, kind }
}

fn json_documents(text: &str) -> Result<Vec<Value>, Problem> {
    match serde_json::from_str(text) {
        Ok(UniqueJson(Value::Array(documents))) => Ok(documents),
        Ok(UniqueJson(document)) => Ok(vec![document]),
        Err(error) => Err(whole(None, format!("expected JSON: {error}"), ProblemKind::Text)),
    }
}

fn yaml_documents(text: &str) -> Result<Vec<Value>, Problem> {
    serde_saphyr::from_multiple::<Value>(text)
        .map_err(|error| {
            // The reader draws the place in the text; its first line says where and what.
            let drawn = error.to_string();
            let first = drawn.lines().next().unwrap_or_default().trim_start_matches("error: ");
            whole(None, format!("expected YAML: {first}"), ProblemKind::Text)
        })
        .map(|documents| {
            let listed = |document| match document {
                Value::Array(documents) => documents,
                document => vec![document],
            };
            documents.into_iter().flat_map(listed).collect()
        })
}

/// Reads one document.
pub(crate) fn parse_resource(value: Value, document: Option<usize>) -> Result<Declared, Vec<Problem>> {
    if depth_exceeds(&value, DEEPEST) {
        let message = format!("expected at most `{DEEPEST}` levels of nesting");
        return Err(vec![whole(document, message, ProblemKind::Value)]);
    }
    let resource =
        value.get("kind").and_then(Value::as_str).zip(value.pointer("/metadata/name").and_then(Value::as_str));
    let resource = resource.map(|(kind, name)| format!("{}/{}", clipped(kind), clipped(name)));
    let told =
        |Fault { path, message, kind }: Fault| Problem { document, resource: resource.clone(), path, message, kind };
    let foreign = |path: &str, message: String| Fault { path: path.to_owned(), message, kind: ProblemKind::Foreign };
    let envelope: Envelope = read(value, "").map_err(|faults| {
        let outer = |fault: Fault| match fault.kind {
            ProblemKind::Value => Fault { kind: ProblemKind::Foreign, ..fault },
            _ => fault,
        };
        faults.into_iter().map(outer).map(&told).collect::<Vec<Problem>>()
    })?;
    let mut faults: Vec<Fault> = Vec::new();
    if envelope.api_version != API_VERSION {
        let message = format!("expected `{API_VERSION}`, got `{}`", clipped(&envelope.api_version));
        faults.push(foreign("apiVersion", message));
    }
    if let Some(message) = name_fault(&envelope.metadata.name) {
        faults.push(Fault { path: "metadata.name".to_owned(), message, kind: ProblemKind::Value });
    }
    let spec = match envelope.kind.parse::<ResourceKind>() {
        Ok(kind) => read_spec(kind, envelope.spec),
        Err(()) => {
            let kinds: Vec<&str> = ResourceKind::ALL.iter().map(|kind| kind.as_str()).collect();
            let message = format!("expected one of `{}`, got `{}`", kinds.join("`, `"), clipped(&envelope.kind));
            Err(vec![foreign("kind", message)])
        }
    };
    match spec {
        Ok(spec) if faults.is_empty() => Ok(Declared { name: envelope.metadata.name, spec }),
        Ok(_) => Err(faults.into_iter().map(&told).collect()),
        Err(more) => Err(faults.into_iter().chain(more).map(&told).collect()),
    }
}

fn read_spec(kind: ResourceKind, spec: Value) -> Result<Spec, Vec<Fault>> {
    Ok(match kind {
        ResourceKind::Traffic => Spec::Traffic(read::<TrafficSpec>(spec, "spec")?),
        ResourceKind::Comparison => Spec::Comparison(read(spec, "spec")?),
        ResourceKind::Rollout => Spec::Rollout(read::<RolloutSpec>(spec, "spec")?),
        ResourceKind::Experiment => Spec::Experiment(read::<ExperimentSpec>(spec, "spec")?),
        ResourceKind::Bandit => Spec::Bandit(read::<BanditSpec>(spec, "spec")?),
    })
}

fn name_fault(name: &str) -> Option<String> {
    let fits = (1..=63).contains(&name.len())
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    let rule = "1 to 63 letters, digits, `.`, `_`, `-`, beginning with a letter or digit";
    (!fits).then(|| format!("expected {rule}, got `{}`", clipped(name)))
}

/// At most 64 characters of a text that somebody sent.
fn clipped(text: &str) -> String {
    text.chars().take(64).filter(|character| !character.is_control()).collect()
}

/// Without recursion: the depth is what is in doubt.
fn depth_exceeds(value: &Value, most: usize) -> bool {
    let mut open = vec![(value, 1)];
    while let Some((value, depth)) = open.pop() {
        if depth > most {
            return true;
        }
        match value {
            Value::Array(values) => open.extend(values.iter().map(|value| (value, depth + 1))),
            Value::Object(members) => open.extend(members.values().map(|value| (value, depth + 1))),
            _ => {}
        }
    }
    false
}
