//! Successful responses, by status.

use std::marker::PhantomData;

use latchkey_shared::version::Version;
use poem::{
    Body, IntoResponse, Response,
    http::{HeaderValue, StatusCode, header},
};
use poem_openapi::{
    ApiResponse, Object,
    payload::Payload,
    registry::{MetaHeader, MetaMediaType, MetaResponse, MetaResponses, Registry},
    types::{IsObjectType, ParseFromJSON, ToJSON, Type},
};

use crate::extract::{Json, NDJSON};

fn responses(
    status: u16,
    description: &'static str,
    content: Vec<MetaMediaType>,
    headers: Vec<MetaHeader>,
) -> MetaResponses {
    let response = MetaResponse {
        description,
        status: Some(status),
        status_range: None,
        content,
        headers,
    };
    MetaResponses {
        responses: vec![response],
    }
}

fn json<T: Type>() -> Vec<MetaMediaType> {
    vec![MetaMediaType {
        content_type: <Json<T> as Payload>::CONTENT_TYPE,
        schema: T::schema_ref(),
    }]
}

/// 200 with a body.
pub struct Ok<T>(pub T);

impl<T: ToJSON> IntoResponse for Ok<T> {
    fn into_response(self) -> Response {
        Json(self.0).into_response()
    }
}

impl<T: ToJSON> ApiResponse for Ok<T> {
    fn meta() -> MetaResponses {
        responses(200, "OK", json::<T>(), Vec::new())
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

/// 200 with a body and its version, for `If-Match`.
pub struct Versioned<T> {
    /// The thing as it stands.
    pub body: T,
    /// What names it as it stands.
    pub version: Version,
}

impl<T: ToJSON> IntoResponse for Versioned<T> {
    fn into_response(self) -> Response {
        let mut response = Json(self.body).into_response();
        tag(&mut response, self.version);
        response
    }
}

impl<T: ToJSON> ApiResponse for Versioned<T> {
    fn meta() -> MetaResponses {
        responses(200, "OK", json::<T>(), vec![etag()])
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

fn tag(response: &mut Response, version: Version) {
    if let std::result::Result::Ok(tag) = HeaderValue::from_str(&format!("\"{}\"", version.0)) {
        response.headers_mut().insert(header::ETAG, tag);
    }
}

fn etag() -> MetaHeader {
    MetaHeader {
        name: "ETag".to_owned(),
        description: Some("Names the thing as it stands; a change takes it as If-Match".to_owned()),
        required: true,
        deprecated: false,
        schema: String::schema_ref(),
    }
}

/// 201 with a body and where the new thing is found.
pub struct Created<T> {
    /// The new thing.
    pub body: T,
    /// Its path.
    pub location: String,
}

impl<T: ToJSON> IntoResponse for Created<T> {
    fn into_response(self) -> Response {
        let mut response = Json(self.body).into_response();
        response.set_status(StatusCode::CREATED);
        if let std::result::Result::Ok(location) = HeaderValue::from_str(&self.location) {
            response.headers_mut().insert(header::LOCATION, location);
        }
        response
    }
}

impl<T: ToJSON> ApiResponse for Created<T> {
    fn meta() -> MetaResponses {
        responses(201, "Created", json::<T>(), vec![location()])
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

/// 201 with a body, where the new thing is found, and its version, for `If-Match`.
pub struct CreatedVersioned<T> {
    /// The new thing.
    pub body: T,
    /// Its path.
    pub location: String,
    /// What names it as it stands.
    pub version: Version,
}

impl<T: ToJSON> IntoResponse for CreatedVersioned<T> {
    fn into_response(self) -> Response {
        let Self {
            body,
            location,
            version,
        } = self;
        let mut response = Created { body, location }.into_response();
        tag(&mut response, version);
        response
    }
}

impl<T: ToJSON> ApiResponse for CreatedVersioned<T> {
    fn meta() -> MetaResponses {
        responses(201, "Created", json::<T>(), vec![location(), etag()])
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

/// The header of a 201.
pub(crate) fn location() -> MetaHeader {
    MetaHeader {
        name: "Location".to_owned(),
        description: Some("The path of the new resource".to_owned()),
        required: true,
        deprecated: false,
        schema: String::schema_ref(),
    }
}

/// 202 with a body: the request was taken, and is worked on.
pub struct Accepted<T>(pub T);

impl<T: ToJSON> IntoResponse for Accepted<T> {
    fn into_response(self) -> Response {
        let mut response = Json(self.0).into_response();
        response.set_status(StatusCode::ACCEPTED);
        response
    }
}

impl<T: ToJSON> ApiResponse for Accepted<T> {
    fn meta() -> MetaResponses {
        responses(202, "Accepted", json::<T>(), Vec::new())
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

/// 200 with a line of JSON for each thing (NDJSON), as they come.
pub struct Stream<T> {
    body: Body,
    of: PhantomData<fn() -> T>,
}

impl<T> Stream<T> {
    /// The body brings the lines.
    #[must_use]
    pub const fn of(body: Body) -> Self {
        Self {
            body,
            of: PhantomData,
        }
    }
}

impl<T: Send> IntoResponse for Stream<T> {
    fn into_response(self) -> Response {
        Response::builder().content_type(NDJSON).body(self.body)
    }
}

impl<T: Type + Send> ApiResponse for Stream<T> {
    fn meta() -> MetaResponses {
        let lines = MetaMediaType {
            content_type: NDJSON,
            schema: T::schema_ref(),
        };
        responses(
            200,
            "OK. NDJSON: each line is JSON, as `x-itemSchema` says",
            vec![lines],
            Vec::new(),
        )
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

/// 204.
pub struct NoContent;

impl IntoResponse for NoContent {
    fn into_response(self) -> Response {
        StatusCode::NO_CONTENT.into()
    }
}

impl ApiResponse for NoContent {
    fn meta() -> MetaResponses {
        responses(204, "No Content", Vec::new(), Vec::new())
    }

    fn register(_: &mut Registry) {}
}

/// A page of a list, newest first.
#[derive(Object)]
pub struct List<T: ParseFromJSON + ToJSON + IsObjectType + Send + Sync> {
    /// The rows.
    data: Vec<T>,
    /// Whether another page follows.
    has_more: bool,
    /// Names the next page.
    next_cursor: Option<String>,
}

impl<T: ParseFromJSON + ToJSON + IsObjectType + Send + Sync> List<T> {
    /// The view of a page.
    pub fn of<R: Into<T>>(page: latchkey_shared::page::Page<R>) -> Self {
        let page = page.map(Into::into);
        Self {
            data: page.data,
            has_more: page.next_cursor.is_some(),
            next_cursor: page.next_cursor,
        }
    }
}
