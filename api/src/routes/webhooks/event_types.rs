//! The types of events there are: the built-in ones, and those that the tenant has declared.

use latchkey_shared::{
    auth::Auth,
    outbox::OwnEventType,
    page::MAX_LIMIT,
    permission::{WebhooksRead, WebhooksWrite},
    webhook::{self, EventTypeInfo, EventTypePatch, NewEventType},
};
use poem::web::Data;
use poem_openapi::{
    Object, OpenApi,
    param::{Path, Query},
    types::{Example, MaybeUndefined},
};
use serde_json::{Map, Value, json};

use crate::{
    extract::{ClientOrigin, Json, Kept, Permit},
    json_object::JsonObject,
    problem::{
        ApiResult, Conflict, Failure, FieldError, Input, NotFound, Parameters, Permitted, ProblemCode,
    },
    reply::{Created, List, NoContent, Ok as Reply},
    routes::{Tag, changed, page},
};

/// The operations.
pub struct EventTypesApi;

#[OpenApi(prefix_path = "/v1/webhooks/event-types", tag = "Tag::Webhooks")]
impl EventTypesApi {
    /// List event types
    ///
    /// The built-in ones first, each with the JSON Schema (2020-12) of the body that receivers get and an example of it, then
    /// the tenant's own, newest first. Fields may be added to a schema, and reasons to a list of them. Takes `webhooks:read`.
    #[oai(path = "/", method = "get", operation_id = "listEventTypes")]
    async fn list(
        &self,
        Data(auth): Data<&Auth>,
        Permit(caller): Permit<WebhooksRead>,
        /// Rows of a page; 100 when absent, which holds all built-in ones
        #[oai(validator(minimum(value = "1"), maximum(value = "100")))]
        limit: Query<Option<u32>>,
        /// `next_cursor` of the page before
        cursor: Query<Option<String>>,
    ) -> ApiResult<Reply<List<EventTypeView>>, (Permitted, Parameters)> {
        let page = page(limit.0.or(Some(MAX_LIMIT)), cursor.0.as_deref())?;
        let types = webhook::list_event_types(&auth.context, &caller, page).await?;
        Ok(Reply(List::of(types)))
    }

    /// Declare an event type
    ///
    /// One that the tenant publishes itself, for whoever writes its receivers. It documents: a type that is not declared can
    /// be published all the same, what is published is not held against the schema, and the schema is kept as it is given.
    /// A tenant declares 200 at most. Takes `webhooks:write`.
    #[oai(path = "/", method = "post", operation_id = "createEventType")]
    async fn create(
        &self,
        Data(auth): Data<&Auth>,
        Permit(caller): Permit<WebhooksWrite>,
        origin: ClientOrigin,
        body: Json<CreateEventTypeRequest>,
    ) -> ApiResult<Created<EventTypeView>, (Permitted, Input, Conflict)> {
        let created = webhook::create_event_type(&auth.context, &caller, &origin, body.0.read()?).await?;
        let location = format!("/v1/webhooks/event-types/{}", created.name);
        Ok(Created {
            body: created.into(),
            location,
        })
    }

    /// Change an event type
    ///
    /// One of the tenant's own. What is absent stays, null clears. Takes `webhooks:write`.
    #[oai(path = "/:name", method = "patch", operation_id = "updateEventType")]
    async fn update(
        &self,
        Data(auth): Data<&Auth>,
        Permit(caller): Permit<WebhooksWrite>,
        origin: ClientOrigin,
        /// Its name
        name: Path<String>,
        body: Json<UpdateEventTypeRequest>,
    ) -> ApiResult<Reply<EventTypeView>, (Permitted, Input, NotFound, Conflict)> {
        let patch = body.0.into();
        let updated = webhook::update_event_type(&auth.context, &caller, &origin, &name.0, patch).await?;
        Ok(Reply(updated.into()))
    }

