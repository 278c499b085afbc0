//! All routes together, in their wrapper.

use latchkey_shared::{auth::Auth, webhook::Publisher};
use poem::{Endpoint, EndpointExt, Response, Route, get, handler, http::header, web::Data};

use crate::{
    dns::Dns,
    middleware::{AllowedMethods, Cors, Repeatable, around, repeat},
    routes::{docs, health::Draining},
    spec,
};

/// The document's text, made once.
#[derive(Clone)]
struct Document(&'static str);

/// The server's endpoint.
///
/// # Errors
/// When the document cannot be written.
pub fn app(auth: Auth, draining: Draining) -> Result<impl Endpoint, serde_json::Error> {
    let document = spec::document()?;
    let allowed = AllowedMethods::of(&document, &["/openapi.json", "/docs", "/docs/{file}"]);
    let repeatable = Repeatable::of(&document);
    let cors = Cors::of(&document, auth.context.config.server.allowed_origins.clone());
    let document = spec::text(&document)?;
    let routes = Route::new()
        .nest("/", spec::service())
        .at("/openapi.json", get(openapi))
        .nest("/docs", docs::routes())
        .data(Document(document.leak()));
    let dns = Dns::new(&auth.context.config.tenancy);
    let publisher = Publisher::new(&auth.context);
    let routes = routes.data(dns).data(publisher);
    let routes = routes.around(repeat).around(around);
    let routes = routes.data(allowed).data(repeatable).data(cors);
    Ok(routes.data(draining).data(auth))
}

#[handler]
fn openapi(Data(document): Data<&Document>) -> Response {
    Response::builder()
        .content_type("application/json")
        .header(header::CACHE_CONTROL, "public, max-age=300")
        .body(document.0)
}
