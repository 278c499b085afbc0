//! Bodies that come as a form or as JSON: what older standards ask for, and what we speak otherwise.

use poem::{Request, RequestBody, Result, http::header};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ExtractParamOptions,
    payload::{ParsePayload, Payload},
    registry::{MetaMediaType, MetaRequest, Registry},
    types::ParseFromJSON,
};
use serde_json::{Map, Value};
use url::form_urlencoded;

use super::json::{self, Json};
use crate::problem::{Failure, FieldError, ProblemCode};

const FORM: &str = "application/x-www-form-urlencoded";

/// A body of text fields, as a form or as JSON. Both are judged by the same schema.
pub struct FormOrJson<T>(pub T);

impl<'a, T: ParseFromJSON + 'static> ApiExtractor<'a> for FormOrJson<T> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];

    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        let content = |content_type| MetaMediaType {
            content_type,
            schema: T::schema_ref(),
        };
        Some(MetaRequest {
            description: None,
            content: vec![content(FORM), content(Json::<T>::CONTENT_TYPE)],
            required: true,
        })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _: ExtractParamOptions<Self::ParamType>,
    ) -> Result<Self> {
        let content_type = request
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        if Json::<T>::check_content_type(content_type) {
            let Json(value) = <Json<T> as ParsePayload>::from_request(request, body).await?;
            return Ok(Self(value));
        }
        if !is_form(content_type) {
            let failure = Failure::new(
                ProblemCode::UnsupportedMediaType,
                "Send the body as application/x-www-form-urlencoded or as application/json.",
            );
            return Err(failure.into());
        }
        let mut fields = fields(&json::read(request, body).await?)?;
        // OAuth's clients send parameters of their own, which are ignored (RFC 6749 section 3.2).
        let schema = json::schema_of::<T>();
        fields.retain(|name, _| schema.names(name));
        Ok(Self(json::typed(Value::Object(fields))?))
    }
}

pub(super) fn is_form(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case(FORM)
}

/// RFC 6749 section 3.2: no parameter may stand twice.
fn fields(bytes: &[u8]) -> Result<Map<String, Value>, Failure> {
    let mut fields = Map::new();
    for (name, value) in form_urlencoded::parse(bytes) {
        let value = Value::String(value.into_owned());
        if fields.insert(name.clone().into_owned(), value).is_some() {
            let field = FieldError::new(format!("/{name}"), "duplicate", "The field stands twice.");
            return Err(Failure::fields(ProblemCode::ValidationFailed, vec![field]));
        }
    }
    Ok(fields)
}
