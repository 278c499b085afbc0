//! Holds every answer that a test gets against the published document: clients are generated from it.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex},
};

use jsonschema::Validator;
use latchkey_api::spec;
use reqwest::{Method, header};
use serde_json::{Value, json};

use crate::support::Answer;

/// The document, with objects that have no more fields than it names.
static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    let mut document = spec::document().unwrap();
    for schema in document["components"]["schemas"]
        .as_object_mut()
        .unwrap()
        .values_mut()
    {
        if schema.get("properties").is_some() {
            schema["additionalProperties"] = json!(false);
        }
    }
    document
});
/// By the schema's own text.
static VALIDATORS: LazyLock<Mutex<HashMap<String, Arc<Validator>>>> = LazyLock::new(Mutex::default);

/// Panics where an answer of an operation is none that the document has.
pub(crate) fn check(method: &Method, path: &str, answer: &Answer) {
    let Some(operation) = operation(method, path) else {
        return;
    };
    let told = format!("{method} {path}: {answer:?}");
    for required in required_headers(answer.status.as_u16()) {
        assert!(
            answer.headers.contains_key(*required),
            "{required} is missing of {told}"
        );
    }
    let documented = &operation["responses"][answer.status.as_str()];
    for (name, header) in documented["headers"].as_object().into_iter().flatten() {
        assert!(
            header["required"] != true || answer.headers.contains_key(name),
            "{name} is missing of {told}"
        );
    }
    assert!(
        documented.is_object(),
        "the status is not in the document: {told}"
    );
    let Some(content) = documented["content"].as_object() else {
        assert!(answer.text.is_empty(), "the document has no body: {told}");
        return;
    };
    let media_type = answer.headers[header::CONTENT_TYPE].to_str().unwrap();
    let media_type = media_type.split(';').next().unwrap();
    let body = content
        .get(media_type)
        .unwrap_or_else(|| panic!("the media type is not in the document: {told}"));
    let schema = body.get("x-itemSchema").unwrap_or(&body["schema"]);
    let bodies: Vec<&str> = match body.get("x-itemSchema") {
        Some(_) => answer.text.lines().collect(),
        None => vec![&answer.text],
    };
    let validator = validator(schema);
    for body in bodies {
        let body = serde_json::from_str(body).unwrap_or_else(|_| panic!("not JSON: {told}"));
        let faults: Vec<String> = validator
            .iter_errors(&body)
            .map(|fault| format!("{}: {fault}", fault.instance_path()))
            .collect();
        assert!(
            faults.is_empty(),
            "not as the document says: {faults:#?} in {told}"
        );
    }
}

/// What the contract has beside the document.
fn required_headers(status: u16) -> &'static [&'static str] {
    match status {
        201 => &["x-request-id", "location"],
        401 => &["x-request-id", "www-authenticate"],
        429 | 503 => &["x-request-id", "retry-after"],
        _ => &["x-request-id"],
    }
}

/// The operation at a path; of two that fit, the one with fewer parameters.
fn operation(method: &Method, path: &str) -> Option<&'static Value> {
    let parts: Vec<&str> = path.split('/').collect();
    let fits = |template: &str| {
        let template: Vec<&str> = template.split('/').collect();
        template.len() == parts.len()
            && template
                .iter()
                .zip(&parts)
                .all(|(part, given)| part.starts_with('{') || part == given)
    };
    let paths = DOCUMENT["paths"].as_object().unwrap();
    paths
        .iter()
        .filter(|(template, _)| fits(template))
        .min_by_key(|(template, _)| template.matches('{').count())
        .and_then(|(_, methods)| methods.get(method.as_str().to_lowercase()))
}

fn validator(schema: &Value) -> Arc<Validator> {
    let mut validators = VALIDATORS.lock().unwrap();
    let made = validators.entry(schema.to_string()).or_insert_with(|| {
        let whole = json!({ "allOf": [schema], "components": DOCUMENT["components"] });
        let options = jsonschema::options().should_validate_formats(true);
        Arc::new(options.build(&whole).unwrap())
    });
    Arc::clone(made)
}

/// Of each body of a request or of a success: what it is called, its schema, and its example.
fn examples() -> Vec<(String, &'static Value, Option<Value>)> {
    let mut found = Vec::new();
    let operations = DOCUMENT["paths"].as_object().unwrap().values();
    for operation in operations.flat_map(|path| path.as_object().unwrap().values()) {
        let responses = operation["responses"].as_object().unwrap().iter();
        let successes = responses.filter(|(status, _)| status.starts_with('2'));
        let messages = successes
            .map(|(_, message)| message)
            .chain([&operation["requestBody"]]);
        let bodies = messages.flat_map(|message| message["content"].as_object().into_iter().flatten());
        for (media_type, body) in bodies {
            let name = format!("{} {media_type} {}", operation["operationId"], body["schema"]);
            let referred = body["schema"]["$ref"]
                .as_str()
                .map(|path| path.trim_start_matches('#'));
            let of_schema = referred.and_then(|path| DOCUMENT.pointer(path)?.get("example"));
            let example = body.get("example").or(of_schema).cloned();
            match body.get("x-itemSchema") {
                Some(schema) => {
                    let line = example.and_then(|text| serde_json::from_str(text.as_str()?).ok());
                    found.push((name, schema, line));
                }
                // Of other forms the JSON tells enough.
                None if media_type == "application/json" => found.push((name, &body["schema"], example)),
                None => {}
            }
        }
    }
    found
}

#[test]
fn every_body_has_an_example_that_its_schema_allows() {
    let examples = examples();
    assert!(examples.len() > 140, "{}", examples.len());
    let mut faults = Vec::new();
    for (name, schema, example) in examples {
        match example {
            None => faults.push(format!("{name}: there is none")),
            Some(example) => faults.extend(
                validator(schema)
                    .iter_errors(&example)
                    .map(|fault| format!("{name}: {}: {fault}", fault.instance_path())),
            ),
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}
