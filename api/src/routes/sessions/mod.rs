//! One's sessions, and questions about tokens.

use poem_openapi::OpenApi;

/// The operations.
pub struct SessionsApi;

#[OpenApi(prefix_path = "/v1", tag = "super::Tag::Auth")]
impl SessionsApi {}
