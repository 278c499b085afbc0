//! What events say: for each built-in type one payload, of which the name, the schema and the example follow.
//!
//! A payload names its type, so that no type can be emitted with the data of another. Its fields and their comments are
//! what the catalogue publishes as JSON Schema (2020-12), and the OpenAPI document with it.
//!
//! Every field is always there; what may be missing is null.
//!
//! What must never happen: a field that is renamed, taken away or given another type. Somebody's receiver reads it.

mod account;
mod api_key;
mod others;
mod session;

use std::sync::LazyLock;

use chrono::DateTime;
use schemars::{JsonSchema, generate::SchemaSettings};
use serde::Serialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

pub use self::{account::*, api_key::*, others::*, session::*};
use super::{Body, EventType};
use crate::{clock::Timestamp, id::TenantId};

/// The `data` of one built-in type.
pub trait Payload: Serialize + JsonSchema {
    /// The type.
    const TYPE: EventType;

    /// One as receivers may get it.
    fn example() -> Self;
}

/// What is published of a built-in type.
#[derive(Clone, Debug)]
pub struct Described {
    /// The type.
    pub event_type: EventType,
    /// What its schema is called.
    pub schema_name: &'static str,
    /// The schema of a whole body.
    pub schema: Map<String, Value>,
    /// A whole body.
    pub example: Map<String, Value>,
}

/// Every built-in type, in the order of [`EventType::ALL`].
#[must_use]
pub fn described() -> &'static [Described] {
    static ALL: LazyLock<Vec<Described>> =
        LazyLock::new(|| EventType::ALL.iter().copied().map(EventType::describe).collect());
    &ALL
}

/// What is published of the payload's type.
pub(super) fn describe<P: Payload>(schema_name: &'static str) -> Described {
    let event_type = P::TYPE;
    let settings = SchemaSettings::draft2020_12().for_serialize().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<Body<'_, P>>();
    schema.insert("title".to_owned(), schema_name.into());
    schema.insert("description".to_owned(), event_type.description().into());
    if let Some(of_type) = schema.pointer_mut("/properties/type") {
        of_type["const"] = event_type.as_str().into();
    }
    let example = json!(Body {
        event_type: event_type.as_str(),
        timestamp: instant().text(),
        tenant_id: TenantId(id(1)),
        data: &P::example(),
    });
    Described {
        event_type,
        schema_name,
        schema: object(schema.to_value()),
        example: object(example),
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

/// The instant of all examples: the first of the year 2026.
fn instant() -> Timestamp {
    Timestamp(DateTime::from_timestamp_nanos(1_767_225_600_000_000_000))
}

/// An id of that instant.
fn id(number: u16) -> Uuid {
    Uuid::from_u128(0x019b_76da_a800_7000_8000_0000_0000_0000 | u128::from(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The schema of a field, down to that of `data`'s own.
    fn fields(schema: &Value) -> Vec<&str> {
        schema["properties"]
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect()
    }

    /// Whether every object in the example has exactly the fields that its schema has, all of them required.
    fn agree(schema: &Value, example: &Value) -> bool {
        let Some(example) = example.as_object() else {
            return schema.get("properties").is_none() || example.is_null();
        };
        let mut required: Vec<&str> = schema["required"]
            .as_array()
            .unwrap()
            .iter()
            .map(|name| name.as_str().unwrap())
            .collect();
        required.sort_unstable();
        let given: Vec<&str> = example.keys().map(String::as_str).collect();
        required == given
            && fields(schema) == given
            && example
                .iter()
                .all(|(name, value)| agree(&schema["properties"][name], value))
    }

    #[test]
    fn every_type_has_a_schema_and_an_example_with_the_same_fields() {
        assert_eq!(described().len(), EventType::ALL.len());
        for (one, event_type) in described().iter().zip(EventType::ALL) {
            let name = event_type.as_str();
            assert_eq!(one.event_type, *event_type);
            let schema = Value::Object(one.schema.clone());
            assert_eq!(schema["properties"]["type"]["const"], name);
            assert_eq!(one.example["type"], name);
            assert_eq!(
                fields(&schema),
                ["data", "tenant_id", "timestamp", "type"],
                "{name}"
            );
            assert!(
                agree(&schema, &Value::Object(one.example.clone())),
                "{name}: {one:?}"
            );
        }
    }

    fn finer(example: &Value) -> bool {
        match example {
            Value::Object(fields) => fields.values().any(finer),
            Value::Array(items) => items.iter().any(finer),
            Value::String(text) => {
                DateTime::parse_from_rfc3339(text).is_ok() && text.len() != "2026-01-01T00:00:00.000Z".len()
            }
            _ => false,
        }
    }

    #[test]
    fn every_time_is_written_in_milliseconds() {
        for one in described() {
            assert!(!finer(&json!(one.example)), "{one:?}");
        }
    }

    /// Those of an object in a schema that say nothing for people.
    fn undescribed(schema: &Value, path: &str, found: &mut Vec<String>) {
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}/{name}");
            if field["description"].as_str().is_none_or(str::is_empty) {
                found.push(path.clone());
            }
            undescribed(field, &path, found);
        }
    }

    #[test]
    fn every_field_is_described() {
        let mut found = Vec::new();
        for one in described() {
            undescribed(&json!(one.schema), one.event_type.as_str(), &mut found);
        }
        assert!(found.is_empty(), "{found:#?}");
    }
}
