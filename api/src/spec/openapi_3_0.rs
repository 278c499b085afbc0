//! The document for generators that read OpenAPI 3.0 and no more of it than they must.
//!
//! Null is a flag there, a reference stands alone, and there are no webhooks. The generators of Rust and of Python clients
//! want one media type for a body, and one body for all that an operation may succeed with.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{each_object, schemas::PREFIX};
use crate::extract::{BYTES, NDJSON};

/// Says the same in the words of 3.0.
pub(super) fn rewrite(document: &mut Value) {
    document["openapi"] = json!("3.0.3");
    document["info"]["license"] = json!({
        "name": "Apache-2.0",
        "url": "https://www.apache.org/licenses/LICENSE-2.0",
    });
    each_object(document, &mut flag_null);
    each_object(document, &mut stand_alone);
    each_object(document, &mut plain_bodies);
    one_success(document);
}

fn flag_null(fields: &mut Map<String, Value>) {
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

fn stand_alone(fields: &mut Map<String, Value>) {
    if fields.len() > 1
        && let Some(reference) = fields.remove("$ref")
    {
        fields.insert("allOf".to_owned(), json!([{ "$ref": reference }]));
    }
}

fn plain_bodies(fields: &mut Map<String, Value>) {
    for (ours, known) in [("application/problem+json", "application/json"), (NDJSON, BYTES)] {
        if let Some(body) = fields.remove(ours) {
            fields.insert(known.to_owned(), body);
        }
    }
    if fields.contains_key("application/json") {
        fields.remove("application/x-www-form-urlencoded");
    }
}

/// What an operation may succeed with, as one type; its own fields tell which.
fn one_success(document: &mut Value) {
    let mut unions = Map::new();
    each_object(document, &mut |operation| {
        let Some(id) = operation.get("operationId").and_then(Value::as_str) else {
            return;
        };
        let name = format!("{}{}Answer", id[..1].to_uppercase(), &id[1..]);
        let bodies = operation
            .get_mut("responses")
            .and_then(Value::as_object_mut)
            .into_iter()
            .flatten()
            .filter(|(status, _)| status.starts_with('2'))
            .filter_map(|(_, response)| response.pointer_mut("/content/application~1json/schema"));
        let mut bodies: Vec<&mut Value> = bodies.collect();
        let choices: BTreeSet<String> = bodies
            .iter()
            .filter_map(|body| body["$ref"].as_str().map(str::to_owned))
            .collect();
        if choices.len() < 2 {
            return;
        }
        for body in &mut bodies {
            **body = json!({ "$ref": format!("{PREFIX}{name}") });
        }
        let choices: Vec<Value> = choices
            .into_iter()
            .map(|choice| json!({ "$ref": choice }))
            .collect();
        unions.insert(name, json!({ "oneOf": choices }));
    });
    if let Some(schemas) = document
        .pointer_mut("/components/schemas")
        .and_then(Value::as_object_mut)
    {
        schemas.extend(unions);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_is_a_flag_and_a_reference_stands_alone() {
        let mut schema = json!({
            "a": { "type": ["string", "null"] },
            "b": { "anyOf": [{ "$ref": "#/components/schemas/B" }, { "type": "null" }], "description": "Perhaps." },
            "c": { "$ref": "#/components/schemas/C", "description": "In any case." },
            "d": { "$ref": "#/components/schemas/D" },
        });
        each_object(&mut schema, &mut flag_null);
        each_object(&mut schema, &mut stand_alone);
        let to = |name: &str| json!({ "$ref": format!("{PREFIX}{name}") });
        let expected = json!({
            "a": { "type": "string", "nullable": true },
            "b": { "allOf": [to("B")], "nullable": true, "description": "Perhaps." },
            "c": { "allOf": [to("C")], "description": "In any case." },
            "d": to("D"),
        });
        assert_eq!(schema, expected);
    }

    #[test]
    fn an_operation_succeeds_with_one_type() {
        let answer = |name: &str| json!({ "content": { "application/json": { "schema": { "$ref": format!("{PREFIX}{name}") } } } });
        let mut document = json!({
            "paths": { "/": { "post": { "operationId": "make", "responses": {
                "201": answer("Made"), "202": answer("Waiting"), "400": answer("Problem") } } } },
            "components": { "schemas": {} },
        });
        one_success(&mut document);
        let responses = &document["paths"]["/"]["post"]["responses"];
        for status in ["201", "202"] {
            assert_eq!(responses[status], answer("MakeAnswer"));
        }
        assert_eq!(responses["400"], answer("Problem"));
        let either =
            json!({ "oneOf": [{ "$ref": format!("{PREFIX}Made") }, { "$ref": format!("{PREFIX}Waiting") }] });
        assert_eq!(document["components"]["schemas"]["MakeAnswer"], either);
    }
}
