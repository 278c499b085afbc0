//! Schemas that say what the framework leaves out: which fields may be null, and which are always there.
//!
//! A request may leave an optional field out or send null, and no field that is not named. A response always
//! has every field; what may be missing is null.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

const PREFIX: &str = "#/components/schemas/";

/// Completes every component's schema.
pub(super) fn complete(document: &mut Value) {
    let requests = reachable_from_requests(document);
    let schemas = document
        .pointer_mut("/components/schemas")
        .and_then(Value::as_object_mut);
    for (name, schema) in schemas.into_iter().flatten() {
        complete_one(schema, requests.contains(name));
    }
}

fn complete_one(schema: &mut Value, is_request: bool) {
    let required: BTreeSet<String> = schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(text)
        .collect();
    let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) else {
        return;
    };
    for (name, property) in properties.iter_mut() {
        if !required.contains(name) {
            *property = nullable(property.take());
        }
    }
    let all: Vec<Value> = properties.keys().cloned().map(Value::from).collect();
    if is_request {
        schema["additionalProperties"] = json!(false);
    } else {
        schema["required"] = Value::Array(all);
    }
}

/// JSON Schema 2020-12: null is a type.
fn nullable(mut schema: Value) -> Value {
    match schema.get("type").and_then(text) {
        Some(kind) => {
            schema["type"] = json!([kind, "null"]);
            schema
        }
        None => json!({ "anyOf": [schema, { "type": "null" }] }),
    }
}

/// The same for OpenAPI 3.0, where null is a flag.
pub(super) fn flag_null(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(flag_null),
        Value::Object(fields) => {
            fields.values_mut().for_each(flag_null);
            flag_null_here(fields);
        }
        _ => {}
    }
}

fn flag_null_here(fields: &mut Map<String, Value>) {
    let null = json!("null");
    if let Some(Value::Array(kinds)) = fields.get("type")
        && kinds.contains(&null)
        && let Some(kind) = kinds.iter().find(|kind| **kind != null).cloned()
    {
        fields.insert("type".to_owned(), kind);
        fields.insert("nullable".to_owned(), json!(true));
    }
    if let Some(Value::Array(choices)) = fields.get("anyOf")
        && let [schema, other] = choices.as_slice()
        && *other == json!({ "type": "null" })
    {
        let schema = schema.clone();
        fields.remove("anyOf");
        fields.insert("allOf".to_owned(), json!([schema]));
        fields.insert("nullable".to_owned(), json!(true));
    }
}

/// The names of all schemas that a request's body is made of.
fn reachable_from_requests(document: &Value) -> BTreeSet<String> {
    let mut waiting = Vec::new();
    let operations = document["paths"].as_object().into_iter().flat_map(Map::values);
    for operation in operations.filter_map(Value::as_object).flat_map(Map::values) {
        references(&operation["requestBody"], &mut waiting);
    }
    let mut reached = BTreeSet::new();
    while let Some(name) = waiting.pop() {
        if reached.insert(name.clone()) {
            references(&document["components"]["schemas"][&name], &mut waiting);
        }
    }
    reached
}

fn references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        Value::Object(fields) => {
            let name = fields
                .get("$ref")
                .and_then(Value::as_str)
                .and_then(|path| path.strip_prefix(PREFIX));
            found.extend(name.map(str::to_owned));
            fields.values().for_each(|field| references(field, found));
        }
        _ => {}
    }
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_may_leave_out_what_a_response_always_has() {
        let object = json!({ "type": "object", "required": ["a"], "properties": {
            "a": { "type": "string" }, "b": { "type": "string" }, "c": { "$ref": "#/components/schemas/C" } } });
        let body = json!({ "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Asked" } } } });
        let mut document = json!({
            "paths": { "/": { "post": { "requestBody": body } } },
            "components": { "schemas": { "Asked": object, "Answered": object } },
        });
        complete(&mut document);
        let schemas = &document["components"]["schemas"];
        assert_eq!(schemas["Asked"]["additionalProperties"], false);
        assert_eq!(schemas["Asked"]["required"], json!(["a"]));
        assert_eq!(schemas["Answered"]["required"], json!(["a", "b", "c"]));
        for schema in [&schemas["Asked"], &schemas["Answered"]] {
            assert_eq!(schema["properties"]["a"]["type"], "string");
            assert_eq!(schema["properties"]["b"]["type"], json!(["string", "null"]));
            assert_eq!(schema["properties"]["c"]["anyOf"][1], json!({ "type": "null" }));
        }
        flag_null(&mut document);
        let answered = &document["components"]["schemas"]["Answered"]["properties"];
        assert_eq!(answered["b"], json!({ "type": "string", "nullable": true }));
        assert_eq!(answered["c"]["allOf"][0]["$ref"], "#/components/schemas/C");
    }
}
