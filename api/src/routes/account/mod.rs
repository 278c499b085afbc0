//! One's own account: profile, export and deletion.

use poem_openapi::OpenApi;

/// The operations.
pub struct AccountApi;

#[OpenApi(prefix_path = "/v1/auth", tag = "super::Tag::Auth")]
impl AccountApi {}
