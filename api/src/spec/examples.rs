//! Examples: what each operation may be sent, and what it answers.
//!
//! `openapi/examples.json` says what an object's own fields may be; what an object holds of others is put together from
//! theirs. A test holds each of them against its schema.

use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use super::schemas::PREFIX;

const JSON: &str = "application/json";

/// What is written down.
static WRITTEN: LazyLock<Value> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../../openapi/examples.json")).unwrap_or_default()
});

/// Adds an example to every body of a request and of a success, to what a path is made of, and to problems.
pub(super) fn add(document: &mut Value) {
    let schemas = document["components"]["schemas"].clone();
    let operations = document["paths"]
        .as_object_mut()
        .into_iter()
        .flat_map(Map::values_mut);
    for operation in operations
        .filter_map(Value::as_object_mut)
        .flat_map(Map::values_mut)
    {
        let parameters = operation.get_mut("parameters").and_then(Value::as_array_mut);
        for parameter in parameters.into_iter().flatten() {
            // What need not be sent is not proposed to be: people would send it.
            if parameter["required"] == true
                && let Some(example) =
                    WRITTEN["parameters"].get(parameter["name"].as_str().unwrap_or_default())
            {
                parameter["example"] = example.clone();
            }
        }
        if let Some(request) = operation.get_mut("requestBody") {
            bodies(&schemas, request);
        }
        let responses = operation.get_mut("responses").and_then(Value::as_object_mut);
        for (status, response) in responses.into_iter().flatten() {
            if status.starts_with('2') {
                bodies(&schemas, response);
            }
        }
    }
    if let Some(problem) = composed(&schemas, "Problem") {
        document["components"]["schemas"]["Problem"]["example"] = problem;
    }
}

/// Of every form that the body of a request or an answer may have.
fn bodies(schemas: &Value, of: &mut Value) {
    let content = of.get_mut("content").and_then(Value::as_object_mut);
    for (media_type, body) in content.into_iter().flatten() {
        let example = match body.get("x-itemSchema") {
            // A line of many.
            Some(line) => example(schemas, line).map(|line| json!(format!("{line}\n"))),
            None if media_type == JSON && !has_its_own(schemas, &body["schema"]) => {
                example(schemas, &body["schema"])
            }
            None => None,
        };
        if let Some(example) = example {
            body["example"] = example;
        }
    }
}

fn has_its_own(schemas: &Value, schema: &Value) -> bool {
    name_of(schema).is_some_and(|name| schemas[name].get("example").is_some())
}

fn name_of(schema: &Value) -> Option<&str> {
    schema["$ref"].as_str()?.strip_prefix(PREFIX)
}

fn example(schemas: &Value, schema: &Value) -> Option<Value> {
    if let Some(name) = name_of(schema) {
        return composed(schemas, name);
    }
    if let Some(one) = schema["enum"].get(0) {
        return Some(one.clone());
    }
    if let Some(either) = schema.get("anyOf").or_else(|| schema.get("oneOf")) {
        return either.as_array()?.iter().find_map(|one| example(schemas, one));
    }
    let item = schema.get("items")?;
    example(schemas, item).map(|item| json!([item]))
}

/// Of the component of that name: the framework's, or what is written down and what the others say.
fn composed(schemas: &Value, name: &str) -> Option<Value> {
    let schema = &schemas[name];
    if let Some(example) = schema.get("example") {
        return Some(example.clone());
    }
    let Some(properties) = schema["properties"].as_object() else {
        return example(schemas, schema);
    };
    let written = &WRITTEN["schemas"][name];
    let required = schema["required"].as_array().map_or(&[][..], Vec::as_slice);
    let of_field = |field: &str, schema: &Value| {
        let said = written
            .get(field)
            .or_else(|| WRITTEN["fields"].get(field))
            .cloned();
        // A request need not say all that it may.
        said.or_else(|| example(schemas, schema).filter(|_| required.contains(&json!(field))))
    };
    let fields: Map<String, Value> = properties
        .iter()
        .filter_map(|(field, schema)| Some((field.clone(), of_field(field, schema)?)))
        .collect();
    Some(Value::Object(fields))
}
