//! The OpenAPI 3.1 document, made of the table of routes: a route that is not documented cannot be.

use http::Method;
use serde_json::{Map, Value, json};

use super::registry_schemas;
use super::routes::{Operation, ROUTES, Route};

/// The OpenAPI 3.1 document of the admin API.
#[must_use]
pub fn openapi_document() -> Value {
    let mut paths = Map::new();
    for route in &ROUTES {
        let item = paths.entry(route.path).or_insert_with(|| json!({}));
        if let Some(members) = item.as_object_mut() {
            members.insert(route.method.as_str().to_ascii_lowercase(), operation(route));
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Hanok admin API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Declared resources, rollouts, outcomes and the journal of a control plane; and a runtime that a \
                            control plane elsewhere steers. A port offers one of the two; the other's routes answer \
                            `not-offered`.",
        },
        "security": [{ "token": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
            "responses": { "Problem": {
                "description": "An error (RFC 9457)",
                "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } },
            } },
            "schemas": all_schemas(),
        },
    })
}

fn operation(route: &Route) -> Value {
    let places = route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let mut parameters: Vec<Value> = places
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
        .collect();
    let (query, headers) = inputs(route.operation);
    let described = |place: &str, (name, kind, text): &(&str, &str, &str)| json!({ "name": name, "in": place, "description": text, "schema": { "type": kind } });
    parameters.extend(query.iter().map(|input| described("query", input)));
    parameters.extend(headers.iter().map(|input| described("header", input)));
    let status = if route.operation == Operation::LookAtDeclared { "202" } else { "200" };
    let mut document = json!({
        "operationId": operation_id(route),
        "summary": route.summary,
        "parameters": parameters,
        "responses": {
            status: { "description": "Done", "content": answer_content(route.operation) },
            "default": { "$ref": "#/components/responses/Problem" },
        },
    });
    if let (Some(body), Some(members)) = (body(route.operation), document.as_object_mut()) {
        members.insert("requestBody".to_owned(), json!({ "required": true, "content": body }));
    }
    document
}

/// The method and the words of the path.
fn operation_id(route: &Route) -> String {
    let words = route.path.split(['/', '{', '}', '-', '.']).filter(|word| !word.is_empty() && *word != "v1");
    let method = match route.method {
        Method::GET => "get",
        Method::PUT => "put",
        Method::DELETE => "delete",
        _ => "post",
    };
    words.fold(method.to_owned(), |id, word| format!("{id}_{word}"))
}

