//! The published document, made from the code and put into the form that tools expect.
//!
//! The framework says `3.0.0` and writes `application/json; charset=utf-8`. What we publish is OpenAPI 3.1, with
//! keys in a stable order, and a 3.0 variant for generators that read no other.

mod examples;
mod openapi_3_0;
mod schemas;
mod webhooks;

use poem_openapi::{LicenseObject, OpenApiService};
use serde_json::{Map, Value, json};

use crate::{
    extract::NDJSON,
    routes::{
        account::AccountApi,
        api_keys::ApiKeysApi,
        audit::AuditApi,
        auth::AuthApi,
        authz::AuthzApi,
        health::HealthApi,
        invitations::InvitationsApi,
        mail_templates::MailTemplatesApi,
        mfa::MfaApi,
        passwords::PasswordsApi,
        permissions::PermissionsApi,
        roles::{RolesApi, UserRolesApi},
        service_accounts::ServiceAccountsApi,
        sessions::SessionsApi,
        tenant::{TenantApi, TenantDomainsApi},
        tenants::TenantsApi,
        tokens::TokensApi,
        users::UsersApi,
        webhooks::{AttemptsApi, EventTypesApi, WebhookActionsApi, WebhooksApi},
    },
};

type Apis = (
    (AuthApi, AccountApi, PasswordsApi, MfaApi, SessionsApi),
    (InvitationsApi, UsersApi, TenantsApi, MailTemplatesApi),
    (PermissionsApi, RolesApi, UserRolesApi, AuthzApi),
    (TenantApi, TenantDomainsApi),
    (ServiceAccountsApi, ApiKeysApi),
    TokensApi,
    (WebhooksApi, WebhookActionsApi, AttemptsApi, EventTypesApi),
    AuditApi,
    HealthApi,
);

const APIS: Apis = (
    (AuthApi, AccountApi, PasswordsApi, MfaApi, SessionsApi),
    (InvitationsApi, UsersApi, TenantsApi, MailTemplatesApi),
    (PermissionsApi, RolesApi, UserRolesApi, AuthzApi),
    (TenantApi, TenantDomainsApi),
    (ServiceAccountsApi, ApiKeysApi),
    TokensApi,
    (WebhooksApi, WebhookActionsApi, AttemptsApi, EventTypesApi),
    AuditApi,
    HealthApi,
);

const DESCRIPTION: &str = "The identity backend of a B2B product: accounts, tenants, roles, API keys and webhooks.\n\n\
    Errors are `application/problem+json` (RFC 9457) with a stable `code`. Before sign-in the tenant is named by \
    `X-Tenant-ID` or by the host; afterwards by the access token or the API key alone.";

/// All operations.
#[must_use]
pub fn service() -> OpenApiService<Apis, ()> {
    OpenApiService::new(APIS, "Latchkey", env!("CARGO_PKG_VERSION"))
        .description(DESCRIPTION)
        .license(LicenseObject::new("Apache-2.0").url("https://www.apache.org/licenses/LICENSE-2.0"))
}

/// The document as OpenAPI 3.1.
///
/// # Errors
/// When the framework writes something other than JSON.
pub fn document() -> Result<Value, serde_json::Error> {
    let mut document = document_without_webhooks()?;
    webhooks::add(&mut document);
    Ok(document)
}

fn document_without_webhooks() -> Result<Value, serde_json::Error> {
    let mut document: Value = serde_json::from_str(&service().spec())?;
    document["openapi"] = json!("3.1.0");
    document["servers"] = json!([{ "url": "/", "description": "This server" }]);
    if let Some(license) = document
        .pointer_mut("/info/license")
        .and_then(Value::as_object_mut)
    {
        license.remove("url");
        license.insert("identifier".to_owned(), json!("Apache-2.0"));
    }
    open_operations(&mut document);
    each_object(&mut document, &mut tidy);
    each_object(&mut document, &mut lines);
    each_object(&mut document, &mut preconditions);
    repeatable_operations(&mut document);
    schemas::complete(&mut document);
    examples::add(&mut document);
    Ok(document)
}

/// The same as OpenAPI 3.0, which knows no webhooks.
///
/// # Errors
/// As [`document`].
pub fn document_3_0() -> Result<Value, serde_json::Error> {
    let mut document = document_without_webhooks()?;
    openapi_3_0::rewrite(&mut document);
    Ok(document)
}

