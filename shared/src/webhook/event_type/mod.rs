//! The catalogue: the types of events there are, with their schemas and examples.
//!
//! The built-in ones follow from what is emitted. A tenant adds those that it publishes itself, for whoever writes its
//! receivers. They document and nothing more: a type that nobody has declared can be published all the same, and what is
//! published is not held against a schema. A schema is kept as it was given, and not judged.

mod store;

use sea_orm::{ActiveModelTrait, ActiveValue::Set, IntoActiveModel};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{WebhookError, field::checked_description};
use crate::{
    audit::{self, Record},
    context::{Change, Context},
    entity::event_type,
    id::EventTypeId,
    outbox::{self, OwnEventType, event::Described},
    page::{Page, PageRequest},
    permission::{Authorized, WebhooksRead, WebhooksWrite},
    principal::Origin,
};

/// The most types of a tenant's own.
pub const MAX_OWN: u32 = 200;
/// The largest schema, and the largest example, in bytes of JSON.
pub const MAX_DOCUMENT: usize = 16 * 1024;

type Result<T> = std::result::Result<T, WebhookError>;
type Object = Map<String, Value>;

/// A type of events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventTypeInfo {
    /// As it stands in the body of an event.
    pub name: String,
    /// What it says.
    pub description: String,
    /// Whether it is the tenant's own.
    pub custom: bool,
    /// A JSON Schema of a whole body.
    pub schema: Option<Object>,
    /// A whole body.
    pub example: Option<Object>,
}

impl From<&Described> for EventTypeInfo {
    fn from(described: &Described) -> Self {
        let Described {
            event_type,
            schema_name: _,
            schema,
            example,
        } = described;
        Self {
            name: event_type.as_str().to_owned(),
            description: event_type.description().to_owned(),
            custom: false,
            schema: Some(schema.clone()),
            example: Some(example.clone()),
        }
    }
}

impl From<event_type::Model> for EventTypeInfo {
    fn from(row: event_type::Model) -> Self {
        let event_type::Model {
            id: _,
            tenant_id: _,
            name,
            description,
            schema,
            example,
            created_at: _,
            updated_at: _,
        } = row;
        Self {
            name,
            description,
            custom: true,
            schema: schema.and_then(object),
            example: example.and_then(object),
        }
    }
}

/// A type to be.
#[derive(Clone, Debug)]
pub struct NewEventType {
    /// Its name.
    pub name: OwnEventType,
    /// What it says.
    pub description: String,
    /// A JSON Schema of a whole body.
    pub schema: Option<Object>,
    /// A whole body.
    pub example: Option<Object>,
}

/// What is to change of a type: what is absent stays.
#[derive(Clone, Debug, Default)]
pub struct EventTypePatch {
    /// What it says.
    pub description: Option<String>,
    /// A JSON Schema of a whole body; `Some(None)` removes it.
    pub schema: Option<Option<Object>>,
    /// A whole body; `Some(None)` removes it.
    pub example: Option<Option<Object>>,
}

/// A page of the built-in types, then the tenant's own, newest first.
///
/// # Errors
/// When the database does not answer.
pub async fn list_event_types(
    context: &Context,
    caller: &Authorized<WebhooksRead>,
    page: PageRequest,
) -> Result<Page<EventTypeInfo>> {
    let tenant = caller.principal().tenant;
    let tx = context.postgres.tenant(tenant).await?;
    // A built-in one's place comes before the ids of all rows, which begin with a time.
    let places = (0..).map(|place| Uuid::from_u128(u128::MAX - 1 - place));
    let built_in = places.zip(outbox::event::described());
    let mut listed: Vec<_> = built_in
        .filter(|(place, _)| *place < page.before_or_max())
        .map(|(place, described)| (place, described.into()))
        .collect();
    let own = store::list(tenant, &tx, page).await?;
    listed.extend(own.into_iter().map(|row| (row.id.0, row.into())));
    Ok(Page::cut(listed, page, |(place, _)| *place).map(|(_, info)| info))
}