    /// Delete an event type
    ///
    /// One of the tenant's own. It can be published as before. Takes `webhooks:write`.
    #[oai(path = "/:name", method = "delete", operation_id = "deleteEventType")]
    async fn delete(
        &self,
        Data(auth): Data<&Auth>,
        Permit(caller): Permit<WebhooksWrite>,
        origin: ClientOrigin,
        /// Its name
        name: Path<String>,
    ) -> ApiResult<NoContent, (Permitted, NotFound, Conflict)> {
        webhook::delete_event_type(&auth.context, &caller, &origin, &name.0).await?;
        Ok(NoContent)
    }
}

/// A type of events that the tenant publishes itself.
#[derive(Object)]
#[oai(deny_unknown_fields, example)]
struct CreateEventTypeRequest {
    /// Words of lower-case letters, digits, `_` and `-` with dots between them; the first is none of the built-in ones'.
    #[oai(validator(min_length = 1, max_length = 128))]
    name: String,
    /// What it says, in a sentence.
    #[oai(validator(min_length = 1, max_length = 256))]
    description: String,
    /// A JSON Schema of a whole body, as receivers get it: 16 KiB at most. It is kept as it is, and not judged.
    schema: Option<JsonObject>,
    /// A whole body, as receivers get it: 16 KiB at most.
    example: Option<JsonObject>,
}

impl Example for CreateEventTypeRequest {
    fn example() -> Self {
        let schema = json!({
            "type": "object",
            "properties": { "data": {
                "type": "object",
                "properties": { "invoice": { "type": "string" } },
                "required": ["invoice"],
            } },
            "required": ["data"],
        });
        Self {
            name: "invoice.paid".to_owned(),
            description: "An invoice was paid.".to_owned(),
            schema: Some(JsonObject(fields(schema))),
            example: Some(JsonObject(fields(json!({ "data": { "invoice": "INV-1815" } })))),
        }
    }
}

fn fields(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

impl CreateEventTypeRequest {
    fn read(self) -> Result<NewEventType, Failure> {
        let Self {
            name,
            description,
            schema,
            example,
        } = self;
        let name = OwnEventType::parse(&name).map_err(|error| {
            let field = FieldError::new("/name", "invalid_event_type", error.to_string());
            Failure::fields(ProblemCode::ValidationFailed, vec![field])
        })?;
        Ok(NewEventType {
            name,
            description,
            schema: schema.map(|schema| schema.0),
            example: example.map(|example| example.0),
        })
    }
}

/// What to change of an event type.
#[derive(Object)]
#[oai(deny_unknown_fields)]
struct UpdateEventTypeRequest {
    /// What it says, in a sentence.
    #[oai(validator(min_length = 1, max_length = 256))]
    description: Kept<String>,
    /// Replaces the JSON Schema; null clears it.
    schema: MaybeUndefined<JsonObject>,
    /// Replaces the example; null clears it.
    example: MaybeUndefined<JsonObject>,
}

impl From<UpdateEventTypeRequest> for EventTypePatch {
    fn from(request: UpdateEventTypeRequest) -> Self {
        let UpdateEventTypeRequest {
            description,
            schema,
            example,
        } = request;
        Self {
            description: description.0,
            schema: changed(schema).map(|schema| schema.map(|schema| schema.0)),
            example: changed(example).map(|example| example.map(|example| example.0)),
        }
    }
}

/// A type of events.
#[derive(Object)]
#[oai(rename = "EventType")]
struct EventTypeView {
    /// As it stands in the body of an event.
    name: String,
    /// What it says.
    description: String,
    /// Whether it is the tenant's own.
    custom: bool,
    /// A JSON Schema of a whole body. Of the built-in types there always is one.
    schema: Option<JsonObject>,
    /// A whole body. Of the built-in types there always is one.
    example: Option<JsonObject>,
}

impl From<EventTypeInfo> for EventTypeView {
    fn from(info: EventTypeInfo) -> Self {
        let EventTypeInfo {
            name,
            description,
            custom,
            schema,
            example,
        } = info;
        Self {
            name,
            description,
            custom,
            schema: schema.map(JsonObject),
            example: example.map(JsonObject),
        }
    }
}
