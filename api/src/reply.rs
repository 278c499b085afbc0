//! Successful responses, by status.

use latchkey_shared::version::Version;
use poem::{
    IntoResponse, Response,
    http::{HeaderValue, StatusCode, header},
};
use poem_openapi::{
    ApiResponse, Object,
    payload::Payload,
    registry::{MetaHeader, MetaMediaType, MetaResponse, MetaResponses, Registry},
    types::{IsObjectType, ParseFromJSON, ToJSON, Type},
};

use crate::extract::Json;

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
        if let std::result::Result::Ok(tag) = HeaderValue::from_str(&format!("\"{}\"", self.version.0)) {
            response.headers_mut().insert(header::ETAG, tag);
        }
        response
    }
}

impl<T: ToJSON> ApiResponse for Versioned<T> {
    fn meta() -> MetaResponses {
        let tag = MetaHeader {
            name: "ETag".to_owned(),
            description: Some("Names the thing as it stands; a change takes it as If-Match".to_owned()),
            required: true,
            deprecated: false,
            schema: String::schema_ref(),
        };
        responses(200, "OK", json::<T>(), vec![tag])
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
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
    #[oai(skip_serializing_if_is_none = false)]
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
