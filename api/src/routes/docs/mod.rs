//! Swagger UI, from files of our own under a policy that runs nothing else.
//!
//! The page has no inline script. `swagger-ui-dist` is vendored as it was published; its licence stands beside it.

use poem::{Response, Route, get, handler, http::header};

/// Scripts and requests go to this server only. Swagger UI styles elements inline and draws icons from data URLs.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
    font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

macro_rules! files {
    ($($name:ident $path:literal $content_type:literal)*) => {
        $(
            #[handler]
            fn $name() -> Response {
                file($content_type, include_bytes!(concat!("../../../assets/swagger-ui/", $path)))
            }
        )*

        /// `/docs` and what the page loads.
        #[must_use]
        pub fn routes() -> Route {
            let route = Route::new().at("/", get(page));
            $(let route = route.at(concat!("/", $path), get($name));)*
            route
        }
    };
}

files! {
    style "swagger-ui.css" "text/css; charset=utf-8"
    bundle "swagger-ui-bundle.js" "text/javascript; charset=utf-8"
    start "start.js" "text/javascript; charset=utf-8"
    icon "favicon-32x32.png" "image/png"
}

#[handler]
fn page() -> Response {
    file(
        "text/html; charset=utf-8",
        include_bytes!("../../../assets/swagger-ui/index.html"),
    )
}

fn file(content_type: &'static str, bytes: &'static [u8]) -> Response {
    Response::builder()
        .content_type(content_type)
        .header(header::CONTENT_SECURITY_POLICY, POLICY)
        .header(header::CACHE_CONTROL, "public, max-age=3600")
        .body(bytes)
}
