//! JSON bodies: read within a limit, judged by the schema we publish, then typed.

use std::{
    any::TypeId,
    collections::HashMap,
    ops::Deref,
    sync::{Arc, LazyLock, RwLock},
    time::{Duration, Instant},
};

use latchkey_shared::config;
use poem::{Body, IntoResponse, Request, RequestBody, Response, Result, http::header};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ExtractParamOptions,
    payload::{ParsePayload, Payload},
    registry::{MetaMediaType, MetaRequest, MetaSchemaRef, Registry},
    types::{ParseFromJSON, ToJSON, Type},
};
use serde_json::{Map, Value};
use tokio::time::timeout;

use super::{form, schema::Schema};
use crate::problem::{Failure, FieldError, ProblemCode};

/// So long what was known before the body came is taken for what is known now.
pub(crate) const PROMPTLY: Duration = Duration::from_millis(250);

/// A JSON body, of a request or of a response.
pub struct Json<T>(pub T);

impl<T> Deref for Json<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Type> Payload for Json<T> {
    const CONTENT_TYPE: &'static str = "application/json";

    fn check_content_type(content_type: &str) -> bool {
        let essence = content_type
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase();
        essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
    }

    fn schema_ref() -> MetaSchemaRef {
        T::schema_ref()
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

impl<T: ToJSON> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        Response::builder()
            .content_type(Self::CONTENT_TYPE)
            .body(self.0.to_json_string())
    }
}

impl<T: ParseFromJSON + 'static> ParsePayload for Json<T> {
    const IS_REQUIRED: bool = true;

    async fn from_request(request: &Request, body: &mut RequestBody) -> Result<Self> {
        let bytes = read(request, body).await?;
        let value: Value = serde_json::from_slice(&bytes).map_err(|error| malformed(&error))?;
        Ok(Self(typed(value)?))
    }
}

/// The body, if it is not larger than this server takes.
pub(super) async fn read(request: &Request, body: &mut RequestBody) -> Result<Vec<u8>> {
    let settings = &super::bearer::auth(request)?.context.config.server;
    in_time(body.take()?, settings).await
}

/// Has a body that is read whole come in before anything is done with it; whether it did so promptly. Its sender says when
/// it comes, and could keep the request from before a change: what was looked up is to be looked up again. Lines are
/// read while they come, and judged by the same measure one by one.
pub(super) async fn arrives_promptly(request: &Request, body: &mut RequestBody) -> Result<bool> {
    let begun = Instant::now();
    let content_type = request.content_type().unwrap_or_default();
    let whole = form::is_form(content_type) || <Json<Value> as Payload>::check_content_type(content_type);
    if body.is_some() && whole {
        let whole = read(request, body).await?;
        *body = RequestBody::new(Body::from_vec(whole));
    }
    Ok(begun.elapsed() < PROMPTLY)
}

/// As [`read`]; nor may its sender take for ever, for each holds a connection and memory.
pub(crate) async fn in_time(body: Body, settings: &config::Server) -> Result<Vec<u8>> {
    let late = |_| Failure::new(ProblemCode::BadRequest, "The body did not come in time.");
    let read = body.into_bytes_limit(settings.max_body_bytes);
    let read = timeout(settings.body_timeout, read).await;
    Ok(read.map_err(late)??.into())
}

/// The value as its type, if the schema we publish allows it.
pub(super) fn typed<T: ParseFromJSON + 'static>(value: Value) -> Result<T, Failure> {
    let errors = schema_of::<T>().judge(&value);
    if !errors.is_empty() {
        return Err(Failure::fields(ProblemCode::ValidationFailed, errors));
    }
    T::parse_from_json(Some(value)).map_err(|_| {
        // The schema said yes and the type says no: that is a rule the schema does not tell.
        let field = FieldError::new(
            "",
            "invalid",
            "The body is not of the shape that the operation takes.",
        );
        Failure::fields(ProblemCode::ValidationFailed, vec![field])
    })
}

fn malformed(error: &serde_json::Error) -> Failure {
    let (line, column) = (error.line(), error.column());
    let detail = format!("The body stops being JSON at line {line}, column {column}.");
    Failure::fields(
        ProblemCode::MalformedJson,
        vec![FieldError::new("", "malformed_json", detail)],
    )
}

/// Schemas are read once a type.
pub(super) fn schema_of<T: Type + 'static>() -> Arc<Schema> {
    static KNOWN: LazyLock<RwLock<HashMap<TypeId, Arc<Schema>>>> = LazyLock::new(RwLock::default);
    let id = TypeId::of::<T>();
    if let Some(schema) = KNOWN.read().ok().and_then(|known| known.get(&id).cloned()) {
        return schema;
    }
    let schema = Arc::new(Schema::of::<T>());
    if let Ok(mut known) = KNOWN.write() {
        known.insert(id, Arc::clone(&schema));
    }
    schema
}

impl<'a, T: ParseFromJSON + 'static> ApiExtractor<'a> for Json<T> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];

    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        <Self as Payload>::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        Some(MetaRequest {
            description: None,
            content: vec![MetaMediaType {
                content_type: Self::CONTENT_TYPE,
                schema: T::schema_ref(),
            }],
            required: true,
        })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _: ExtractParamOptions<Self::ParamType>,
    ) -> Result<Self> {
        require_json(request)?;
        <Self as ParsePayload>::from_request(request, body).await
    }
}

fn require_json(request: &Request) -> Result<(), Failure> {
    let content_type = request
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    if content_type.is_some_and(<Json<Value> as Payload>::check_content_type) {
        return Ok(());
    }
    Err(Failure::new(
        ProblemCode::UnsupportedMediaType,
        "Send the body as application/json.",
    ))
}

/// A JSON body of which nothing has to be said: without one it is an object without fields.
pub struct OptionalJson<T>(pub T);

impl<'a, T: ParseFromJSON + 'static> ApiExtractor<'a> for OptionalJson<T> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];

    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        <Json<T> as Payload>::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        let meta = <Json<T> as ApiExtractor>::request_meta();
        meta.map(|meta| MetaRequest {
            required: false,
            ..meta
        })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _: ExtractParamOptions<Self::ParamType>,
    ) -> Result<Self> {
        // Seen at once: what is not JSON came with no look at how long it takes.
        let sent = body.take()?;
        if sent.is_empty() {
            return Ok(Self(typed(Value::Object(Map::new()))?));
        }
        require_json(request)?;
        *body = RequestBody::new(sent);
        let Json(value) = <Json<T> as ParsePayload>::from_request(request, body).await?;
        Ok(Self(value))
    }
}
