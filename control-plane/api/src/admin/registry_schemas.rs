//! What the OpenAPI document says of the registry's routes, besides their paths.

use serde_json::{Map, Value, json};

use super::registry_routes::RegistryOperation as Do;

/// Query parameters: name, type, description; and whether the call changes something, so that its author is asked for.
pub(super) fn parameters(operation: Do) -> (Vec<(&'static str, &'static str, &'static str)>, bool) {
    let place = "MODEL, MODEL/VERSION or MODEL@ALIAS";
    match operation {
        Do::Compare => (vec![("before", "string", place), ("after", "string", place)], false),
        Do::ReadLog => {
            let after = ("after", "integer", "Read behind this sequence");
            let limit = ("limit", "integer", "Most records, 1 to 1000; 100 where absent");
            (vec![("model", "string", "Only what concerns this model"), after, limit], false)
        }
        Do::RemoveAlias => (vec![("expected", "integer", "The version that it must point at")], true),
        Do::SetAlias | Do::SetStage | Do::Approve | Do::SetRule => (Vec::new(), true),
        Do::ListModels | Do::GetModel | Do::ListVersions | Do::GetVersion | Do::GetAlias => (Vec::new(), false),
    }
}

/// Name of the body's schema.
pub(super) const fn body(operation: Do) -> Option<&'static str> {
    match operation {
        Do::SetAlias => Some("RegistryAlias"),
        Do::SetStage => Some("RegistryStage"),
        Do::Approve => Some("RegistryApproval"),
        Do::SetRule => Some("RegistryRule"),
        _ => None,
    }
}

/// Name of the answer's schema, where it has one.
pub(super) const fn answer(operation: Do) -> Option<&'static str> {
    match operation {
        Do::GetVersion | Do::GetAlias | Do::Approve => Some("RegistryRecord"),
        Do::SetStage => Some("RegistryVersion"),
        Do::GetModel | Do::SetRule => Some("RegistryModel"),
        _ => None,
    }
}

/// The schemas by name.
pub(super) fn schemas() -> Map<String, Value> {
    let text = json!({ "type": "string" });
    let number = json!({ "type": "integer", "minimum": 0 });
    let flag = json!({ "type": "boolean" });
    let map_of = |value: Value| json!({ "type": "object", "additionalProperties": value });
    let object = |required: &[&str], properties: Value| json!({ "type": "object", "required": required, "properties": properties });
    let stage = json!({ "enum": hanok_registry::Stage::ALL.map(hanok_registry::Stage::as_str) });
    let version = |name: &str| json!({ "$ref": format!("#/components/schemas/{name}") });
    let named = object(&["model", "number"], json!({ "model": text, "number": number }));
    let step = object(&["child", "parent"], json!({ "child": named, "parent": named }));
    let steps = json!({ "type": "array", "items": step });
    let file = object(&["digest", "bytes"], json!({ "digest": text, "bytes": number }));
    let decision = json!({ "stage": stage, "verdict": { "enum": ["approved", "rejected"] },
        "checks": map_of(flag.clone()), "note": { "type": ["string", "null"] } });
    let mut recorded = decision.clone();
    if let Some(members) = recorded.as_object_mut() {
        members.extend([("by".to_owned(), text.clone()), ("at".to_owned(), text.clone())]);
    }
    let schemas = json!({
        "RegistryAlias": object(&["version"], json!({
            "version": number,
            "expected": { "type": ["integer", "null"],
                "description": "Where it must point now; null: it must not exist; absent: anywhere" },
        })),
        "RegistryStage": object(&["stage"], json!({
            "stage": stage, "archive_others": flag,
            "expected": { "enum": hanok_registry::Stage::ALL.map(hanok_registry::Stage::as_str),
                "description": "The stage that it must be in now; absent: whichever" },
        })),
        "RegistryApproval": object(&["stage", "verdict"], decision),
        "RegistryRule": object(&[], json!({
            "approvals": number, "checks": { "type": "array", "items": text }, "four_eyes": flag,
        })),
        "RegistryModel": object(&["name", "policy", "aliases", "versions", "created_at"], json!({
            "name": text, "policy": map_of(version("RegistryRule")), "aliases": map_of(number.clone()),
            "versions": number, "created_at": text,
        })),
        "RegistryVersion": object(&["model", "number", "digest", "bytes", "stage", "aliases", "present", "facts"], json!({
            "model": text, "number": number, "digest": text, "bytes": number, "stage": stage,
            "aliases": { "type": "array", "items": text }, "present": flag, "registered_at": text,
            "registered_by": text, "used_at": text, "facts": { "type": "object" },
        })),
        "RegistryRecord": object(&["version", "manifest", "approvals", "lineage"], json!({
            "version": version("RegistryVersion"),
            "manifest": object(&["files"], json!({ "files": map_of(file) })),
            "approvals": { "type": "array", "items": object(&["stage", "verdict", "by", "at"], recorded) },
            "lineage": object(&["ancestors", "descendants"], json!({ "ancestors": steps, "descendants": steps })),
        })),
    });
    match schemas {
        Value::Object(schemas) => schemas,
        _ => Map::new(),
    }
}