/// The text that is committed and served: pretty, and with a newline at its end.
///
/// # Errors
/// When it cannot be written.
pub fn text(document: &Value) -> Result<String, serde_json::Error> {
    serde_json::to_string_pretty(document).map(|text| text + "\n")
}

/// Says of operations without a credential that they take none.
fn open_operations(document: &mut Value) {
    let paths = document.get_mut("paths").and_then(Value::as_object_mut);
    for operation in paths
        .into_iter()
        .flat_map(Map::values_mut)
        .filter_map(Value::as_object_mut)
        .flat_map(Map::values_mut)
    {
        if let Some(operation) = operation.as_object_mut() {
            operation.entry("security").or_insert_with(|| json!([]));
        }
    }
}

/// The header by which a client names a request that it may send again.
pub const IDEMPOTENCY_KEY: &str = "Idempotency-Key";

/// Operations that make something and answer otherwise than with 201.
const MAKING: [&str; 4] = [
    "publishEvent",
    "recoverWebhookEndpoint",
    "rotateWebhookSecret",
    "testWebhookEndpoint",
];

/// Says of every operation that makes something in the name of a caller that it may be sent again.
fn repeatable_operations(document: &mut Value) {
    let paths = document.get_mut("paths").and_then(Value::as_object_mut);
    let operations = paths
        .into_iter()
        .flat_map(Map::values_mut)
        .filter_map(|path| path.get_mut("post"));
    for operation in operations {
        let makes = operation["responses"].get("201").is_some()
            || MAKING.iter().any(|id| operation["operationId"] == *id);
        if !makes || operation["security"] == json!([]) {
            continue;
        }
        let problem = operation["responses"]["500"]["content"].clone();
        if let Some(responses) = operation["responses"].as_object_mut() {
            for (status, description) in [("409", "Conflict"), ("422", "Unprocessable Entity")] {
                responses
                    .entry(status)
                    .or_insert_with(|| json!({ "description": description, "content": problem }));
            }
            for status in ["200", "201", "202"] {
                if let Some(success) = responses.get_mut(status) {
                    success["headers"]["Idempotent-Replayed"] = json!({
                        "description": "`true` where this is the answer to an earlier request, without what is shown once",
                        "schema": { "type": "string" },
                    });
                }
            }
        }
        let parameter = json!({
            "name": IDEMPOTENCY_KEY,
            "in": "header",
            "description": "Names the request for 24 hours: sent again with the same key, it is answered as before and \
                            makes nothing twice",
            "required": false,
            "schema": { "type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$" },
        });
        match operation.get_mut("parameters").and_then(Value::as_array_mut) {
            Some(parameters) => parameters.push(parameter),
            None => operation["parameters"] = json!([parameter]),
        }
    }
}

/// Media types without parameters, and examples that their schemas allow.
fn tidy(fields: &mut Map<String, Value>) {
    if let Some(content) = fields.get_mut("content").and_then(Value::as_object_mut) {
        *content = std::mem::take(content)
            .into_iter()
            .map(|(media_type, body)| (media_type.replace("; charset=utf-8", ""), body))
            .collect();
    }
    // The framework writes an absent field of an example as null.
    if let Some(example) = fields.get_mut("example").and_then(Value::as_object_mut) {
        example.retain(|_, value| !value.is_null());
    }
}

/// A body of many lines is text. What a line is has no place in OpenAPI before 3.2, whose word is `itemSchema`.
fn lines(fields: &mut Map<String, Value>) {
    let Some(body) = fields
        .get_mut("content")
        .and_then(|content| content.get_mut(NDJSON))
    else {
        return;
    };
    let line = body["schema"].take();
    body["schema"] = json!({ "type": "string", "format": "binary" });
    body["x-itemSchema"] = line;
}

/// The framework knows no header that must be there and is told of by another status than 400.
fn preconditions(fields: &mut Map<String, Value>) {
    let required = fields
        .get("responses")
        .is_some_and(|responses| responses.get("428").is_some());
    let parameters = fields.get_mut("parameters").and_then(Value::as_array_mut);
    for parameter in parameters.into_iter().flatten() {
        if required && parameter["name"] == "If-Match" {
            parameter["required"] = json!(true);
        }
    }
}

/// Changes each object of a document, those within before those around them.
fn each_object(value: &mut Value, change: &mut impl FnMut(&mut Map<String, Value>)) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| each_object(item, change)),
        Value::Object(fields) => {
            fields.values_mut().for_each(|field| each_object(field, change));
            change(fields);
        }
        _ => {}
    }
}