/// Declares a type.
///
/// # Errors
/// When a field is not valid, the name is taken, or the tenant has as many as it may.
pub async fn create_event_type(
    context: &Context,
    caller: &Authorized<WebhooksWrite>,
    origin: &Origin,
    new: NewEventType,
) -> Result<EventTypeInfo> {
    let NewEventType {
        name,
        description,
        schema,
        example,
    } = new;
    let description = checked_text(description)?;
    let schema = schema.map(|schema| checked("schema", schema)).transpose()?;
    let example = example.map(|example| checked("example", example)).transpose()?;

    let tenant = caller.principal().tenant;
    let change = context.change(tenant, caller.actor(), origin).await?;
    if store::count_for_insert(tenant, &change.tx).await? >= u64::from(MAX_OWN) {
        return Err(WebhookError::TooManyDeclared(MAX_OWN));
    }
    let row = event_type::Model {
        id: EventTypeId(context.uuid(change.now)),
        tenant_id: tenant,
        name: name.as_str().to_owned(),
        description,
        schema,
        example,
        created_at: change.now,
        updated_at: change.now,
    };
    if !store::insert(&change.tx, row.clone().into_active_model().reset_all()).await? {
        return Err(WebhookError::NameTaken);
    }
    record(
        &change,
        "event_type.create",
        row.id,
        json!({ "after": audited(&row) }),
    )
    .await?;
    change.commit().await?;
    Ok(row.into())
}

/// Changes what is said of one of the tenant's own types.
///
/// # Errors
/// When a field is not valid, or the tenant has no such type.
pub async fn update_event_type(
    context: &Context,
    caller: &Authorized<WebhooksWrite>,
    origin: &Origin,
    name: &str,
    patch: EventTypePatch,
) -> Result<EventTypeInfo> {
    let EventTypePatch {
        description,
        schema,
        example,
    } = patch;
    let description = description.map(checked_text).transpose()?;
    let schema = checked_change("schema", schema)?;
    let example = checked_change("example", example)?;

    let change = context
        .change(caller.principal().tenant, caller.actor(), origin)
        .await?;
    let before = find(&change, name).await?;
    let after = event_type::Model {
        description: description.unwrap_or_else(|| before.description.clone()),
        schema: schema.unwrap_or_else(|| before.schema.clone()),
        example: example.unwrap_or_else(|| before.example.clone()),
        ..before.clone()
    };
    if after == before {
        return Ok(before.into());
    }
    let mut row = before.clone().into_active_model();
    row.description.set_if_not_equals(after.description.clone());
    row.schema.set_if_not_equals(after.schema.clone());
    row.example.set_if_not_equals(after.example.clone());
    row.updated_at = Set(change.now);
    row.update(&change.tx).await?;
    let detail = json!({
        "before": audited(&before),
        "after": audited(&after),
        "schema_changed": before.schema != after.schema,
        "example_changed": before.example != after.example,
    });
    record(&change, "event_type.update", before.id, detail).await?;
    change.commit().await?;
    Ok(after.into())
}

/// Takes one of the tenant's own types out of the catalogue. It can be published as before.
///
/// # Errors
/// When the tenant has no such type.
pub async fn delete_event_type(
    context: &Context,
    caller: &Authorized<WebhooksWrite>,
    origin: &Origin,
    name: &str,
) -> Result<()> {
    let change = context
        .change(caller.principal().tenant, caller.actor(), origin)
        .await?;
    let before = find(&change, name).await?;
    store::delete(change.tenant, &change.tx, before.id).await?;
    record(
        &change,
        "event_type.delete",
        before.id,
        json!({ "before": audited(&before) }),
    )
    .await?;
    change.commit().await?;
    Ok(())
}

/// One of the tenant's own, held until the transaction ends.
async fn find(change: &Change<'_>, name: &str) -> Result<event_type::Model> {
    if outbox::is_built_in(name) {
        return Err(WebhookError::BuiltIn);
    }
    let found = store::hold(change.tenant, &change.tx, name).await?;
    found.ok_or(WebhookError::NotFound)
}

async fn record(
    change: &Change<'_>,
    action: &'static str,
    id: EventTypeId,
    detail: Value,
) -> std::result::Result<(), sea_orm::DbErr> {
    audit::record(change, Record::success(action, "event_type", id.0, detail)).await
}

/// What the audit trail keeps of a type: all but the schema and the example, which are documentation and may be long.
fn audited(row: &event_type::Model) -> Value {
    json!({ "name": row.name, "description": row.description })
}

fn checked_text(description: String) -> Result<String> {
    Ok(checked_description(Some(description))?.unwrap_or_default())
}

/// A schema or an example that is not too large.
fn checked(field: &'static str, document: Object) -> Result<Value> {
    let document = Value::Object(document);
    if serde_json::to_string(&document)?.len() > MAX_DOCUMENT {
        return Err(WebhookError::DocumentTooLarge(field));
    }
    Ok(document)
}

#[expect(clippy::option_option, reason = "the three states of a field in a PATCH")]
fn checked_change(field: &'static str, change: Option<Option<Object>>) -> Result<Option<Option<Value>>> {
    let checked = |document: Option<Object>| document.map(|document| checked(field, document)).transpose();
    change.map(checked).transpose()
}

fn object(value: Value) -> Option<Object> {
    match value {
        Value::Object(fields) => Some(fields),
        _ => None,
    }
}
