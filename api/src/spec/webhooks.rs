//! What receivers are sent: the document's `webhooks`, made from the built-in events themselves.

use latchkey_shared::outbox::event::{self, Described};
use serde_json::{Map, Value, json};

const DESCRIPTION: &str = "Sent to every endpoint that takes the type: at least once, in any order. The signature is \
    that of Standard Webhooks, by the endpoint's secret, and by its key pair if it has one.";

/// Adds an entry for each built-in type, and the schema of its body to the components.
pub(super) fn add(document: &mut Value) {
    let mut webhooks = Map::new();
    for described in event::described() {
        webhooks.insert(described.event_type.as_str().to_owned(), entry(described));
        document["components"]["schemas"][described.schema_name] = json!(described.schema);
    }
    document["webhooks"] = Value::Object(webhooks);
}

fn entry(described: &Described) -> Value {
    let schema = described.schema_name;
    let summary = described.event_type.description();
    json!({ "post": {
        "operationId": format!("on{}", schema.trim_end_matches("Event")),
        "summary": summary.trim_end_matches('.'),
        "description": DESCRIPTION,
        "tags": ["Webhooks"],
        "security": [],
        "parameters": headers(),
        "requestBody": {
            "required": true,
            "content": { "application/json": {
                "schema": { "$ref": format!("#/components/schemas/{schema}") },
                "example": described.example,
            } },
        },
        "responses": {
            "2XX": { "description": "Takes the event" },
            "410": { "description": "Turns the endpoint off: nothing is sent to it any more" },
            "default": { "description": "The event is sent again later, as the schedule says" },
        },
    } })
}

/// Those of Standard Webhooks.
fn headers() -> Vec<Value> {
    let headers = [
        (
            "webhook-id",
            "The event: the same in every copy of it",
            json!({ "type": "string", "format": "uuid" }),
        ),
        (
            "webhook-timestamp",
            "When this copy was sent, in seconds since 1970",
            json!({ "type": "string", "pattern": "^[0-9]+$" }),
        ),
        (
            "webhook-signature",
            "`v1,` and an HMAC-SHA256 in base64 over `<webhook-id>.<webhook-timestamp>.<body>`; one for each secret \
             that signs, with spaces between them. An endpoint with `asymmetric_signature` gets after them, for each, \
             `v1a,` and an Ed25519 signature of the same: its `public_key` verifies it",
            json!({ "type": "string" }),
        ),
    ];
    let header = |(name, description, schema)| json!({ "name": name, "in": "header", "required": true, "description": description, "schema": schema });
    headers.map(header).to_vec()
}

#[cfg(test)]
mod tests {
    use latchkey_shared::outbox::EventType;

    use crate::spec::{document, document_3_0};

    #[test]
    fn every_built_in_type_is_a_webhook_whose_body_has_a_schema_of_its_own() {
        let document = document().unwrap();
        let webhooks = document["webhooks"].as_object().unwrap();
        assert_eq!(webhooks.len(), EventType::ALL.len());
        for event_type in EventType::ALL {
            let name = event_type.as_str();
            let content = &webhooks[name]["post"]["requestBody"]["content"]["application/json"];
            let reference = content["schema"]["$ref"].as_str().unwrap();
            let schema = document.pointer(reference.trim_start_matches('#')).unwrap();
            assert_eq!(schema["properties"]["type"]["const"], name);
            assert_eq!(content["example"]["type"], name);
        }
    }

    #[test]
    fn openapi_3_0_has_neither_webhooks_nor_their_schemas() {
        let document = document_3_0().unwrap();
        assert!(document.get("webhooks").is_none());
        assert!(
            document["components"]["schemas"]
                .get("UserRegisteredEvent")
                .is_none()
        );
    }
}
