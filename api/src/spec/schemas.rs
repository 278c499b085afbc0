//! Schemas that say what the framework leaves out: which fields may be null, and which are always there.
//!
//! A request may leave an optional field out or send null, unless null would mean to clear what cannot be cleared; it has no
//! field that is not named. A response
//! has every field but a few; what may be missing is null. All of it in the words that generators of clients know.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::each_object;
use crate::extract::NEVER_NULL;

pub(super) const PREFIX: &str = "#/components/schemas/";

/// Fields of responses that are not there, and not null, where there is nothing to say.
const LEFT_OUT: [(&str, &str); 3] = [
    ("ApiKeyVerification", "rate_limit"),
    ("Authorization", "results"),
    ("CreatedApiKey", "rotated_from"),
];

/// Completes every component's schema.
pub(super) fn complete(document: &mut Value) {
    each_object(document, &mut refer);
    let requests = reachable_from_requests(document);
    let schemas = document
        .pointer_mut("/components/schemas")
        .and_then(Value::as_object_mut);
    for (name, schema) in schemas.into_iter().flatten() {
        complete_one(name, schema, requests.contains(name));
    }
}

fn complete_one(name: &str, schema: &mut Value, is_request: bool) {
    let required: BTreeSet<String> = schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(text)
        .collect();
    let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) else {
        return;
    };
    let left_out = |field: &str| LEFT_OUT.contains(&(name, field));
    for (field, property) in properties.iter_mut() {
        let title = property.get("title");
        if title.is_some_and(|title| title == NEVER_NULL) {
            if let Some(property) = property.as_object_mut() {
                property.remove("title");
            }
            continue;
        }
        if !required.contains(field) && !left_out(field) {
            *property = nullable(property.take());
        }
    }
    let all: Vec<Value> = properties
        .keys()
        .filter(|field| !left_out(field))
        .cloned()
        .map(Value::from)
        .collect();
    if is_request {
        schema["additionalProperties"] = json!(false);
    } else {
        schema["required"] = Value::Array(all);
    }
}

/// JSON Schema 2020-12: null is a type.
fn nullable(mut schema: Value) -> Value {
    if let Some(kind) = schema.get("type").and_then(text) {
        schema["type"] = json!([kind, "null"]);
        return schema;
    }
    // Anything may be null as it is.
    if schema == json!({}) {
        return schema;
    }
    // Of the field, not of one of its types.
    let description = schema
        .as_object_mut()
        .and_then(|fields| fields.remove("description"));
    let mut either = json!({ "anyOf": [schema, { "type": "null" }] });
    if let Some(description) = description {
        either["description"] = description;
    }
    either
}

/// A reference with words of its own. The framework makes a type of the words, to be matched besides, which no generator
/// can name: some leave out whatever has such a field.
fn refer(fields: &mut Map<String, Value>) {
    if let Some([Value::Object(reference), Value::Object(words)]) = parts(fields)
        && reference.contains_key("$ref")
        && words.keys().all(|key| key == "description" || key == "title")
    {
        let (reference, words) = (reference.clone(), words.clone());
        fields.remove("allOf");
        fields.extend(reference);
        fields.extend(words);
    }
}

fn parts(fields: &Map<String, Value>) -> Option<&[Value]> {
    fields.get("allOf")?.as_array().map(Vec::as_slice)
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
            "a": { "type": "string" }, "b": { "type": "string" }, "c": { "$ref": "#/components/schemas/C" },
            "d": { "type": "string", "title": NEVER_NULL } } });
        let body = json!({ "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Asked" } } } });
        let mut document = json!({
            "paths": { "/": { "post": { "requestBody": body } } },
            "components": { "schemas": { "Asked": object, "Answered": object } },
        });
        complete(&mut document);
        let schemas = &document["components"]["schemas"];
        assert_eq!(schemas["Asked"]["additionalProperties"], false);
        assert_eq!(schemas["Asked"]["required"], json!(["a"]));
        assert_eq!(schemas["Answered"]["required"], json!(["a", "b", "c", "d"]));
        for schema in [&schemas["Asked"], &schemas["Answered"]] {
            assert_eq!(schema["properties"]["a"]["type"], "string");
            assert_eq!(schema["properties"]["b"]["type"], json!(["string", "null"]));
            assert_eq!(schema["properties"]["c"]["anyOf"][1], json!({ "type": "null" }));
            assert_eq!(schema["properties"]["d"], json!({ "type": "string" }));
        }
    }
}
