//! The published document, read as a list of operations.

use latchkey_api::spec;
use reqwest::Method;
use serde_json::{Value, json};

/// An operation as the document has it.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    pub(crate) id: String,
    pub(crate) method: Method,
    /// With its parameters in braces.
    pub(crate) path: String,
    /// What is said of it below the summary.
    pub(crate) description: String,
    /// Whether it takes a credential.
    pub(crate) secured: bool,
    /// The media type of its body and the body's schema, references resolved.
    pub(crate) body: Option<(String, Value)>,
    /// The query's parameters that are ids.
    pub(crate) id_queries: Vec<String>,
}

impl Operation {
    /// The path with every parameter replaced by what `value` has for its name.
    pub(crate) fn path_with(&self, value: impl Fn(&str) -> String) -> String {
        let mut path = String::new();
        for part in self.path.split_inclusive(['{', '}']) {
            match part.strip_suffix('}') {
                Some(name) => path += &value(name),
                None => path += part.trim_end_matches('{'),
            }
        }
        path
    }

    /// Whether the path names something.
    pub(crate) fn has_parameters(&self) -> bool {
        self.path.contains('{')
    }
}

/// Every operation of the API.
pub(crate) fn operations() -> Vec<Operation> {
    let document = spec::document().unwrap();
    let mut found = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            found.push(read(&document, path, method, operation));
        }
    }
    found
}

fn read(document: &Value, path: &str, method: &str, operation: &Value) -> Operation {
    let text = |field: &str| operation[field].as_str().unwrap_or_default().to_owned();
    let content = operation["requestBody"]["content"].as_object();
    let body = content.and_then(|content| content.iter().next());
    let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
    let is_id = |parameter: &&Value| parameter["in"] == "query" && parameter["schema"]["format"] == "uuid";
    let name = |parameter: &Value| parameter["name"].as_str().unwrap().to_owned();
    Operation {
        id: text("operationId"),
        method: method.to_uppercase().parse().unwrap(),
        path: path.to_owned(),
        description: text("description"),
        secured: operation["security"] != json!([]),
        body: body.map(|(media, body)| (media.clone(), resolve(document, &body["schema"], 0))),
        id_queries: parameters.iter().filter(is_id).map(name).collect(),
    }
}

/// The schema with what it refers to in place of references.
fn resolve(document: &Value, schema: &Value, depth: usize) -> Value {
    if depth > 8 {
        return schema.clone();
    }
    match schema {
        Value::Object(fields) => match fields.get("$ref").and_then(Value::as_str) {
            Some(reference) => {
                let target = document.pointer(reference.trim_start_matches('#')).unwrap();
                resolve(document, target, depth + 1)
            }
            None => fields
                .iter()
                .map(|(name, value)| (name.clone(), resolve(document, value, depth + 1)))
                .collect(),
        },
        Value::Array(items) => items
            .iter()
            .map(|item| resolve(document, item, depth + 1))
            .collect(),
        other => other.clone(),
    }
}