type Input = (&'static str, &'static str, &'static str);

const DRY_RUN: Input = ("dry_run", "boolean", "Only plan");
const LIMIT: Input = ("limit", "integer", "Most entries, 1 to 1000; 100 where absent");
const IF_MATCH: Input = ("If-Match", "string", "Revision that must be the present one");
const KEY: Input = ("Idempotency-Key", "string", "Names this call: repeated within a day, it gets the same answer");
const AUTHOR: Input = ("X-Hanok-Author", "string", "Who acts, for the record");

fn inputs(operation: Operation) -> (Vec<Input>, Vec<Input>) {
    let prune = ("prune", "boolean", "Remove resources that are not declared here");
    match operation {
        Operation::Apply => (vec![DRY_RUN, prune], vec![IF_MATCH, KEY, AUTHOR]),
        Operation::Rollback => (vec![DRY_RUN], vec![IF_MATCH, KEY, AUTHOR]),
        Operation::KillSwitch | Operation::OrderRollout(_) => (Vec::new(), vec![AUTHOR]),
        Operation::ListResources | Operation::ListResourcesOfKind | Operation::GetResource => {
            (vec![("revision", "integer", "As it was then; now where absent")], Vec::new())
        }
        Operation::ListRevisions => (vec![("before", "integer", "Only older ones"), LIMIT], Vec::new()),
        Operation::ReadJournal => {
            let after = ("after", "integer", "Read behind this sequence");
            (vec![after, ("cursor", "string", "Read behind the place of this reader"), LIMIT], Vec::new())
        }
        Operation::SyncDeclared => (Vec::new(), vec![AUTHOR]),
        Operation::Registry(asked) => {
            let (query, changes) = registry_schemas::parameters(asked);
            (query, if changes { vec![AUTHOR] } else { Vec::new() })
        }
        Operation::ListShadows => {
            let examples = ("examples", "integer", "Most examples of each, 0 to 100; 10 where absent");
            (vec![("model", "string", "Only this public model name"), examples], Vec::new())
        }
        _ => (Vec::new(), Vec::new()),
    }
}

fn reference(name: &str) -> Value {
    json!({ "schema": { "$ref": format!("#/components/schemas/{name}") } })
}

fn body(operation: Operation) -> Option<Value> {
    let json_of = |name: &str| Some(json!({ "application/json": reference(name) }));
    match operation {
        Operation::Apply => Some(json!({
            "application/yaml": { "schema": { "type": "string", "description": "Documents of the form Resource" } },
            "application/json": { "schema": { "type": "array", "items": { "$ref": "#/components/schemas/Resource" } } },
        })),
        Operation::Rollback => json_of("Rollback"),
        Operation::ReportOutcomes => Some(json!({
            "application/json": { "schema": { "oneOf": [
                { "$ref": "#/components/schemas/Outcome" },
                { "type": "array", "items": { "$ref": "#/components/schemas/Outcome" } },
            ] } },
            "application/x-ndjson": { "schema": { "type": "string", "description": "One Outcome a line" } },
        })),
        Operation::RegisterCursor => json_of("RegisterCursor"),
        Operation::AdvanceCursor => json_of("AdvanceCursor"),
        Operation::PutRuntimeTable => json_of("TableOrder"),
        Operation::ListRuntimeShadows => json_of("ShadowQuery"),
        Operation::RuntimeKillSwitch => json_of("RuntimeKillSwitch"),
        Operation::MarkRuntimeGood => json_of("MarkGood"),
        Operation::DrainRuntime => json_of("DrainRequest"),
        Operation::Registry(asked) => registry_schemas::body(asked).and_then(json_of),
        _ => None,
    }
}

fn answer_content(operation: Operation) -> Value {
    match operation {
        Operation::Apply | Operation::Rollback => json!({ "application/json": reference("Applied") }),
        Operation::ReportOutcomes => json!({ "application/json": reference("Receipts") }),
        Operation::ReadJournal => json!({ "application/json": reference("JournalPage") }),
        Operation::ExplainRollout => json!({
            "application/json": { "schema": { "type": "array" } },
            "text/plain": { "schema": { "type": "string" } },
        }),
        Operation::ListRuntimeModels => json!({ "application/json": { "schema": { "type": "array" } } }),
        Operation::Registry(asked) => match registry_schemas::answer(asked) {
            Some(name) => json!({ "application/json": reference(name) }),
            None => json!({ "application/json": { "schema": { "type": "object" } } }),
        },
        _ => json!({ "application/json": { "schema": { "type": "object" } } }),
    }
}

fn object(required: &[&str], properties: &Value) -> Value {
    json!({ "type": "object", "required": required, "properties": properties })
}

fn all_schemas() -> Value {
    let mut all = schemas();
    if let Some(members) = all.as_object_mut() {
        members.extend(registry_schemas::schemas());
    }
    all
}

fn schemas() -> Value {
    let (number, text) = (json!({ "type": "integer", "minimum": 0 }), json!({ "type": "string" }));
    json!({
        "Problem": object(&["type", "title", "status", "code", "detail", "action"], &json!({
            "type": text, "title": text, "status": number, "code": text, "detail": text, "action": text,
            "problems": { "type": "array", "items": object(&["path", "message"], &json!({
                "document": number, "resource": text, "path": text, "message": text,
            })) },
        })),
        "Resource": object(&["apiVersion", "kind", "metadata", "spec"], &json!({
            "apiVersion": { "const": crate::declared::API_VERSION },
            "kind": { "enum": crate::declared::ResourceKind::ALL.map(crate::declared::ResourceKind::as_str) },
            "metadata": object(&["name"], &json!({ "name": text })),
            "spec": { "type": "object" },
        })),
        "Rollback": object(&["revision"], &json!({ "revision": number })),
        "Applied": object(&["revision", "table_version", "changed", "dry_run", "plan"], &json!({
            "revision": number, "table_version": number, "changed": { "type": "boolean" },
            "dry_run": { "type": "boolean" }, "plan": { "type": "object" },
        })),
        "Outcome": object(&["request_id", "metric", "value"], &json!({
            "request_id": text, "metric": text, "value": { "type": "number" },
            "observed_at": { "description": "RFC 3339, or milliseconds since the epoch", "type": ["string", "integer"] },
        })),
        "Receipts": object(&["receipts"], &json!({ "receipts": { "type": "array", "items": object(&["status"], &json!({
            "status": { "enum": ["joined", "held", "duplicate", "conflicting", "too_late", "no_room", "invalid"] },
        })) } })),
        "JournalPage": object(&["events", "next", "last", "missed"], &json!({
            "events": { "type": "array", "items": { "type": "object", "description": "A CloudEvent 1.0" } },
            "next": number, "last": number, "missed": number,
        })),
        "RegisterCursor": object(&[], &json!({ "after": number })),
        "AdvanceCursor": object(&["expected", "to"], &json!({ "expected": number, "to": number })),
        "TableOrder": object(&["expected", "table"], &json!({
            "expected": number, "table": { "type": "object" }, "comparisons": { "type": "object" },
        })),
        "RuntimeKillSwitch": object(&["at_least"], &json!({ "at_least": number })),
        "ShadowQuery": object(&["examples"], &json!({ "model": { "type": "string" }, "examples": number })),
        "MarkGood": object(&["version"], &json!({ "version": number })),
        "DrainRequest": object(&["epoch", "after", "acknowledged", "most"], &json!({
            "epoch": number, "after": number, "acknowledged": number, "most": number,
        })),
    })
}
